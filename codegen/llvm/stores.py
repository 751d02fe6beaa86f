"""Stores: plain ones, accumulations, and reductions over the lanes."""

from __future__ import annotations

from codegen.ir.expression import IDENTITY, Reducer
from codegen.llvm.address import active_mask, active_scalar
from codegen.llvm.control import emit_branch
from codegen.llvm.functions import select
from codegen.llvm.memory import NOTHING, any_active, load
from codegen.llvm.memory import store as store_to_memory
from codegen.llvm.plan import Access, PlannedBinary, PlannedExpr, PlannedStore, RegisterAccess
from codegen.llvm.registers import read_register, write_register
from codegen.llvm.values import add_product, evaluate, evaluate_vector, greater, spread
from codegen.llvm.writer import Predicate, RegisterKey, Writer, float_literal, float_type, type_suffix


def emit_store(writer: Writer, store: PlannedStore) -> None:
    """Emit a store for the current instance or lanes."""
    lanes = writer.width > 1
    if lanes and store.reducer is not None and not _has_lanes(store.target):
        _reduce_lanes(writer, store, store.reducer)
    elif isinstance(store.target, RegisterAccess):
        if lanes and not _has_lanes(store.target):
            _store_last_lane(writer, store, store.target)
        else:
            _store_to_register(writer, store, store.target)
    elif lanes:
        _store_value(writer, store)
    else:
        emit_guarded(writer, active_scalar(writer, NOTHING), store)


def emit_guarded(writer: Writer, condition: str, store: PlannedStore) -> None:
    """A scalar store to memory, branched around where the condition fails."""
    if not condition:
        _store_value(writer, store)
        return
    kept, writer.predicates = writer.predicates, []
    emit_branch(writer, condition, lambda: _store_value(writer, store), None)
    writer.predicates = kept


def complete_reduction(writer: Writer, store: PlannedStore, widths: list[int]) -> None:
    """Fold the lanes that a deferred reduction has collected, and combine them with its target."""
    assert store.reducer is not None
    folded = ""
    for width in widths:
        collected = writer.registers.pop(_hidden_key(store, width))
        part = _fold(writer, store.reducer, collected, width)
        folded = _combined(writer, store.reducer, folded, part, 1) if folded else part
    _combine_scalar(writer, store.target, store.reducer, folded)


def start_reduction(writer: Writer, store: PlannedStore, widths: list[int]) -> None:
    """Begin collecting, one vector for each chunk width, with the identity."""
    assert store.reducer is not None
    for width in widths:
        key = _hidden_key(store, width)
        writer.registers[key] = float_literal(IDENTITY[store.reducer], width)
        writer.widths[key] = width


def hidden_name(store: PlannedStore) -> str:
    """What the vector collected for a deferred reduction is called among the register buffers."""
    return f"lanes of {store.target.buffer}"


def _hidden_key(store: PlannedStore, width: int) -> RegisterKey:
    return (hidden_name(store), 0, width)


def _has_lanes(access: Access) -> bool:
    if isinstance(access, RegisterAccess):
        return access.row.lane != 0 or access.along.lane != 0
    return access.offset.lane != 0


def _store_to_register(writer: Writer, store: PlannedStore, target: RegisterAccess) -> None:
    width = writer.width if _has_lanes(target) else 1
    old = ""
    if store.reducer is not None:
        value = read_register(writer, target)
        old = spread(writer, value) if width > 1 else value[0]
    new = _updated(writer, store.reducer, old, store.value, width)
    scalar, mask = active_scalar(writer, store.skippable), ""
    if width > 1:
        mask = _needed_mask(writer, store)
    if scalar or mask:
        if not old:
            value = read_register(writer, target)
            old = spread(writer, value) if width > 1 else value[0]
        if mask:
            new = select(writer, mask, new, old, width)
        else:
            kind = float_type(width)
            new = writer.value(f"select i1 {scalar}, {kind} {new}, {kind} {old}")
    write_register(writer, target, new)


def _store_last_lane(writer: Writer, store: PlannedStore, target: RegisterAccess) -> None:
    """A plain store that every lane makes to one element: the last lane that takes part decides."""
    value, is_vector = evaluate(writer, store.value)
    mask = active_mask(writer, NOTHING)
    kind, bits = float_type(writer.width), f"<{writer.width} x i1>"
    result = read_register(writer, target)[0]
    for lane in range(writer.count):
        new = writer.value(f"extractelement {kind} {value}, i64 {lane}") if is_vector else value
        if mask:
            holds = writer.value(f"extractelement {bits} {mask}, i64 {lane}")
            new = writer.value(f"select i1 {holds}, float {new}, float {result}")
        result = new
    kept, writer.width = writer.width, 1
    write_register(writer, target, result)
    writer.width = kept


