"""Lowering of Winograd sketches: one nest for each step, with knob values in extents and strides."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from codegen.ir.affine import Affine, variable
from codegen.ir.arithmetic import Int, ceil_div
from codegen.ir.expression import Binary, Constant, Expr, InRange, Load, Select
from codegen.ir.loops import Guard, Loop, LoopKind, LoopProgram, Node, Store
from codegen.schedule.rewrite import map_expr, substitute_expr, wrap
from codegen.schedule.rules.winograd_layout import Choice, Layout
from codegen.schedule.rules.winograd_match import Convolution
from codegen.schedule.rules.winograd_matrices import KERNEL
from codegen.schedule.sketch import Values

Nodes = tuple[Node, ...]
Extent = tuple[str, Int]


def lower_winograd(convolution: Convolution, choice: Choice) -> Callable[[Values], LoopProgram]:
    """The lowering of one sketch."""

    def lower(values: Values) -> LoopProgram:
        layout = Layout(convolution, choice, values)
        steps = (*_fill_strip(layout), *_to_points(layout), *_multiply(layout), *_from_points(layout))
        if not convolution.is_channels_last:
            steps = (*steps, *_write_strip(layout))
        if choice.is_blocked:
            loops = [Loop("block", ceil_div(layout.all_rows, layout.rows), (), LoopKind.PARALLEL)]
            if convolution.batch is not None:
                loops.insert(0, Loop("image", convolution.batch.extent, (), LoopKind.PARALLEL))
            steps = wrap(loops, steps)
        name = convolution.contraction.program.name
        return LoopProgram(name, layout.buffers(), steps, _transform_kernels(layout))

    return lower


def _fill_strip(layout: Layout) -> Nodes:
    """The padded image with channels last; of NCHW, blocks are transposed in registers."""
    tile, lanes = layout.choice.tile, layout.lanes
    row, vector = variable("in_row"), variable("in_vector")
    below = Guard(layout.first_row * tile + row, layout.all_rows * tile + KERNEL - 1)
    loops = [
        layout.shared("in_vector", layout.in_vectors),
        *layout.image_loops("in"),
        replace(layout.shared("in_row", layout.rows * tile + (KERNEL - 1)), guards=(below,)),
    ]
    place = (layout.image("in"), vector, row)
    if layout.convolution.is_channels_last:
        channel = vector * lanes + variable("in_lane")
        value = _padded(layout, channel, row, variable("in_column"))
        store = Store("x_strip", (*place, variable("in_column"), variable("in_lane")), value)
        column = Loop("in_column", layout.squares * layout.square, ())
        return wrap([*loops, column, _vector("in_lane", lanes)], (store,))
    first = variable("in_square") * layout.square
    value = _padded(layout, vector * lanes + variable("in_lane"), row, first + variable("in_column"))
    read = Store("x_square", (variable("in_lane"), variable("in_column")), value)
    turned = Load("x_square", (variable("turn_lane"), variable("turn_column")))
    write = Store("x_strip", (*place, first + variable("turn_column"), variable("turn_lane")), turned)
    body = (
        *wrap([_unrolled("in_lane", lanes), _vector("in_column", layout.square)], (read,)),
        *wrap([_unrolled("turn_column", layout.square), _vector("turn_lane", lanes)], (write,)),
    )
    return wrap([*loops, Loop("in_square", layout.squares, ())], body)


def _padded(layout: Layout, channel: Affine, row: Affine, column: Affine) -> Expr:
    """An element of x, zero outside; rows count from the first of the strip."""
    convolution = layout.convolution
    top, left = convolution.padding
    index = [layout.batch_image("in")] * len(convolution.image.index)
    at = (channel, layout.first_row * layout.choice.tile + row - top, column - left)
    for place, affine in zip(convolution.places, at, strict=True):
        index[place] = affine
    shape = convolution.contraction.program.tensors[convolution.image.buffer].shape
    conditions = tuple(
        InRange(index[place], 0, shape[place])
        for place in convolution.places
        if place != convolution.places[0] or shape[place] % layout.lanes
    )
    return Select(conditions, Load(convolution.image.buffer, tuple(index)), Constant(0.0))


def _to_points(layout: Layout) -> Nodes:
    """B^T d B for every tile."""
    points, tile = layout.matrices.points, layout.choice.tile
    i, j, lane = variable("u"), variable("v"), variable("u_lane")
    row, column = variable("u_row") * tile, variable("u_column") * tile
    vector = variable("u_vector")
    source = (layout.image("u"), vector)
    half = _row_sum(
        "to_points", i, [Load("x_strip", (*source, row + r, column + j, lane)) for r in range(points)]
    )
    k, n, lane2 = variable("u2"), variable("v2"), variable("u2_lane")
    whole = _row_sum("to_points", n, [Load("x_half", (k, Affine() + s, lane2)) for s in range(points)])
    target = (k * points + n, _tile_number(layout, "u"), vector * layout.lanes + lane2)
    body = (
        *_laid_out(
            ("v", points), ("u", points), ("u_lane", layout.lanes), Store("x_half", (i, j, lane), half)
        ),
        *_laid_out(
            ("u2", points), ("v2", points), ("u2_lane", layout.lanes), Store("x_points", target, whole)
        ),
    )
    return wrap(_tile_loops(layout, "u", layout.in_vectors), body)


def _multiply(layout: Layout) -> Nodes:
    """For every point, tiles x channels of x times channels of x x channels of the result."""
    convolution, rows, width = layout.convolution, layout.register_rows, layout.register_width
    point, block, tiles = variable("point"), variable("channels"), variable("tiles")
    row, lane, depth = variable("tile"), variable("lane"), convolution.in_channel
    place = tiles * rows + row
    product = Binary(
        "mul",
        Load("x_points", (point, place, variable(depth.name))),
        Load("w_points", (point, block, variable(depth.name), lane)),
    )
    zero = Store("sums", (variable("tile_zero"), variable("lane_zero")), Constant(0.0))
    add = Store("sums", (row, lane), product, "sum")
    out = (variable("tile_out"), variable("lane_out"))
    write = Store("y_points", (point, tiles * rows + out[0], block * width + out[1]), Load("sums", out))
    steps = Loop(
        depth.name,
        depth.extent,
        wrap([_unrolled("tile", rows), _vector("lane", width)], (add,)),
        unroll=layout.values[f"{depth.name}_unroll"],
        is_reduction=True,
    )
    body = (
        *wrap([_unrolled("tile_zero", rows), _vector("lane_zero", width)], (zero,)),
        steps,
        *wrap([_unrolled("tile_out", rows), _vector("lane_out", width)], (write,)),
    )
    below = Guard(
        layout.first_row * layout.columns + tiles * rows, layout.all_rows * layout.columns * layout.images
    )
    loops = [
        layout.shared("point", layout.matrices.points**2),
        layout.shared("channels", layout.blocks),
        Loop("tiles", ceil_div(layout.tiles, rows), (), guards=(below,)),
    ]
    return wrap(loops, body)


def _from_points(layout: Layout) -> Nodes:
    """A^T m A for every tile."""
    points, tile, lanes = layout.matrices.points, layout.choice.tile, layout.lanes
    i, j, lane, vector = variable("z"), variable("t"), variable("z_lane"), variable("z_vector")
    number, channel = _tile_number(layout, "z"), vector * lanes + lane
    half = _row_sum(
        "from_points", i, [Load("y_points", (j + r * points, number, channel)) for r in range(points)]
    )
    k, n, lane2 = variable("z2"), variable("t2"), variable("z2_lane")
    whole = _row_sum("from_points", n, [Load("y_half", (k, Affine() + s, lane2)) for s in range(points)])
    if layout.convolution.is_channels_last:
        target = Store("y_tile", (k, n, lane2), whole)
    else:
        row, column = variable("z_row") * tile + k, variable("z_column") * tile + n
        target = Store("y_strip", (layout.image("z"), vector, row, column, lane2), whole)
    body = (
        *_laid_out(("t", points), ("z", tile), ("z_lane", lanes), Store("y_half", (i, j, lane), half)),
        *_laid_out(("z2", tile), ("t2", tile), ("z2_lane", lanes), target),
    )
    if layout.convolution.is_channels_last:
        body = (*body, *_write_tile(layout))
    return wrap(_tile_loops(layout, "z", layout.out_vectors), body)


def _write_tile(layout: Layout) -> Nodes:
    """A tile of the result with what follows it, channels last."""
    convolution, tile, lanes = layout.convolution, layout.choice.tile, layout.lanes
    i, j, lane = variable("y_row"), variable("y_column"), variable("y_lane")
    row = layout.first_row * tile + variable("z_row") * tile + i
    column, channel = variable("z_column") * tile + j, variable("z_vector") * lanes + lane
    store = _finished(layout, "z", Load("y_tile", (i, j, lane)), channel, row, column)
    loops = [
        Loop("y_row", tile, (), LoopKind.UNROLLED, (Guard(row, convolution.row.extent),)),
        Loop("y_column", tile, (), LoopKind.UNROLLED, (Guard(column, convolution.column.extent),)),
        Loop("y_lane", lanes, (), LoopKind.VECTORIZED, (Guard(channel, convolution.channel.extent),)),
    ]
    return wrap(loops, (store,))


def _write_strip(layout: Layout) -> Nodes:
    """The result with what follows it, transposed to NCHW in registers."""
    convolution, tile, lanes = layout.convolution, layout.choice.tile, layout.lanes
    vector, strip_row, first = variable("y_vector"), variable("y_row"), variable("y_square") * lanes
    turned = Load(
        "y_strip", (layout.image("y"), vector, strip_row, first + variable("turn_y"), variable("turn_z"))
    )
    read = Store("y_square", (variable("turn_y"), variable("turn_z")), turned)
    row = layout.first_row * tile + strip_row
    column, channel = first + variable("y_column"), vector * lanes + variable("y_lane")
    value = Load("y_square", (variable("y_column"), variable("y_lane")))
    body = (
        *wrap([_unrolled("turn_y", lanes), _vector("turn_z", lanes)], (read,)),
        *wrap(
            [
                Loop("y_lane", lanes, (), LoopKind.UNROLLED, (Guard(channel, convolution.channel.extent),)),
                Loop("y_column", lanes, (), LoopKind.VECTORIZED, (Guard(column, convolution.column.extent),)),
            ],
            (_finished(layout, "y", value, channel, row, column),),
        ),
    )
    loops = [
        layout.shared("y_vector", layout.out_vectors),
        *layout.image_loops("y"),
        replace(layout.shared("y_row", layout.rows * tile), guards=(Guard(row, convolution.row.extent),)),
        Loop("y_square", layout.out_squares, ()),
    ]
    return wrap(loops, body)


def _finished(
    layout: Layout, prefix: str, value: Expr, channel: Affine, row: Affine, column: Affine
) -> Store:
    """The store to the output of a convolution's element and of the stages after it."""
    convolution = layout.convolution
    program = convolution.contraction.program
    at = {convolution.channel.name: channel, convolution.row.name: row, convolution.column.name: column}
    if convolution.batch is not None:
        at[convolution.batch.name] = layout.batch_image(prefix)
    place = tuple(at[axis.name] for axis in program.stages[0].axes)
    for before, stage in zip(program.stages, program.stages[1:], strict=False):
        axes = {axis.name: affine for axis, affine in zip(stage.axes, place, strict=True)}
        value = _with_load(substitute_expr(stage.value, axes), before.output.name, value)
    return Store(program.output.name, place, value)


