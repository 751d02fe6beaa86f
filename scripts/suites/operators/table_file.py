"""The operators' table as a CSV file, which a later run adds its rows to, and as Markdown."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from codegen.measure.ratios import Ratio
from scripts.running.outputs import write_text
from scripts.suites.operators.standings import BESIDE, Ceilings, Interval, Standing, ratio_values

LIBRARIES = ("onnxruntime", "torch_nchw", "torch_nhwc", "torch", *BESIDE)
"""Columns of libraries, in order; ``torch`` where images have no part in it."""

KEYS = ("latency_s", "latency_low_s", "latency_high_s")


def write_standings(path: Path, standings: Sequence[Standing]) -> None:
    """A row per workload; what a workload lacks is empty."""
    rows = [_row(each) for each in standings]
    columns = list(dict.fromkeys(column for row in rows for column in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())


def read_standings(path: Path) -> list[Standing]:
    """The inverse of ``write_standings``; none where there is no file, ValueError names a wrong line."""
    if not path.exists():
        return []
    try:
        rows = list(csv.DictReader(io.StringIO(path.read_text(), newline="")))
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} is no table of workloads: {error}") from None
    standings = []
    for number, row in enumerate(rows, start=2):
        try:
            standings.append(_standing(row))
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path}, line {number}: not the row of a workload: {error}") from None
    return standings


def merged(
    earlier: Sequence[Standing], standings: Sequence[Standing], order: Sequence[str]
) -> list[Standing]:
    """The newer row of each workload, in the suite's order, without workloads that it no longer has."""
    by_name = {each.name: each for each in (*earlier, *standings)}
    return [by_name[name] for name in order if name in by_name]


def libraries_of(standings: Sequence[Standing]) -> list[str]:
    """The libraries that any row has, known ones first and in their order."""
    found = list(dict.fromkeys(who for each in standings for who in each.libraries))
    return [*(who for who in LIBRARIES if who in found), *(who for who in found if who not in LIBRARIES)]


def _row(each: Standing) -> dict[str, object]:
    row: dict[str, object] = {
        "workload": each.name,
        "sketch": each.sketch,
        "trials": each.trials,
        "correct": int(each.is_correct),
        "max_abs_error": each.max_abs_error,
        "flops": each.flops,
        "num_bytes": each.num_bytes,
        "peak_gflops": each.ceilings.peak_gflops,
        "bandwidth_gb_s": each.ceilings.bandwidth_gb_s,
        "gflops": each.gflops,
        "share_of_peak": each.share_of_peak,
        "share_of_bandwidth": each.share_of_bandwidth,
        **_times("", each.ours),
    }
    for who in libraries_of([each]):
        row |= _times(f"{who}_", each.libraries[who])
    row["best_library"] = each.ratio.rival if each.ratio else ""
    return row | ratio_values(each) | {"code_version": each.code_version}


def _standing(row: Mapping[str, str]) -> Standing:
    libraries = [key.removesuffix("_latency_s") for key in row if key.endswith("_latency_s")]
    return Standing(
        name=row["workload"],
        flops=int(row["flops"]),
        num_bytes=int(row["num_bytes"]),
        sketch=row["sketch"],
        trials=int(row["trials"]),
        is_correct=bool(int(row["correct"])),
        max_abs_error=float(row["max_abs_error"]),
        ours=_interval("", row),
        libraries={who: _interval(f"{who}_", row) for who in libraries if row[f"{who}_latency_s"]},
        ratio=_ratio("best", row["best_library"], row) if row["best_library"] else None,
        beside={who: _ratio(who, who, row) for who in BESIDE if row.get(f"vs_{who}")},
        ceilings=Ceilings(float(row["peak_gflops"]), float(row["bandwidth_gb_s"])),
        code_version=row["code_version"],
    )


def _ratio(who: str, rival: str, row: Mapping[str, str]) -> Ratio:
    return Ratio(rival, *(float(row[f"vs_{who}{end}"]) for end in ("", "_low", "_high")))


def _times(prefix: str, interval: Interval) -> dict[str, object]:
    return dict(zip((prefix + key for key in KEYS), (interval.median_s, interval.low_s, interval.high_s)))


def _interval(prefix: str, row: Mapping[str, str]) -> Interval:
    return Interval(*(float(row[prefix + key]) for key in KEYS))