def _needed_mask(writer: Writer, store: PlannedStore) -> str:
    """Lanes that may change; empty when only spare lanes and ignorable guards are switched off."""
    if not any(p.mask and p.guard not in store.skippable for p in writer.predicates):
        return ""
    return active_mask(writer, store.skippable)


def _store_value(writer: Writer, store: PlannedStore) -> None:
    """Store to memory; conditions are the mask of the lanes, or have been branched on."""
    target = store.target
    assert not isinstance(target, RegisterAccess)
    if store.reducer is None:
        store_to_memory(writer, target, evaluate_vector(writer, store.value))
        return
    old = spread(writer, load(writer, target))
    store_to_memory(writer, target, _updated(writer, store.reducer, old, store.value, writer.width))


def _updated(writer: Writer, reducer: Reducer | None, old: str, value: PlannedExpr, width: int) -> str:
    is_vector = width > 1
    if reducer == "sum" and isinstance(value, PlannedBinary) and value.op in ("mul", "dot_pairs"):
        return add_product(writer, value, old, is_vector)
    evaluated = evaluate(writer, value)
    new = spread(writer, evaluated) if is_vector else evaluated[0]
    return new if reducer is None else _combined(writer, reducer, old, new, width)


def _combined(writer: Writer, reducer: Reducer, old: str, new: str, width: int) -> str:
    if reducer == "sum":
        return writer.value(f"fadd contract {float_type(width)} {old}, {new}")
    return greater(writer, old, new, width)


def _reduce_lanes(writer: Writer, store: PlannedStore, reducer: Reducer) -> None:
    """A reduction whose target all lanes share: collect vectors if deferred, else fold at once."""
    width = writer.width
    identity = float_literal(IDENTITY[reducer], width)
    mask = active_mask(writer, NOTHING)
    old = writer.registers[_hidden_key(store, width)] if store.is_deferred else identity
    if mask:
        new = _updated(writer, reducer, old, store.value, width)
        new = select(writer, mask, new, old, width)
    else:
        new = _updated(writer, reducer, old, store.value, width)
    if store.is_deferred:
        writer.registers[_hidden_key(store, width)] = new
        return
    folded = _fold(writer, reducer, new, width)
    # Memory may be touched only where some lane holds; a register element is left as it was anyway.
    condition = "" if isinstance(store.target, RegisterAccess) else any_active(writer)
    kept = writer.width, writer.count, writer.predicates
    writer.width = writer.count = 1
    writer.predicates = [Predicate(None, condition)] if condition else []
    _combine_scalar(writer, store.target, reducer, folded)
    writer.width, writer.count, writer.predicates = kept


def _fold(writer: Writer, reducer: Reducer, vector: str, width: int) -> str:
    kind, suffix = float_type(width), type_suffix(width)
    if reducer == "sum":
        writer.declarations.add(f"float @llvm.vector.reduce.fadd.{suffix}(float, {kind})")
        return writer.value(
            f"call reassoc float @llvm.vector.reduce.fadd.{suffix}(float -0.0, {kind} {vector})"
        )
    writer.declarations.add(f"float @llvm.vector.reduce.fmaximum.{suffix}({kind})")
    return writer.value(f"call nsz float @llvm.vector.reduce.fmaximum.{suffix}({kind} {vector})")


def _combine_scalar(writer: Writer, target: Access, reducer: Reducer, value: str) -> None:
    """``target = reducer(target, value)`` for one element; the value is neutral where nothing holds."""
    scalar = active_scalar(writer, NOTHING)
    if isinstance(target, RegisterAccess):
        old = read_register(writer, target)[0]
        new = _combined(writer, reducer, old, value, 1)
        if scalar:
            new = writer.value(f"select i1 {scalar}, float {new}, float {old}")
        write_register(writer, target, new)
        return

    def update() -> None:
        new = _combined(writer, reducer, load(writer, target)[0], value, 1)
        store_to_memory(writer, target, new)

    if scalar:
        kept, writer.predicates = writer.predicates, []
        emit_branch(writer, scalar, update, None)
        writer.predicates = kept
    else:
        update()
