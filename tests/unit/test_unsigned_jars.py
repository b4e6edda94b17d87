"""Copies of Spark's signed jars, on jars made here and on Spark's own."""

from __future__ import annotations

import os
import stat
import zipfile
from pathlib import Path

import pytest

from rayjobs.spark import jvm, unsigned_jars

SIGNATURES = ("META-INF/MANIFEST.MF", "META-INF/DUMMY.SF", "META-INF/DUMMY.DSA")


@pytest.fixture
def jars(tmp_path: Path) -> Path:
    """A folder like Spark's, with one signed jar of each kind and another one."""
    folder = tmp_path / "jars"
    folder.mkdir()
    for name in ("janino-9.jar", "commons-compiler-9.jar", "other-9.jar"):
        with zipfile.ZipFile(folder / name, "w") as jar:
            for entry in (*SIGNATURES, "META-INF/services/x", "org/A.class"):
                jar.writestr(entry, f"{name} {entry}")
    return folder


def _entries(jar: Path) -> dict[str, str]:
    with zipfile.ZipFile(jar) as opened:
        return {name: opened.read(name).decode() for name in opened.namelist()}


def test_copies_of_the_signed_jars_have_all_but_their_signatures(jars: Path, tmp_path: Path) -> None:
    janino = unsigned_jars.copies(jars, tmp_path / "cache")[1]
    assert _entries(janino) == {name: f"janino-9.jar {name}" for name in ("META-INF/services/x", "org/A.class")}


def test_a_copy_is_made_once_and_anew_for_another_jar(jars: Path, tmp_path: Path) -> None:
    first = unsigned_jars.copies(jars, tmp_path / "cache")
    inodes = [copy.stat().st_ino for copy in first]
    assert [copy.stat().st_ino for copy in unsigned_jars.copies(jars, tmp_path / "cache")] == inodes
    with zipfile.ZipFile(jars / "janino-9.jar", "a") as jar:
        jar.writestr("org/B.class", "new")
    second = unsigned_jars.copies(jars, tmp_path / "cache")
    assert (second[0], second[1] == first[1]) == (first[0], False)


def test_a_copy_that_is_made_elsewhere_or_again_is_the_same_to_an_archive(jars: Path, tmp_path: Path) -> None:
    def made(folder: str) -> tuple[str, int, int, int]:
        [_, copy] = unsigned_jars.copies(jars, tmp_path / folder)
        return copy.name, copy.stat().st_size, copy.stat().st_mtime_ns, stat.S_IMODE(copy.stat().st_mode)

    first = made("cache")
    assert first[-1] == 0o644
    (tmp_path / "cache" / first[0]).unlink()
    os.utime(jars / "janino-9.jar", (1, 1))  # pip gives each node's the time of its own installation
    assert made("cache") == first == made("other")


def test_where_copies_cannot_be_made_there_are_none_and_no_drafts(jars: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert unsigned_jars.copies(jars, tmp_path / "file") == []
    (jars / "janino-9.jar").write_bytes(b"no jar")
    assert unsigned_jars.copies(jars, tmp_path / "cache") == []
    left = [path.stem.rpartition("-")[0] for path in (tmp_path / "cache").iterdir()]
    assert left == ["commons-compiler-9"]


def test_no_signed_jar_of_sparks_is_used_as_it_is(tmp_path: Path) -> None:
    folder = jvm.package_dir("pyspark") / "jars"
    copied = {copy.name.rpartition("-")[0] for copy in unsigned_jars.copies(folder, tmp_path)}
    signed = {jar.stem for jar in folder.glob("*.jar") if any(name.endswith(".SF") for name in _names(jar))}
    assert signed == copied


def _names(jar: Path) -> list[str]:
    with zipfile.ZipFile(jar) as opened:
        return [name for name in opened.namelist() if name.startswith("META-INF/")]
