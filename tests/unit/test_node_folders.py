"""Where a node keeps its own folders."""

from __future__ import annotations

from pathlib import Path

import pytest

from rayjobs.node_folders import VARIABLE, node_folder


def test_a_node_has_its_own_folders_in_the_data_directory_unless_its_environment_names_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    assert node_folder(Path("/srv/rayjobs")) == Path("/srv/rayjobs")
    monkeypatch.setenv(VARIABLE, "")
    assert node_folder(Path("/srv/rayjobs")) == Path("/srv/rayjobs")
    monkeypatch.setenv(VARIABLE, "~/of-this-node")
    assert node_folder(Path("/srv/rayjobs")) == Path.home() / "of-this-node"
