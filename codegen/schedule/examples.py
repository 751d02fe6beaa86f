"""Tiny programs for the examples in docstrings."""

from __future__ import annotations

from codegen.ir.affine import Affine, variable
from codegen.ir.expression import Axis, Binary, Constant, InRange, Load, Program, Select, Stage, Tensor
from codegen.ir.loops import LoopProgram
from codegen.ir.text import nodes_text
from codegen.schedule.naive import naive_loops
from codegen.schedule.primitives.loops import reorder, split
from codegen.schedule.simplify import simplify_loops


def show(program: LoopProgram) -> None:
    """Print the body of a loop AST."""
    print(nodes_text(program.body), end="")


def vector_add(size: int) -> LoopProgram:
    """``c = a + b``."""
    index = (variable("i"),)
    value = Binary("add", Load("a", index), Load("b", index))
    a, b, c = (Tensor(name, (size,)) for name in "abc")
    return naive_loops(Program("vector_add", (a, b), (Stage(c, (Axis("i", size),), value),)))


def transpose(rows: int, columns: int) -> LoopProgram:
    """``c[i, j] = a[j, i]``."""
    axes = (Axis("i", rows), Axis("j", columns))
    stage = Stage(Tensor("c", (rows, columns)), axes, Load("a", (variable("j"), variable("i"))))
    return naive_loops(Program("transpose", (Tensor("a", (columns, rows)),), (stage,)))


def row_sum(rows: int, columns: int) -> LoopProgram:
    """``c[i] = sum over k of a[i, k]``."""
    value = Load("a", (variable("i"), variable("k")))
    stage = Stage(Tensor("c", (rows,)), (Axis("i", rows),), value, (Axis("k", columns),), "sum")
    return naive_loops(Program("row_sum", (Tensor("a", (rows, columns)),), (stage,)))


def padded_sum(size: int) -> LoopProgram:
    """``c[i] = a[i - 1] + a[i] + a[i + 1]``, zero outside."""
    index = Affine((("i", 1), ("k", 1)), -1)
    value = Select((InRange(index, 0, size),), Load("a", (index,)), Constant(0.0))
    stage = Stage(Tensor("c", (size,)), (Axis("i", size),), value, (Axis("k", 3),), "sum")
    return naive_loops(Program("padded_sum", (Tensor("a", (size,)),), (stage,)))


def scaled_relu(size: int) -> LoopProgram:
    """``b = 2 a`` and then ``c = max(b, 0)``."""
    axes = (Axis("i", size),)
    double = Stage(Tensor("b", (size,)), axes, Binary("mul", Load("a", (variable("i"),)), Constant(2.0)))
    relu = Stage(Tensor("c", (size,)), axes, Binary("max", Load("b", (variable("i"),)), Constant(0.0)))
    return naive_loops(Program("scaled_relu", (Tensor("a", (size,)),), (double, relu)))


def square_sum(size: int) -> LoopProgram:
    """``b = a a`` and then ``c = sum of b``, without the loop over the only element of c."""
    square = Binary("mul", Load("a", (variable("i"),)), Load("a", (variable("i"),)))
    stages = (
        Stage(Tensor("b", (size,)), (Axis("i", size),), square),
        Stage(
            Tensor("c", (1,)), (Axis("r", 1),), Load("b", (variable("k"),)), (Axis("k", size),), reducer="sum"
        ),
    )
    loops = naive_loops(Program("square_sum", (Tensor("a", (size,)),), stages))
    return simplify_loops(loops)


def tiled_transpose(rows: int, columns: int, tile: int) -> LoopProgram:
    """``c[i, j] = b[j, i]`` with tiles of j outside."""
    loops = split(transpose(rows, columns), "j", tile, ("j0", "j1"))
    return reorder(loops, ["j0", "i", "j1"])
