"""The driver JVM by reflection: classes by name and loader, arrays, objects; and the few classes that we add to it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from py4j.java_gateway import JavaGateway, JavaObject

_SOURCES = Path(__file__).parent / "java"


class JavaSide:
    """Py4J finds classes by one loader only; what comes from other loaders is reached through `java.lang.reflect`."""

    def __init__(self, gateway: JavaGateway):
        self.jvm: Any = gateway.jvm
        self._gateway = gateway

    def spark_loader(self) -> JavaObject:
        return self.jvm.org.apache.spark.util.Utils.getSparkClassLoader()

    def class_named(self, name: str, loader: JavaObject | None = None) -> JavaObject:
        """By Spark's loader unless another is given, not initialised yet; raises `Py4JJavaError`."""
        return self.jvm.java.lang.Class.forName(name, False, loader or self.spark_loader())

    def new(self, of: JavaObject, arguments: Sequence[tuple[str, Any]] = ()) -> JavaObject:
        """An object of the class `of`; of each argument of its constructor the declared type and the value."""
        return of.getConstructor(self._kinds(arguments)).newInstance(self._values(arguments))

    def call_static(self, of: JavaObject, method: str, arguments: Sequence[tuple[str, Any]] = ()) -> Any:
        """What a static method of the class `of` returns; `arguments` as in `new`."""
        return of.getMethod(method, self._kinds(arguments)).invoke(None, self._values(arguments))

    def _kinds(self, arguments: Sequence[tuple[str, Any]]) -> JavaObject:
        return self.classes([kind for kind, _ in arguments])

    def _values(self, arguments: Sequence[tuple[str, Any]]) -> JavaObject:
        return self.objects([value for _, value in arguments])

    def classes(self, names: Sequence[str]) -> JavaObject:
        return self.array(self.jvm.java.lang.Class, [self.class_named(name) for name in names])

    def objects(self, items: Sequence[Any]) -> JavaObject:
        return self.array(self.jvm.java.lang.Object, items)

    def array(self, kind: Any, items: Sequence[Any]) -> JavaObject:
        array = self._gateway.new_array(kind, len(items))
        for index, item in enumerate(items):
            array[index] = item
        return array

    def once(self, key: str, value: Any) -> tuple[Any, bool]:
        """What this JVM keeps under `key`, and whether that is `value` since there was nothing before."""
        known = self.jvm.System.getProperties().putIfAbsent(key, value)
        return (value, True) if known is None else (known, False)

    def own_class(self, name: str) -> JavaObject:
        """A class of `java/`, compiled in the JVM, once, by the compiler that Spark has for its own generated code."""
        key = f"rayjobs.class.{name}"
        if (known := self.jvm.System.getProperties().get(key)) is not None:
            return known
        compiler = self.jvm.org.codehaus.janino.SimpleCompiler()
        compiler.setParentClassLoader(self.spark_loader())
        compiler.cook((_SOURCES / f"{name}.java").read_text())
        return self.once(key, self.class_named(f"rayjobs.{name}", compiler.getClassLoader()))[0]
