"""Spark's own objects handed from one runner of a context to another: kept in the JVM that both work on."""

from __future__ import annotations

import pickle
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_KEY = "rayjobs.named."


@dataclass(frozen=True)
class SparkReference:
    """Where the Java object lies in the context's JVM, and what Python needs besides to make its own object of it."""

    kind: str
    key: str
    rest: bytes


def keep(session: SparkSession, context_id: str, value: object) -> SparkReference | None:
    """Keep a DataFrame, an RDD or a broadcast in the JVM, for the context's life; None for anything else."""
    from pyspark import RDD, Broadcast
    from pyspark.sql import DataFrame

    if isinstance(value, DataFrame):
        kind, java_object, rest = "DataFrame", value._jdf, None
    elif isinstance(value, RDD):
        kind, java_object, rest = "RDD", value._jrdd, value._jrdd_deserializer
    elif isinstance(value, Broadcast):
        kind, java_object, rest = "Broadcast", value._jbroadcast, value._path
    else:
        return None
    key = uuid.uuid4().hex
    _objects_of(session, context_id).put(key, java_object)
    return SparkReference(kind, key, pickle.dumps(rest))


def taken(session: SparkSession, context_id: str, reference: SparkReference) -> Any:
    """The object, as this process's own; raises `KeyError` if it is not kept any more."""
    from pyspark import RDD
    from pyspark.sql import DataFrame

    java_object, rest = _objects_of(session, context_id).get(reference.key), pickle.loads(reference.rest)
    if java_object is None:
        raise KeyError(reference.key)
    match reference.kind:
        case "DataFrame":
            return DataFrame(java_object, session)
        case "RDD":
            return RDD(java_object, session.sparkContext, rest)
    return _broadcast(session, java_object, rest)


def let_go(session: SparkSession, context_id: str, reference: SparkReference) -> None:
    """Keep it no longer."""
    _objects_of(session, context_id).remove(reference.key)


def let_go_of_all(jvm: Any, context_id: str) -> None:
    """The context is over, and its JVM goes on."""
    jvm.System.getProperties().remove(_KEY + context_id)


def _objects_of(session: SparkSession, context_id: str) -> Any:
    jvm: Any = session._jvm
    mine = jvm.java.util.concurrent.ConcurrentHashMap()
    known = jvm.System.getProperties().putIfAbsent(_KEY + context_id, mine)
    return mine if known is None else known  # not `or`: an empty map is there too


def _broadcast(session: SparkSession, java_object: Any, path: str) -> Any:
    """PySpark makes broadcasts of new values only; this is one whose value another process has written to `path`."""
    from pyspark import Broadcast

    context = session.sparkContext
    broadcast = Broadcast.__new__(Broadcast)
    broadcast._sc = context
    broadcast._path = path
    broadcast._jbroadcast = java_object
    broadcast._pickle_registry = context._pickled_broadcast_vars
    return broadcast
