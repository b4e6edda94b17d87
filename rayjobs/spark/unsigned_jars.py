"""Copies, without their signatures, of the jars of Spark that are signed: its compiler of generated code.

Symptom: 0.5 s more until a first job is done, in the driver and in each executor, while every class of that compiler is
read from its jar, hashed and verified. Cause: Java checks the classes of signed jars as it loads them, and leaves them
out of archives of classes. Can go when Spark comes with a Janino that is not signed.
"""

from __future__ import annotations

import functools
import hashlib
import logging
import os
import zipfile
from pathlib import Path

from rayjobs.binaries import draft_beside

log = logging.getLogger(__name__)

_SIGNED = ("commons-compiler-*.jar", "janino-*.jar")
_SIGNATURES = (".SF", ".DSA", ".RSA", ".EC")
_ONE_TIME_S = 1_000_000_000
"""All copies are of that time: an archive of classes is for jars of one time, and one may be made again."""


def copies(jars: Path, folder: Path) -> list[Path]:
    """Copies of the signed ones of the folder `jars`, made in `folder` unless they are there; none if that fails.

    They are named after their content: the class path must be the same on all nodes.
    """
    signed = [jar for pattern in _SIGNED for jar in sorted(jars.glob(pattern))]
    try:
        return [_copy(jar, folder) for jar in signed]
    except (OSError, zipfile.BadZipFile) as error:
        log.info("Spark's compiler is used as it is, which takes longer to load: %s", error)
        return []


def _copy(jar: Path, folder: Path) -> Path:
    facts = jar.stat()
    copy = folder / f"{jar.stem}-{_digest(jar, facts.st_size, facts.st_mtime_ns)}.jar"
    if not copy.exists():
        folder.mkdir(parents=True, exist_ok=True)
        draft = draft_beside(copy)
        try:
            _write_unsigned(jar, draft)
            draft.chmod(0o644)
            os.utime(draft, (_ONE_TIME_S, _ONE_TIME_S))
            os.replace(draft, copy)
        finally:
            draft.unlink(missing_ok=True)
    return copy


@functools.cache
def _digest(jar: Path, size: int, mtime_ns: int) -> str:
    """Of its content, which is read once in a process as long as size and time stay: each context's start asks."""
    return hashlib.sha256(jar.read_bytes()).hexdigest()[:16]


def _write_unsigned(jar: Path, copy: Path) -> None:
    with zipfile.ZipFile(jar) as signed, zipfile.ZipFile(copy, "w") as unsigned:
        for entry in signed.infolist():
            if not _is_signature(entry.filename):
                unsigned.writestr(entry, signed.read(entry))


def _is_signature(name: str) -> bool:
    """The manifest as well: it lists the digest of each entry."""
    return name == "META-INF/MANIFEST.MF" or (name.startswith("META-INF/") and name.upper().endswith(_SIGNATURES))
