"""The rule that tells what fits a GPU, batched: tiles as the layout finds them, limits of the device."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from codegen.gpu_target import GPU_TARGETS, GpuTarget
from codegen.ops import make_operator
from codegen.precision import Precision
from codegen.schedule import Candidates, Space, build_space
from codegen.triton.layout import make_layout
from codegen.triton.limits import Limits
from codegen.triton.normal_form import nests
from codegen.triton.tiles import SketchTiles

OPERATORS: list[tuple[str, dict[str, Any]]] = [
    ("matmul", {"m": 300, "k": 512, "n": 77, "batch": 2, "bias": True}),
    (
        "conv2d",
        {"height": 14, "width": 14, "in_channels": 256, "out_channels": 64, "kernel": 3, "padding": 1},
    ),
    ("softmax", {"rows": 64, "cols": 100}),
    ("conv2d", {"height": 14, "width": 14, "in_channels": 8, "out_channels": 8, "kernel": 3, "groups": 8}),
]


def space_of(operator: str, parameters: dict[str, Any], target: GpuTarget) -> Space[GpuTarget]:
    return build_space(make_operator(operator, parameters).program(), target)


@pytest.mark.parametrize(("operator", "parameters"), OPERATORS, ids=lambda value: str(value)[:20])
def test_tiles_of_a_batch_are_the_matrix_products_of_each_kernel(
    operator: str, parameters: dict[str, Any]
) -> None:
    space = space_of(operator, parameters, GPU_TARGETS["cuda_sm80"])
    candidates = space.sample(30, np.random.default_rng(1))
    for number, rows in space.by_sketch(candidates):
        tiles = SketchTiles(space.sketches[number])(space.values(number, candidates.positions[rows]))
        for place, row in enumerate(rows):
            loops = space.lower(candidates, int(row))
            buffers = {buffer.name: buffer for buffer in loops.buffers}
            layouts = [make_layout(nest, buffers) for nest in nests(loops.body, buffers)]
            found = [dot for layout in layouts for dot in layout.dots.values()]
            expected = [(dot.rows.size, dot.columns.size, dot.depth.size) for dot in found]
            assert [(t.rows[place], t.columns[place], t.depth[place]) for t in tiles] == expected


@pytest.mark.parametrize(("operator", "parameters"), OPERATORS, ids=lambda value: str(value)[:20])
@pytest.mark.parametrize("target", GPU_TARGETS.values(), ids=lambda target: target.name)
def test_a_batch_needs_what_its_members_need_alone(
    operator: str, parameters: dict[str, Any], target: GpuTarget
) -> None:
    limits = Limits(space_of(operator, parameters, replace(target, precision=Precision("float16"))))
    candidates = limits.space.sample(40, np.random.default_rng(2))
    together = limits.shared_bytes(candidates)
    for row in range(40):
        one = Candidates(candidates.sketches[row : row + 1], candidates.positions[row : row + 1])
        assert limits.shared_bytes(one) == [together[row]]
        assert (limits.complaint(candidates, row) is None) == limits.fits(candidates)[row]


KNOBS = {"m_block": 128, "n_block": 128, "k_block": 64, "m_group": 1, "num_warps": 8, "num_stages": 3}


@pytest.mark.parametrize(
    ("name", "precision", "knobs", "expected"),
    [
        ("cuda_sm80", Precision("float16"), {}, 2 * (128 * 64 + 64 * 128) * 2),
        ("cuda_sm90", Precision("float16"), {}, 3 * (128 * 64 + 64 * 128) * 2),  # read by a warp group
        ("cuda_sm90", Precision("float16"), {"num_warps": 2}, 2 * (128 * 64 + 64 * 128) * 2),
        ("cuda_sm90", Precision("float32", "float16"), {}, 2 * (128 * 64 + 64 * 128) * 4 + 64 * 128 * 2),
        ("rocm_gfx942", Precision("float16"), {}, 2 * (128 * 64 + 64 * 128) * 2),
        ("rocm_gfx942", Precision("float16"), {"num_stages": 1}, 128 * 64 * 2),
        ("cuda_sm80", Precision("float16"), {"num_stages": 1}, (128 * 64 + 64 * 128) * 2),
    ],
)
def test_shared_memory_holds_the_stages_of_both_operands(
    name: str, precision: Precision, knobs: dict[str, int], expected: int
) -> None:
    target = replace(GPU_TARGETS[name], precision=precision)
    limits = Limits(space_of("matmul", {"m": 512, "k": 512, "n": 512}, target))
    candidate = limits.space.decode([{"sketch": "dot", "knobs": {**KNOBS, **knobs}}])
    assert limits.shared_bytes(candidate) == [expected]


def test_what_does_not_fit_is_told_in_numbers() -> None:
    target = replace(GPU_TARGETS["rocm_gfx942"], precision=Precision("float16"))
    limits = Limits(space_of("matmul", {"m": 512, "k": 512, "n": 512}, target))
    candidates = limits.space.decode(
        [{"sketch": "dot", "knobs": {**KNOBS, "num_stages": stages}} for stages in (2, 5)]
    )
    assert limits.fits(candidates).tolist() == [True, False]
    assert limits.complaint(candidates, 0) is None
    assert limits.complaint(candidates, 1) == (
        "512 threads and 131072 bytes of shared memory are more than the 1024 threads and 65536 bytes that a "
        "program may have on AMD Instinct MI300X"
    )


def test_a_window_of_an_image_is_loaded_element_by_element_and_its_copy_is_not() -> None:
    target = replace(GPU_TARGETS["cuda_sm90"], precision=Precision("float16"))
    space = space_of(*OPERATORS[1], target)
    tile = {"oh_block": 4, "ow_block": 16, "oc_block": 64, "ic_block": 32, "num_warps": 4}
    tile |= {"oh_group": 1, "ow_group": 1, "num_stages": 3}
    plain = {"kh_block": 1, "kw_block": 1}
    named = []
    for sketch in space.sketches:
        knobs = {**tile, **plain, "ic_splits": 2}
        named.append({"sketch": sketch.name, "knobs": {k.name: knobs[k.name] for k in sketch.knobs}})
    candidates = space.decode(named)
    limits = Limits(space)
    is_pipelined = dict(zip((s.name for s in space.sketches), limits.is_pipelined(candidates), strict=True))
    assert is_pipelined == {
        "dot": False,
        "dot.packed_w": False,
        "dot.split_ic": False,
        "dot.staged_x": True,
        "dot.staged_x.split_ic": True,
    }
    scattered = limits.scattered_elements(candidates)
    # A tile of the image in each of 9 windows and 8 tiles of channels; without packing weights as well.
    image, weights = 4 * 16 * 32 * 9 * 8, 64 * 32 * 9 * 8
    assert scattered.tolist() == [image + weights, image, (image + weights) / 2, 0, 0]
    one_stage = space.decode([{**named[3], "knobs": {**named[3]["knobs"], "num_stages": 1}}])
    assert not limits.is_pipelined(one_stage)[0]


def test_a_product_without_a_loop_around_it_overlaps_with_nothing() -> None:
    target = replace(GPU_TARGETS["cuda_sm90"], precision=Precision("float16"))
    limits = Limits(space_of("matmul", {"m": 512, "k": 128, "n": 512}, target))
    knobs = {**KNOBS, "num_stages": 3}
    candidates = limits.space.decode(
        [{"sketch": "dot", "knobs": {**knobs, "k_block": size}} for size in (64, 128)]
    )
    assert limits.is_pipelined(candidates).tolist() == [True, False]
