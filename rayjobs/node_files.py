"""Files of the job store on a runner's node: the store's own if it is on this node, else copies that are made once.

All functions block. A copy appears under its name complete or not at all. What cannot be read or written raises
`OSError`.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from rayjobs import cluster
from rayjobs.binaries import link_or_copy, materialise
from rayjobs.errors import NoSuchDataFile, StorageFailure
from rayjobs.node_folders import fetched_folder
from rayjobs.records import BinaryInfo
from rayjobs.store.blobs import binaries_folder
from rayjobs.store.data_files import DataFile

CHUNK_BYTES = 4 * 2**20
KEPT_S = 24 * 3600.0


class StoreFiles(Protocol):
    """What is asked of the job store; the errors are those of `Store`."""

    def read_binary(self, sha256: str, offset: int, limit_bytes: int) -> bytes:
        """At most `limit_bytes` from `offset` on, none at the end; raises `NoSuchBinary`."""

    def find_data_file(self, name: str) -> DataFile:
        """Raises `NoSuchDataFile`."""

    def read_data_file(self, name: str, offset: int, limit_bytes: int) -> bytes:
        """At most `limit_bytes` from `offset` on, none at the end; raises `NoSuchDataFile`."""


class ClusterStoreFiles:
    """`StoreFiles` by calls of the store's actor, for code without an event loop."""

    def read_binary(self, sha256: str, offset: int, limit_bytes: int) -> bytes:
        return self._ask("read_binary", sha256, offset, limit_bytes)

    def find_data_file(self, name: str) -> DataFile:
        return self._ask("find_data_file", name)

    def read_data_file(self, name: str, offset: int, limit_bytes: int) -> bytes:
        return self._ask("read_data_file", name, offset, limit_bytes)

    def _ask(self, verb: str, *args: Any) -> Any:
        return cluster.wait(getattr(cluster.find_now(cluster.STORE), verb).remote(*args))


@dataclass(frozen=True)
class NodeFiles:
    """`node_path` is this node's folder (on the store's node its data directory), `folder` the context's in it."""

    node_path: Path
    folder: Path
    store: StoreFiles

    @contextmanager
    def binary(self, binary: BinaryInfo) -> Iterator[Path]:
        """A file with the binary's content, there for the block, whoever deletes or sweeps what meanwhile.

        Contexts of a node share one copy. Raises `NoSuchBinary`; `StorageFailure` for a content that is damaged.
        """
        folder = fetched_folder(self.node_path)
        folder.mkdir(parents=True, exist_ok=True)
        held = folder / _draft_name()
        try:
            self._hold_binary(binary, held)
            yield held
        finally:
            held.unlink(missing_ok=True)

    def package(self, binary: BinaryInfo, folder: Path) -> Path:
        """The binary's package in `folder`, made unless it is there already; raises as `binary` does."""
        package = folder / binary.file_name
        if package.exists():
            return package
        with self.binary(binary) as content:
            return materialise(content, binary, folder)

    def data_file(self, name: str) -> str:
        """The path here of a data file, given by its path on the store's node or its bare name.

        Raises FileNotFoundError if the store has no such file, whatever is left of it here.
        """
        try:
            return str(self._own_or_copied(self.store.find_data_file(name)))
        except NoSuchDataFile as error:
            raise FileNotFoundError(f"{error.message}: it was not uploaded, or it was deleted") from None

    def _hold_binary(self, binary: BinaryInfo, held: Path) -> None:
        copy = fetched_folder(self.node_path) / binary.sha256
        if _is_held(binaries_folder(self.node_path) / binary.sha256, held, binary.sha256):
            return
        with _turn(copy):
            if _is_held(copy, held, binary.sha256):
                return
            _fetch(copy, binary.size_bytes, partial(self.store.read_binary, binary.sha256))
            if not _is_held(copy, held, binary.sha256):
                copy.unlink(missing_ok=True)
                raise StorageFailure(f"the content of {binary.app_name} is damaged: its sha256 is another one")

    def _own_or_copied(self, found: DataFile) -> Path:
        own = Path(found.path)
        if own.is_relative_to(self.node_path) and _is_whole(own, found.size_bytes):
            return own
        copy = self.folder / "data" / own.name
        with _turn(copy):
            if not _is_whole(copy, found.size_bytes):
                _fetch(copy, found.size_bytes, partial(self.store.read_data_file, found.path))
        return copy


def remove_unused(node_path: Path, unused_for_s: float = KEPT_S) -> None:
    """Remove the copies of binaries that nobody took for so long, and what runners left that were killed.

    A file's ctime says when it was last taken: to take it is to link it.
    """
    folder = fetched_folder(node_path)
    for path in folder.iterdir() if folder.is_dir() else ():
        with contextlib.suppress(FileNotFoundError):
            if time.time() - path.stat().st_ctime > unused_for_s:
                path.unlink()


def _is_held(source: Path, held: Path, sha256: str) -> bool:
    """Whether `held` is now what `source` is, which has that sha256; checked once nobody can take it away any more."""
    try:
        link_or_copy(source, held)
    except FileNotFoundError:
        return False
    with held.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() == sha256:
            return True
    held.unlink()
    return False


def _is_whole(path: Path, size_bytes: int) -> bool:
    return os.access(path, os.R_OK) and path.is_file() and path.stat().st_size == size_bytes


@contextmanager
def _turn(copy: Path) -> Iterator[None]:
    """One process or thread of this node at a time makes the copy; a lock that ends with whoever holds it."""
    copy.parent.mkdir(parents=True, exist_ok=True)
    with copy.with_name(f".{copy.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield
        finally:
            # Not left to the end of `with`: a process that a job forks meanwhile has the file open, too.
            fcntl.flock(lock, fcntl.LOCK_UN)


def _fetch(copy: Path, size_bytes: int, read: Callable[[int, int], bytes]) -> None:
    """Make a copy by `read`, which returns at most so many bytes (second) from an offset (first) on."""
    draft = copy.with_name(_draft_name())
    try:
        with draft.open("xb") as file:
            while (missing_bytes := size_bytes - file.tell()) > 0:
                chunk = read(file.tell(), min(CHUNK_BYTES, missing_bytes))
                if not chunk:
                    raise StorageFailure(f"{copy.name} ends after {file.tell()} of {size_bytes} bytes")
                file.write(chunk)
        os.replace(draft, copy)
    finally:
        draft.unlink(missing_ok=True)


def _draft_name() -> str:
    return f".{uuid.uuid4().hex}"
