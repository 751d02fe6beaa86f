"""Published sets of records: one compact Parquet file that is whole or refused."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from datasets.column_checks import check_columns
from datasets.columns import (
    COLUMNS,
    MEASURED_COLUMNS,
    TEXT_COLUMNS,
    dictionaries,
    from_columns,
    to_columns,
    upgraded,
)
from datasets.record import Record

_PUBLISHED = {
    **COLUMNS,
    "times_s": pa.list_(pa.float32()),
    **dict.fromkeys(MEASURED_COLUMNS, pa.float32()),
}


def save_records(records: Sequence[Record], path: Path) -> None:
    """Write all records, times rounded to float32 (a relative error below 6e-8).

    The file appears whole or not at all. Rows are sorted by task, target and layout of knobs, which
    halves the size; the order within these stays.
    """
    columns = to_columns(records)
    order = [(name, "ascending") for name in ("task", "target", "layout")]
    columns = columns.append_column("row", pa.array(range(len(records)), pa.int64()))
    columns = columns.sort_by([*order, ("row", "ascending")]).drop_columns("row")
    partial = path.with_name(f".{path.name}.partial")
    _write(columns.cast(pa.schema(_PUBLISHED.items())), columns.schema.metadata, partial)
    os.replace(partial, path)


def load_records(path: Path) -> list[Record]:
    """Every record of a published file.

    Raises:
        ValueError: as ``load_columns``.
    """
    return from_columns(load_columns(path))


def load_columns(path: Path) -> pa.Table:
    """The columns of a published file, a row per record; much faster than records one by one.

    Raises:
        ValueError: the file is missing, cut short, changed, foreign or of a newer schema, or a row cannot be
            a record; it is named.
    """
    if not path.is_file():
        raise ValueError(f"there is no record file {path}")
    try:
        table = upgraded(pq.read_table(path, page_checksum_verification=True))
        listed = dictionaries(table)
        table = table.select(list(COLUMNS)).cast(pa.schema(_PUBLISHED.items(), table.schema.metadata))
        check_columns(table, listed)
        return table
    except (pa.ArrowException, OSError, KeyError, TypeError, AttributeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"{path} is not a whole file of records: {reason}") from None
    except ValueError as error:
        raise ValueError(f"{path} cannot be used: {error}") from None


def file_hash(path: Path) -> str:
    """SHA-256 of the file's bytes, 64 hex digits."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error}") from None


def _write(table: pa.Table, metadata: dict[bytes, bytes], path: Path) -> None:
    with pq.ParquetWriter(
        path,
        table.schema,
        compression="zstd",
        compression_level=19,
        use_dictionary=["task", "target", "layout", "knobs.list.element", *TEXT_COLUMNS],
        use_byte_stream_split=["times_s.list.element", *MEASURED_COLUMNS],
        column_encoding=dict.fromkeys(("seed", "trial", "measured_at"), "DELTA_BINARY_PACKED"),
        store_schema=False,  # Arrow's copy of the schema would repeat the metadata in base64
        write_page_checksum=True,
    ) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata(metadata)
