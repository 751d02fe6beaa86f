"""Addresses, conditions and lane masks: values that depend on loop variables alone."""

from __future__ import annotations

import math
from collections.abc import Hashable

from codegen.llvm.linear import Linear, Terms, displacement, known_range
from codegen.llvm.plan import MemoryAccess, PlannedRange
from codegen.llvm.sites import GuardId
from codegen.llvm.writer import (
    Head,
    Induction,
    Predicate,
    Writer,
    is_mask_literal,
    literal_lanes,
    mask_literal,
)


def runtime_index(writer: Writer, terms: Terms) -> str:
    """``sum(coefficient * variable)`` as i64, at the head of the innermost loop involved."""
    if not terms:
        return "0"
    name, coefficient = terms[-1]
    head = writer.heads[name]
    found = head.cache.get(terms)
    if found is not None:
        return found
    outer = runtime_index(writer, terms[:-1])
    scaled = _scaled(writer, head, name, coefficient)
    if outer == "0":
        head.cache[terms] = scaled
        return scaled
    return writer.head_value(head, terms, f"add i64 {outer}, {scaled}")


def pointer(writer: Writer, buffer: str, terms: Terms) -> str:
    """Address of a buffer's element at the runtime part of an offset; copies of a body share it."""
    if not terms:
        return writer.pointers[buffer]
    name, coefficient = terms[-1]
    head = writer.heads[name]
    key = (buffer, terms)
    found = head.cache.get(key)
    if found is not None:
        return found
    outer = pointer(writer, buffer, terms[:-1])
    if head.induction is not None and head.induction.variable == name:
        head.cache[key] = _advancing(writer, head.induction, outer, coefficient)
        return head.cache[key]
    scaled = _scaled(writer, head, name, coefficient)
    return writer.head_value(head, key, f"getelementptr float, ptr {outer}, i64 {scaled}")


