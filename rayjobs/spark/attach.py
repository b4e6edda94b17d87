"""A runner's way into its context's JVM: the same SparkContext and session, from another Python process."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from pyspark import SparkConf, SparkContext
from pyspark.java_gateway import launch_gateway
from pyspark.sql import HiveContext, SparkSession, SQLContext

from rayjobs.spark.jvm import Gateway
from rayjobs.spark.kinds import ContextKind
from rayjobs.spark.session import SESSION_PROPERTY


def attach(gateway: Gateway) -> SparkSession:
    """The context's own session as this process's: temp views and SQL settings are shared with all its runners.

    PySpark's SparkSession constructor also makes its session the JVM-wide default; the default it found is
    put back.
    """
    os.environ["PYSPARK_GATEWAY_PORT"] = str(gateway.port)
    os.environ["PYSPARK_GATEWAY_SECRET"] = gateway.secret
    os.environ["PYSPARK_PIN_THREAD"] = "true"
    java = launch_gateway()
    jvm = java.jvm
    jsession = jvm.System.getProperties().get(SESSION_PROPERTY)
    jsc = jvm.org.apache.spark.api.java.JavaSparkContext(jsession.sparkContext())
    conf = SparkConf(loadDefaults=False, _jvm=jvm, _jconf=jsc.sc().conf().clone())
    context = SparkContext(gateway=java, jsc=jsc, conf=conf)
    return SparkSession(context, jsession)


def context_object(session: SparkSession, kind: ContextKind) -> Any:
    """What a job of that kind receives as its context."""
    match kind:
        case ContextKind.SESSION:
            return session
        case ContextKind.SPARK:
            return session.sparkContext
        case ContextKind.SQL:
            return SQLContext(session.sparkContext, session)
        case ContextKind.HIVE:
            return HiveContext(session.sparkContext, session)


def ship_package(session: SparkSession, package: Path, sha256: str) -> None:
    """Make `package` importable in this runner's UDFs, and in no other's.

    PySpark pools executors' Python workers by their environment: without an entry of its own, a second version
    of a module silently runs the first one's code.
    """
    session.sparkContext.environment["RAYJOBS_BINARY"] = sha256
    session.sparkContext.addPyFile(str(package))


def begin_job(session: SparkSession, job_id: str, class_path: str) -> None:
    """Mark this thread's Spark work as the job's: its tag is what a kill cancels, its text what Spark's UI shows."""
    context = session.sparkContext
    context.addJobTag(job_id)
    context.setInterruptOnCancel(True)
    context.setJobDescription(f"{class_path} {job_id}")
    session._jvm.org.apache.spark.sql.SparkSession.setActiveSession(session._jsparkSession)


def end_job(session: SparkSession, job_id: str) -> None:
    """Undo `begin_job`."""
    session.sparkContext.removeJobTag(job_id)
    session.sparkContext.setLocalProperty("spark.job.description", None)
