"""Register buffers as SSA values."""

from __future__ import annotations

from codegen.llvm.linear import displacement
from codegen.llvm.plan import Chunk, Layout, RegisterAccess
from codegen.llvm.transpose import transposed
from codegen.llvm.writer import RegisterKey, Writer, float_type, zero


def read_register(writer: Writer, access: RegisterAccess) -> tuple[str, bool]:
    """Current value of an element (or of the lanes' elements), and whether it is a vector."""
    row, along = displacement(access.row, writer.offsets), displacement(access.along, writer.offsets)
    row_step, step = access.row.lane, access.along.lane
    if writer.width == 1 or (row_step == 0 and step == 0):
        return _scalar(writer, access, row, along), False
    if row_step == 0 and step == 1:
        chunk = _chunk_at(access.layout, along, writer)
        if chunk is not None:
            return _value(writer, (access.buffer, row, chunk.start), chunk.width), True
    if step == 0 and access.layout.chunks:
        return _column(writer, access, row, along), True
    return _gathered(writer, access, row, along), True


def write_register(writer: Writer, access: RegisterAccess, value: str) -> None:
    """Set an element, or the lanes' elements from a vector; spare lanes may be set to anything."""
    row, along = displacement(access.row, writer.offsets), displacement(access.along, writer.offsets)
    row_step, step = access.row.lane, access.along.lane
    if writer.width > 1 and row_step == 0 and step == 1:
        chunk = _chunk_at(access.layout, along, writer)
        if chunk is not None and chunk.count == writer.count:
            _set(writer, (access.buffer, row, chunk.start), value, chunk.width)
            return
    if writer.width == 1:
        _set_scalar(writer, access, row, along, value)
        return
    kind = float_type(writer.width)
    for lane in range(writer.count):
        element = writer.value(f"extractelement {kind} {value}, i64 {lane}")
        _set_scalar(writer, access, row + lane * row_step, along + lane * step, element)


def _chunk_at(layout: Layout, start: int, writer: Writer) -> Chunk | None:
    """The chunk whose first elements the current lanes are, if any."""
    for chunk in layout.chunks:
        if chunk.start == start and chunk.width == writer.width and writer.count <= chunk.count:
            return chunk
    return None


def _value(writer: Writer, key: RegisterKey, width: int) -> str:
    return writer.registers.get(key) or zero(width)


def _set(writer: Writer, key: RegisterKey, value: str, width: int) -> None:
    writer.registers[key] = value
    writer.widths[key] = width


def _containing(layout: Layout, along: int) -> Chunk:
    return next(c for c in layout.chunks if c.start <= along < c.start + c.count)


def _scalar(writer: Writer, access: RegisterAccess, row: int, along: int) -> str:
    if not access.layout.chunks:
        return _value(writer, (access.buffer, row, -1), 1)
    chunk = _containing(access.layout, along)
    vector = _value(writer, (access.buffer, row, chunk.start), chunk.width)
    lane = along - chunk.start
    key = ("lane", vector, chunk.width, lane)
    found = writer.cache.get(key)
    if isinstance(found, str):
        return found
    result = writer.value(f"extractelement {float_type(chunk.width)} {vector}, i64 {lane}")
    writer.remember(key, result)
    return result


def _set_scalar(writer: Writer, access: RegisterAccess, row: int, along: int, value: str) -> None:
    if not access.layout.chunks:
        _set(writer, (access.buffer, row, -1), value, 1)
        return
    chunk = _containing(access.layout, along)
    key = (access.buffer, row, chunk.start)
    kind, lane = float_type(chunk.width), along - chunk.start
    old = _value(writer, key, chunk.width)
    _set(writer, key, writer.value(f"insertelement {kind} {old}, float {value}, i64 {lane}"), chunk.width)


def _column(writer: Writer, access: RegisterAccess, row: int, along: int) -> str:
    """The lanes' elements across rows, out of a block that is transposed once."""
    chunk = _containing(access.layout, along)
    rows = tuple(
        _value(writer, (access.buffer, row + lane * access.row.lane, chunk.start), chunk.width)
        for lane in range(writer.count)
    )
    key = ("columns", rows, writer.width)
    columns = writer.cache.get(key)
    if not isinstance(columns, list):
        columns = transposed(writer, rows, chunk.width, writer.width)
        writer.remember(key, columns)
    result: str = columns[along - chunk.start]
    return result


def _gathered(writer: Writer, access: RegisterAccess, row: int, along: int) -> str:
    kind, result = float_type(writer.width), "poison"
    for lane in range(writer.count):
        element = _scalar(writer, access, row + lane * access.row.lane, along + lane * access.along.lane)
        result = writer.value(f"insertelement {kind} {result}, float {element}, i64 {lane}")
    return result
