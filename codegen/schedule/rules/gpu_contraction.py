"""GPU sketches of reductions: matrix products on tensor cores, all others by vector arithmetic.

A program computes one tile of the result. Where the reduction is a sum of products whose factors share
all reduction axes, the axes of one factor make the rows of a matrix product and those of the other its
columns: convolution becomes an implicit matrix product this way, with a tile size of its own for each
of image, height, width and channel, so that every index stays affine.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from codegen.gpu_target import GpuTarget
from codegen.ir.affine import Affine, variable
from codegen.ir.expression import Axis, Binary, Expr, Load, Program, Stage, loads
from codegen.schedule.rules.gpu_contraction_lowering import Form, limits, lower_form
from codegen.schedule.rules.gpu_knobs import blocks, covering, launch, powers
from codegen.schedule.rules.reads import is_pointwise_after
from codegen.schedule.sketch import Knob, KnobGroup, Sketch, free

_DOT_SIDE = (16, 256)
"""Rows and columns of a tile: tensor cores take 16, more than 256 do not fit the registers."""

_DOT_DEPTH = (16, 128)
_VECTOR_TILE = 4096
_VECTOR_DEPTH = 1024
_SPLIT_FROM = 256
"""Elements of the longest reduction axis from which it is worth giving to several programs."""


def gpu_contraction_sketches(program: Program, target: GpuTarget) -> tuple[Sketch, ...]:
    """Sketches of a program whose first stage reduces and whose others are elementwise in its result."""
    if not _matches(program):
        return ()
    stage = program.stages[0]
    product = _as_product(stage)
    form = _dot_form(program, product) if product is not None else _vector_form(program)
    groups = _dot_groups(product, form) if product is not None else _vector_groups(form)
    kind = "dot" if product is not None else "vector"
    sketches = [Sketch(kind, groups, lower_form(form), limits(form))]
    constant = _packable(program, form) if product is not None else None
    if constant is not None:
        packed = replace(form, packed=constant)
        sketches.append(
            Sketch(f"{kind}.packed_{constant.buffer}", groups, lower_form(packed), limits(packed))
        )
    longest = max(stage.reduce_axes, key=lambda axis: axis.extent)
    is_long = longest.extent >= _SPLIT_FROM
    if is_long:
        sketches.append(_split(f"{kind}.split", groups, form, longest))
    staged = _staged(program, replace(form, packed=constant)) if product is not None else None
    if product is not None and staged is not None and staged.staged is not None:
        name, groups = f"{kind}.staged_{staged.staged.buffer}", _dot_groups(product, staged)
        sketches.append(Sketch(name, groups, lower_form(staged), limits(staged)))
        if is_long and longest in staged.depth:
            sketches.append(_split(f"{name}.split", groups, staged, longest))
    return tuple(sketches)


def _split(name: str, groups: tuple[KnobGroup, ...], form: Form, axis: Axis) -> Sketch:
    """The sketch whose programs share sums over an axis."""
    splits = free(Knob(f"{axis.name}_splits", powers(2, min(32, axis.extent // 64))))
    divided = replace(form, divided=axis)
    return Sketch(f"{name}_{axis.name}", (*groups, splits), lower_form(divided), limits(divided))


@dataclass(frozen=True)
class Product:
    """Axes of a sum of products: in both factors, in one (rows), in the other (columns)."""

    shared: tuple[Axis, ...]
    rows: tuple[Axis, ...]
    columns: tuple[Axis, ...]
    depth: tuple[Axis, ...]


def _matches(program: Program) -> bool:
    first, *rest = program.stages
    if first.reducer is None or any(stage.reducer is not None for stage in rest):
        return False
    return all(is_pointwise_after(stage, program.stages[: n + 1]) for n, stage in enumerate(rest))


def _as_product(stage: Stage) -> Product | None:
    """The reduction as a matrix product, or None if it has no rows, columns or common depth."""
    value = stage.value
    if stage.reducer != "sum" or not isinstance(value, Binary) or value.op != "mul":
        return None
    left, right = _variables(value.left), _variables(value.right)
    if not all(axis.name in left & right for axis in stage.reduce_axes):
        return None
    shared, rows, columns = (
        tuple(axis for axis in stage.axes if axis.name in own)
        for own in (left & right, left - right, right - left)
    )
    return Product(shared, rows, columns, stage.reduce_axes) if rows and columns else None


def _packable(program: Program, form: Form) -> Load | None:
    """A constant operand that has one tiled axis, and is not contiguous along it."""
    tiled = {axis.name for axis in form.tiled}
    for load in loads(program.stages[0].value):
        is_plain = all(_is_plain(index) for index in load.index)
        along = [index.variables[0] for index in load.index if index.terms and index.variables[0] in tiled]
        if program.tensors[load.buffer].is_constant and is_plain and len(along) == 1:
            return load if load.index[-1] != variable(along[0]) else None
    return None


def _staged(program: Program, form: Form) -> Form | None:
    """The form with an operand copied first that is read through a window or in strides; None without one.

    No tile of such an operand is a run of aligned memory. One of its dimensions has to be indexed by a
    reduction axis alone that fills a product's depth: along it, tiles of the copy are runs.
    """
    for load in loads(program.stages[0].value):
        if program.tensors[load.buffer].is_constant or all(_is_plain(index) for index in load.index):
            continue
        for dimension, index in enumerate(load.index[:-1]):
            deep = [axis for axis in form.depth if index == variable(axis.name)]
            if deep and deep[0].extent >= _DOT_DEPTH[0]:
                serial = tuple(axis for axis in form.depth if axis not in deep)
                return replace(
                    form, depth=tuple(deep), serial=serial, staged=load, staged_dimension=dimension
                )
    return None


def _is_plain(index: Affine) -> bool:
    return not index.terms or index == variable(index.variables[0])


def _variables(expr: Expr) -> set[str]:
    return {name for load in loads(expr) for index in load.index for name in index.variables}


def _by_length(axes: tuple[Axis, ...]) -> tuple[Axis, ...]:
    """Loops run in this order: the longest innermost, where the software pipeline is."""
    return tuple(sorted(axes, key=lambda axis: axis.extent))


def _dot_form(program: Program, product: Product) -> Form:
    grouped = max(product.rows, key=lambda axis: axis.extent)
    rows = (*(axis for axis in product.rows if axis is not grouped), grouped)
    return Form(program, product.shared, (*rows, *product.columns), _by_length(product.depth), (), grouped)


def _dot_groups(product: Product, form: Form) -> tuple[KnobGroup, ...]:
    assert form.grouped is not None
    tiles = covering(form.grouped.extent) // _DOT_SIDE[0]
    return (
        blocks(product.rows, *_DOT_SIDE),
        blocks(product.columns, *_DOT_SIDE),
        blocks(form.depth, *_DOT_DEPTH),
        free(Knob(f"{form.grouped.name}_group", powers(1, max(1, min(16, tiles))))),
        *launch((2, 4, 8), (1, 2, 3, 4, 5)),
    )


def _vector_form(program: Program) -> Form:
    stage = program.stages[0]
    *serial, longest = _by_length(stage.reduce_axes)
    is_long = longest.extent >= _DOT_DEPTH[0]
    depth = (longest,) if is_long else ()
    return Form(program, (), stage.axes, depth, tuple(serial) if is_long else (*serial, longest), None)


def _vector_groups(form: Form) -> tuple[KnobGroup, ...]:
    depth = (blocks(form.depth, 1, _VECTOR_DEPTH),) if form.depth else ()
    most = _VECTOR_TILE // 8 if form.depth else _VECTOR_TILE
    return (blocks(form.tiled, 1, most), *depth, *launch((1, 2, 4, 8), (1, 2, 3)))
