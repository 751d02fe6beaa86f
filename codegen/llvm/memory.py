"""Loads from and stores to buffers in memory."""

from __future__ import annotations

from codegen.llvm.address import active_mask, active_scalar, element_pointer
from codegen.llvm.linear import known_range
from codegen.llvm.plan import MemoryAccess
from codegen.llvm.sites import GuardId
from codegen.llvm.writer import Writer, float_type, type_suffix, zero

NOTHING: frozenset[GuardId] = frozenset()


def load(writer: Writer, access: MemoryAccess, zero_where_false: bool = False) -> tuple[str, bool]:
    """An element (or the lanes' elements), and whether it is a vector.

    Lanes and instances that conditions switch off read nothing outside the buffer. What they yield is
    undefined, but zero with ``zero_where_false`` for the loads that ``can_yield_zero`` allows.
    """
    step = access.offset.lane
    if writer.width == 1 or step == 0:
        return _scalar_load(writer, access, zero_where_false), False
    if step == 1:
        return _contiguous_load(writer, access, zero_where_false), True
    if step == 2 and is_inside(writer, access, 0, 2 * writer.width - 1):
        return _even_load(writer, access), True
    return _gather(writer, access), True


def can_yield_zero(writer: Writer, access: MemoryAccess) -> bool:
    """Whether a load can be zero where its conditions are false at no cost."""
    return writer.width == 1 or access.offset.lane == 1


def store(writer: Writer, access: MemoryAccess, value: str) -> None:
    """Write the value, or its lanes, where all conditions hold; the caller has no lanes for a scalar."""
    writer.forget_loads(access.buffer)
    address = element_pointer(writer, access)
    kind = float_type(writer.width)
    if writer.width == 1:
        writer.line(f"store float {value}, ptr {address}, align 4")
        return
    mask = active_mask(writer, NOTHING)
    if access.offset.lane != 1:
        _scatter(writer, access, value, mask)
    elif mask:
        suffix = f"{type_suffix(writer.width)}.p0"
        writer.declarations.add(f"void @llvm.masked.store.{suffix}({kind}, ptr, <{writer.width} x i1>)")
        writer.line(
            f"call void @llvm.masked.store.{suffix}({kind} {value}, ptr align 4 {address}, "
            f"<{writer.width} x i1> {mask})"
        )
    else:
        writer.line(f"store {kind} {value}, ptr {address}, align 4")


def is_inside(writer: Writer, access: MemoryAccess, first: int, last: int) -> bool:
    """Whether elements ``first`` to ``last`` from lane 0 on may be read in every iteration."""
    least, most = known_range(access.offset, writer.offsets)
    return least + first >= 0 and most + last < access.limit


def any_active(writer: Writer) -> str:
    """A scalar condition that holds wherever some lane takes part; empty if that is always so."""
    scalar = active_scalar(writer, NOTHING)
    masks = [p.mask for p in writer.predicates if p.mask]
    if not masks:
        return scalar
    mask = active_mask(writer, NOTHING)
    suffix = f"v{writer.width}i1"
    writer.declarations.add(f"i1 @llvm.vector.reduce.or.{suffix}(<{writer.width} x i1>)")
    return writer.value(f"call i1 @llvm.vector.reduce.or.{suffix}(<{writer.width} x i1> {mask})")


def _remembered(writer: Writer, access: MemoryAccess, key: tuple[object, ...], text: str) -> str:
    result = writer.value(text)
    writer.remember(key, result)
    writer.loaded.setdefault(access.buffer, []).append(key)
    return result


def _scalar_load(writer: Writer, access: MemoryAccess, zero_where_false: bool) -> str:
    address = element_pointer(writer, access)
    is_exact = zero_where_false and writer.width == 1
    condition = ""
    if is_exact or not is_inside(writer, access, 0, 0):
        condition = any_active(writer)
    key = ("load", address, condition, is_exact)
    found = writer.cache.get(key)
    if isinstance(found, str):
        return found
    if condition:
        elsewhere = "@zero" if is_exact else writer.pointers[access.buffer]
        address = writer.value(f"select i1 {condition}, ptr {address}, ptr {elsewhere}")
    return _remembered(writer, access, key, f"load float, ptr {address}, align 4")


