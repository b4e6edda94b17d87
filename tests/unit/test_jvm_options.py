"""The flags of the JVMs by role, on the real Java."""

from __future__ import annotations

import os
import shlex
import subprocess

import pytest

from rayjobs.settings import Settings
from rayjobs.spark import jvm

DEFAULTS = Settings()


def _flags(*options: str) -> str:
    """The final flags of a JVM with these options, in the environment that Ray gives executors."""
    command = ["java", *options, "-XX:+PrintFlagsFinal", "-version"]
    environment = os.environ | jvm.java_environment()
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout


def _is_on(flag: str, flags: str) -> bool:
    return next(line for line in flags.splitlines() if f" {flag} " in line).split()[3] == "true"


@pytest.mark.parametrize("collector", ["UseSerialGC", "UseParallelGC", "UseG1GC"])
def test_an_executor_has_the_collector_that_its_context_asks_for(collector: str) -> None:
    assert _is_on(collector, _flags(f"-XX:+{collector}"))


@pytest.mark.parametrize("options", [DEFAULTS.jvm_options, DEFAULTS.executor_jvm_options])
def test_the_default_flags_are_those_of_a_jvm_that_starts(options: str) -> None:
    assert _is_on("UseSerialGC", _flags(*shlex.split(options)))
