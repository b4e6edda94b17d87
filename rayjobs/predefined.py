"""Binaries that the settings name: uploaded at start, unless their latest versions are there."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

from rayjobs.errors import BadConfig, NoSuchBinary
from rayjobs.records import BinaryType
from rayjobs.service import JobService

SUFFIXES = {
    ".whl": BinaryType.WHEEL,
    ".egg": BinaryType.EGG,
    ".zip": BinaryType.ZIP,
    ".py": BinaryType.PYTHON,
    ".jar": BinaryType.JAR,
}


async def upload_predefined(service: JobService, files: Mapping[str, object]) -> None:
    """Upload each file, given by app; raises `BadConfig` for one that cannot be read or has none of the suffixes."""
    for app, given in files.items():
        path = Path(str(given)).expanduser()
        content = _read(app, path)
        with contextlib.suppress(NoSuchBinary):
            if (await service.get_binary(app)).sha256 == hashlib.sha256(content).hexdigest():
                continue
        await service.upload_binary(app, SUFFIXES[path.suffix], _whole(content))


def _read(app: str, path: Path) -> bytes:
    if path.suffix not in SUFFIXES:
        raise BadConfig(f"setting binaries.predefined.{app}: {path} is none of {', '.join(SUFFIXES)}")
    try:
        return path.read_bytes()
    except OSError as error:
        raise BadConfig(f"setting binaries.predefined.{app}: cannot read {path}: {error.strerror}") from None


async def _whole(content: bytes) -> AsyncIterator[bytes]:
    yield content
