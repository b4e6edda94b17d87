"""Scala compiled for tests, by the compiler that comes with Spark."""

from __future__ import annotations

import subprocess
from pathlib import Path

from rayjobs.spark import jvm
from tests.service import JOBS


def jar_of(folder: Path, **replacements: str) -> bytes:
    """A jar of `tests/jobs/jvm`, with words replaced (to make versions); `folder` is for its files."""
    text = (JOBS / "jvm" / "Jobs.scala").read_text()
    for word, replacement in replacements.items():
        text = text.replace(word, replacement)
    source, jar = folder / "Jobs.scala", folder / "jobs.jar"
    source.write_text(text)
    compiler = [str(jvm.java_home() / "bin" / "java"), "-cp", str(jvm.package_dir("pyspark") / "jars" / "*")]
    subprocess.run([*compiler, "scala.tools.nsc.Main", "-usejavacp", "-d", str(jar), str(source)], check=True)
    return jar.read_bytes()
