"""Stores: assignments to tensors, reductions, matrix products, and writes to memory."""

from __future__ import annotations

from collections.abc import Sequence

from codegen.ir.expression import IDENTITY, Constant, Expr, Load, Reducer, Select, loads, walk
from codegen.ir.loops import Loop, Store
from codegen.schedule.errors import require
from codegen.triton.expressions import NAN, Evaluation, Kernel, Mask, number
from codegen.triton.layout import Dim, Dot, plain_load
from codegen.triton.normal_form import accesses
from codegen.triton.writing import call

_DTYPES = {"float16": "tl.float16", "bfloat16": "tl.bfloat16"}


def store_lines(kernel: Kernel, store: Store, around: Sequence[Loop], masks: Sequence[Mask]) -> list[str]:
    """The statements of one store inside its vectorized loops and conditions."""
    written = {name for index in store.index for name in index.variables}
    reduced = tuple(loop.variable for loop in around if loop.variable not in written)
    require(
        not reduced or store.reducer is not None,
        f"every iteration of {list(reduced)} writes the same element of {store.buffer!r}",
    )
    if store in kernel.layout.dots:
        return _dot_lines(kernel, store, kernel.layout.dots[store], masks)
    target = _target_dims(kernel, store, around)
    if kernel.is_tensor(store.buffer):
        return _tensor_lines(kernel, store, target, reduced, masks)
    return _memory_lines(kernel, store, target, reduced, masks)


def _target_dims(kernel: Kernel, store: Store, around: Sequence[Loop]) -> tuple[Dim, ...]:
    """Dimensions of what is stored: in the order of the tensors that take part, else of the loops."""
    written = {name for index in store.index for name in index.variables}
    variables = [loop.variable for loop in around if loop.variable in written]
    dims = kernel.layout.of(variables)
    for access in accesses(store):
        if kernel.is_tensor(access.buffer):
            order = kernel.layout.of_tensor(access.buffer, access)
            if set(order) == set(dims):
                return order
    return dims


def _dot_lines(kernel: Kernel, store: Store, dot: Dot, masks: Sequence[Mask]) -> list[str]:
    lines: list[str] = []
    sides = []
    for expr, dims in ((dot.left, (dot.rows, dot.depth)), (dot.right, (dot.depth, dot.columns))):
        is_load = plain_load(expr) is not None
        evaluation = Evaluation(kernel, dims, masks, widens=not is_load)
        text = _neutral(evaluation, expr, evaluation.value(expr), dot.depth.variables, "sum")
        lines += evaluation.lines
        sides.append(text + _narrowed(kernel, is_computed=not is_load))
    name = kernel.tensors[store.buffer]
    options = ""
    if kernel.precision.storage == "float32" and kernel.precision.dot_input in ("ieee", "tf32"):
        options = f', input_precision="{kernel.precision.dot_input}"'
    return [*lines, f"{name} = tl.dot({sides[0]}, {sides[1]}, {name}{options})"]


def _narrowed(kernel: Kernel, *, is_computed: bool) -> str:
    """The cast of an operand of a matrix product to the format in which it is multiplied."""
    storage, dot_input = kernel.precision.storage, kernel.precision.dot_input
    if storage != "float32":
        return f".to({_DTYPES[storage]})" if is_computed else ""
    return f".to({_DTYPES[dot_input]})" if dot_input in _DTYPES else ""


def _tensor_lines(
    kernel: Kernel, store: Store, dims: Sequence[Dim], reduced: Sequence[str], masks: Sequence[Mask]
) -> list[str]:
    name = kernel.tensors[store.buffer]
    if store.reducer is None:
        if isinstance(store.value, Constant):
            return [f"{name} = {_filled(kernel, store.value.value, dims)}"]
        evaluation = Evaluation(kernel, dims, masks)
        text = evaluation.value(store.value)
        if not _spans(kernel, store.value, dims):
            text = f"tl.broadcast_to({text}, {kernel.positions.shape(dims)})"
        elif evaluation.lines and evaluation.lines[-1].startswith(f"{text} = "):
            text = evaluation.lines.pop().removeprefix(f"{text} = ")
        return [*evaluation.lines, f"{name} = {text}"]
    lines, text = _reduced(kernel, store, dims, reduced, masks)
    return [*lines, f"{name} = {_combined(store.reducer, name, text)}"]


