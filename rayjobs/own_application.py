"""A Spark application in this process: its driver JVM started, watched and ended here."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from rayjobs import cluster, leftovers
from rayjobs.application import SparkFacts
from rayjobs.context_settings import jar_names
from rayjobs.errors import ContextInitError, NoSuchBinary, RayJobsError
from rayjobs.node_files import ClusterStoreFiles, NodeFiles
from rayjobs.node_folders import node_folder
from rayjobs.settings import Settings
from rayjobs.spark import session as spark
from rayjobs.spark.jvm import SessionAddress
from rayjobs.spark.needs import needs_of
from rayjobs.tasks import error_of

log = logging.getLogger(__name__)

T = TypeVar("T")

EXECUTOR_POLL_S = 0.1
PULSE_S = 1.0
JVM_CALL_TIMEOUT_S = 10.0


class OwnApplication:
    """A Spark application whose driver JVM this process starts and ends. `folder` holds its logs and local files."""

    def __init__(self, name: str, id: str, context_settings: dict[str, Any], folder: Path, settings: Settings):
        self._name = name
        self._id = id
        self._context_settings = context_settings
        self._folder = folder
        self._packages = folder / "packages"
        self._settings = settings
        self._running: spark.RunningSpark | None = None
        self._warming: asyncio.Task[None] | None = None
        # A JVM that hangs must not take the threads that everything else needs.
        self._threads = ThreadPoolExecutor(4, thread_name_prefix="jvm")

    async def start(self) -> SparkFacts:
        try:
            running = self._running = await self._in_jvm(self._start, await self._own_jars())
            application_id, ui_url = await self._in_jvm(spark.application_of, running)
            self._warming = asyncio.create_task(self._warm_up(running), name="warm-up")
            return SparkFacts(application_id, ui_url, running.address, self._packages)
        except RayJobsError:
            raise
        except Exception as error:
            raise ContextInitError(f"Spark did not start: {error}", error_of(error)) from None

    async def end(self) -> str:
        running = self._started()
        exited = asyncio.ensure_future(asyncio.to_thread(spark.wait_for_exit, running))
        unfit = asyncio.ensure_future(self._await_unfit(running))
        done, _ = await asyncio.wait({exited, unfit}, return_when=asyncio.FIRST_COMPLETED)
        first = done.pop()
        return f"its Spark cannot be watched any more: {first.exception()!r}" if first.exception() else first.result()

    async def is_up(self) -> bool:
        if self._running is None:
            return False
        try:
            async with asyncio.timeout(cluster.PING_TIMEOUT_S):
                return not await self._in_jvm(spark.is_stopped, self._running)
        except (spark.JvmSilent, TimeoutError):
            return False

    async def cancel_job(self, job_id: str) -> None:
        async with asyncio.timeout(JVM_CALL_TIMEOUT_S):
            await self._in_jvm(spark.cancel_job, self._started(), job_id)

    async def open_session(self, key: str, sql_settings: dict[str, str]) -> SessionAddress:
        """A session of its own in this application: temp views, SQL settings; published under `key`."""
        return await self._in_jvm(spark.open_session, self._started(), key, sql_settings)

    async def close_session(self, key: str) -> None:
        async with asyncio.timeout(JVM_CALL_TIMEOUT_S):
            await self._in_jvm(spark.close_session, self._started(), key)

    async def check(self) -> None:
        """Run a trivial Spark job; raises whatever it raises, `TimeoutError` if it hangs."""
        async with asyncio.timeout(self._settings.executor_timeout_s):
            await self._in_jvm(spark.run_trivial_job, self._started())

    async def stop(self) -> None:
        if self._warming:
            self._warming.cancel()
        if self._running:
            await self._in_jvm(spark.stop, self._running, self._settings.context_deletion_timeout_s)
            # A Python worker that is busy does not notice that its executor has gone.
            await asyncio.to_thread(leftovers.end_processes, self._id)
        await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)

    async def _own_jars(self) -> list[Path]:
        """The jars that its settings name, in their latest versions; raises `ContextInitError` for what is none."""
        names = jar_names(self._context_settings)
        if not names:
            return []
        store = await cluster.find(cluster.STORE)
        files = NodeFiles(node_folder(self._settings.data_path), self._folder, ClusterStoreFiles())
        try:
            jars = await cluster.call(store.get_binaries.remote(names))
            for jar in jars:
                if jar.binary_type.is_python:
                    raise ContextInitError(f"{jar.app_name} is no jar ({jar.binary_type}): a context has jars alone")
            return [await asyncio.to_thread(files.package, jar, self._packages) for jar in jars]
        except NoSuchBinary as error:
            raise ContextInitError(f"a jar of the context's settings is not there: {error.message}") from None

    async def _warm_up(self, running: spark.RunningSpark) -> None:
        """What a first job takes longer for, classes and generated code, is done ahead of it once there is an executor.

        Not before: a Spark job without one for too long counts as an application that is of no use. Not at all if a
        job has come by then, which would have to share the processors with it.
        """
        try:
            async with asyncio.timeout(self._settings.executor_timeout_s):
                while not (pulse := await self._in_jvm(spark.pulse, running)).executors and not pulse.active_jobs:
                    await asyncio.sleep(EXECUTOR_POLL_S)
                if not pulse.active_jobs:
                    await self._in_jvm(spark.run_trivial_job, running)
        except Exception as error:
            log.info("%s had no job ahead of its first: %r", self._name, error)

    def _start(self, own_jars: list[Path]) -> spark.RunningSpark:
        self._folder.mkdir(parents=True, exist_ok=True)
        return spark.start(
            self._name,
            self._context_settings,
            self._folder,
            cluster.spark_namespace(self._id),
            self._settings.jvm_options,
            self._settings.executor_jvm_options,
            self._settings.context_creation_timeout_s,
            own_jars,
        )

    async def _await_unfit(self, running: spark.RunningSpark) -> str:
        """Why a Spark application whose JVM lives is of no use. A JVM that is gone is not this one's to tell."""
        clock = asyncio.get_running_loop().time
        limit_s = self._settings.executor_timeout_s
        last_fit = clock()
        while clock() - last_fit <= limit_s:
            with contextlib.suppress(spark.JvmSilent, TimeoutError):
                async with asyncio.timeout(JVM_CALL_TIMEOUT_S):
                    pulse = await self._in_jvm(spark.pulse, running)
                if pulse.is_stopped:
                    return "its Spark application was stopped from outside"
                if pulse.executors or not pulse.active_jobs:
                    last_fit = clock()
            await asyncio.sleep(PULSE_S)
        needs = needs_of(self._context_settings, os.cpu_count() or 1)
        return (
            f"its Spark jobs had no executor for {limit_s:g} s, or its driver JVM was silent for so long: Ray could "
            f"not place any of {needs.executors} with {needs.cores} core(s) and {needs.memory} each, or they die as "
            "they start; `ray status` and the raydp-executor actors in Ray's dashboard say more"
        )

    def _started(self) -> spark.RunningSpark:
        if self._running is None:
            raise ContextInitError("Spark is not started")
        return self._running

    async def _in_jvm(self, function: Callable[..., T], *args: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *args)
