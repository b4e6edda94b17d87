"""The binaries of a job, a main one and its dependencies: which are looked for, and which go together."""

from __future__ import annotations

from collections.abc import Sequence

from rayjobs.binary_names import is_uri, refusal_of
from rayjobs.errors import JobLoadingFailed
from rayjobs.records import BinaryInfo
from rayjobs.service import Submission


def names_to_find(submission: Submission) -> list[str]:
    """Names of uploads, the main binary's first; URIs are left out, for `check_binaries` to refuse."""
    return [name for name in _names(submission) if not is_uri(name)]


def check_binaries(submission: Submission, found: Sequence[BinaryInfo]) -> None:
    """Raises `JobLoadingFailed` for a URI, and for binaries that do not go together.

    `found` are those of `names_to_find`. A job of a Python package has that package alone, one of a jar has jars.
    """
    for uri in filter(is_uri, _names(submission)):
        raise JobLoadingFailed(refusal_of(uri))
    main, *dependencies = found
    if main.binary_type.is_python and dependencies:
        raise JobLoadingFailed(f"Python should have exactly one package file! Found: {len(found)}")
    for other in dependencies:
        if other.binary_type.is_python:
            raise JobLoadingFailed(f"{other.app_name} is no jar ({other.binary_type}): a jar can only depend on jars")


def _names(submission: Submission) -> tuple[str, ...]:
    return (submission.app_name, *submission.dependencies)
