"""The operators' table says who is faster by how much, and its files say the same."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from codegen.ops import ROUND_NEIGHBOURS, WORKLOADS
from scripts.running.outputs import write_metrics
from scripts.suites.operators.page import (
    below_aim,
    markdown,
    neighbour_metrics,
    neighbours_table,
    page_of,
    table_of,
)
from scripts.suites.operators.plots import draw_ratios, draw_roofline
from scripts.suites.operators.standings import standing_metrics
from scripts.suites.operators.table_file import libraries_of, merged, read_standings, write_standings
from tests.scripts.suites.operators.standing_examples import ROWS, row
from tests.targets import make_target

C2, D1, MATMUL, ALONE = ROWS
ODD, EVEN = "matmul_97x97x97", "matmul_96x96x96"


def test_the_metrics_of_a_workload_are_all_there(tmp_path: Path) -> None:
    write_metrics(tmp_path / "metrics.json", standing_metrics(ROWS))
    found = json.loads((tmp_path / "metrics.json").read_text())
    names = ["latency_s", "latency_low_s", "latency_high_s", "torch_nchw_latency_s", "torch_nhwc_latency_s"]
    names += ["onnxruntime_latency_s", "torch_latency_s", "vs_best", "vs_best_low", "vs_best_high", "gflops"]
    names += ["share_of_peak", "share_of_bandwidth", "correct", "sketch", "best_library"]
    assert {f"resnet18_c2_{name}" for name in names} <= set(found)
    assert found["resnet18_c2_vs_best"] == pytest.approx(1.2)
    assert (found["resnet18_c2_best_library"], found["resnet18_c2_sketch"]) == ("torch_nhwc", "a.sketch")
    assert found["resnet18_c2_torch_latency_s"] == found["resnet18_c2_torch_nhwc_latency_s"]


def test_the_mean_is_geometric_and_the_worst_is_named() -> None:
    found = standing_metrics(ROWS)
    assert found["geomean_vs_best"] == pytest.approx((1.2 * 0.9 * 2.0) ** (1 / 3))
    assert (found["worst_name"], found["worst_vs_best"]) == ("mobilenet_d1", pytest.approx(0.9))
    assert standing_metrics([C2, row("mobilenet_d2", 1e-4, is_correct=False)])["num_incorrect"] == 1


def test_what_has_no_public_interface_is_compared_beside_the_libraries() -> None:
    found = standing_metrics(ROWS)
    assert found["mobilenet_d1_vs_torch_packed"] == found["geomean_vs_torch_packed"] == pytest.approx(0.8)
    assert found["mobilenet_d1_vs_best"] == pytest.approx(0.9)
    assert found["mobilenet_d1_torch_latency_s"] == pytest.approx(1e-4)
    assert found["worst_torch_packed_name"] == "mobilenet_d1"


def test_without_libraries_there_is_no_ratio() -> None:
    found = standing_metrics([ALONE])
    assert not [name for name in found if "vs_best" in name]
    assert found["matmul_1024_gflops"] == pytest.approx(2 * 1024**3 / 0.1 / 1e9)


def test_shares_are_of_the_measured_ceilings() -> None:
    assert C2.share_of_peak == pytest.approx(WORKLOADS["resnet18_c2"].flops / 1e-3 / 200e9)
    num_bytes = 4 * (3 * 512 * 512)
    assert MATMUL.share_of_bandwidth == pytest.approx(num_bytes / 2e-3 / 50e9)
    assert (MATMUL.bound, D1.bound) == ("FMA", "memory")


def test_a_table_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    write_standings(tmp_path / "table.csv", ROWS)
    assert read_standings(tmp_path / "table.csv") == ROWS
    assert read_standings(tmp_path / "absent.csv") == []
    write_standings(tmp_path / "alone.csv", [ALONE])
    assert read_standings(tmp_path / "alone.csv") == [ALONE]


@pytest.mark.parametrize("text", ["workload,flops\nresnet18_c2,1\n", "a\n\x00\n"])
def test_a_file_of_something_else_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "table.csv").write_text(text)
    with pytest.raises(ValueError, match=r"table\.csv"):
        read_standings(tmp_path / "table.csv")


def test_newer_rows_replace_older_ones_in_the_order_of_the_suite() -> None:
    newer = row("matmul_512", 1e-3, torch=4e-3)
    assert merged([MATMUL, C2], [newer], list(WORKLOADS)) == [C2, newer]


def test_the_plots_are_drawn(tmp_path: Path) -> None:
    draw_ratios(tmp_path / "ratios.png", ROWS)
    draw_roofline(tmp_path / "roofline.png", ROWS)
    draw_roofline(tmp_path / "alone.png", [ALONE])
    for path in tmp_path.iterdir():
        assert path.read_bytes().startswith(b"\x89PNG")


def test_every_row_of_the_table_is_as_wide_as_its_header() -> None:
    columns, rows = table_of(ROWS)
    assert columns[1:6] == ["ours, us", "onnxruntime, us", "torch_nchw, us", "torch_nhwc, us", "torch, us"]
    assert {len(cells) for cells in rows} == {len(columns)}
    assert libraries_of([MATMUL, D1]) == ["onnxruntime", "torch_nchw", "torch_nhwc", "torch", "torch_packed"]
    assert markdown(columns, rows).count("\n") == len(rows) + 1


def test_an_awkward_shape_is_compared_in_operations_a_second() -> None:
    rows = [row(ODD, 97**3 * 1e-12), row(EVEN, 96**3 * 0.5e-12), C2]
    found = neighbour_metrics(rows, ROUND_NEIGHBOURS)
    assert found[f"{ODD}_vs_neighbour"] == found["worst_vs_neighbour"] == pytest.approx(0.5)
    assert found["worst_neighbour_name"] == ODD
    assert neighbours_table(rows, ROUND_NEIGHBOURS)[1][0][:2] == (ODD, EVEN)
    assert neighbour_metrics([C2], ROUND_NEIGHBOURS) == {}


def test_what_misses_its_aim_is_named() -> None:
    rows = [*ROWS, row(ODD, 97**3 * 1e-12), row(EVEN, 96**3 * 0.5e-12)]
    assert below_aim(rows, ROUND_NEIGHBOURS) == [
        "mobilenet_d1: 0.900 of the speed of onnxruntime",
        "matmul_512: 67.1% of the FMA peak",
        "matmul_1024: 10.7% of the FMA peak",
        f"{ODD}: 0.500 of the efficiency of {EVEN}",
    ]


def test_the_page_has_a_part_for_each_suite() -> None:
    page = page_of(
        make_target(), {"operators": ROWS, "awkward": [row(ODD, 1e-6), row(EVEN, 1e-6)]}, ROUND_NEIGHBOURS
    )
    for words in (
        "## suite=operators",
        "## suite=awkward",
        "least 0.900 (mobilenet_d1)",
        "awkward_ratios.png",
    ):
        assert words in page
