"""What contexts that died leave on a node: processes, and their folders, with logs that nobody has read yet."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import shutil
from pathlib import Path

import psutil

from rayjobs import cluster, joblog, line, node_files
from rayjobs.node_folders import contexts_folder, hosts_folder

log = logging.getLogger(__name__)

_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")
"""How ids of contexts and hosts end: what has another name is not ours to remove."""


async def sweep(node_path: Path) -> None:
    """Remove this node's folders of contexts and hosts that have ended; jobs' logs are kept in the store first.

    Processes that name such a context are ended: an executor whose raylet was killed has nobody else to end it.
    Copies of binaries that nobody uses go as well, and sockets at which nobody listens.
    """
    await asyncio.to_thread(node_files.remove_unused, node_path)
    await asyncio.to_thread(line.remove_stale)
    folders = await asyncio.to_thread(_folders, contexts_folder(node_path), hosts_folder(node_path))
    if not folders:
        return
    store = await cluster.find(cluster.STORE)
    alive = {info.id for info in await cluster.call(store.unfinished_contexts.remote())} | await cluster.host_ids()
    for folder in folders:
        if folder.name not in alive and _ID.search(folder.name):
            try:
                await asyncio.to_thread(end_processes, folder.name)
                await _keep_logs(folder / "logs")
                await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
            except Exception:
                log.exception("%s is left for the next time", folder)


async def _keep_logs(folder: Path) -> None:
    store = await cluster.find(cluster.STORE)
    for file in await asyncio.to_thread(_files, folder):
        # Nothing, if another sweep has kept it and removed the file.
        if content := await asyncio.to_thread(joblog.read, file):
            await cluster.call(store.save_log.remote(file.stem, content))


def end_processes(id: str) -> None:
    """End what is left on this node of a context or host that has ended, by its id; blocks."""
    ours = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.pid not in ours and _names(process, id):
                log.warning("process %d outlived its context or host %s and is ended", process.pid, id)
                process.kill()


def _names(process: psutil.Process, id: str) -> bool:
    """Whether its command line or environment has the id: JVMs of a context and what they start are given it."""
    return any(id in text for text in (*process.cmdline(), *process.environ().values()))


def _folders(*parents: Path) -> list[Path]:
    return [path for parent in parents if parent.is_dir() for path in parent.iterdir() if path.is_dir()]


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.log"))
