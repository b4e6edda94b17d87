"""Binaries of the settings, over a service in memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from rayjobs.errors import BadConfig
from rayjobs.predefined import upload_predefined
from rayjobs.records import BinaryType
from tests.web.fake_service import FakeService


async def test_a_file_is_uploaded_by_its_suffix_and_again_only_when_it_changed(tmp_path: Path) -> None:
    service, file = FakeService(), tmp_path / "job.py"
    file.write_text("one = 1")
    await upload_predefined(service, {"app": str(file)})
    first = service.binaries["app"]
    assert (first.binary_type, service.contents["app"]) == (BinaryType.PYTHON, b"one = 1")
    await upload_predefined(service, {"app": str(file)})
    assert service.binaries["app"] is first
    file.write_text("two = 2")
    await upload_predefined(service, {"app": str(file)})
    assert service.contents["app"] == b"two = 2"


@pytest.mark.parametrize("name", ["missing.py", "job.txt"])
async def test_a_file_that_is_missing_or_of_no_known_kind_is_named(name: str, tmp_path: Path) -> None:
    (tmp_path / "job.txt").write_text("text")
    with pytest.raises(BadConfig, match=r"binaries\.predefined\.app: .*" + name):
        await upload_predefined(FakeService(), {"app": tmp_path / name})
