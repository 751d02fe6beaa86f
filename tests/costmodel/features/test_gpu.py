"""Features of GPU candidates: numbers checked by hand, and one definition for one and for many."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from codegen.gpu_target import GPU_TARGETS, GpuTarget
from codegen.ops import TRANSFORMER_WORKLOADS, WORKLOADS, LayerNorm, Matmul, Operator
from codegen.precision import Precision
from codegen.schedule import Space, build_space
from costmodel.checkpoint import load_checkpoint
from costmodel.encoders.treegru import TreeGRUConfig
from costmodel.features.columns import NODE_COLUMNS, Scale, column_index
from costmodel.features.featurise import featurise
from costmodel.features.gpu import GPU_COLUMNS, GpuFeaturiser
from costmodel.neural import NeuralModel
from scripts.learning.guide import PRETRAINED

A100 = replace(GPU_TARGETS["cuda_sm80"], precision=Precision("float16"))
OPERATORS: dict[str, Operator] = {
    "matmul": Matmul(m=300, k=512, n=77, bias=True),
    "conv": WORKLOADS["resnet18_c11"],
    "depthwise": WORKLOADS["mobilenet_d9"],
    "softmax": TRANSFORMER_WORKLOADS["bert_softmax"],
    "layer_norm": LayerNorm(rows=7, cols=100),
}
KNOBS = {"m_block": 64, "n_block": 128, "k_block": 32, "m_group": 1, "num_warps": 4, "num_stages": 3}


def space_of(operator: Operator, target: GpuTarget = A100) -> Space[GpuTarget]:
    return build_space(operator.program(), target)


def raw(space: Space[GpuTarget], knobs: dict[str, int], sketch: str = "dot") -> dict[str, float]:
    """The columns of one candidate without their scales."""
    [row] = GpuFeaturiser(space)(space.decode([{"sketch": sketch, "knobs": knobs}]))
    values = {}
    for column, value in zip(GPU_COLUMNS, row, strict=True):
        number = float(value)
        if column.scale is not Scale.RAW:
            number = 2.0**number - (column.scale is Scale.LOG_PLUS_ONE)
        values[column.name] = number
    return values


def test_a_matrix_product_is_described_as_counted_by_hand() -> None:
    found = raw(space_of(Matmul(m=512, k=256, n=512)), KNOBS)
    programs = (512 // 64) * (512 // 128)
    tiles = programs * (256 // 32) * (64 * 32 + 32 * 128) * 2
    expected = {
        "num_kernels": 1,
        "num_programs": programs,
        "num_threads": 128,
        "num_stages": 3,
        "num_waves": 1,
        "shared_bytes": 2 * (64 * 32 + 32 * 128) * 2,
        "flops": 2 * 512 * 512 * 256,
        "matrix_share": 1,
        "l2_bytes": tiles + 512 * 512 * 2,
        "memory_bytes": (512 * 256 + 256 * 512 + 512 * 512) * 2,
        "num_steps": 256 // 32,
        "sector_waste": 1,
        "device_sms": 108,
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected)
    registers = 24 + 64 * 128 / 128
    assert found["num_registers"] == pytest.approx(registers)
    assert found["num_resident"] == pytest.approx(65536 // (registers * 32) // 4)
    assert found["occupancy"] == pytest.approx(found["num_resident"] * 128 / 2048)


def test_ragged_tiles_and_narrow_runs_cost_more() -> None:
    whole = raw(space_of(Matmul(m=512, k=256, n=512)), KNOBS)
    ragged = raw(space_of(Matmul(m=513, k=256, n=512)), KNOBS)
    assert ragged["flops"] == pytest.approx(whole["flops"] * 9 / 8)
    narrow = raw(space_of(Matmul(m=512, k=256, n=512)), {**KNOBS, "n_block": 16, "k_block": 16})
    assert narrow["sector_waste"] == pytest.approx(1)
    turned = raw(space_of(Matmul(m=512, k=256, n=512, transpose_b=True)), {**KNOBS, "k_block": 16})
    assert turned["sector_waste"] == pytest.approx(1)
    vector = space_of(Matmul(m=1, k=4096, n=64))
    sketch = vector.sketches[0]
    knobs = {knob.name: knob.values[0] for knob in sketch.knobs}
    assert raw(vector, knobs, sketch.name)["sector_waste"] > 2


def test_a_shared_sum_takes_two_kernels_and_a_workspace() -> None:
    space = space_of(Matmul(m=64, k=4096, n=128))
    alone = raw(space, KNOBS)
    shared = raw(space, {**KNOBS, "k_splits": 8}, "dot.split_k")
    assert (alone["num_kernels"], shared["num_kernels"]) == (1, 2)
    assert shared["num_programs"] == 8 * alone["num_programs"]
    assert shared["num_steps"] < alone["num_steps"]
    assert shared["memory_bytes"] > alone["memory_bytes"]


@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.parametrize("target", GPU_TARGETS.values(), ids=lambda target: target.name)
def test_a_batch_is_described_as_its_members_alone(name: str, target: GpuTarget) -> None:
    space = space_of(OPERATORS[name], target)
    candidates = space.sample(20, np.random.default_rng(0))
    featuriser = GpuFeaturiser(space)
    together = featuriser(candidates)
    assert together.shape == (20, len(GPU_COLUMNS))
    assert np.isfinite(together).all()
    for row in range(20):
        named = space.decode([space.named(candidates, row)])
        np.testing.assert_array_equal(featuriser(named)[0], together[row])
        np.testing.assert_array_equal(featuriser.num_steps(named), featuriser.num_steps(candidates)[row])


@pytest.mark.parametrize("name", OPERATORS)
def test_encoders_of_cpus_see_finite_trees_with_the_grid_marked(name: str) -> None:
    space = space_of(OPERATORS[name])
    candidates = space.sample(20, np.random.default_rng(0))
    batch = featurise(space, candidates)
    parallel = column_index(NODE_COLUMNS, "is_parallel")
    for group in batch.groups:
        assert np.isfinite(group.nodes).all()
        assert np.isfinite(group.programs).all()
        assert group.nodes[:, :, parallel].any(axis=1).all()
    kinds = {group.nodes.tobytes() for group in batch.groups}
    assert len(kinds) == len(batch.groups)


def test_the_shipped_network_tells_gpu_candidates_apart() -> None:
    model = load_checkpoint(PRETRAINED / "treegru.safetensors", NeuralModel(TreeGRUConfig()))
    space = space_of(OPERATORS["matmul"])
    scores = model.score(featurise(space, space.sample(50, np.random.default_rng(0))))
    assert np.isfinite(scores).all()
    assert len(np.unique(scores)) > 25
