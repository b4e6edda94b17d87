"""The connection that writes: batches of operations, each batch one transaction. Used by one thread at a time."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any, TypeVar

from rayjobs.errors import RayJobsError
from rayjobs.gathering import Outcome
from rayjobs.store import database, rows
from rayjobs.store.database import as_storage_failure, storage_failure
from rayjobs.store.group import Operation

T = TypeVar("T")


class Writer:
    """Operations run inside a batch's transaction, by `execute`.

    One that refuses with an error of ours does so before its first change, for the batch goes on; each may run again if
    its batch rolls back.
    """

    def __init__(self, path: Path):
        """Open or create the database; raises one of `database.failures`."""
        self._connection = database.connect(path)
        self.reader = self._connection.cursor()
        """Another connection, which sees what is committed."""

    def execute(self, query: str, **values: rows.Value) -> list[rows.Row]:
        """The rows that the query of that name answers; DuckDB answers one that changes rows with their `Count`."""
        return database.fetch(self._connection, query, values)

    def commit(self, operations: list[Operation[Any]]) -> list[Outcome[Any]]:
        """All in one transaction; if that fails as a whole, each in its own, so that only the guilty fails."""
        try:
            return self._transaction(operations)
        except Exception as error:
            if len(operations) == 1:
                return [Outcome(error=as_storage_failure(error))]
            return [outcome for operation in operations for outcome in self.commit([operation])]

    def checkpoint(self) -> None:
        with storage_failure("can't checkpoint the job store"):
            self._connection.execute("CHECKPOINT")

    def close(self) -> None:
        self._connection.close()

    def _transaction(self, operations: list[Operation[Any]]) -> list[Outcome[Any]]:
        self._connection.begin()
        try:
            outcomes = [_outcome(operation) for operation in operations]
            self._connection.commit()
        except Exception:
            with contextlib.suppress(*database.failures()):  # a failed commit has rolled back already
                self._connection.rollback()
            raise
        return outcomes


def _outcome(operation: Operation[T]) -> Outcome[T]:
    try:
        return Outcome(operation())
    except RayJobsError as error:
        return Outcome(error=error)
