"""Records by location: a Parquet file, a store's file or a store's URL."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from datasets.agreement import find_disagreements
from datasets.columns import to_columns
from datasets.connection import is_url
from datasets.parquet import load_columns
from datasets.record import Record
from datasets.store import RecordStore
from datasets.table import table_from_columns


def open_store(location: str) -> RecordStore:
    """The record store at a path or URL, created where there is none; a file's folder is made as well."""
    if not is_url(location):
        Path(location).parent.mkdir(parents=True, exist_ok=True)
    return RecordStore(location)


def open_existing(location: str) -> RecordStore:
    """As ``open_store``, for reading: ValueError where there is no file, or an empty one, which stays so."""
    if not is_url(location):
        path = Path(location)
        if not path.exists():
            raise ValueError(f"there is no record store {location}")
        if path.is_file() and path.stat().st_size == 0:
            raise ValueError(f"{location} is an empty file, not a record store")
    return RecordStore(location)


def read_columns(location: str) -> pa.Table:
    """All records, of all targets, as columns."""
    return load_columns(Path(location)) if _is_published(location) else to_columns(stored_records(location))


def stored_records(location: str) -> list[Record]:
    """All records of a store, of all targets."""
    with open_existing(location) as store:
        return store.records(all_targets=True)


def verified(location: str) -> tuple[int, list[str]]:
    """How many records there are, and a sentence for each thing that is wrong with them."""
    if not _is_published(location):
        with open_existing(location) as store:
            if problems := store.verify():
                return store.count(), problems
    columns = read_columns(location)
    return columns.num_rows, find_disagreements(table_from_columns(columns))


def _is_published(location: str) -> bool:
    return not is_url(location) and Path(location).suffix == ".parquet"