def compared(writer: Writer, comparison: str, terms: Terms, bound: int) -> str:
    """``sum(coefficient * variable)``, which is not empty, compared (slt or sge) with a bound, as i1.

    All bounds between two multiples of the coefficients' divisor come to the same: copies of a body that
    are before the end together share a condition.
    """
    step = math.gcd(*(coefficient for _, coefficient in terms))
    bound = -(-bound // step) * step
    head = writer.heads[terms[-1][0]]
    key = (comparison, terms, bound)
    found = head.cache.get(key)
    if found is None:
        value = runtime_index(writer, terms)
        found = writer.head_value(head, key, f"icmp {comparison} i64 {value}, {bound}")
    return found


def element_pointer(writer: Writer, access: MemoryAccess, extra: int = 0) -> str:
    """Address of lane 0 of an access, ``extra`` elements further on."""
    base = pointer(writer, access.buffer, access.offset.runtime)
    known = displacement(access.offset, writer.offsets) + extra
    return base if known == 0 else moved_pointer(writer, base, str(known))


def moved_pointer(writer: Writer, base: str, elements: str) -> str:
    """An address so many elements (a number or an i64 value) after another."""
    key = ("element", base, elements)
    found = writer.cache.get(key)
    if isinstance(found, str):
        return found
    result = writer.value(f"getelementptr float, ptr {base}, i64 {elements}")
    writer.remember(key, result)
    return result


def range_predicate(writer: Writer, condition: PlannedRange, negate: bool = False) -> Predicate | bool:
    """The predicate ``low <= index < high``, or the bool it is known to be."""
    parts: list[Predicate] = []
    for bound, is_low in ((condition.low, True), (condition.high, False)):
        if bound is None:
            continue
        part = _side(writer, condition.index, bound, is_low, None)
        if part is False:
            return negate
        if part is not True:
            parts.append(part)
    if not parts:
        return not negate
    joined = all_of(writer, parts)
    return negated(writer, joined) if negate else joined


def guard_predicate(writer: Writer, index: Linear, bound: int, identifier: GuardId) -> Predicate | bool:
    """The predicate ``index < bound`` of a guard, or the bool it is known to be."""
    return _side(writer, index, bound, False, identifier)


def all_of(writer: Writer, parts: list[Predicate]) -> Predicate:
    """Conjunction of conditions, for use where none may be ignored."""
    scalars = [part.scalar for part in parts if part.scalar]
    masks = [part.mask for part in parts if part.mask]
    scalar = conjunction(writer, scalars, "i1")
    if not masks:
        return Predicate(None, scalar)
    if scalar:
        masks.append(splat_condition(writer, scalar))
    return Predicate(None, "", conjunction(writer, masks, f"<{writer.width} x i1>"))


def negated(writer: Writer, predicate: Predicate) -> Predicate:
    """Where a condition does not hold."""
    if predicate.mask:
        every = "splat (i1 true)"
        flipped = writer.value(f"xor <{writer.width} x i1> {predicate.mask}, {every}")
        return Predicate(None, "", flipped)
    return Predicate(None, writer.value(f"xor i1 {predicate.scalar}, true"))


def conjunction(writer: Writer, values: list[str], kind: str) -> str:
    """``and`` over values of one type; empty for none."""
    if not values:
        return ""
    literals = [value for value in values if is_mask_literal(value)]
    if len(literals) > 1:
        lanes = [all(column) for column in zip(*map(literal_lanes, literals), strict=True)]
        values = [mask_literal(lanes), *(value for value in values if value not in literals)]
    result = values[0]
    for value in values[1:]:
        key = ("and", result, value)
        found = writer.cache.get(key)
        if not isinstance(found, str):
            found = writer.value(f"and {kind} {result}, {value}")
            writer.remember(key, found)
        result = found
    return result


def splat_condition(writer: Writer, scalar: str) -> str:
    """A mask whose lanes all equal one condition."""
    width = writer.width
    key = ("splat condition", scalar, width)
    found = writer.cache.get(key)
    if isinstance(found, str):
        return found
    first = writer.value(f"insertelement <{width} x i1> poison, i1 {scalar}, i64 0")
    result = writer.value(
        f"shufflevector <{width} x i1> {first}, <{width} x i1> poison, <{width} x i32> zeroinitializer"
    )
    writer.remember(key, result)
    return result


def active_scalar(writer: Writer, skip: frozenset[GuardId]) -> str:
    """Conjunction of the scalar conditions on the current statement; empty for none."""
    if not writer.predicates:
        return ""
    scalars = [p.scalar for p in writer.predicates if p.scalar and p.guard not in skip]
    return conjunction(writer, scalars, "i1")


def active_mask(writer: Writer, skip: frozenset[GuardId]) -> str:
    """Lanes that take part in the current statement; empty for all of them."""
    if not writer.predicates and writer.count == writer.width:
        return ""
    masks = [p.mask for p in writer.predicates if p.mask and p.guard not in skip]
    if writer.count < writer.width:
        masks.insert(0, mask_literal([lane < writer.count for lane in range(writer.width)]))
    scalar = active_scalar(writer, skip)
    if scalar:
        masks.append(splat_condition(writer, scalar))
    return conjunction(writer, masks, f"<{writer.width} x i1>")


def static_lanes(writer: Writer) -> list[bool]:
    """Lanes that may take part in the current statement by what is known while text is emitted."""
    lanes = [lane < writer.count for lane in range(writer.width)]
    for predicate in writer.predicates:
        if is_mask_literal(predicate.mask):
            lanes = [one and other for one, other in zip(lanes, literal_lanes(predicate.mask), strict=True)]
    return lanes


def dynamic_mask(writer: Writer) -> str:
    """The conditions on the current statement that are only known as it runs; empty for none."""
    masks = [p.mask for p in writer.predicates if p.mask and not is_mask_literal(p.mask)]
    scalar = active_scalar(writer, frozenset())
    if scalar:
        masks.append(splat_condition(writer, scalar))
    return conjunction(writer, masks, f"<{writer.width} x i1>")


def _side(
    writer: Writer, index: Linear, bound: int, is_low: bool, identifier: GuardId | None
) -> Predicate | bool:
    """``index >= bound`` if ``is_low`` else ``index < bound``."""
    least, most = known_range(index, writer.offsets)
    reach = index.lane * (writer.count - 1)
    least, most = least + min(0, reach), most + max(0, reach)
    if least >= bound or most < bound:
        return (least >= bound) == is_low
    room = bound - displacement(index, writer.offsets)
    if index.lane:
        return Predicate(identifier, "", _lane_mask(writer, index, room, is_low))
    found = compared(writer, "sge" if is_low else "slt", index.runtime, room)
    return Predicate(identifier, found, index=None if is_low else index, bound=bound)


def _lane_mask(writer: Writer, index: Linear, room: int, is_low: bool) -> str:
    """Lanes where ``runtime + coefficient * lane`` is at least (below) ``room``."""
    width, factor = writer.width, index.lane
    if not index.runtime:
        return mask_literal([(factor * lane >= room) == is_low for lane in range(width)])
    comparison = "sge" if is_low else "slt"
    head = writer.heads[index.runtime[-1][0]]
    key: Hashable = ("mask", comparison, index.runtime, room, factor, width)
    found = head.cache.get(key)
    if found is not None:
        return found
    value = runtime_index(writer, index.runtime)
    rest = writer.head_value(head, (key, 0), f"sub i64 {room}, {value}")
    integer = "i64"
    if max(abs(room - index.low), abs(room - index.high), abs(factor * width)) < 2**31:
        integer = "i32"  # half the vector registers
        rest = writer.head_value(head, (key, 1), f"trunc i64 {rest} to i32")
    kind = f"<{width} x {integer}>"
    first = writer.head_value(head, (key, 2), f"insertelement {kind} poison, {integer} {rest}, i64 0")
    splat = writer.head_value(
        head, (key, 3), f"shufflevector {kind} {first}, {kind} poison, <{width} x i32> zeroinitializer"
    )
    lanes = "<" + ", ".join(f"{integer} {factor * lane}" for lane in range(width)) + ">"
    return writer.head_value(head, key, f"icmp {comparison} {kind} {lanes}, {splat}")


def _advancing(writer: Writer, induction: Induction, outer: str, coefficient: int) -> str:
    """A pointer that moves along with the loop variable."""
    initial, start = outer, induction.start
    if start.isdigit():
        shift = str(int(start) * coefficient)
    else:
        shift = writer.fresh()
        induction.before.append(f"  {shift} = mul i64 {start}, {coefficient}")
    if shift != "0":
        initial = writer.fresh()
        induction.before.append(f"  {initial} = getelementptr float, ptr {outer}, i64 {shift}")
    name = writer.fresh()
    induction.pointers.append((name, initial, coefficient * induction.step))
    return name


def _scaled(writer: Writer, head: Head, name: str, coefficient: int) -> str:
    value = writer.names[name]
    if value.isdigit():
        return str(int(value) * coefficient)
    if coefficient == 1:
        return value
    key = ("scaled", name, coefficient)
    found = head.cache.get(key)
    if found is None:
        found = writer.head_value(head, key, f"mul i64 {value}, {coefficient}")
    return found
