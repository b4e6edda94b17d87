"""Uploaded code: whether it is what its type says, and its way from the store into Python's import path.

A binary is checked once, when it is uploaded. A runner then makes a package of it, the archive that Spark ships
to its executors, and unpacks that for its own process: compiled modules and data files do not work inside a zip.
"""

from __future__ import annotations

import errno
import hashlib
import lzma
import os
import re
import shutil
import stat
import struct
import uuid
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PureWindowsPath
from typing import IO

from rayjobs.errors import BadBinary
from rayjobs.records import BinaryInfo, BinaryType

_SIGNATURE = b"PK\x03\x04"
_ENCRYPTED = 0x1
_BROKEN_ARCHIVE = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    ValueError,
    RuntimeError,  # NotImplementedError is one: a compression that this Python lacks
)


def check_content(path: Path, binary_type: BinaryType) -> None:
    """Raises `BadBinary`, which says why, for a file that is not what its type says. Reads all of it."""
    if path.stat().st_size == 0:
        raise _bad("the file is empty")
    if binary_type is BinaryType.PYTHON:
        _check_source(path.read_bytes())
    else:
        _check_archive(path)


def materialise(content: Path, binary: BinaryInfo, folder: Path) -> Path:
    """The binary's package in `folder`: an archive with its modules at top level, named `binary.file_name`.

    The same content gives the same bytes, and the file appears complete or not at all. It may be a link to `content`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    package = folder / binary.file_name
    draft = draft_beside(package)
    try:
        match binary.binary_type:
            case BinaryType.PYTHON:
                _zip_source(content, binary.module_name, draft)
            case BinaryType.WHEEL:
                _install(content, draft)
            case _:
                link_or_copy(content, draft)
        os.replace(draft, package)
    finally:
        draft.unlink(missing_ok=True)
    return package


def unpack(package: Path) -> Path:
    """The folder beside the package with its content, for `sys.path`; complete once it is there.

    Raises `BadBinary` for an entry that would leave the folder.
    """
    folder = package.with_suffix(".d")
    if folder.exists():
        return folder
    draft = draft_beside(folder)
    try:
        with zipfile.ZipFile(package) as archive:
            _check_entries(archive)
            archive.extractall(draft)
        _move_unless_there(draft, folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return folder


def joint_sha256(sha256s: Sequence[str]) -> str:
    """What stands for contents in that order (all hex): the sha256 of a single one, else one of all of theirs."""
    return sha256s[0] if len(sha256s) == 1 else hashlib.sha256(" ".join(sha256s).encode()).hexdigest()


def link_or_copy(source: Path, target: Path) -> None:
    """Make `target`, which is not there, another name of `source`; a copy where the file system has no such thing."""
    try:
        os.link(source, target)
    except FileNotFoundError:
        raise
    except OSError:
        shutil.copyfile(source, target)


def _bad(why: str) -> BadBinary:
    return BadBinary(f"Binary is not of the right format: {why}")


def _check_source(source: bytes) -> None:
    if b"\0" in source:
        raise _bad("it holds null bytes, so it is no Python file")
    try:
        compile(source, "<binary>", "exec", dont_inherit=True)
    except SyntaxError as error:
        line = f"line {error.lineno}: " if error.lineno else ""
        text = f": {error.text.strip()[:80]}" if error.text else ""
        raise _bad(f"{line}{error.msg}{text}") from None
    except UnicodeDecodeError as error:
        # Of some broken files Python's tokenizer raises this instead of a SyntaxError.
        raise _bad(f"its text is not UTF-8: {error}") from None
    except (MemoryError, RecursionError, OverflowError):
        raise _bad("its code is nested too deeply to be compiled") from None


def _check_archive(path: Path) -> None:
    with path.open("rb") as file:
        if file.read(len(_SIGNATURE)) != _SIGNATURE:
            raise _bad("it is no zip archive")
    with _broken_archives_are_bad(), zipfile.ZipFile(path) as archive:
        _check_entries(archive)
        damaged = archive.testzip()
    if damaged is not None:
        raise _bad(f"its entry {damaged!r} is damaged")


@contextmanager
def _broken_archives_are_bad() -> Iterator[None]:
    """What zipfile meets in an archive that is cut off or damaged, as `BadBinary`; the disk's errors stay."""
    try:
        yield
    except (*_BROKEN_ARCHIVE, OSError) as error:
        # bz2 raises OSError of no number; EINVAL comes of a seek to where a damaged offset points.
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise
        raise _bad(f"the archive is damaged or cut off: {str(error) or 'it ends too early'}") from error


def _check_entries(archive: zipfile.ZipFile) -> None:
    for entry in archive.infolist():
        if not _is_inside(entry.filename):
            raise _bad(f"its entry {entry.filename!r} would not be inside the package's folder")
        if stat.S_ISLNK(entry.external_attr >> 16):
            raise _bad(f"its entry {entry.filename!r} is a symbolic link")
        if entry.flag_bits & _ENCRYPTED:
            raise _bad("the archive is encrypted")


def _is_inside(name: str) -> bool:
    """As Windows reads the name, for that knows drives and both kinds of slashes. The folder itself may be named."""
    path = PureWindowsPath(name)
    return not path.anchor and ".." not in path.parts and (path.parts != () or name.endswith("/"))


def _zip_source(source: Path, module_name: str, target: Path) -> None:
    with zipfile.ZipFile(target, "w") as archive, source.open("rb") as content:
        _add(archive, f"{module_name}.py", content, source.stat().st_size)


def _install(wheel: Path, target: Path) -> None:
    """The wheel with what an installer would move to top level there; most wheels have no such thing.

    Where both places hold a file, the moved one wins, as with an installer.
    """
    with zipfile.ZipFile(wheel) as archive:
        places = {_installed_name(entry.filename): entry for entry in sorted(archive.infolist(), key=_is_moved)}
        if not any(map(_is_moved, places.values())):
            return link_or_copy(wheel, target)
        with zipfile.ZipFile(target, "w") as package:
            for name, entry in places.items():
                with archive.open(entry) as content:
                    _add(package, name, content, entry.file_size)


def _installed_name(name: str) -> str:
    return re.sub(r"^[^/]+\.data/(purelib|platlib)/(?=.)", "", name)


def _is_moved(entry: zipfile.ZipInfo) -> bool:
    return _installed_name(entry.filename) != entry.filename


def _add(archive: zipfile.ZipFile, name: str, content: IO[bytes], size_bytes: int) -> None:
    """Add an entry that is always the same for the same name and content: a zip's first date, readable by all."""
    entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.external_attr = 0o644 << 16
    entry.file_size = size_bytes
    with archive.open(entry, "w") as target:
        shutil.copyfileobj(content, target)


def draft_beside(path: Path) -> Path:
    """Where to write what is to be at `path` complete or not at all."""
    return path.with_name(f".{path.name}.{uuid.uuid4().hex}")


def _move_unless_there(draft: Path, folder: Path) -> None:
    try:
        draft.rename(folder)
    except OSError as error:
        # Another runner was faster: a folder with content is not replaced.
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
