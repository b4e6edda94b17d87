"""A context's Spark session on RayDP, started the fast way: by its driver JVM alone, without RayDP's master actors."""

from __future__ import annotations

import contextlib
import os
import shlex
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from py4j.protocol import Py4JError
from pyspark import SparkConf, SparkContext
from pyspark.java_gateway import launch_gateway
from pyspark.sql import SparkSession

from rayjobs.context_settings import HIVE, PROXY_USER, is_true
from rayjobs.errors import BadConfig
from rayjobs.spark import ahead, job_threads, jvm, sharing
from rayjobs.spark.app_master import AppMaster
from rayjobs.spark.java_side import JavaSide
from rayjobs.spark.kinds import ContextKind, kind_of
from rayjobs.spark.needs import needs_of
from rayjobs.trees import names_of

_LOG4J = ("log4j2", "log4j2-default.properties", "log4j2.xml")
"""RayDP's `versions`: the logging system, Spark's configuration of it, Ray's."""


_NOT_SPARKS = {"spark.master", PROXY_USER}
"""The master is the driver's own app master; the driver JVM has to know its user before Spark does."""


_EXECUTOR_OPTIONS = "spark.executor.extraJavaOptions"


class JvmSilent(RuntimeError):
    """The driver JVM did not answer a call."""


@dataclass(frozen=True)
class RunningSpark:
    """A session in this process, its driver JVM, the app master therein, and where runners find that session."""

    session: SparkSession
    driver: jvm.DriverJvm
    app_master: AppMaster
    address: jvm.SessionAddress


@dataclass(frozen=True)
class Pulse:
    """How a Spark application is: its registered executors, and the Spark jobs that run or wait for one."""

    is_stopped: bool
    executors: int
    active_jobs: int


def start(
    name: str,
    settings: dict[str, Any],
    folder: Path,
    namespace: str,
    jvm_options: str,
    executor_jvm_options: str,
    timeout_s: float,
    own_jars: Sequence[Path],
) -> RunningSpark:
    """Start a driver JVM and a session with its executors in the Ray namespace `namespace`.

    `folder` gets the driver's log, Spark's local files and, for Hive, the metastore. `own_jars` are there for all
    jobs. Blocks; raises `JvmExited` or Spark's own error.
    """
    log_file = folder / "driver.log"
    options = [*shlex.split(jvm_options), *_driver_options(settings), *_ray_options(namespace)]
    options.append(f"-Dderby.stream.error.file={folder / 'derby.log'}")
    driver = jvm.launch_driver(options, log_file, timeout_s, own_jars)
    try:
        os.environ["PYSPARK_GATEWAY_PORT"] = str(driver.gateway.port)
        os.environ["PYSPARK_GATEWAY_SECRET"] = driver.gateway.secret
        java = launch_gateway()
        ahead.begin(java)
        spark_settings = _spark_conf(name, settings, folder, executor_jvm_options, own_jars)
        conf = SparkConf(_jvm=java.jvm).setAll(list(spark_settings.items()))
        app_master = AppMaster(java.jvm, spark_settings)
        context = SparkContext(conf=conf.setMaster(app_master.url()), gateway=java)
        session = SparkSession(context)
        session.sparkContext.setLogLevel("WARN")
        _publish(session._jvm, jvm.FIRST_SESSION, session._jsparkSession)
        address = jvm.SessionAddress(_open_runner_gateway(session), jvm.FIRST_SESSION)
        return RunningSpark(session, driver, app_master, address)
    except BaseException:
        driver.process.kill()
        raise


def stop(running: RunningSpark, timeout_s: float) -> None:
    """Stop Spark, then its JVM: `SparkContext.stop` alone leaves the JVM's Ray driver registered.

    A JVM that is gone has stopped.
    """
    try:
        with contextlib.suppress(Py4JError, OSError):
            running.session.stop()
            running.app_master.stop()
    finally:
        if running.driver.process.stdin:
            running.driver.process.stdin.close()
        try:
            running.driver.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            running.driver.process.kill()


def cancel_job(running: RunningSpark, job_id: str) -> None:
    """End the Spark work that carries the tag `job_id`, its executors' tasks included; and its thread in the JVM.

    Work that begins only later ends as it begins, unless it is of a later run of that job.
    """
    context = running.session.sparkContext
    java = JavaSide(context._gateway)
    arguments = [("org.apache.spark.SparkContext", context._jsc.sc()), ("java.lang.String", job_id)]
    java.call_static(java.own_class("EndedJobs"), "end", arguments)
    job_threads.end(java.jvm, job_id)


def application_of(running: RunningSpark) -> tuple[str, str | None]:
    """The id of the Spark application, and the address of its UI if it has one."""
    context = running.session.sparkContext
    return context.applicationId, context.uiWebUrl


def wait_for_exit(running: RunningSpark) -> str:
    """Blocks until the driver JVM ends; how it did."""
    return f"its driver JVM ended with exit code {running.driver.process.wait()}"


def pulse(running: RunningSpark) -> Pulse:
    """It holds the executors, too. Raises `JvmSilent` if the JVM does not answer: it has ended then, or hangs."""
    drivers = 1
    try:
        if is_stopped(running):
            return Pulse(True, 0, 0)
        context = running.session.sparkContext._jsc.sc()
        running.app_master.hold_executors()
        executors = context.getExecutorMemoryStatus().size() - drivers
        return Pulse(False, executors, len(context.statusTracker().getActiveJobIds()))
    except (Py4JError, OSError) as error:
        raise JvmSilent(str(error)) from None