def _with_load(expr: Expr, buffer: str, value: Expr) -> Expr:
    return map_expr(expr, lambda part: value if isinstance(part, Load) and part.buffer == buffer else None)


def _transform_kernels(layout: Layout) -> Nodes:
    """G g G^T for every pair of channels, in the order in which the products read them.

    One vector at a time: as many copies as a register tile has would take LLVM long.
    """
    convolution, points, width = layout.convolution, layout.matrices.points, layout.register_width
    i, s, lane, lanes = variable("g"), variable("h"), variable("g_lane"), layout.lanes
    block, depth, first = variable("w_block"), variable("w_depth"), variable("w_vector") * lanes
    channel = block * width + first + lane
    reads = [Load(convolution.kernel.buffer, (channel, depth, Affine() + r, s)) for r in range(KERNEL)]
    half = Select(
        (InRange(channel, 0, convolution.channel.extent),), _row_sum("of_kernel", i, reads), Constant(0.0)
    )
    k, n, lane2 = variable("g2"), variable("h2"), variable("g2_lane")
    whole = _row_sum("of_kernel", n, [Load("w_half", (k, Affine() + r, lane2)) for r in range(KERNEL)])
    target = Store("w_points", (k * points + n, block, depth, first + lane2), whole)
    body = (
        *_laid_out(("h", KERNEL), ("g", points), ("g_lane", lanes), Store("w_half", (i, s, lane), half)),
        *_laid_out(("g2", points), ("h2", points), ("g2_lane", lanes), target),
    )
    sizes = (layout.blocks, convolution.in_channel.extent, width // lanes)
    loops = [Loop(name, size, ()) for name, size in zip(("w_block", "w_depth", "w_vector"), sizes)]
    return wrap(loops, body)


def _tile_loops(layout: Layout, prefix: str, num_vectors: int) -> list[Loop]:
    """Over vectors of channels, images, rows and columns of tiles."""
    inside = Guard(layout.first_row + variable(f"{prefix}_row"), layout.all_rows)
    return [
        layout.shared(f"{prefix}_vector", num_vectors),
        *layout.image_loops(prefix),
        replace(layout.shared(f"{prefix}_row", layout.rows), guards=(inside,)),
        Loop(f"{prefix}_column", layout.columns, ()),
    ]


def _tile_number(layout: Layout, prefix: str) -> Affine:
    row = layout.image(prefix) * layout.rows + variable(f"{prefix}_row")
    return row * layout.columns + variable(f"{prefix}_column")


def _row_sum(table: str, row: Affine, terms: list[Load]) -> Expr:
    """A row of a table times a vector."""
    products: list[Expr] = [
        Binary("mul", Load(table, (row, Affine() + position)), term) for position, term in enumerate(terms)
    ]
    result = products[0]
    for product in products[1:]:
        result = Binary("add", result, product)
    return result


def _laid_out(first: Extent, second: Extent, vector: Extent, store: Store) -> Nodes:
    """A store in two unrolled loops and a vectorized one, each given by name and extent."""
    return wrap([_unrolled(*first), _unrolled(*second), _vector(*vector)], (store,))


def _unrolled(name: str, extent: Int) -> Loop:
    return Loop(name, extent, (), LoopKind.UNROLLED)


def _vector(name: str, extent: Int) -> Loop:
    return Loop(name, extent, (), LoopKind.VECTORIZED)
