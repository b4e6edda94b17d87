"""Estimate pi by throwing darts: work for every core, and nothing to read."""

import random

from rayjobs.api import SparkJob, build_problems


class Pi(SparkJob):
    """Config: `darts` (1000000), `partitions` (4). Result: the estimate."""

    def validate(self, context, runtime, config):
        numbers = {"darts": config.get("darts", 1_000_000), "partitions": config.get("partitions", 4)}
        wrong = [name for name, number in numbers.items() if not isinstance(number, int) or number < 1]
        return build_problems(f"{name}: not a whole number above 0" for name in wrong) if wrong else numbers

    def run_job(self, context, runtime, data):
        partitions = data["partitions"]
        each = max(1, data["darts"] // partitions)
        hits = context.sparkContext.parallelize(range(partitions), partitions).map(lambda seed: _hits(seed, each)).sum()
        return 4 * hits / (each * partitions)


def _hits(seed, darts):
    dice = random.Random(seed)
    return sum(dice.random() ** 2 + dice.random() ** 2 <= 1 for _ in range(darts))