def _memory_lines(
    kernel: Kernel, store: Store, dims: Sequence[Dim], reduced: Sequence[str], masks: Sequence[Mask]
) -> list[str]:
    if store.reducer is None:
        evaluation = Evaluation(kernel, dims, masks)
        text = evaluation.value(store.value)
        lines = evaluation.lines
    else:
        lines, text = _reduced(kernel, store, dims, reduced, masks)
    outside = [mask for mask in masks if not mask.variables & set(reduced)]
    target = Evaluation(kernel, dims, outside)
    if store.reducer is not None:
        there = target.load(Load(store.buffer, store.index), None, ())
        text = _combined(store.reducer, there, text)
    mask = target.mask(outside)
    arguments = [target.address(store.buffer, store.index), text, *([f"mask={mask}"] if mask else [])]
    return [*lines, *target.lines, call("tl.store", arguments)]


def _reduced(
    kernel: Kernel, store: Store, dims: Sequence[Dim], reduced: Sequence[str], masks: Sequence[Mask]
) -> tuple[list[str], str]:
    """What one run of the vectorized loops adds to a store with a reducer."""
    assert store.reducer is not None
    depth = kernel.layout.of(reduced)
    evaluation = Evaluation(kernel, (*dims, *depth), masks, fill=IDENTITY[store.reducer])
    text = evaluation.value(store.value)
    if depth:
        text = _neutral(evaluation, store.value, text, reduced, store.reducer)
    if depth and not _spans(kernel, store.value, (*dims, *depth)):
        text = f"tl.broadcast_to({text}, {kernel.positions.shape((*dims, *depth))})"
    for axis in range(len(dims) + len(depth) - 1, len(dims) - 1, -1):
        text = f"tl.{store.reducer}({text}, axis={axis})"
    return evaluation.lines, text


def _neutral(evaluation: Evaluation, value: Expr, text: str, reduced: Sequence[str], reducer: Reducer) -> str:
    """The value where the reduction has iterations, elsewhere what changes nothing."""
    beyond = [mask for mask in evaluation.masks if mask.variables & set(reduced)]
    if not beyond or _is_filled(evaluation.kernel, value, beyond, reducer):
        return text
    return f"tl.where({evaluation.mask(beyond)}, {text}, {number(IDENTITY[reducer])})"


def _is_filled(kernel: Kernel, value: Expr, masks: Sequence[Mask], reducer: Reducer) -> bool:
    """Whether the value is one load from memory that gives, where a mask fails, what changes nothing."""
    loaded = plain_load(value)
    if loaded is None or kernel.is_tensor(loaded[0].buffer):
        return False
    load, select = loaded
    variables = {name for index in load.index for name in index.variables}
    fill = IDENTITY[reducer] if select is None else select.otherwise
    is_same = fill in (IDENTITY[reducer], Constant(IDENTITY[reducer]))
    return is_same and all(mask.variables & variables for mask in masks)


def _combined(reducer: Reducer, left: str, right: str) -> str:
    if reducer == "sum":
        return f"{left} + {right}"
    return call("tl.maximum", [left, right, NAN])


def _filled(kernel: Kernel, value: float, dims: Sequence[Dim]) -> str:
    shape = kernel.positions.shape(dims) if dims else "()"
    if value == 0:
        return f"tl.zeros({shape}, tl.float32)"
    return f"tl.full({shape}, {number(value)}, tl.float32)"


def _spans(kernel: Kernel, value: Expr, dims: Sequence[Dim]) -> bool:
    """Whether the value has every dimension by itself."""
    variables = {name for load in loads(value) for index in load.index for name in index.variables}
    variables |= _selecting(value)
    return all(set(dim.variables) & variables for dim in dims if dim.size > 1)


def _selecting(value: Expr) -> set[str]:
    selects = (part for part in walk(value) if isinstance(part, Select))
    return {n for select in selects for c in select.conditions for n in c.index.variables}
