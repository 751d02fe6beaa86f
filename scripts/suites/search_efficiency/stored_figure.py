"""Whether a run of the search-efficiency figure agrees with the one stored in the project.

Machines differ in speed, so what is compared are shares of the best that a workload came to.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from scripts.running.outputs import write_rows
from scripts.suites.search_efficiency.curves import Comparison, methods
from search.curves import median_band

MIN_TOLERANCE = 0.1


@dataclass(frozen=True)
class CurvePoint:
    """Where the median run stands after some trials.

    ``relative_speed`` is a share of the workload's best, the faster method's median at the end of its
    budget; 0 while nothing has succeeded. ``tolerance`` is half the range of the seeds, at least 0.1.
    """

    workload: str
    method: str
    trial: int
    relative_speed: float
    tolerance: float


def curve_points(comparisons: Sequence[Comparison]) -> list[CurvePoint]:
    """Each curve at trials 1, 2, 4, ... and at its end."""
    points = []
    for comparison in comparisons:
        curves_of = methods(comparison)
        ends_s = [median_band(curves).median[-1] for curves in curves_of.values()]
        best_s = np.fmin.reduce(ends_s)
        for method, curves in curves_of.items():
            median_s = median_band(curves).median
            for trial in _doubling(curves.shape[1]):
                speeds = np.nan_to_num(best_s / curves[:, trial - 1])
                speed = float(np.nan_to_num(best_s / median_s[trial - 1]))
                tolerance = max(MIN_TOLERANCE, float(np.ptp(speeds)) / 2)
                points.append(
                    CurvePoint(comparison.workload, method, trial, round(speed, 3), round(tolerance, 3))
                )
    return points


def write_points(path: Path, points: Sequence[CurvePoint]) -> None:
    """The format of the stored result: to store a run, copy this file."""
    write_rows(path, CurvePoint, points)


def read_points(path: Path) -> list[CurvePoint]:
    """The inverse of ``write_points``; ValueError names a line that is no point."""
    try:
        rows = list(csv.DictReader(io.StringIO(path.read_text(), newline="")))
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} is no table of stored points: {error}") from None
    points = []
    for number, row in enumerate(rows, start=2):
        try:
            speed, tolerance = float(row["relative_speed"]), float(row["tolerance"])
            points.append(CurvePoint(row["workload"], row["method"], int(row["trial"]), speed, tolerance))
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path}, line {number}: not a point of a stored curve: {error}") from None
    return points


@dataclass(frozen=True)
class Agreement:
    """How many points of a run were compared with stored ones, and a sentence for each that differs."""

    num_compared: int
    differences: tuple[str, ...]

    def metrics(self) -> dict[str, int]:
        """``within_tolerance`` is left out if there was nothing to compare."""
        counts = {"num_compared": self.num_compared, "num_different": len(self.differences)}
        return {**counts, "within_tolerance": int(not self.differences)} if self.num_compared else counts


def agreement(points: Sequence[CurvePoint], stored: Sequence[CurvePoint]) -> Agreement:
    """Compare the workloads that both have, with the same budgets: a share is of the best within a budget."""
    budgets, stored_budgets = _budgets(points), _budgets(stored)
    known = {(point.workload, point.method, point.trial): point for point in stored}
    num_compared, differences = 0, []
    for point in points:
        expected = known.get((point.workload, point.method, point.trial))
        if expected is None or budgets[point.workload] != stored_budgets[point.workload]:
            continue
        num_compared += 1
        if abs(point.relative_speed - expected.relative_speed) > expected.tolerance:
            differences.append(
                f"{point.workload}, {point.method}, after {point.trial} trials: {point.relative_speed:.2f} "
                f"of the best, stored {expected.relative_speed:.2f} within {expected.tolerance:.2f}"
            )
    return Agreement(num_compared, tuple(differences))


def _budgets(points: Sequence[CurvePoint]) -> dict[str, dict[str, int]]:
    """The last trial of each method by workload."""
    budgets: dict[str, dict[str, int]] = {}
    for point in points:
        last = budgets.setdefault(point.workload, {})
        last[point.method] = max(point.trial, last.get(point.method, 0))
    return budgets


def _doubling(num: int) -> list[int]:
    """1, 2, 4, ... up to ``num``, which is always the last."""
    return sorted({*(2**power for power in range(num.bit_length())), num})
