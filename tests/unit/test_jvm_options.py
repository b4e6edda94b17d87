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
    """The final flags of a JVM with these options after those of app masters, as executors get them."""
    environment = os.environ | jvm.java_environment(DEFAULTS.app_master_jvm_options)
    command = ["java", *options, "-XX:+PrintFlagsFinal", "-version"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout


def _is_on(flag: str, flags: str) -> bool:
    return next(line for line in flags.splitlines() if f" {flag} " in line).split()[3] == "true"


@pytest.mark.parametrize("collector", ["UseSerialGC", "UseParallelGC", "UseG1GC"])
def test_an_executor_may_have_another_collector_than_its_app_master(collector: str) -> None:
    assert _is_on(collector, _flags(*shlex.split(jvm.executor_options(f"-XX:+{collector}"))))


def test_an_executor_without_flags_of_its_own_has_none_of_its_app_master() -> None:
    flags = _flags(*shlex.split(jvm.executor_options("")))
    assert not _is_on("UseSerialGC", flags)
    assert "TieredStopAtLevel                        = 4 " in flags


def test_the_default_flags_are_those_of_a_jvm_that_starts() -> None:
    assert _is_on("UseSerialGC", _flags())
    assert _is_on("UseSerialGC", _flags(*shlex.split(jvm.executor_options(DEFAULTS.executor_jvm_options))))
    assert _is_on("UseSerialGC", _flags(*shlex.split(DEFAULTS.jvm_options)))
