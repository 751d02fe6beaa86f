"""CLBlast's matrix product as a loop AST: it multiplies, whatever the configuration."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codegen.clblast.gemm import PARAMETERS, STAGINGS, check_configurations, gemm_loops
from codegen.ir.arithmetic import symbol
from codegen.ir.interpret import interpret_loops
from codegen.ir.loops import Loop, LoopKind, Scope, walk_nodes
from codegen.ir.trace import compile_arithmetic

SIZE = (32, 32, 16)
ALLOWED = {"MWG": 16, "NWG": 16, "KWG": 8, "MDIMC": 4, "NDIMC": 2, "MDIMA": 2, "NDIMB": 4} | {
    "KWI": 2,
    "VWM": 2,
    "VWN": 4,
    **dict.fromkeys(("STRM", "STRN", "SA", "SB"), 0),
}


@st.composite
def configurations(draw: st.DrawFn) -> dict[str, int]:
    """Powers of two that keep the rules."""
    small = st.sampled_from((1, 2, 4))
    drawn = {name: draw(small) for name in ("MDIMC", "NDIMC", "VWM", "VWN", "KWI")}
    drawn |= {name: draw(st.integers(0, 1)) for name in ("STRM", "STRN", "SA", "SB")}
    threads = drawn["MDIMC"] * drawn["NDIMC"]
    for axis, copying in (("M", "MDIMA"), ("N", "NDIMB")):
        drawn[copying] = min(draw(small), threads)
        widest = max(drawn[f"{axis}DIMC"], drawn[copying])
        drawn[f"{axis}WG"] = widest * drawn[f"VW{axis}"] * draw(st.sampled_from((1, 2)))
    needed = max(drawn["KWI"], threads // drawn["MDIMA"], threads // drawn["NDIMB"])
    return drawn | {"KWG": max(needed, draw(st.sampled_from((4, 8))))}


@settings(max_examples=30)
@given(configurations(), st.integers(0, 2**16))
def test_every_allowed_configuration_multiplies(configuration: dict[str, int], seed: int) -> None:
    m, n, k = SIZE
    check_configurations({name: np.array([value]) for name, value in configuration.items()}, SIZE)
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(k, m)), rng.normal(size=(k, n))
    loops = gemm_loops(configuration, SIZE, (configuration["SA"], configuration["SB"]))
    np.testing.assert_allclose(interpret_loops(loops, {"a": a, "b": b}), b.T @ a, atol=1e-9)


@pytest.mark.parametrize("staging", STAGINGS)
@pytest.mark.parametrize("apart", [0, 1])
def test_vectors_of_a_thread_together_or_apart(staging: tuple[int, int], apart: int) -> None:
    m, n, k = SIZE
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(k, m)), rng.normal(size=(k, n))
    loops = gemm_loops({**ALLOWED, "STRM": apart, "STRN": apart}, SIZE, staging)
    np.testing.assert_allclose(interpret_loops(loops, {"a": a, "b": b}), b.T @ a, atol=1e-9)


@pytest.mark.parametrize("staging", STAGINGS)
def test_staged_operands_go_through_shared_memory(staging: tuple[int, int]) -> None:
    loops = gemm_loops(ALLOWED, SIZE, staging)
    shared = {buffer.name: buffer.shape for buffer in loops.buffers if buffer.scope is Scope.LOCAL}
    expected = {"a_tile": (8, 16)} if staging[0] else {}
    assert shared == expected | ({"b_tile": (8, 16)} if staging[1] else {})


def test_symbols_stand_for_all_configurations() -> None:
    names = [name for name in PARAMETERS if name not in ("SA", "SB")]
    drawn = [{**ALLOWED, "STRM": 1, "STRN": 0}, {**ALLOWED, "MDIMC": 2, "MDIMA": 4, "STRM": 0, "STRN": 1}]
    batch = gemm_loops({name: symbol(name) for name in names}, SIZE, (1, 1))
    extents = [node.extent for node in walk_nodes(batch.body) if isinstance(node, Loop)]
    found = compile_arithmetic(extents, names)({name: np.array([d[name] for d in drawn]) for name in names})
    for row, one in zip(found, drawn, strict=True):
        alone = walk_nodes(gemm_loops(one, SIZE, (1, 1)).body)
        assert row.tolist() == [node.extent for node in alone if isinstance(node, Loop)]


def test_work_groups_are_parallel_and_threads_are_lanes() -> None:
    loops = list(walk_nodes(gemm_loops(ALLOWED, SIZE, (1, 1)).body))
    kinds = {node.variable: node.kind for node in loops if isinstance(node, Loop)}
    assert {name for name, kind in kinds.items() if kind is LoopKind.PARALLEL} == {"n_group", "m_group"}
    assert all(kind is LoopKind.VECTORIZED for name, kind in kinds.items() if "_thread" in name)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"KWG": 32}, "K=16 must be a multiple of KWG"),
        ({"KWI": 3}, "KWG must be a multiple of KWI"),
        ({"VWM": 8}, r"MWG must be a multiple of MDIMC \* VWM"),
        ({"MDIMA": 16, "VWM": 2}, r"MWG must be a multiple of MDIMA \* VWM"),
        ({"NDIMB": 3, "VWN": 1, "NWG": 12}, "N=32 must be a multiple of NWG"),
        ({"MDIMA": 1, "NDIMB": 4, "KWG": 4}, "KWG must be a multiple of MDIMC \\* NDIMC / MDIMA"),
        ({"STRM": 2}, r"STRM must be 0 or 1, got \[2\]"),
        ({"VWN": 0}, "VWN must be at least 1, got 0"),
    ],
)
def test_a_broken_rule_is_named(change: dict[str, int], said: str) -> None:
    values = {**ALLOWED, **change}
    with pytest.raises(ValueError, match=said):
        check_configurations({name: np.array([value]) for name, value in values.items()}, SIZE)
