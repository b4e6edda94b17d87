"""Count the words of many text files."""

import re
from collections import Counter
from operator import add
from pathlib import Path

from rayjobs.api import SparkJob, build_problems

WORD = re.compile("[A-Za-z0-9_]+")


class WordCount(SparkJob):
    """Config: `input`, a folder; `pattern`, which files in it and below (`*.txt`); `exclude`, names of folders to
    leave out (none); `top`, how many words to return (20).

    Result: `{"files", "words", "distinct", "top": [[word, count], ...]}`, the most frequent first.
    """

    def validate(self, context, runtime, config):
        folder = Path(config.get("input", ""))
        if "input" not in config or not folder.is_dir():
            return build_problems([f"input: {str(folder)!r} is not a folder"])
        exclude = set(config.get("exclude", []))
        files = [
            str(path)
            for path in sorted(folder.rglob(config.get("pattern", "*.txt")))
            if path.is_file() and exclude.isdisjoint(path.relative_to(folder).parts[:-1])
        ]
        if not files:
            return build_problems([f"input: no such files in {folder}"])
        return {"files": files, "top": int(config.get("top", 20))}

    def run_job(self, context, runtime, data):
        files, top = data["files"], data["top"]
        print(f"counting the words of {len(files)} files")
        spark = context.sparkContext
        counts = (
            spark.parallelize(files, min(len(files), 2 * spark.defaultParallelism))
            .mapPartitions(count_words)
            .reduceByKey(add, spark.defaultParallelism)
        )
        parts = counts.mapPartitions(lambda pairs: [summary(pairs, top)]).collect()
        return {
            "files": len(files),
            "words": sum(words for words, _, _ in parts),
            "distinct": sum(distinct for _, distinct, _ in parts),
            "top": most_frequent([pair for _, _, pairs in parts for pair in pairs], top),
        }


def count_words(files):
    """The words of these files with their counts. Runs on the executors.

    Not `context.read.text`: Spark leaves out files whose names start with an underscore, such as `__init__.py`.
    """
    counts = Counter()
    for file in files:
        counts.update(WORD.findall(Path(file).read_text(encoding="utf-8", errors="replace")))
    return counts.items()


def summary(pairs, top):
    """How many words these (word, count) pairs stand for, how many pairs, and the most frequent of them."""
    pairs = list(pairs)
    return sum(count for _, count in pairs), len(pairs), most_frequent(pairs, top)


def most_frequent(pairs, top):
    """Of equally frequent words the alphabetically first."""
    return sorted(pairs, key=lambda pair: (-pair[1], pair[0]))[:top]
