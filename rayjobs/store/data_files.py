"""Data files: what was uploaded for jobs to read. The folder is the list, so it is as lasting as the files are.

All functions block. What cannot be read or written raises `OSError`.
"""

from __future__ import annotations

import errno
import os
import stat
import threading
import unicodedata
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from rayjobs.errors import BadDataFileName, NoSuchDataFile
from rayjobs.store.blobs import Upload, move_durably, sync_path

MAX_PREFIX_BYTES = 150
_ABSENT = (errno.ENOENT, errno.ENAMETOOLONG)


@dataclass(frozen=True)
class DataFile:
    """`path` is the absolute one on the store's node."""

    path: str
    size_bytes: int


def check_prefix(prefix: str) -> None:
    """Raises `BadDataFileName` for what cannot begin a data file's name."""
    if not prefix.strip(". "):
        raise BadDataFileName(f"a data file's name is more than dots and blanks: {prefix!r}")
    if any(character in "/\\" or unicodedata.category(character) in ("Cc", "Cs") for character in prefix):
        raise BadDataFileName(f"a data file's name has no slashes and no control characters: {prefix!r}")
    if len(prefix.encode()) > MAX_PREFIX_BYTES:
        raise BadDataFileName(f"a data file's name begins with at most {MAX_PREFIX_BYTES} bytes of the caller's")


class DataFiles:
    """The regular files of one folder: nothing outside it is reached, by whatever name or link."""

    def __init__(self, folder: Path):
        self._folder = Path(os.path.abspath(folder))
        self._folder.mkdir(parents=True, exist_ok=True)
        self._changes = threading.Lock()

    def paths(self) -> list[str]:
        """All of them, absolute."""
        with os.scandir(self._folder) as entries:
            return sorted(entry.path for entry in entries if entry.is_file(follow_symlinks=False))

    def keep(self, upload: Upload, prefix: str, time: datetime) -> str:
        """Make a synced upload a data file, durably: its path, of `prefix` and `time` (UTC), or a little later."""
        check_prefix(prefix)
        with self._changes:
            while os.path.lexists(path := self._folder / f"{prefix}-{_timestamp(time)}.dat"):
                time += timedelta(milliseconds=1)
            move_durably(upload.path, path)
        return str(path)

    def find(self, name: str) -> DataFile:
        """By its path or its bare name; raises `NoSuchDataFile`."""
        path, size_bytes = self._found(name)
        return DataFile(str(path), size_bytes)

    def read(self, name: str, offset: int, limit_bytes: int) -> bytes:
        """At most `limit_bytes` from `offset` on, none at the end; raises `NoSuchDataFile`."""
        path, _ = self._found(name)
        try:
            with open(path, "rb", opener=_open_no_link) as file:
                file.seek(offset)
                return file.read(limit_bytes)
        except FileNotFoundError:
            raise _no_such(name) from None

    def remove(self, name: str) -> None:
        """Durably; raises `NoSuchDataFile`."""
        with self._changes:
            path, _ = self._found(name)
            path.unlink()
            sync_path(self._folder)

    def remove_all(self) -> None:
        with self._changes:
            for path in self.paths():
                os.unlink(path)
            sync_path(self._folder)

    def _found(self, name: str) -> tuple[Path, int]:
        """Its path and size."""
        bare = name.removeprefix(f"{self._folder}/")
        if "/" in bare:
            raise _no_such(name)
        path = self._folder / bare
        try:
            found = path.lstat()
        except ValueError:  # a text that no file's name can be
            raise _no_such(name) from None
        except OSError as error:
            if error.errno in _ABSENT:
                raise _no_such(name) from None
            raise
        if not stat.S_ISREG(found.st_mode):
            raise _no_such(name)
        return path, found.st_size


def _timestamp(time: datetime) -> str:
    """As spark-jobserver writes it into names: `2016-07-04T09_09_57.928Z`."""
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z").replace(":", "_")


def _open_no_link(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW)


def _no_such(name: str) -> NoSuchDataFile:
    return NoSuchDataFile(f"No such data file {name}")
