"""The error tree: what crosses processes whole, what clients tell apart, and the picture of it."""

from __future__ import annotations

import inspect
import pickle
import re

import pytest

from rayjobs import errors
from rayjobs.errors import ErrorData, NoSuchJob, RayJobsError, ValidationFailed, error_data_of

TREE = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, RayJobsError)]
DETAIL = ErrorData("no input", "ValueError", "Traceback:\n  é")


def _drawn() -> dict[str, str]:
    """The tree of the module's docstring: each class and the one it hangs on."""
    path = ["RayJobsError"]
    parents = {}
    for line in (errors.__doc__ or "").splitlines():
        if branch := re.match(r"([ │]*)[├└]── (\w+(?: · \w+)*)", line):
            depth = len(branch[1]) // 4
            names = branch[2].split(" · ")
            parents |= dict.fromkeys(names, path[depth - 1])
            path[depth:] = names[:1]
    return parents


def test_the_tree_has_its_four_branches() -> None:
    assert {kind.__name__ for kind in RayJobsError.__subclasses__()} == {
        "BadRequest",
        "NotFound",
        "Conflict",
        "ServiceFailure",
    }
    assert len(TREE) > 20


def test_the_drawn_tree_is_the_tree() -> None:
    assert _drawn() == {kind.__name__: kind.__bases__[0].__name__ for kind in TREE if kind is not RayJobsError}


@pytest.mark.parametrize("kind", TREE)
@pytest.mark.parametrize("detail", [None, DETAIL])
@pytest.mark.parametrize("protocol", [2, pickle.HIGHEST_PROTOCOL])
def test_an_error_survives_the_way_to_another_process(
    kind: type[RayJobsError], detail: ErrorData | None, protocol: int
) -> None:
    back = pickle.loads(pickle.dumps(kind("No such thing x", detail), protocol))
    assert type(back) is kind
    assert (back.message, back.detail, str(back), back.code) == (
        "No such thing x",
        detail,
        "No such thing x",
        kind.code,
    )


def test_codes_are_unique_and_fit_for_a_url() -> None:
    codes = [kind.code for kind in TREE]
    assert len(set(codes)) == len(codes)
    assert all(re.fullmatch(r"[a-z]+(-[a-z]+)*", code) for code in codes)


@pytest.mark.parametrize("kind", TREE)
def test_a_code_is_the_class_s_own_and_not_inherited(kind: type[RayJobsError]) -> None:
    assert "code" in vars(kind)


def test_an_error_is_told_by_its_detail_if_it_carries_one() -> None:
    assert error_data_of(ValidationFailed("refused", DETAIL)) == DETAIL


def test_an_error_without_detail_is_told_by_its_message_and_class() -> None:
    assert error_data_of(NoSuchJob("No such job ID x")) == ErrorData("No such job ID x", "NoSuchJob", "")
