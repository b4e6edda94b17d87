"""A number in a file that grows with every change of something; other processes of the node read it in microseconds."""

from __future__ import annotations

import os
from pathlib import Path

_SIZE_BYTES = 8


class ChangeCount:
    """`grow` is for the one process that makes the changes: after a change, and before it tells anyone of it."""

    def __init__(self, path: Path):
        self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)

    def read(self) -> int:
        return int.from_bytes(os.pread(self._file, _SIZE_BYTES, 0), "big")

    def grow(self) -> None:
        os.pwrite(self._file, (self.read() + 1).to_bytes(_SIZE_BYTES, "big"), 0)

    def close(self) -> None:
        os.close(self._file)
