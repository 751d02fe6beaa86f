"""Loop text, LLVM IR and Triton source of a few candidates: a refactoring leaves every letter in place.

``python -m pytest tests/golden --update-golden`` writes what the code makes now; read the difference
before you keep it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from codegen.clblast.gemm import gemm_loops
from codegen.ir.text import loop_text
from codegen.llvm.emit import emit_module
from codegen.ops import Conv2d, Matmul, Operator, Pool2d, Softmax, Transpose
from codegen.precision import Precision
from codegen.schedule import build_space
from codegen.target import BF16_FEATURE
from codegen.triton.candidate import candidate_source
from tests.codegen.llvm.loop_building import cpu_target
from tests.targets import make_gpu_target


@dataclass(frozen=True)
class Case:
    operator: Operator
    lanes: int
    num_threads: int
    sketch: str
    knobs: dict[str, int]
    l3_bytes: int | None = None
    bf16_dot: bool = False


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
    "matmul_of_pairs": Case(
        Matmul(m=5, k=7, n=19, bias=True),
        lanes=16,
        num_threads=1,
        sketch="vector_n.packed_a.bf16",
        knobs={"n_register": 16, **MATMUL_KNOBS},
        bf16_dot=True,
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
    "winograd_convolution_8_lanes": Case(
        Conv2d(height=5, width=6, in_channels=9, out_channels=8, padding=1, relu=True),
        lanes=8,
        num_threads=1,
        sketch="winograd2.blocks",
        knobs={"oc_register": 8, "tile_register": 3, "tile_rows": 2, "ic_unroll": 1},
    ),
    "softmax_8_lanes": Case(
        Softmax(rows=3, cols=19), lanes=8, num_threads=1, sketch="rows", knobs={"row_inner": 2, "vector": 16}
    ),
    "fused_softmax_16_lanes": Case(
        Softmax(rows=3, cols=40),
        lanes=16,
        num_threads=1,
        sketch="rows.fused.ahead.streamed",
        knobs={"row_inner": 2, "vector": 16},
        l3_bytes=64,
    ),
    "separated_pool_16_lanes": Case(
        Pool2d(channels=2, height=5, width=23, kernel=3, stride=2, padding=1),
        lanes=16,
        num_threads=1,
        sketch="separated.streamed",
        knobs={"row_inner": 2, "column_vector": 16, "vector": 12},
        l3_bytes=64,
    ),
    "transpose_8_lanes": Case(
        Transpose(rows=11, cols=16),
        lanes=8,
        num_threads=1,
        sketch="tiles",
        knobs={"c_inner": 2, "r_inner": 1},
    ),
}


@dataclass(frozen=True)
class GpuCase:
    operator: Operator
    sketch: str
    knobs: dict[str, int]
    precision: Precision = field(default_factory=Precision)


LAUNCH = {"num_warps": 4, "num_stages": 3}
TILES = {"m_block": 16, "n_block": 32, "k_block": 32, "m_group": 2}
GPU_CASES = {
    "matmul_float16": GpuCase(
        Matmul(m=100, k=96, n=72, bias=True, relu=True), "dot", {**TILES, **LAUNCH}, Precision("float16")
    ),
    "matmul_divided": GpuCase(Matmul(m=48, k=300, n=24), "dot.split_k", {**TILES, **LAUNCH, "k_splits": 4}),
    "convolution": GpuCase(
        Conv2d(height=9, width=11, in_channels=20, out_channels=24, padding=1, stride=2),
        "dot",
        {"oh_block": 4, "ow_block": 8, "oc_block": 16, "ic_block": 16, "kh_block": 1, "kw_block": 1}
        | {"ow_group": 1, **LAUNCH},
        Precision("float32", "tf32"),
    ),
    "depthwise_convolution": GpuCase(
        Conv2d(height=9, width=11, in_channels=6, out_channels=6, groups=6, padding=1),
        "vector",
        {"c_block": 2, "oh_block": 4, "ow_block": 16, **LAUNCH},
    ),
    "convolution_packed": GpuCase(
        Conv2d(height=9, width=11, in_channels=20, out_channels=24, padding=1, layout="NHWC"),
        "dot.packed_w",
        {"oh_block": 2, "ow_block": 8, "oc_block": 32, "ic_block": 32, "kh_block": 1, "kw_block": 1}
        | {"ow_group": 1, **LAUNCH},
        Precision("bfloat16"),
    ),
    "convolution_staged": GpuCase(
        Conv2d(height=9, width=11, in_channels=20, out_channels=24, padding=1),
        "dot.staged_x",
        {"oh_block": 2, "ow_block": 8, "oc_block": 32, "ic_block": 32, "ow_group": 1, **LAUNCH},
        Precision("float16"),
    ),
    "softmax_of_rows": GpuCase(Softmax(rows=6, cols=100), "rows.kept", {"row_block": 2, **LAUNCH}),
}


@pytest.mark.parametrize("name", list(CASES))
def test_the_texts_of_a_candidate_are_what_they_were(name: str, golden: Callable[[str, str], None]) -> None:
    case = CASES[name]
    target = cpu_target(case.lanes, case.num_threads)
    if case.l3_bytes is not None:
        target = replace(target, l3_bytes=case.l3_bytes)
    if case.bf16_dot:
        features = f"{target.llvm_features},+{BF16_FEATURE}"
        target = replace(target, llvm_features=features, bf16_dot=True)
    space = build_space(case.operator.program(), target)
    loops = space.lower_named({"sketch": case.sketch, "knobs": case.knobs})
    golden(f"{name}.loops", loop_text(loops))
    golden(f"{name}.llvm", emit_module(loops, target).text)


@pytest.mark.parametrize("name", list(GPU_CASES))
def test_the_triton_source_of_a_candidate_is_what_it_was(
    name: str, golden: Callable[[str, str], None]
) -> None:
    case = GPU_CASES[name]
    space = build_space(case.operator.program(), make_gpu_target(case.precision))
    candidate = {"sketch": case.sketch, "knobs": case.knobs}
    golden(f"{name}.loops", loop_text(space.lower_named(candidate)))
    golden(f"{name}.triton", candidate_source(case.operator, space, candidate, "0.1.0"))


CLBLAST_KNOBS = {
    "MWG": 64,
    "NWG": 32,
    "KWG": 32,
    "MDIMC": 16,
    "NDIMC": 8,
    "MDIMA": 32,
    "NDIMB": 8,
    "KWI": 2,
    "VWM": 2,
    "VWN": 4,
    "STRM": 1,
    "STRN": 0,
}


def test_the_loop_text_of_clblast_is_what_it_was(golden: Callable[[str, str], None]) -> None:
    golden("clblast_gemm.loops", loop_text(gemm_loops(CLBLAST_KNOBS, (256, 128, 96), (1, 0))))


def test_every_stored_text_belongs_to_a_candidate() -> None:
    stored = {path.name for path in Path(__file__).parent.glob("*.txt")}
    expected = {f"{name}.{form}.txt" for name in CASES for form in ("loops", "llvm")}
    expected.add("clblast_gemm.loops.txt")
    assert stored == expected | {f"{name}.{form}.txt" for name in GPU_CASES for form in ("loops", "triton")}


def test_the_example_in_the_documentation_is_what_the_code_makes() -> None:
    page = (Path(__file__).parents[2] / "docs" / "triton.md").read_text()
    assert (Path(__file__).parent / "matmul_float16.triton.txt").read_text() in page
