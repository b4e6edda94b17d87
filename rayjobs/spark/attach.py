"""A runner's way into its context's JVM: the same SparkContext and session, from another Python process."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pyspark import SparkConf, SparkContext, inheritable_thread_target
from pyspark.java_gateway import launch_gateway
from pyspark.sql import HiveContext, SparkSession, SQLContext

from rayjobs.errors import ActorGone
from rayjobs.spark.java_side import JavaSide
from rayjobs.spark.jvm import FIRST_SESSION, SessionAddress
from rayjobs.spark.kinds import ContextKind


def attach(address: SessionAddress) -> SparkContext:
    """The SparkContext of the application that has that session, as this process's."""
    os.environ["PYSPARK_GATEWAY_PORT"] = str(address.gateway.port)
    os.environ["PYSPARK_GATEWAY_SECRET"] = address.gateway.secret
    os.environ["PYSPARK_PIN_THREAD"] = "true"
    java = launch_gateway()
    jvm = java.jvm
    jsession = jvm.System.getProperties().get(address.key)
    jsc = jvm.org.apache.spark.api.java.JavaSparkContext(jsession.sparkContext())
    conf = SparkConf(loadDefaults=False, _jvm=jvm, _jconf=jsc.sc().conf().clone())
    return SparkContext(gateway=java, jsc=jsc, conf=conf)


def session_of(context: SparkContext, address: SessionAddress) -> SparkSession:
    """A session of this application as this process's: temp views and SQL settings are shared with all its runners.

    Raises `ActorGone` if its context has closed it. PySpark's SparkSession constructor also makes its session the
    JVM-wide default, which would have other contexts' code find it: the application's first one stays that.
    """
    jvm: Any = context._jvm
    properties = jvm.System.getProperties()
    jsession = properties.get(address.key)
    if jsession is None:
        raise ActorGone("its context's session is closed")
    session = SparkSession(context, jsession)
    jvm.org.apache.spark.sql.SparkSession.setDefaultSession(properties.get(FIRST_SESSION))
    return session


def context_object(session: SparkSession, kind: ContextKind, job: Any) -> Any:
    """What `job` receives as its context; raises `TypeError` for a custom context that the job does not build."""
    match kind:
        case ContextKind.SESSION:
            return session
        case ContextKind.SPARK:
            return session.sparkContext
        case ContextKind.SQL:
            return SQLContext(session.sparkContext, session)
        case ContextKind.HIVE:
            return HiveContext(session.sparkContext, session)
        case ContextKind.CUSTOM:
            return _built_by(job, session.sparkContext)


def _built_by(job: Any, context: SparkContext) -> Any:
    """What the job makes of the JVM's context: as a rule a SparkContext, of which PySpark wants one at a time."""
    build = getattr(job, "build_context", None)
    SparkContext._active_spark_context = None
    built = build(context._gateway, context._jsc, context.getConf()) if build else None
    if built is None:
        SparkContext._active_spark_context = context
        raise TypeError(f"build_context of {type(job).__name__} returned no context, which a CustomContext needs")
    return built


def add_paths(session: SparkSession, paths: list[str]) -> None:
    """Let this process, and its UDFs where such folders are, import from them; relative ones become absolute."""
    if paths:
        absolute = [os.path.abspath(path) for path in paths]
        sys.path.extend(absolute)
        session.sparkContext.environment["PYTHONPATH"] = os.pathsep.join(absolute)


def ship_package(session: SparkSession, package: Path, sha256: str) -> None:
    """Make `package` importable in this runner's UDFs, and in no other's.

    PySpark pools executors' Python workers by their environment: without an entry of its own, a second version
    of a module silently runs the first one's code.
    """
    session.sparkContext.environment["RAYJOBS_BINARY"] = sha256
    session.sparkContext.addPyFile(str(package))


class JobMarks:
    """Marks the Spark work of this thread, and of threads started by it, as a job's."""

    def __init__(self, session: SparkSession):
        java = JavaSide(session.sparkContext._gateway)
        parts = [
            ("org.apache.spark.SparkContext", session.sparkContext._jsc.sc()),
            ("org.apache.spark.sql.SparkSession", session._jsparkSession),
        ]
        self._marks = java.new(java.own_class("JobMarks"), parts)

    @contextmanager
    def of(self, job_id: str, class_path: str) -> Iterator[None]:
        """Its tag is what a kill cancels, its description what Spark's UI shows."""
        self._marks.begin(job_id, f"{class_path} {job_id}")
        with _inherited_by_threads():
            yield


@contextmanager
def _inherited_by_threads() -> Iterator[None]:
    """Threads started inside have Spark's local properties of the thread that starts them.

    Symptom: the Spark work of a job's own threads outlives a kill. Cause: PySpark (3.5) pins each Python thread to a
    JVM thread of its own, and only threads made by its `InheritableThread` get their starter's job tags. Fails
    without it: `test_a_kill_reaches_the_spark_work_of_a_job_and_of_its_own_threads`.
    """
    start = threading.Thread.start

    def start_inheriting(thread: threading.Thread) -> None:
        thread.run = inheritable_thread_target(thread.run)  # type: ignore[method-assign]
        start(thread)

    threading.Thread.start = start_inheriting  # type: ignore[method-assign]
    try:
        yield
    finally:
        threading.Thread.start = start  # type: ignore[method-assign]
