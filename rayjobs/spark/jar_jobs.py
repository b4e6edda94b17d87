"""The jobs of jars: classes found, checked and run in the context's driver JVM, over the runner's connection to it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

from py4j.java_gateway import JavaObject, is_instance_of
from py4j.protocol import Py4JJavaError
from pyspark.sql import DataFrame, SparkSession

from rayjobs import results
from rayjobs.errors import ErrorData, InvalidJobType, JobLoadingFailed, NoSuchClass
from rayjobs.spark.jars import Jars
from rayjobs.spark.java_side import JavaSide
from rayjobs.spark.job_threads import known_by
from rayjobs.tasks import Refused, Task, UserError

_FUNCTION = "java.util.function.BiFunction"
_MISSING = ("java.lang.ClassNotFoundException", "java.lang.NoClassDefFoundError")
_WRAPPERS = ("java.lang.reflect.InvocationTargetException", "java.lang.ExceptionInInitializerError")


class JarJobs:
    """A job is a `BiFunction<SparkSession, Map<String, Object>, Object>`, or a class with `main(String[])`.

    A function gets the context's session and the job's config; what it returns is the result. A `main` gets the
    config's `args` and has no result. `sha256` stands for the jars at `paths`. `log_file` tells where a job's log is,
    by its id.
    """

    def __init__(self, session: SparkSession, paths: list[Path], sha256: str, log_file: Callable[[str], Path]):
        self._session = session
        self._log_file = log_file
        self._java = JavaSide(session.sparkContext._gateway)
        self._jars = Jars(session, paths, sha256)
        self._output = self._java.own_class("JobOutput")
        self._json = self._json_mapper()
        self._classes: dict[str, JavaObject] = {}

    def load(self, class_path: str) -> None:
        """Find the class, not initialised yet; raises `NoSuchClass`, `JobLoadingFailed`, `InvalidJobType`."""
        if class_path in self._classes:
            return
        try:
            found = self._java.class_named(class_path, self._jars.loader)
        except Py4JJavaError as error:
            data = self._data_of(error)
            if data.error_class in _MISSING and data.message.replace("/", ".") == class_path:
                raise NoSuchClass(f"classPath {class_path} not found") from None
            raise JobLoadingFailed(f"loading {class_path} raised {data.error_class}: {data.message}", data) from None
        if not (self._is_function(found) or self._main_of(found)):
            raise InvalidJobType(
                f"Invalid job type for this context: {class_path} is no {_FUNCTION} and has no static main(String[])"
            )
        self._classes[class_path] = found

    def validate(self, task: Task) -> Refused | None:
        """Jobs of jars have no check of their own."""
        return None

    def run(self, task: Task) -> str:
        """Run the job in this thread's twin in the JVM; its result as JSON text. Raises `UserError`.

        What it prints is added to the job's log. Meanwhile its thread is known, for a kill.
        """
        found = self._classes[task.class_path]
        try:
            with (
                self._printing_to(self._log_file(task.job_id)),
                known_by(self._java.jvm, task.job_id),
                self._jars.entered(),
            ):
                if self._is_function(found):
                    returned = self._java.new(found).apply(self._session._jsparkSession, self._map_of(task.config))
                    return results.to_json(self._value(returned))
                self._call_main(found, task.config.get("args", []))
                return results.to_json(None)
        except Py4JJavaError as error:
            raise UserError(self._data_of(error)) from None

    @contextmanager
    def _printing_to(self, log_file: Path) -> Iterator[None]:
        log_file.parent.mkdir(parents=True, exist_ok=True)
        self._java.call_static(self._output, "begin", [("java.lang.String", str(log_file))])
        try:
            yield
        finally:
            self._java.call_static(self._output, "end")

    def _is_function(self, found: JavaObject) -> bool:
        return self._java.class_named(_FUNCTION).isAssignableFrom(found)

    def _main_of(self, found: JavaObject) -> JavaObject | None:
        try:
            main = found.getMethod("main", self._java.classes(["[Ljava.lang.String;"]))
        except Py4JJavaError:
            return None
        return main if self._java.jvm.java.lang.reflect.Modifier.isStatic(main.getModifiers()) else None

    def _call_main(self, found: JavaObject, args: Any) -> None:
        texts = [str(arg) for arg in (args if isinstance(args, list) else [args])]
        self._main_of(found).invoke(
            None, self._java.objects([self._java.array(self._java.jvm.java.lang.String, texts)])
        )

    def _map_of(self, config: dict[str, Any]) -> JavaObject:
        return self._json.readValue(json.dumps(config), self._java.class_named("java.util.Map"))

    def _value(self, returned: Any) -> object:
        """A DataFrame for a Dataset; for other objects what Jackson, which knows Scala's collections, makes of them."""
        if not isinstance(returned, JavaObject):
            return returned
        gateway = self._session.sparkContext._gateway
        if is_instance_of(gateway, returned, "scala.runtime.BoxedUnit"):
            return None
        if is_instance_of(gateway, returned, "org.apache.spark.sql.Dataset"):
            return DataFrame(returned.toDF(), self._session)
        return json.loads(self._json.writeValueAsString(returned), parse_float=_float_or_text)

    def _json_mapper(self) -> JavaObject:
        """NaN and infinities bare: results.py makes null of them. Times as in ISO 8601; exact numbers as text."""
        java, jackson = self._java, self._java.jvm.com.fasterxml.jackson
        databind, annotation = jackson.databind, jackson.annotation
        mapper = databind.ObjectMapper()
        mapper.registerModule(jackson.module.scala.DefaultScalaModule())
        mapper.registerModule(jackson.datatype.jsr310.JavaTimeModule())
        of_rows, row = java.new(java.own_class("RowSerializer")), java.class_named("org.apache.spark.sql.Row")
        mapper.registerModule(databind.module.SimpleModule().addSerializer(row, of_rows))
        mapper.disable(databind.SerializationFeature.WRITE_DATES_AS_TIMESTAMPS)
        mapper.configure(jackson.core.JsonGenerator.Feature.QUOTE_NON_NUMERIC_NUMBERS, False)
        text = getattr(annotation, "JsonFormat$Value").forShape(getattr(annotation, "JsonFormat$Shape").STRING)
        for exact in ("java.math.BigDecimal", "java.math.BigInteger"):
            mapper.configOverride(java.class_named(exact)).setFormat(text)
        return mapper

    def _data_of(self, error: Py4JJavaError) -> ErrorData:
        raised = error.java_exception
        while raised.getClass().getName() in _WRAPPERS and raised.getCause() is not None:
            raised = raised.getCause()
        stack = self._java.jvm.org.apache.spark.util.Utils.exceptionString(raised)
        return ErrorData(raised.getMessage() or raised.toString(), raised.getClass().getName(), stack)


def _float_or_text(number: str) -> float | str:
    """A float, unless it would be another number: decimals of Scala come as numbers."""
    return float(number) if Decimal(repr(float(number))) == Decimal(number) else number
