"""GPU sketches of programs that treat each row of a matrix alone: softmax, layer norm."""

from __future__ import annotations

from collections.abc import Callable

from codegen.gpu_target import GpuTarget
from codegen.ir.expression import Program, Stage
from codegen.ir.loops import LoopProgram, Scope
from codegen.schedule.naive import naive_loops, variable_names
from codegen.schedule.primitives import bind, fission, fuse, make_local, reorder, split, vectorize_nest
from codegen.schedule.recompute import inline_elementwise, read_once
from codegen.schedule.rules.gpu_knobs import covering, launch, powers
from codegen.schedule.rules.rowwise import is_rowwise
from codegen.schedule.sketch import Knob, Sketch, Values, constrained

_LARGEST_TILE = 32768
_LARGEST_CHUNK = 8192


def gpu_rowwise_sketches(program: Program, target: GpuTarget) -> tuple[Sketch, ...]:
    """Rows kept in registers, if they fit, and rows read in chunks once for each stage that needs them."""
    if not is_rowwise(program):
        return ()
    num_rows = program.stages[0].axes[0].extent
    columns = max(axis.extent for stage in program.stages for axis in (*stage.axes[1:], *stage.reduce_axes))
    rows = Knob("row_block", powers(1, min(covering(num_rows), 64)))
    chunks = Knob("column_block", powers(min(16, covering(columns)), min(covering(columns), _LARGEST_CHUNK)))
    launches = launch((1, 2, 4, 8, 16), (1, 2, 3))
    sketches = []
    if covering(columns) <= _LARGEST_TILE:
        kept = constrained((rows,), lambda sizes: sizes[0] * covering(columns) <= _LARGEST_TILE)
        sketches.append(Sketch("rows.kept", (kept, *launches), _lowering(read_once(program), is_kept=True)))
    tile = constrained((rows, chunks), lambda sizes: sizes[0] * sizes[-1] <= _LARGEST_CHUNK)
    chunked = _lowering(inline_elementwise(program), is_kept=False)
    return (*sketches, Sketch("rows.chunked", (tile, *launches), chunked))


def _lowering(program: Program, *, is_kept: bool) -> Callable[[Values], LoopProgram]:
    names = variable_names(program)
    rows = tuple(name[stage.axes[0].name] for name, stage in zip(names, program.stages, strict=True))
    row = rows[0]

    def lower(values: Values) -> LoopProgram:
        loops = naive_loops(program)
        if len(rows) > 1:
            loops = fuse(loops, rows)
        loops = split(loops, row, values["row_block"], (f"{row}0", f"{row}1"))
        for stage in program.stages[:-1]:
            loops = make_local(loops, f"{row}0", stage.output.name, Scope.REGISTER)
        parts = [part for stage in program.stages for part in _parts(stage)]
        loops = fission(loops, f"{row}1", tuple(f"_{part}" for part in parts))
        for name, stage in zip(names, program.stages, strict=True):
            *starts, main = _parts(stage)
            for start in starts:
                loops = vectorize_nest(loops, [f"{row}1_{start}"])
            tile = [f"{row}1_{main}"]
            for axis in (*stage.axes[1:], *stage.reduce_axes):
                size = covering(axis.extent) if is_kept else values["column_block"]
                chunk, column = f"{axis.name}0_{main}", f"{axis.name}1_{main}"
                loops = split(loops, f"{name[axis.name]}_{main}", size, (chunk, column))
                loops = reorder(loops, [chunk, *tile, column])
                tile.append(column)
            loops = vectorize_nest(loops, tile)
        return bind(loops, [f"{row}0"])

    return lower


def _parts(stage: Stage) -> tuple[str, ...]:
    """What a stage does to a row, as suffixes of loops."""
    name = stage.output.name
    return (name,) if stage.reducer is None else (f"{name}_zero", name)
