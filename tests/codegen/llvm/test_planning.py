"""Decisions made before any text is written: which guards matter, what is laid out how often."""

from __future__ import annotations

import pytest

from codegen.ir.affine import variable as var
from codegen.ir.loops import Guard, Loop
from codegen.llvm.emit import emit_module
from codegen.llvm.layout import cut
from codegen.llvm.planning import useful_copies
from codegen.llvm.sites import find_sites, skippable_guards
from tests.codegen.llvm.loop_building import at, cpu_target, load, serial, store, unrolled, vector
from tests.codegen.llvm.tiled_programs import convolution, tiled_matmul


@pytest.mark.parametrize("lanes", [4, 8, 16])
@pytest.mark.parametrize("extent", [1, 4, 5, 15, 16, 17, 30, 33])
def test_chunks_cover_an_extent_once(lanes: int, extent: int) -> None:
    chunks = cut(extent, lanes)
    assert [i for c in chunks for i in range(c.start, c.start + c.count)] == list(range(extent))
    assert all(c.count <= c.width <= lanes for c in chunks)
    assert all(c.width == 4 or c.count > c.width // 2 for c in chunks)


def test_accumulation_in_a_tile_ignores_the_guards_of_the_write_back() -> None:
    loops = tiled_matmul(13, 30, 9, 4, 16, 9)
    stores = find_sites(loops.body).stores
    skippable = skippable_guards(find_sites(loops.body), frozenset({"acc"}))
    accumulation = next(
        n for n, site in enumerate(stores) if "k" in [loop.variable for _, loop in site.loops]
    )
    write_back = next(n for n, site in enumerate(stores) if site.buffer == "y")
    assert len(skippable[accumulation]) == 2
    assert not skippable[write_back]


def test_a_guard_on_another_axis_than_the_elements_is_never_ignored() -> None:
    guarded = unrolled(
        "u", 4, store("s", at(0), load("x", "u"), "sum"), guards=(Guard(var("u") + var("o"), 3),)
    )
    nodes = (store("s", at(0), 0.0), serial("o", 2, guarded), store("y", at(0), load("s", 0)))
    assert skippable_guards(find_sites(nodes), frozenset({"s"}))[1] == frozenset()


@pytest.mark.parametrize(
    ("loop", "copies"),
    [
        (serial("k", 64, vector("v", 32, store("t", at("v"), 0.0)), unroll=4), 4),
        (serial("k", 64, vector("v", 128, store("t", at("v"), 0.0)), unroll=8), 4),
        (serial("k", 64, serial("j", 5, store("t", at("j"), 0.0)), unroll=4), 1),
        (serial("k", 64, serial("j", 3, store("t", at("j"), 0.0), unroll=3), unroll=4), 4),
    ],
)
def test_copies_are_made_where_they_pay(loop: Loop, copies: int) -> None:
    assert useful_copies(loop, 16) == copies


def test_text_is_the_same_each_time() -> None:
    loops = convolution(channels=2, filters=19, size=11, pixels=5, lanes=16)
    assert emit_module(loops, cpu_target(16, 2)).text == emit_module(loops, cpu_target(16, 2)).text


def test_packed_panels_are_read_without_masks() -> None:
    loops = tiled_matmul(16, 30, 9, 4, 16, 9)
    body = emit_module(loops, cpu_target(16)).text.split("_prepack(ptr %args)")[0]
    assert "masked.load" not in body
