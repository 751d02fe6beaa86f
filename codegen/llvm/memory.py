"""Loads from and stores to buffers in memory."""

from __future__ import annotations

from codegen.llvm.address import (
    active_mask,
    active_scalar,
    conjunction,
    dynamic_mask,
    element_pointer,
    moved_pointer,
    pointer,
    runtime_index,
    static_lanes,
)
from codegen.llvm.linear import Linear, displacement, known_range
from codegen.llvm.plan import MemoryAccess
from codegen.llvm.sites import GuardId
from codegen.llvm.streams import emit_fetch, emit_streamed_store
from codegen.llvm.writer import Writer, float_type, mask_literal, type_suffix, zero

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
    if step == 2:
        return _pair_load(writer, access), True
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
    emit_fetch(writer, access)
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
    elif access.buffer in writer.streamed:
        emit_streamed_store(writer, access, value, address)
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
    is_exact = zero_where_false and writer.width == 1
    condition = ""
    address = None
    if is_exact or not is_inside(writer, access, 0, 0):
        address = None if is_exact else _guarded_pointer(writer, access)
        condition = "" if address else any_active(writer)
    address = address or element_pointer(writer, access)
    key = ("load", address, condition, is_exact)
    found = writer.cache.get(key)
    if isinstance(found, str):
        return found
    if condition:
        elsewhere = "@zero" if is_exact else writer.pointers[access.buffer]
        address = writer.value(f"select i1 {condition}, ptr {address}, ptr {elsewhere}")
    return _remembered(writer, access, key, f"load float, ptr {address}, align 4")


def _guarded_pointer(writer: Writer, access: MemoryAccess) -> str | None:
    """A legal address that is the element's where a guard holds, chosen outside the loops further in.

    Where a tile reaches beyond its axis, the axis' first row is read for a row that is not there. None if
    no guard alone keeps the element inside.
    """
    for predicate in writer.predicates:
        guard = predicate.index
        if guard is None:
            continue
        stride = _common_stride(access.offset, guard)
        if not stride or not _keeps_inside(writer, access, guard, predicate.bound, stride):
            continue
        head = writer.heads[guard.runtime[-1][0]]
        here = displacement(access.offset, writer.offsets)
        first = here - stride * displacement(guard, writer.offsets)
        key = ("guarded", predicate.scalar, here, first, stride)
        place = head.cache.get(key)
        if place is None:
            row = runtime_index(writer, guard.runtime)
            back = writer.head_value(head, (key, "back"), f"mul i64 {row}, {-stride}")
            there = writer.head_value(head, (key, "there"), f"add i64 {back}, {first}")
            place = writer.head_value(head, key, f"select i1 {predicate.scalar}, i64 {here}, i64 {there}")
        return moved_pointer(writer, pointer(writer, access.buffer, access.offset.runtime), place)
    return None


def _common_stride(offset: Linear, guard: Linear) -> int:
    """Elements by which an access moves for each step of a guard's index; 0 if it does not move with it."""
    terms = (*guard.offsets, *guard.runtime)
    moves = dict((*offset.offsets, *offset.runtime))
    stride, rest = divmod(moves.get(terms[0][0], 0), terms[0][1])
    in_step = all(moves.get(name) == stride * factor for name, factor in terms)
    return stride if guard.runtime and rest == 0 and stride > 0 and in_step else 0


def _keeps_inside(writer: Writer, access: MemoryAccess, guard: Linear, bound: int, stride: int) -> bool:
    """Whether the access lies in its buffer where ``0 <= guard < bound``, whatever else it depends on."""
    least, most = known_range(access.offset, writer.offsets)
    lowest, highest = known_range(guard, writer.offsets)
    return least - stride * lowest >= 0 and most - stride * (highest - (bound - 1)) < access.limit


def _contiguous_load(writer: Writer, access: MemoryAccess, zero_where_false: bool) -> str:
    width = writer.width
    mask = ""
    if zero_where_false or not is_inside(writer, access, 0, width - 1):
        mask = active_mask(writer, NOTHING)
    return _vector_load(writer, access, 0, mask)


def _vector_load(writer: Writer, access: MemoryAccess, extra: int, mask: str) -> str:
    """Neighbouring elements from ``extra`` after lane 0's on; zero where the mask, if any, is off."""
    width = writer.width
    address = element_pointer(writer, access, extra)
    key = ("load", address, mask, width)
    found = writer.cache.get(key)
    if isinstance(found, str):
        return found
    kind = float_type(width)
    emit_fetch(writer, access)
    if not mask:
        return _remembered(writer, access, key, f"load {kind}, ptr {address}, align 4")
    suffix = f"{type_suffix(width)}.p0"
    writer.declarations.add(f"{kind} @llvm.masked.load.{suffix}(ptr, <{width} x i1>, {kind})")
    text = (
        f"call {kind} @llvm.masked.load.{suffix}(ptr align 4 {address}, "
        f"<{width} x i1> {mask}, {kind} {zero(width)})"
    )
    return _remembered(writer, access, key, text)


def _pair_load(writer: Writer, access: MemoryAccess) -> str:
    """Every second element, out of two vectors of neighbours.

    The vectors start at an even place, so that accesses to the elements between share them. Before the
    first element in use nothing is read: lane 0 may be switched off by padding.
    """
    width = writer.width
    lanes = static_lanes(writer)
    place = displacement(access.offset, writer.offsets) % 2
    if place == 1 and not lanes[0]:
        place = -1
    low, high = (
        _vector_load(writer, access, part * width - place, mask)
        for part, mask in enumerate(_pair_masks(writer, access, lanes, place))
    )
    key = ("every second", low, high, place, width)
    found = writer.cache.get(key)
    if isinstance(found, str):
        return found
    picks = ["poison" if 2 * lane + place < 0 else str(2 * lane + place) for lane in range(width)]
    order = ", ".join(f"i32 {pick}" for pick in picks)
    kind = float_type(width)
    result = writer.value(f"shufflevector {kind} {low}, {kind} {high}, <{width} x i32> <{order}>")
    writer.remember(key, result)
    return result


def _pair_masks(writer: Writer, access: MemoryAccess, lanes: list[bool], place: int) -> tuple[str, str]:
    """Masks of the two vectors of ``_pair_load``; lane l reads element ``2 l + place`` of them."""
    width, count = writer.width, writer.count
    if is_inside(writer, access, -place, 2 * width - 1 - place):
        return "", ""
    if is_inside(writer, access, -place, 2 * count - 1 - place):
        elements = [element < 2 * count for element in range(2 * width)]
        return _mask_of(elements[:width]), _mask_of(elements[width:])
    owners = [divmod(element - place, 2) for element in range(2 * width)]
    elements = [rest == 0 and 0 <= lane < width and lanes[lane] for lane, rest in owners]
    dynamic = dynamic_mask(writer)
    masks = []
    for half in (slice(0, width), slice(width, 2 * width)):
        parts = [mask_literal(elements[half])]
        if dynamic:
            picks = ", ".join(f"i32 {min(max(lane, 0), width - 1)}" for lane, _ in owners[half])
            kind = f"<{width} x i1>"
            shuffle = f"shufflevector {kind} {dynamic}, {kind} poison, <{width} x i32> <{picks}>"
            parts.append(writer.value(shuffle))
        masks.append(conjunction(writer, parts, f"<{width} x i1>"))
    return masks[0], masks[1]


def _mask_of(elements: list[bool]) -> str:
    return "" if all(elements) else mask_literal(elements)


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
