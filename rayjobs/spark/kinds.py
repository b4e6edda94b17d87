"""The kinds of contexts: which of Spark's entry points a job receives, by the context's `context-factory`."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from rayjobs.errors import ContextInitError


class ContextKind(StrEnum):
    SESSION = "SparkSession"
    SPARK = "SparkContext"
    SQL = "SQLContext"
    HIVE = "HiveContext"
    CUSTOM = "CustomContext"


_FACTORIES = {
    "SparkSession": ContextKind.SESSION,
    "SparkContext": ContextKind.SPARK,
    "SQLContext": ContextKind.SQL,
    "HiveContext": ContextKind.HIVE,
    "CustomContext": ContextKind.CUSTOM,
    "PythonContextFactory": ContextKind.CUSTOM,
    "SessionContextFactory": ContextKind.SESSION,
    "JavaSessionContextFactory": ContextKind.SESSION,
    "PythonSessionContextFactory": ContextKind.SESSION,
    "DefaultSparkContextFactory": ContextKind.SPARK,
    "JavaSparkContextFactory": ContextKind.SPARK,
    "PythonSparkContextFactory": ContextKind.SPARK,
    "SQLContextFactory": ContextKind.SQL,
    "JavaSQLContextFactory": ContextKind.SQL,
    "PythonSQLContextFactory": ContextKind.SQL,
    "HiveContextFactory": ContextKind.HIVE,
    "JavaHiveContextFactory": ContextKind.HIVE,
    "PythonHiveContextFactory": ContextKind.HIVE,
}
"""The factories of all versions of spark-jobserver, and the plain names of what they make.

A job in a CustomContext makes its context itself, by its `build_context`.
"""


def kind_of(settings: dict[str, Any]) -> ContextKind:
    """The kind that `context-factory` names, with or without its package; a SparkSession if it names none.

    Raises `ContextInitError` for a factory we do not have.
    """
    factory = str(settings.get("context-factory", ContextKind.SESSION))
    try:
        return _FACTORIES[factory.rpartition(".")[2]]
    except KeyError:
        raise ContextInitError(f"unknown context-factory {factory}; use one of {', '.join(ContextKind)}") from None
