"""RayDP's app master, which asks Ray for executors: within the driver JVM, where RayDP gives it a JVM of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import ray

_NATIVE_LIBRARY = "core_worker_library_java"
_SHUFFLE_SERVICE = ("spark.shuffle.", "spark.local.dir")
"""What of Spark's settings an external shuffle service needs; RayDP gives its app master no others."""


class AppMaster:
    """It makes the driver JVM a driver on Ray first. `java` is the JVM as Py4J shows it."""

    def __init__(self, java: Any, spark_settings: Mapping[str, str]):
        _load_native_library(java)
        java.io.ray.api.Ray.init()
        for name, value in spark_settings.items():
            if name.startswith(_SHUFFLE_SERVICE):
                java.System.setProperty(name, value)
        class_path = java.System.getProperty("java.class.path")
        made = java.org.apache.spark.deploy.raydp.RayAppMaster(ray.util.get_node_ip_address(), 0, class_path)
        self._app_master = made
        self._handles = _handles_of_actors(java)
        self._held: list[Any] = []

    def url(self) -> str:
        """The `spark.master` to be used: RayDP's scheduler registers there; for `ray` it would start another one."""
        return str(self._app_master.getMasterUrl())

    def hold_executors(self) -> None:
        """To be called now and then: no executor is lost to the JVM's garbage collector.

        Symptom: an executor that died and was replaced is gone for good after the next collection, and its context
        with it. Cause: RayDP (1.6.5) drops its handle of one that died, and Ray (2.60) ends the actor, which it has
        started again meanwhile, when that handle is collected. Can go when RayDP keeps its handles. Fails without it:
        `test_a_lost_executor_is_replaced_for_good_and_its_job_finishes`.
        """
        if self._handles.size() > len(self._held):
            handles = [reference.get() for reference in self._handles]
            self._held = [handle for handle in handles if handle is not None]

    def stop(self) -> None:
        self._app_master.stop()


def _handles_of_actors(java: Any) -> Any:
    """Ray's own set of weak references to all handles of actors in this JVM."""
    handles = java.java.lang.Class.forName("io.ray.runtime.actor.NativeActorHandle").getDeclaredField("REFERENCES")
    handles.setAccessible(True)
    return handles.get(None)


def _load_native_library(java: Any) -> None:
    """Have Ray's native library unpacked where all Java workers of this node find it.

    Symptom: each driver JVM leaves 40 MB in `/tmp/ray/<time>`, and takes 0.2 s to write it. Cause: `Ray.init` of a
    driver (2.60) unpacks it to a folder of its own, unless it is loaded by then. Can go when Ray's drivers use the
    session's folder, as its workers do. Fails without it:
    `test_a_second_context_runs_beside_the_first_and_is_deleted_without_a_trace`.
    """
    folder = ray._private.worker._global_node.get_session_dir_path()
    java.io.ray.runtime.util.JniUtils.loadLibrary(folder, _NATIVE_LIBRARY, True)
