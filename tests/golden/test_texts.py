"""Loop text and LLVM IR of a few candidates, to the letter: a refactoring leaves them as they are.

``python -m pytest tests/golden --update-golden`` writes what the code makes now; read the difference
before you keep it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from codegen.ir.text import loop_text
from codegen.llvm.emit import emit_module
from codegen.ops import Conv2d, Matmul, Operator, Softmax
from codegen.schedule import build_space
from tests.codegen.llvm.loop_building import cpu_target


@dataclass(frozen=True)
class Case:
    operator: Operator
    lanes: int
    num_threads: int
    sketch: str
    knobs: dict[str, int]


MATMUL_KNOBS = {"m_register": 2, "m_inner": 2, "n_inner": 1, "m_outer": 1, "n_outer": 2, "k_unroll": 2}
CONVOLUTION_KNOBS = {
    "ow_register": 8,
    "oc_register": 2,
    "oh_register": 1,
    "oc_inner": 1,
    "oh_inner": 3,
    "ow_inner": 2,
    "oc_outer": 1,
    "oh_outer": 1,
    "ow_outer": 1,
    "ic_unroll": 1,
    "kh_unroll": 1,
    "kw_unroll": 3,
}
CASES = {
    "matmul_8_lanes": Case(
        Matmul(m=5, k=3, n=19, bias=True, relu=True),
        lanes=8,
        num_threads=1,
        sketch="vector_n.packed_a",
        knobs={"n_register": 16, **MATMUL_KNOBS},
    ),
    "matmul_16_lanes": Case(
        Matmul(m=5, k=3, n=37),
        lanes=16,
        num_threads=2,
        sketch="vector_n.direct_a",
        knobs={"n_register": 32, **MATMUL_KNOBS},
    ),
    "padded_convolution_8_lanes": Case(
        Conv2d(height=3, width=11, in_channels=2, out_channels=3, padding=1),
        lanes=8,
        num_threads=1,
        sketch="vector_ow.tile_x",
        knobs=CONVOLUTION_KNOBS,
    ),
    "softmax_8_lanes": Case(
        Softmax(rows=3, cols=19), lanes=8, num_threads=1, sketch="rows", knobs={"row_inner": 2, "vector": 16}
    ),
}


@pytest.mark.parametrize("name", list(CASES))
def test_the_texts_of_a_candidate_are_what_they_were(name: str, golden: Callable[[str, str], None]) -> None:
    case = CASES[name]
    target = cpu_target(case.lanes, case.num_threads)
    space = build_space(case.operator.program(), target)
    loops = space.lower_named({"sketch": case.sketch, "knobs": case.knobs})
    golden(f"{name}.loops", loop_text(loops))
    golden(f"{name}.llvm", emit_module(loops, target).text)


def test_every_stored_text_belongs_to_a_candidate() -> None:
    stored = {path.name for path in Path(__file__).parent.glob("*.txt")}
    assert stored == {f"{name}.{form}.txt" for name in CASES for form in ("loops", "llvm")}
