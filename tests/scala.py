"""Scala compiled for tests, by the compiler that comes with Spark."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from rayjobs.spark import jvm
from tests.service import JOBS

SOURCES = JOBS / "jvm"


def jar_of(folder: Path, file: str = "Jobs.scala", class_path: Sequence[Path] = (), **replacements: str) -> bytes:
    """A jar of a file of `tests/jobs/jvm`, with words replaced (to make versions).

    `folder` gets its files, the jar `jobs.jar` among them. `class_path` has jars that the file needs besides Spark's.
    """
    text = (SOURCES / file).read_text()
    for word, replacement in replacements.items():
        text = text.replace(word, replacement)
    source, jar = folder / file, folder / "jobs.jar"
    source.write_text(text)
    jars = os.pathsep.join(map(str, [jvm.package_dir("pyspark") / "jars" / "*", *class_path]))
    compiler = [str(jvm.java_home() / "bin" / "java"), "-cp", jars, "scala.tools.nsc.Main", "-usejavacp"]
    subprocess.run([*compiler, "-d", str(jar), str(source)], check=True)
    return jar.read_bytes()
