"""Uploaded code: what is refused, and what a runner makes of the rest."""

from __future__ import annotations

import io
import re
import stat
import subprocess
import sys
import threading
import tracemalloc
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Barrier

import pytest

from rayjobs.binaries import check_content, joint_sha256, materialise, unpack
from rayjobs.errors import BadBinary
from rayjobs.records import BinaryInfo, BinaryType, utc_now

ARCHIVES = [BinaryType.JAR, BinaryType.EGG, BinaryType.WHEEL, BinaryType.ZIP]
RUNNERS = 8
DAMAGED = re.compile(r"its entry '.*' is damaged|the archive is damaged or cut off: .")
MODULE = "word = 'hello'\n" * 50


def an_archive(*entries: tuple[str | zipfile.ZipInfo, str], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", compression) as archive:
        for name, text in entries:
            archive.writestr(name, text)
    return content.getvalue()


GOOD = an_archive(("pkg/__init__.py", ""), ("pkg/words.py", MODULE), ("pkg/data/ü.txt", "data"))


def a_binary(binary_type: BinaryType, app_name: str = "my-app") -> BinaryInfo:
    return BinaryInfo(app_name, binary_type, utc_now(), "0123456789abcdef" * 4, 1)


def package_of(content: bytes, binary: BinaryInfo, folder: Path) -> Path:
    """The binary's package, made of a file beside `folder`."""
    source = folder.with_name(f"{folder.name}-content-{threading.get_ident()}")
    source.write_bytes(content)
    return materialise(source, binary, folder)


def refusal(tmp_path: Path, content: bytes, binary_type: BinaryType) -> str:
    """Why the content is refused: the error's message after what all of them begin with."""
    path = tmp_path / "upload"
    path.write_bytes(content)
    with pytest.raises(BadBinary) as raised:
        check_content(path, binary_type)
    beginning, _, why = raised.value.message.partition(": ")
    assert beginning == "Binary is not of the right format"
    return why


def imported(folder: Path, statement: str) -> str:
    """What a new Python with `folder` on its path prints."""
    code = f"import sys; sys.path.insert(0, {str(folder)!r}); {statement}"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def at_once(*calls) -> list:
    """The results of calls that all begin when the last of them is ready to."""
    ready = Barrier(len(calls))

    def call(function):
        ready.wait()
        return function()

    with ThreadPoolExecutor(len(calls)) as threads:
        return list(threads.map(call, calls))


# What is taken


@pytest.mark.parametrize("binary_type", ARCHIVES)
def test_archives_are_taken(tmp_path, binary_type):
    (tmp_path / "upload").write_bytes(GOOD)
    check_content(tmp_path / "upload", binary_type)


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_archives_of_any_compression_are_taken(tmp_path, compression):
    (tmp_path / "upload").write_bytes(an_archive(("a.py", MODULE), compression=compression))
    check_content(tmp_path / "upload", BinaryType.ZIP)


@pytest.mark.parametrize("name", ["./", "./a.py", "a/", "..a/b..py", "a b/ü.py", "ab:c.py", ".hidden"])
def test_entries_of_odd_but_harmless_names_are_taken(tmp_path, name):
    (tmp_path / "upload").write_bytes(an_archive((name, ""), ("b.py", "")))
    check_content(tmp_path / "upload", BinaryType.ZIP)


@pytest.mark.parametrize(
    "source",
    [
        MODULE.encode(),
        b"# only a comment",
        "ü = 'ä'\r\n".encode(),
        "\ufeffx = 1\n".encode(),
        "# -*- coding: latin-1 -*-\nx = 'ü'\n".encode("latin-1"),
        b"x: undefined = 1\nfrom nowhere import *\n",
    ],
)
def test_python_files_that_compile_are_taken_and_not_run(tmp_path, source):
    (tmp_path / "upload").write_bytes(source)
    check_content(tmp_path / "upload", BinaryType.PYTHON)


# What is refused


@pytest.mark.parametrize("binary_type", list(BinaryType))
def test_an_empty_file_is_refused(tmp_path, binary_type):
    assert refusal(tmp_path, b"", binary_type) == "the file is empty"


@pytest.mark.parametrize(
    ("source", "why"),
    [
        (b"x = 1\n\ndef broken(:\n", r"line 3: invalid syntax: def broken\(:"),
        (b"x = 1\n  y = 2\n", r"line 2: unexpected indent: y = 2"),
        (b"x = 1\nreturn x\n", r"line 2: 'return' outside function.*"),
        (b"x = 1\ny = '\xfc'\n", r"line 2: .*'utf-8' codec can't decode byte 0xfc.*"),
        (b"# coding: klingon\n", r"unknown encoding: klingon"),
        (b"\0" * 100, r"it holds null bytes, so it is no Python file"),
        (GOOD, r"it holds null bytes, so it is no Python file"),
        (b"-" * 100_000 + b"1", r"its code is nested too deeply to be compiled"),
        (b"$fff\xff(", r"its text is not UTF-8: .*"),
        (b"x = " + b"(" * 10_000, r"line 1: .{,200}"),
    ],
)
def test_a_python_file_that_does_not_compile_is_refused_with_the_line(tmp_path, source, why):
    assert re.fullmatch(why, refusal(tmp_path, source, BinaryType.PYTHON))


@pytest.mark.parametrize("binary_type", ARCHIVES)
@pytest.mark.parametrize("content", [b"PK", b"plain text", MODULE.encode(), b"PK\x05\x06" + b"\0" * 18, b"\0" * 100])
def test_what_does_not_begin_like_an_archive_is_refused(tmp_path, binary_type, content):
    assert refusal(tmp_path, content, binary_type) == "it is no zip archive"


@pytest.mark.parametrize("compression", [0, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_an_archive_cut_off_anywhere_is_refused(tmp_path, compression):
    whole = an_archive(("a.py", MODULE), ("b.py", MODULE), compression=compression)
    for length in range(4, len(whole), 7):
        assert refusal(tmp_path, whole[:length], BinaryType.ZIP).startswith("the archive is damaged or cut off: ")


@pytest.mark.parametrize("compression", [0, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_an_archive_with_damaged_content_is_refused(tmp_path, compression):
    broken = bytearray(an_archive(("a.py", MODULE), compression=compression))
    start = 30 + len("a.py")  # after the entry's own header
    for place in range(start + 12, start + 24):
        broken[place] ^= 0xFF
    assert DAMAGED.match(refusal(tmp_path, broken, BinaryType.EGG))


@pytest.mark.parametrize("offset", [1, 7, 2**31 - 1, 2**32 - 2])
def test_an_archive_whose_directory_points_nowhere_is_refused(tmp_path, offset):
    broken = bytearray(GOOD)
    place = broken.index(b"PK\x01\x02") + 42  # of the first entry in the directory
    broken[place : place + 4] = offset.to_bytes(4, "little")
    assert DAMAGED.match(refusal(tmp_path, broken, BinaryType.ZIP))


def test_an_encrypted_archive_is_refused(tmp_path):
    encrypted = bytearray(GOOD)
    for header, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        encrypted[encrypted.index(header) + flags] |= 1
    assert refusal(tmp_path, encrypted, BinaryType.WHEEL) == "the archive is encrypted"


OUTSIDE = [
    "/etc/x",
    "../x",
    "a/../../x",
    "..",
    ".",
    "C:/x",
    "c:x",
    "\\x",
    "..\\x",
    "a\\..\\..\\x",
    "\\\\host\\share\\x",
]


@pytest.mark.parametrize("name", OUTSIDE)
def test_an_archive_that_reaches_out_of_its_folder_is_refused(tmp_path, name):
    content = an_archive(("a.py", ""), (name, "x"))
    assert refusal(tmp_path, content, BinaryType.ZIP) == f"its entry {name!r} would not be inside the package's folder"


def test_an_archive_with_a_symbolic_link_is_refused(tmp_path):
    assert refusal(tmp_path, an_archive(a_link()), BinaryType.ZIP) == "its entry 'link' is a symbolic link"


def a_link() -> tuple[zipfile.ZipInfo, str]:
    link = zipfile.ZipInfo("link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    return link, "/etc/passwd"


# Packages


@pytest.mark.parametrize("binary_type", ARCHIVES)
def test_the_package_of_an_archive_is_the_archive(tmp_path, binary_type):
    binary = a_binary(binary_type)
    package = package_of(GOOD, binary, tmp_path / "not-there")
    assert package == tmp_path / "not-there" / binary.file_name
    assert package.read_bytes() == GOOD


@pytest.mark.parametrize(("app_name", "module"), [("my-app", "my_app"), ("7.5", "_7_5"), ("words", "words")])
def test_the_package_of_a_lone_file_holds_the_module_of_the_apps_name(tmp_path, app_name, module):
    source = "# coding: latin-1\nword = 'ü'\n".encode("latin-1")
    package = package_of(source, a_binary(BinaryType.PYTHON, app_name), tmp_path)
    for path in (package, unpack(package)):  # as Spark's executors have it, and as the runner has it
        assert imported(path, f"import {module}; print(ascii({module}.word))") == "'\\xfc'"


def test_a_package_is_the_same_every_time(tmp_path):
    wheel = an_archive(("a-1.data/purelib/a.py", MODULE), ("b.py", ""))
    for binary_type, content in ((BinaryType.PYTHON, MODULE.encode()), (BinaryType.WHEEL, wheel)):
        binary = a_binary(binary_type)
        first = package_of(content, binary, tmp_path).read_bytes()
        with zipfile.ZipFile(tmp_path / binary.file_name) as archive:
            assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert package_of(content, binary, tmp_path).read_bytes() == first


def test_the_package_of_an_archive_takes_no_room_of_its_own(tmp_path):
    (tmp_path / "content").write_bytes(GOOD)
    package = materialise(tmp_path / "content", a_binary(BinaryType.ZIP), tmp_path / "packages")
    assert package.samefile(tmp_path / "content")
    (tmp_path / "content").unlink()
    assert package.read_bytes() == GOOD


@pytest.mark.parametrize(
    ("binary_type", "content"),
    [
        (BinaryType.PYTHON, b"#" * 2**24),
        (BinaryType.WHEEL, an_archive(("a.data/purelib/a.py", "#" * 2**24))),
        (BinaryType.WHEEL, an_archive(("a.py", "#" * 2**24), compression=zipfile.ZIP_STORED)),
        (BinaryType.ZIP, an_archive(("a.py", "#" * 2**24), compression=zipfile.ZIP_STORED)),
    ],
)
def test_a_large_package_is_never_whole_in_memory(tmp_path, binary_type, content):
    (tmp_path / "content").write_bytes(content)
    tracemalloc.start()
    try:
        unpack(materialise(tmp_path / "content", a_binary(binary_type), tmp_path / "packages"))
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 2**21


def test_a_wheels_purelib_and_platlib_are_importable_like_installed(tmp_path):
    wheel = an_archive(
        ("top.py", "word = 'top'"),
        ("both.py", "word = 'not this'"),
        ("a-1.0.data/purelib/pure/__init__.py", "word = 'pure'"),
        ("a-1.0.data/platlib/plat.py", "word = 'plat'"),
        ("a-1.0.data/purelib/both.py", "word = 'both'"),
        ("a-1.0.data/scripts/tool", "#!python"),
        ("a-1.0.dist-info/METADATA", "Name: a"),
        ("pure.data/purelib.py", ""),
    )
    package = package_of(wheel, a_binary(BinaryType.WHEEL), tmp_path)
    for path in (package, unpack(package)):
        words = "print(*(__import__(m).word for m in ('top', 'pure', 'plat', 'both')))"
        assert imported(path, words) == "top pure plat both"
    kept = {"a-1.0.data/scripts/tool", "a-1.0.dist-info/METADATA", "pure.data/purelib.py"}
    assert set(zipfile.ZipFile(package).namelist()) == {"top.py", "both.py", "pure/__init__.py", "plat.py"} | kept


def test_an_eggs_modules_and_metadata_are_found(tmp_path):
    egg = an_archive(("EGG-INFO/PKG-INFO", "Metadata-Version: 1.0\nName: eggy\nVersion: 1.2\n"), ("eggy.py", ""))
    folder = unpack(package_of(egg, a_binary(BinaryType.EGG), tmp_path))
    assert imported(folder, "import eggy; print(eggy.__file__)") == str(folder / "eggy.py")


def test_a_wheels_version_can_be_asked_for(tmp_path):
    wheel = an_archive(("a-1.2.dist-info/METADATA", "Metadata-Version: 2.1\nName: a\nVersion: 1.2\n"), ("a.py", ""))
    folder = unpack(package_of(wheel, a_binary(BinaryType.WHEEL), tmp_path))
    assert imported(folder, "from importlib.metadata import version; print(version('a'))") == "1.2"


# Folders


def test_a_package_is_unpacked_beside_itself_once(tmp_path):
    package = package_of(GOOD, a_binary(BinaryType.ZIP), tmp_path)
    folder = unpack(package)
    assert (folder / "pkg/data/ü.txt").read_text() == "data"
    assert imported(folder, "import pkg.words; print(pkg.words.word)") == "hello"
    (folder / "trace").touch()
    assert unpack(package) == folder and (folder / "trace").exists()


def test_two_versions_have_folders_of_their_own(tmp_path):
    binary = a_binary(BinaryType.PYTHON)
    folders = [
        unpack(package_of(f"word = {n}".encode(), replace(binary, sha256=str(n) * 64), tmp_path)) for n in (1, 2)
    ]
    assert [imported(folder, "import my_app; print(my_app.word)") for folder in folders] == ["1", "2"]


@pytest.mark.parametrize("name", OUTSIDE)
def test_unpacking_refuses_what_reaches_out_of_its_folder_and_leaves_nothing(tmp_path, name):
    package = tmp_path / "folder" / "package.zip"
    package.parent.mkdir()
    package.write_bytes(an_archive(("a.py", ""), (name, "x")))
    with pytest.raises(BadBinary, match="would not be inside"):
        unpack(package)
    assert list(tmp_path.rglob("*")) == [package.parent, package]


def test_unpacking_refuses_symbolic_links(tmp_path):
    (tmp_path / "package.zip").write_bytes(an_archive(("a.py", ""), a_link()))
    with pytest.raises(BadBinary, match="symbolic link"):
        unpack(tmp_path / "package.zip")


def test_runners_that_take_on_a_binary_at_once_all_see_all_of_it(tmp_path):
    binary = a_binary(BinaryType.ZIP)
    entries = [(f"pkg/module_{n}.py", MODULE) for n in range(200)]
    content = an_archive(*entries)

    def adopt() -> int:
        folder = unpack(package_of(content, binary, tmp_path))
        return sum(path.read_text() == MODULE for path in (folder / "pkg").iterdir())

    assert at_once(*[adopt] * RUNNERS) == [len(entries)] * RUNNERS
    package = tmp_path / binary.file_name
    assert {path.name for path in tmp_path.iterdir()} == {package.name, package.with_suffix(".d").name}


def test_several_contents_in_one_order_have_a_sha256_of_their_own():
    one, two = "1" * 64, "2" * 64
    assert joint_sha256([one]) == one
    assert joint_sha256([one, two]) == joint_sha256([one, two])
    assert len({one, two, joint_sha256([one, two]), joint_sha256([two, one]), joint_sha256([one, one])}) == 5


def test_a_package_that_cannot_be_written_leaves_nothing(tmp_path):
    binary = a_binary(BinaryType.ZIP)
    (tmp_path / binary.file_name).mkdir()
    with pytest.raises(IsADirectoryError):
        package_of(GOOD, binary, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [binary.file_name]
