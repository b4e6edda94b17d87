"""A job's own log, written by real prints, logging, threads and a process that dies."""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from rayjobs.joblog import job_output

log = logging.getLogger("jobs.words")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "logs" / "j1.log"


# What is in it


def test_prints_go_to_the_log_and_to_the_process_s_output(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with job_output(path):
        print("out é 日本", 1)
        sys.stdout.writelines(["a\n", "b\n"])
        print("err", file=sys.stderr)
    assert path.read_text(encoding="utf-8") == "out é 日本 1\na\nb\nerr\n"
    assert capsys.readouterr() == ("out é 日本 1\na\nb\n", "err\n")


def test_logging_at_info_and_above_goes_there_with_time_level_and_name(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with job_output(path):
        log.debug("too fine")
        log.info("counting %d", 3)
        log.error("failed")
    when = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}"
    assert re.fullmatch(rf"{when} INFO jobs.words: counting 3\n{when} ERROR jobs.words: failed\n", path.read_text())
    assert capsys.readouterr().out == path.read_text()


def test_a_traceback_goes_there(path: Path) -> None:
    with job_output(path):
        try:
            raise ValueError("no input")
        except ValueError as error:
            log.error("job failed", exc_info=error)
    written = path.read_text()
    assert "Traceback (most recent call last)" in written and written.endswith("ValueError: no input\n")


def test_a_job_that_says_nothing_has_no_log(path: Path) -> None:
    with job_output(path):
        log.debug("too fine")
    assert not path.parent.exists()


def test_validate_and_run_share_a_log(path: Path) -> None:
    for step in ("validate", "run"):
        with job_output(path):
            print(step)
    assert path.read_text() == "validate\nrun\n"


def test_what_utf_8_cannot_hold_costs_no_line(path: Path) -> None:
    with job_output(path):
        print("before")
        try:
            print("lone \ud800")
        except UnicodeEncodeError:
            print("refused by the process's own output")
        print("after")
    assert path.read_text().startswith("before\nlone ?\n") and path.read_text().endswith("after\n")


def test_the_streams_are_as_capable_as_the_process_s_own(path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    plain = sys.stdout
    with job_output(path):
        assert sys.stdout.writable() and not sys.stdout.readable()
        assert (sys.stdout.encoding, sys.stdout.fileno()) == (plain.encoding, plain.fileno())
        sys.stdout.buffer.write(b"bytes\n")
        sys.stdout.flush()
        with pytest.raises(AttributeError):
            _ = sys.stdout.no_such_thing  # type: ignore[attr-defined]
    assert capfd.readouterr().out == "bytes\n"


# When it is there


def test_a_reader_sees_whole_lines_while_the_job_runs(path: Path) -> None:
    with job_output(path):
        print("first")
        assert path.read_text() == "first\n"
        log.info("second")
        assert path.read_text().endswith("second\n")


def test_a_process_that_dies_leaves_every_whole_line(path: Path) -> None:
    job = f"""
import logging, os, pathlib
from rayjobs.joblog import job_output
with job_output(pathlib.Path({str(path)!r})):
    for n in range(1000):
        print("line", n)
    logging.getLogger("job").warning("about to die")
    os._exit(9)
"""
    root = Path(__file__).parents[2]
    died = subprocess.run([sys.executable, "-c", job], cwd=root, capture_output=True, timeout=60)
    assert died.returncode == 9, died.stderr
    lines = path.read_text().splitlines()
    assert lines[:1000] == [f"line {n}" for n in range(1000)]
    assert len(lines) == 1001 and lines[1000].endswith("WARNING job: about to die")


# Threads, and what is left behind


def test_lines_of_several_threads_all_arrive(path: Path) -> None:
    barrier = threading.Barrier(8)

    def work(name: int) -> None:
        barrier.wait()
        for n in range(200):
            sys.stdout.write(f"{name}-{n}\n")

    with job_output(path):
        threads = [threading.Thread(target=work, args=[name]) for name in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(path.read_text().splitlines()) == sorted(f"{name}-{n}" for name in range(8) for n in range(200))


def test_a_thread_that_outlives_its_job_writes_on_without_error_or_log(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    over, errors = threading.Event(), []

    def work(stream: object) -> None:
        try:
            while not over.is_set():
                print("still here", file=stream)  # type: ignore[call-overload]
            print("very late", file=stream)  # type: ignore[call-overload]
        except Exception as error:
            errors.append(error)

    with job_output(path):
        print("job")
        thread = threading.Thread(target=work, args=[sys.stdout])
        thread.start()
    size = path.stat().st_size
    over.set()
    thread.join()
    assert errors == []
    assert path.stat().st_size == size and "very late" not in path.read_text()
    assert capsys.readouterr().out.endswith("very late\n")


def test_a_handler_that_a_job_leaves_behind_neither_fails_nor_makes_a_log(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    left = logging.getLogger("jobs.left")
    left.propagate = False
    with job_output(path):
        left.addHandler(logging.StreamHandler())
    try:
        left.warning("late")
    finally:
        left.handlers.clear()
    assert capsys.readouterr().err == "late\n"
    assert not path.exists()


@pytest.mark.parametrize("level", [logging.NOTSET, logging.DEBUG, logging.WARNING, logging.CRITICAL])
def test_streams_handlers_and_level_are_restored_even_after_an_error(path: Path, level: int) -> None:
    root = logging.getLogger()
    first_level = root.level
    root.setLevel(level)
    before = (sys.stdout, sys.stderr, list(root.handlers), level)
    try:
        with pytest.raises(SystemExit), job_output(path):
            assert sys.stdout is not before[0] and sys.stderr is not before[1] and root.handlers != before[2]
            log.info("heard at any level")
            root.setLevel(logging.ERROR)
            raise SystemExit(3)
        assert (sys.stdout, sys.stderr, list(root.handlers), root.level) == before
    finally:
        root.setLevel(first_level)
    assert path.read_text().endswith("INFO jobs.words: heard at any level\n")


def test_after_the_job_prints_go_to_the_process_s_output_alone(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with job_output(path):
        print("job")
    print("between jobs")
    assert path.read_text() == "job\n"
    assert capsys.readouterr().out == "job\nbetween jobs\n"


def test_a_hundred_jobs_leave_no_open_file(tmp_path: Path) -> None:
    before = len(os.listdir("/dev/fd"))
    for n in range(100):
        with job_output(tmp_path / f"{n}.log"):
            print(n)
    assert len(os.listdir("/dev/fd")) == before
    assert (tmp_path / "99.log").read_text() == "99\n"