def _contiguous_load(writer: Writer, access: MemoryAccess, zero_where_false: bool) -> str:
    width = writer.width
    mask = ""
    if zero_where_false or not is_inside(writer, access, 0, width - 1):
        mask = active_mask(writer, NOTHING)
    address = element_pointer(writer, access)
    key = ("load", address, mask, width)
    found = writer.cache.get(key)
    if isinstance(found, str):
        return found
    kind = float_type(width)
    if not mask:
        return _remembered(writer, access, key, f"load {kind}, ptr {address}, align 4")
    suffix = f"{type_suffix(width)}.p0"
    writer.declarations.add(f"{kind} @llvm.masked.load.{suffix}(ptr, <{width} x i1>, {kind})")
    text = (
        f"call {kind} @llvm.masked.load.{suffix}(ptr align 4 {address}, "
        f"<{width} x i1> {mask}, {kind} {zero(width)})"
    )
    return _remembered(writer, access, key, text)


def _even_load(writer: Writer, access: MemoryAccess) -> str:
    """Every second element, from two contiguous loads."""
    width = writer.width
    address, second = element_pointer(writer, access), element_pointer(writer, access, width)
    key = ("even load", address, width)
    found = writer.cache.get(key)
    if isinstance(found, str):
        return found
    kind = float_type(width)
    low = writer.value(f"load {kind}, ptr {address}, align 4")
    high = writer.value(f"load {kind}, ptr {second}, align 4")
    order = ", ".join(f"i32 {2 * lane}" for lane in range(width))
    text = f"shufflevector {kind} {low}, {kind} {high}, <{width} x i32> <{order}>"
    return _remembered(writer, access, key, text)


def _gather(writer: Writer, access: MemoryAccess) -> str:
    width, step = writer.width, access.offset.lane
    reach = step * (width - 1)
    is_safe = is_inside(writer, access, min(0, reach), max(0, reach))
    mask = "" if is_safe else active_mask(writer, NOTHING)
    address = element_pointer(writer, access)
    key = ("gather", address, mask, width, step)
    found = writer.cache.get(key)
    if isinstance(found, str):
        return found
    lanes = _lane_pointers(writer, address, step)
    kind, suffix = float_type(width), f"{type_suffix(width)}.v{width}p0"
    writer.declarations.add(f"{kind} @llvm.masked.gather.{suffix}(<{width} x ptr>, <{width} x i1>, {kind})")
    text = (
        f"call {kind} @llvm.masked.gather.{suffix}(<{width} x ptr> align 4 {lanes}, "
        f"<{width} x i1> {mask or 'splat (i1 true)'}, {kind} {zero(width)})"
    )
    return _remembered(writer, access, key, text)


def _scatter(writer: Writer, access: MemoryAccess, value: str, mask: str) -> None:
    width = writer.width
    lanes = _lane_pointers(writer, element_pointer(writer, access), access.offset.lane)
    kind, suffix = float_type(width), f"{type_suffix(width)}.v{width}p0"
    writer.declarations.add(f"void @llvm.masked.scatter.{suffix}({kind}, <{width} x ptr>, <{width} x i1>)")
    writer.line(
        f"call void @llvm.masked.scatter.{suffix}({kind} {value}, <{width} x ptr> align 4 {lanes}, "
        f"<{width} x i1> {mask or 'splat (i1 true)'})"
    )


def _lane_pointers(writer: Writer, address: str, step: int) -> str:
    width = writer.width
    lanes = "<" + ", ".join(f"i64 {step * lane}" for lane in range(width)) + ">"
    return writer.value(f"getelementptr float, ptr {address}, <{width} x i64> {lanes}")
