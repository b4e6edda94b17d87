"""What a first job makes the driver JVM load and compile: done while Spark starts, which leaves a processor idle."""

from __future__ import annotations

import logging
import threading

from py4j.java_gateway import JavaGateway

from rayjobs.spark.java_side import JavaSide

log = logging.getLogger(__name__)

_FUNCTIONS = "org.apache.spark.sql.catalyst.analysis.FunctionRegistry$"


def begin(gateway: JavaGateway) -> None:
    """Returns at once."""
    threading.Thread(target=_load, args=(gateway,), name="ahead", daemon=True).start()


def _load(gateway: JavaGateway) -> None:
    """Scala's reflection, on which encoders rest; the functions of SQL; Janino, by the class that runners need."""
    try:
        java = JavaSide(gateway)
        java.jvm.org.apache.spark.sql.Encoders.LONG()
        java.jvm.java.lang.Class.forName(_FUNCTIONS)
        java.own_class("JobMarks")
    except Exception as error:
        log.info("nothing was loaded ahead of a first job: %r", error)
