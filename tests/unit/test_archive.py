"""The archive of classes: made once, used by JVMs with its class path, and never needed. On the real Java."""

from __future__ import annotations

import lzma
import os
import subprocess
import threading
import time
import zipfile
from pathlib import Path

import psutil
import pytest

from rayjobs.spark import archive, jvm
from rayjobs.spark.archive import Archive, ArchiveNotMade
from tests.service import eventually, is_alive

CLASSES = "java/lang/Object\njava/lang/String\njava/util/ArrayList\nno/such/Class\n"


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Archive:
    """An archive of a few classes, for a class path of one jar."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    class_list = tmp_path / "classes.lst.xz"
    class_list.write_bytes(lzma.compress(CLASSES.encode()))
    monkeypatch.setattr(archive, "CLASS_LIST", class_list)
    return Archive(jvm.java_home(), str(_jar(tmp_path / "one.jar")))


def _jar(path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as jar:
        jar.writestr("some.txt", "text")
    return path


def _java(used: Archive, *options: str, class_path: str = "") -> str:
    """What `java -version` says with its options in the environment, as Spark's JVMs have them."""
    command = [str(used.java_home / "bin" / "java"), *options, "-cp", class_path or used.class_path, "-version"]
    environment = os.environ | {"JDK_JAVA_OPTIONS": used.options()}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return (done.stdout + done.stderr).replace(", sharing)", ")")


def _shares(used: Archive, class_path: str = "") -> bool:
    return "shared objects file" in _java(used, "-Xlog:class+load", class_path=class_path)


def test_an_archive_is_made_once_and_used_by_longer_class_paths_too(small: Archive, tmp_path: Path) -> None:
    assert small.make()
    assert not small.make()
    assert _shares(small)
    assert _shares(small, f"{small.class_path}{os.pathsep}{_jar(tmp_path / 'own.jar')}")
    assert [path.name for path in small.path.parent.iterdir() if path.stem != small.path.stem] == ["lock"]


def test_without_a_fitting_archive_a_jvm_starts_and_says_nothing_of_it(small: Archive, tmp_path: Path) -> None:
    silence = _java(small)
    small.make()
    content = small.path.read_bytes()
    for bad in (b"", b"text" * 10000, bytes(len(content)), content.replace(b"17.0", b"16.0")):
        small.path.write_bytes(bad)
        assert _java(small) == silence
        assert not _shares(small)
    small.path.write_bytes(content)
    assert _java(small, class_path=str(_jar(tmp_path / "other.jar"))) == silence
    assert _java(small, "-XX:+UseG1GC") == silence


def test_an_archive_that_is_cut_off_is_removed_before_a_jvm_dies_of_it(small: Archive) -> None:
    small.prepare()
    small.make()
    small.prepare()
    assert _shares(small)
    os.truncate(small.path, small.path.stat().st_size - 4096)
    small.prepare()
    assert not small.path.exists()
    assert not _shares(small)
    assert small.make()


def test_other_versions_have_another_archive(small: Archive, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    before = small.path
    os.utime(small.class_path, (1, 1))
    newer_jar = small.path
    monkeypatch.setattr(archive, "CLASS_LIST", tmp_path / "one.jar")
    assert len({before, newer_jar, small.path}) == 3


def test_of_two_that_make_it_at_once_one_does(small: Archive) -> None:
    made: list[bool] = []
    makers = [threading.Thread(target=lambda: made.append(small.make())) for _ in range(2)]
    for maker in makers:
        maker.start()
    for maker in makers:
        maker.join()
    assert sorted(made) == [False, True]


def test_making_one_clears_up_drafts_and_archives_that_nobody_used_for_long(small: Archive) -> None:
    folder = small.path.parent
    folder.mkdir(parents=True)
    used, unused, draft = folder / "classes-a.jsa", folder / "classes-b.jsa", folder / "classes-c.draft"
    for path in (used, unused, draft):
        path.touch()
    os.utime(unused, (1, time.time() - archive.KEPT_S - 60))
    assert small.make()
    assert (used.exists(), unused.exists(), draft.exists()) == (True, False, False)


def test_an_archive_that_java_does_not_make_is_an_error_with_what_java_said(
    small: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "_DUMP_OPTIONS", ("-Xshare:dump", "-XX:+NoSuchOption"))
    with pytest.raises(ArchiveNotMade, match="NoSuchOption"):
        small.make()
    assert not small.path.exists()


def test_what_makes_it_meanwhile_has_idle_priority_and_ends_with_the_block(small: Archive) -> None:
    """This process may have other children: a service that tests share."""
    before = set(psutil.Process().children())
    with archive.made_meanwhile(small):
        eventually((small.path.parent / "lock").exists, 200)  # idle priority: it waits for whoever else computes
        (maker,) = set(psutil.Process().children()) - before
        makers = [maker, *maker.children(recursive=True)]
        assert {os.sched_getscheduler(process.pid) for process in makers} == {os.SCHED_IDLE}
    eventually(lambda: not any(is_alive(process) for process in makers))
    small.make()
    with archive.made_meanwhile(small):
        assert set(psutil.Process().children()) <= before
