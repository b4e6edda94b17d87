"""The DuckDB file, and the queries on it.

DuckDB is imported when it is first used: a process that gets a handle of the store's actor imports the actor's module
with it, and would pay 13 MiB and 0.1 s for a database that it never opens.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from rayjobs.errors import StorageFailure
from rayjobs.store import rows, sql

if TYPE_CHECKING:
    import duckdb


def connect(path: Path) -> duckdb.DuckDBPyConnection:
    """Open or create it; raises one of `failures`."""
    import duckdb

    # One thread: the queries are small, a second thread only costs each of them its start (measured: a third).
    connection = duckdb.connect(path, config={"threads": 1})
    connection.execute(sql.SCHEMA)
    return connection


def fetch(connection: duckdb.DuckDBPyConnection, query: str, values: rows.Row) -> list[rows.Row]:
    """What the query of that name answers; raises one of `failures`."""
    found = connection.execute(sql.QUERIES[query], values)
    names = [column[0] for column in found.description]
    return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


def failures() -> tuple[type[Exception], ...]:
    """What DuckDB, or the disk, raises."""
    import duckdb

    return duckdb.Error, OSError


def as_storage_failure(error: Exception) -> StorageFailure:
    failure = StorageFailure(f"the job store failed: {error}")
    failure.__cause__ = error
    return failure


@contextlib.contextmanager
def storage_failure(what: str) -> Iterator[None]:
    """Raises what the disk, DuckDB or an earlier layer of ours failed with as `StorageFailure` of `what`."""
    try:
        yield
    except StorageFailure as error:
        raise StorageFailure(f"{what}: {error.message}") from error
    except failures() as error:
        raise StorageFailure(f"{what}: {error}") from error
