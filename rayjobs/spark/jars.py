"""Jars in a driver JVM: those of one job with a class loader of their own there, and a class path on the executors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pyspark.sql import SparkSession

from rayjobs.spark.java_side import JavaSide
from rayjobs.trees import names_of

_LOADERS = "rayjobs.loaders."
_RESULTS = "rayjobs.results"
_PROPERTY = "rayjobs.jar"
"""The local property that tells Spark jobs of jars apart."""


class Jars:
    """A jar and those it depends on, by their contents, for which `sha256` stands.

    All runners of a JVM that have the same ones share their classes, so their statics too; others share nothing. Of
    classes of one name the driver takes the application's own, then that of the first of `paths`; executors any.
    """

    def __init__(self, session: SparkSession, paths: list[Path], sha256: str):
        self._context = session.sparkContext._jsc
        self._java = java = JavaSide(session.sparkContext._gateway)
        self._name = f"jar-{sha256}"
        self._artifacts = java.jvm.org.apache.spark.JobArtifactState(self._name, java.jvm.scala.Option.empty())
        urls = java.array(java.jvm.java.net.URL, [java.jvm.java.io.File(str(path)).toURI().toURL() for path in paths])
        loader = java.jvm.java.net.URLClassLoader(urls, java.spark_loader())
        self.loader, _ = java.once(_LOADERS + sha256, loader)
        # Each runner does it again, which changes nothing: it must not rely on another that is still at it.
        with self._on_executors():
            for path in (*map(str, paths), *names_of(self._context.getConf().get("spark.jars", ""))):
                self._context.addJar(path)
        self._let_results_find()

    @contextmanager
    def entered(self) -> Iterator[None]:
        """This thread's twin in the JVM, and the Spark jobs that it begins, see the jars' classes."""
        thread = self._java.jvm.java.lang.Thread.currentThread()
        before = thread.getContextClassLoader()
        thread.setContextClassLoader(self.loader)
        self._context.setLocalProperty(_PROPERTY, self._name)
        try:
            with self._on_executors():
                yield
        finally:
            self._context.setLocalProperty(_PROPERTY, None)
            thread.setContextClassLoader(before)

    @contextmanager
    def _on_executors(self) -> Iterator[None]:
        """Spark jobs that this thread begins see, on executors, these jars and no others but the application's own.

        Symptom: of two jars with classes of one name, executors run the first one's code for both. Cause: `addJar`
        alone adds to the one class path of the whole application. Spark 3.5 has class paths per "artifact state", made
        for Spark Connect, without a public way to enter one, so its thread-local is set. Fails without it:
        `test_two_versions_of_a_jar_run_their_own_code_on_executors`. It can go when classic Spark has such a way.
        """
        companion = self._java.class_named("org.apache.spark.JobArtifactSet$")
        field = companion.getDeclaredField("currentClientSessionState")
        field.setAccessible(True)
        state = field.get(companion.getField("MODULE$").get(None))
        before = state.get()
        state.set(self._java.jvm.scala.Some(self._artifacts))
        try:
            yield
        finally:
            state.set(before)

    def _let_results_find(self) -> None:
        """Objects of the jars' own classes can be results of Spark jobs, such as those of `rdd.collect()`.

        Symptom: ClassNotFoundException on the driver. Cause: Spark reads results in threads of its own, with one loader
        for all jobs. So the reader is replaced by one that has threads for each jar. Fails without it:
        `test_a_jar_collects_objects_of_its_own_classes`.
        """
        java, scheduler = self._java, self._context.sc().taskScheduler()
        parts = [
            ("org.apache.spark.SparkEnv", java.jvm.org.apache.spark.SparkEnv.get()),
            ("org.apache.spark.scheduler.TaskSchedulerImpl", scheduler),
            ("java.lang.String", _PROPERTY),
        ]
        results, _ = java.once(_RESULTS, java.new(java.own_class("JarResults"), parts))
        getattr(scheduler, "taskResultGetter_$eq")(results)
        results.add(self._name, self.loader)
