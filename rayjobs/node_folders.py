"""Where a node keeps what is of use on it alone: folders of contexts and Spark hosts, copies of the store's files."""

from __future__ import annotations

import os
from pathlib import Path

VARIABLE = "RAYJOBS_NODE_DIR"
"""Set for a node's `ray start`, whose processes inherit it."""


def node_folder(data_path: Path) -> Path:
    """The folder that has them on this node: what the variable names, else the service's data directory."""
    return Path(os.environ.get(VARIABLE) or data_path).expanduser().absolute()


def contexts_folder(node_path: Path) -> Path:
    """Where each context has a folder, named by its id, on the node that it runs on."""
    return node_path / "contexts"


def hosts_folder(node_path: Path) -> Path:
    """Where each Spark application that is shared, or stands by, has a folder, named by its id."""
    return node_path / "spark-hosts"


def fetched_folder(node_path: Path) -> Path:
    """Where copies of binaries are, each named by its sha256, on nodes where the store is not."""
    return node_path / "fetched"
