"""A job on a plain SparkContext."""

from sparkjobserver.api import SparkJob, build_problems


class LengthsJob(SparkJob):
    def validate(self, context, runtime, config):
        if config.get("input.strings", None):
            return config.get("input.strings")
        return build_problems(["config input.strings not found"])

    def run_job(self, context, runtime, data):
        return context.parallelize(data).map(lambda word: (len(word), 1)).countByKey()
