"""`runtime.namedObjects`: what the jobs of one context share by name, seen from a job."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ray import cloudpickle
from ray.actor import ActorHandle

from rayjobs import cluster
from rayjobs.api import NamedObject, NamedObjects
from rayjobs.named_registry import NamedEntry
from rayjobs.spark import sharing
from rayjobs.spark.sharing import SparkReference
from rayjobs.tasks import RunnerSetup

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

CREATION_TIMEOUT_S = 60.0


class ContextNamedObjects(NamedObjects):
    """Names are kept by the context's actor, DataFrames, RDDs and broadcasts by its JVM; all are lost with it."""

    def __init__(self, job_id: str, setup: RunnerSetup, session: SparkSession):
        self._job_id = job_id
        self._setup = setup
        self._session = session

    def get(self, name: str) -> NamedObject | None:
        entry: NamedEntry | None = self._ask("find_named", name)
        try:
            return entry and self._object_of(entry)
        except KeyError:
            # Another job let go of it in between: the name stands for something else now, or for nothing.
            entry = self._ask("find_named", name)
            return entry and self._object_of(entry)

    def get_or_else_create(self, name: str, obj_gen: Callable[[], Any]) -> NamedObject:
        try:
            entry: NamedEntry | None = self._ask("claim_name", name, self._job_id, CREATION_TIMEOUT_S)
        except TimeoutError:
            raise TimeoutError(f"another job has been making {name!r} for more than {CREATION_TIMEOUT_S:g} s") from None
        if entry is not None:
            return self._object_of(entry)
        try:
            return self.update(name, obj_gen)
        except BaseException:
            self._ask("release_name", name, self._job_id)
            raise

    def update(self, name: str, obj_gen: Callable[[], Any]) -> NamedObject:
        """The old object's cache goes first: Spark would take it for that of a new one with an equal plan."""
        made = obj_gen()
        named = made if isinstance(made, NamedObject) else NamedObject(made, False, None)
        before: NamedEntry | None = self._ask("find_named", name)
        if before is not None:
            self._unpersist(before)
        entry = NamedEntry(self._cached_and_held(named), named.forceComputation, named.storage_level)
        replaced: NamedEntry | None = self._ask("put_named", name, entry)
        if replaced is not None:
            self._drop(replaced, unpersist=replaced != before)
        return named

    def forget(self, name: str) -> None:
        if (entry := self._ask("forget_named", name)) is not None:
            self._drop(entry, unpersist=False)

    def destroy(self, name: str) -> None:
        if (entry := self._ask("forget_named", name)) is not None:
            self._drop(entry, unpersist=True)

    def get_names(self) -> list[str]:
        return self._ask("named")

    def _object_of(self, entry: NamedEntry) -> NamedObject:
        return NamedObject(self._value_of(entry), entry.force_computation, entry.storage_level)

    def _value_of(self, entry: NamedEntry) -> Any:
        if isinstance(entry.held, SparkReference):
            return sharing.taken(self._session, self._setup.context_id, entry.held)
        return cloudpickle.loads(entry.held)

    def _cached_and_held(self, named: NamedObject) -> SparkReference | bytes:
        if named.storage_level is not None:
            named.obj.persist(named.storage_level)
        try:
            if named.forceComputation:
                named.obj.count()
            return sharing.keep(self._session, self._setup.context_id, named.obj) or cloudpickle.dumps(named.obj)
        except BaseException:
            if named.storage_level is not None:
                named.obj.unpersist()
            raise

    def _drop(self, entry: NamedEntry, unpersist: bool) -> None:
        if unpersist:
            self._unpersist(entry)
        if isinstance(entry.held, SparkReference):
            sharing.let_go(self._session, self._setup.context_id, entry.held)

    def _unpersist(self, entry: NamedEntry) -> None:
        """Nothing happens to one that another job has let go of."""
        if isinstance(entry.held, SparkReference):
            with contextlib.suppress(KeyError):
                self._value_of(entry).unpersist()

    def _ask(self, verb: str, *args: Any) -> Any:
        context: ActorHandle = cluster.find_now(cluster.context_actor_name(self._setup.context_name))
        return cluster.wait(getattr(context, verb).remote(*args))