def is_stopped(running: RunningSpark) -> bool:
    """Whether Spark has been stopped, from here or elsewhere. Raises `JvmSilent` if the JVM does not answer."""
    try:
        java_context = running.session.sparkContext._jsc
        return java_context is None or java_context.sc().isStopped()
    except (Py4JError, OSError) as error:
        raise JvmSilent(str(error)) from None


def open_session(running: RunningSpark, key: str, sql_settings: dict[str, str]) -> jvm.SessionAddress:
    """A new session of the same application, with temp views and SQL settings of its own, under `key`.

    Raises `BadConfig` for a setting that only a whole application can have, unless the application has it so.
    """
    jsession = running.session._jsparkSession.newSession()
    conf = jsession.conf()
    for name, value in sql_settings.items():
        if conf.get(name, None) == value:
            continue
        if not conf.isModifiable(name):
            raise BadConfig(f"{name} is a setting of a whole Spark application: it needs context-per-jvm = true")
        conf.set(name, value)
    _publish(running.session._jvm, key, jsession)
    return jvm.SessionAddress(running.address.gateway, key)


def close_session(running: RunningSpark, key: str) -> None:
    """Forget a session; what it holds goes with it."""
    running.session._jvm.System.getProperties().remove(key)
    sharing.let_go_of_all(running.session._jvm, key)


def run_trivial_job(running: RunningSpark) -> None:
    """One task on an executor."""
    running.session.range(1).count()


def _publish(java: Any, key: str, jsession: Any) -> None:
    java.System.getProperties().put(key, jsession)


def _open_runner_gateway(session: SparkSession) -> jvm.Gateway:
    """A second Py4J server in the same JVM: loopback only, its own secret, one thread per runner's thread."""
    server = session._jvm.org.apache.spark.api.python.Py4JServer(session.sparkContext._jsc.sc().conf())
    server.start()
    return jvm.Gateway(server.getListeningPort(), server.secret())


def _spark_conf(
    name: str, settings: dict[str, Any], folder: Path, executor_jvm_options: str, own_jars: Sequence[Path]
) -> dict[str, str]:
    needs = needs_of(settings, os.cpu_count() or 1)
    node_ip = ray.util.get_node_ip_address()
    conf = {
        "spark.app.name": name,
        "spark.driver.host": node_ip,
        "spark.driver.bindAddress": node_ip,
        "spark.ui.port": "0",
        "spark.ui.showConsoleProgress": "false",
        "spark.executor.instances": str(needs.executors),
        "spark.executor.cores": str(needs.cores),
        "spark.executor.memory": needs.memory,
        "spark.cores.max": str(needs.executors * needs.cores),
        _EXECUTOR_OPTIONS: executor_jvm_options,
        "spark.driver.extraClassPath": jvm.class_path(own_jars),
        "spark.javaagent": str(jvm.raydp_agent()),
        "spark.ray.log4j.factory.class": _LOG4J[0],
        "spark.log4j.config.file.name": _LOG4J[1],
        "spark.ray.log4j.config.file.name": _LOG4J[2],
        "spark.scheduler.mode": "FAIR",
        "spark.local.dir": str(folder / "local"),
        "spark.sql.warehouse.dir": str(folder / "warehouse"),
        "spark.sql.shuffle.partitions": str(needs.executors * needs.cores * 2),
    }
    if kind_of(settings) is ContextKind.HIVE or is_true(settings, HIVE):
        conf["spark.sql.catalogImplementation"] = "hive"
        conf["spark.hadoop.javax.jdo.option.ConnectionURL"] = (
            f"jdbc:derby:;databaseName={folder / 'metastore'};create=true"
        )
    own = own_spark_settings(settings)
    if own_jars:
        own["spark.jars"] = ",".join([*map(str, own_jars), *names_of(own.get("spark.jars", ""))])
    return conf | own


def own_spark_settings(settings: dict[str, Any]) -> dict[str, str]:
    """What a context sets of Spark: `spark.*`, and `passthrough.*` without that prefix."""
    own = {key: value for key, value in settings.items() if key.startswith("spark.") and key not in _NOT_SPARKS}
    own |= {key.removeprefix("passthrough."): v for key, v in settings.items() if key.startswith("passthrough.")}
    return {key: _text(value) for key, value in own.items()}


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _driver_options(settings: dict[str, Any]) -> list[str]:
    memory = settings.get("spark.driver.memory", "1g")
    options = [f"-Xmx{memory}", *shlex.split(str(settings.get("spark.driver.extraJavaOptions", "")))]
    if user := settings.get(PROXY_USER):
        options.append(f"-DHADOOP_PROXY_USER={user}")
    return options


def _ray_options(namespace: str) -> list[str]:
    """What lets the driver JVM join Ray as a driver of its own, in its own namespace.

    RayDP names executors `raydp-executor-N`, so two applications in one namespace collide; RayDP's own master
    actor would fix the namespace to its job's. Values as in `RayDPSparkMaster._generate_ray_configs` (1.6.5).
    """
    node = ray._private.worker._global_node
    properties = {
        "ray.run-mode": "CLUSTER",
        "ray.node-ip": node.node_ip_address,
        "ray.address": node.address,
        "ray.logging.dir": node.get_logs_dir_path(),
        "ray.session-dir": node.get_session_dir_path(),
        "ray.raylet.node-manager-port": node.node_manager_port,
        "ray.raylet.socket-name": node.raylet_socket_name,
        "ray.raylet.config.num_workers_per_process_java": "1",
        "ray.object-store.socket-name": node.plasma_store_socket_name,
        "ray.logging.level": "WARN",
        "ray.job.namespace": namespace,
        "spark.ray.log4j.factory.class": _LOG4J[0],
        "log4j2.configurationFile": _LOG4J[1],
    }
    return [f"-javaagent:{jvm.raydp_agent()}", *(f"-D{key}={value}" for key, value in properties.items())]
