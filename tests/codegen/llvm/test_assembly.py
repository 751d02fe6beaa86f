"""The code generator keeps accumulators in registers."""

from __future__ import annotations

import re

import pytest

from codegen.llvm.build import compile_assembly
from codegen.llvm.emit import emit_module
from tests.codegen.llvm.loop_building import cpu_target
from tests.codegen.llvm.tiled_programs import tiled_matmul


def _innermost_loop(assembly: str) -> list[str]:
    """Instructions of the loop with most multiply-adds."""
    best: list[str] = []
    blocks = re.split(r"^(\.LBB\w+):", assembly, flags=re.MULTILINE)
    for label, block in zip(blocks[1::2], blocks[2::2], strict=True):
        lines = [line.strip() for line in block.splitlines() if line.strip()]
        jumps = [n for n, line in enumerate(lines) if re.match(rf"j\w+\s+{re.escape(label)}$", line)]
        body = lines[: jumps[0]] if jumps else []
        if sum("vfmadd" in line for line in body) > sum("vfmadd" in line for line in best):
            best = body
    return best


@pytest.mark.parametrize(
    ("lanes", "rows", "columns", "register"),
    [(16, 14, 32, "zmm"), (16, 8, 48, "zmm"), (8, 6, 16, "ymm"), (8, 4, 24, "ymm")],
)
def test_the_inner_loop_of_a_tile_neither_spills_nor_recomputes(
    lanes: int, rows: int, columns: int, register: str
) -> None:
    loops = tiled_matmul(rows * 8, columns * 4, 64, rows, columns, 64, 1)
    loop = _innermost_loop(compile_assembly(emit_module(loops, cpu_target(lanes)).text, cpu_target(lanes)))
    products = [line for line in loop if line.startswith("vfmadd")]
    assert len(products) == rows * columns // lanes
    assert all(register in line for line in products)
    assert not any("rsp" in line for line in loop), "\n".join(loop)
    vector_moves = [line for line in loop if line.startswith("vmov") and f"%{register}" in line]
    assert len(vector_moves) <= columns // lanes
    assert len(loop) <= len(products) + rows + columns // lanes + 4, "\n".join(loop)
