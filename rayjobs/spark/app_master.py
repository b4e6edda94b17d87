"""RayDP's app master, which asks Ray for executors: within the driver JVM, where RayDP gives it a JVM of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import ray

_NATIVE_LIBRARY = "core_worker_library_java"
_SHUFFLE_SERVICE = ("spark.shuffle.", "spark.local.dir")
"""What of Spark's settings an external shuffle service needs; RayDP gives its app master no others."""


def start(java: Any, spark_settings: Mapping[str, str]) -> Any:
    """Make the driver JVM a driver on Ray, and an app master in it; its address is the `spark.master` to be used.

    Where a `spark.master` names an app master, RayDP's scheduler registers there; for the master `ray` it would start
    one, as an actor with a JVM. `java` is the JVM as Py4J shows it.
    """
    _load_native_library(java)
    java.io.ray.api.Ray.init()
    for name, value in spark_settings.items():
        if name.startswith(_SHUFFLE_SERVICE):
            java.System.setProperty(name, value)
    class_path = java.System.getProperty("java.class.path")
    return java.org.apache.spark.deploy.raydp.RayAppMaster(ray.util.get_node_ip_address(), 0, class_path)


def _load_native_library(java: Any) -> None:
    """Have Ray's native library unpacked where all Java workers of this node find it.

    Symptom: each driver JVM leaves 40 MB in `/tmp/ray/<time>`, and takes 0.2 s to write it. Cause: `Ray.init` of a
    driver (2.60) unpacks it to a folder of its own, unless it is loaded by then. Can go when Ray's drivers use the
    session's folder, as its workers do. Fails without it:
    `test_a_second_context_runs_beside_the_first_and_is_deleted_without_a_trace`.
    """
    folder = ray._private.worker._global_node.get_session_dir_path()
    java.io.ray.runtime.util.JniUtils.loadLibrary(folder, _NATIVE_LIBRARY, True)
