"""Trials that a search saves over random search, from real runs: the papers' search-efficiency figure."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from codegen.ops import WORKLOADS
from scripts.outputs import write_text
from search.curves import best_so_far, median_band, median_trials_to_reach, stack_curves

Curves = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class ComparisonConfig:
    """Which runs are made: every workload with every seed, once at random and once guided.

    ``random_trials`` is the budget of random search, ``guided_trials`` that of the annealer.
    """

    workloads: list[str] = field(
        default_factory=lambda: ["resnet18_c2", "resnet18_c6", "resnet18_c9", "matmul_512"]
    )
    num_seeds: int = 5
    random_trials: int = 256
    guided_trials: int = 128

    def __post_init__(self) -> None:
        unknown = [name for name in self.workloads if name not in WORKLOADS]
        if unknown or not self.workloads:
            raise ValueError(f"workloads must be some of {', '.join(WORKLOADS)}, got {self.workloads}")
        if min(self.num_seeds, self.random_trials, self.guided_trials) < 1:
            raise ValueError(f"num_seeds, random_trials and guided_trials must be positive, got {self}")


@dataclass(frozen=True)
class Comparison:
    """Best latency after each trial, shape (seeds, trials) in seconds, of both methods on one workload."""

    workload: str
    random: Curves
    guided: Curves

    @property
    def threshold_s(self) -> float:
        """Random search's best at the end of its budget, the median of its runs."""
        return float(median_band(self.random).median[-1])

    @property
    def guided_trials(self) -> int | None:
        """Trials the guided search needs to get there, median over seeds; None if it does not."""
        return median_trials_to_reach(self.guided, self.threshold_s)


def curves_of(runs: Sequence[Sequence[float | None]], num_trials: int) -> Curves:
    """Latencies of the trials of several runs as curves of the best so far."""
    return stack_curves([best_so_far(list(run)) for run in runs], num_trials)


def comparison_metrics(comparisons: Sequence[Comparison]) -> dict[str, float | int]:
    """Per workload and in the median over workloads; one that never gets there counts as its budget + 1.

    What cannot be told, because half of the runs found nothing, is left out.
    """
    metrics: dict[str, float | int] = {"num_workloads": len(comparisons)}
    needed = []
    for comparison in comparisons:
        if np.isnan(comparison.threshold_s):
            continue
        trials = comparison.guided_trials
        budget = comparison.guided.shape[1]
        needed.append(budget + 1 if trials is None else trials)
        final_s = float(median_band(comparison.guided).median[-1])
        metrics[f"{comparison.workload}_trials_to_random_best"] = needed[-1]
        if not np.isnan(final_s):
            metrics[f"{comparison.workload}_speedup_over_random"] = comparison.threshold_s / final_s
    if needed:
        metrics["median_trials_to_random_best"] = float(np.median(needed))
    metrics["random_trials"] = comparisons[0].random.shape[1]
    return metrics


def write_curves(path: Path, comparisons: Sequence[Comparison]) -> None:
    """Every run: workload, method, seed, trial, best_latency_s (empty while nothing has succeeded)."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["workload", "method", "seed", "trial", "best_latency_s"])
    for comparison in comparisons:
        for method, curves in methods(comparison).items():
            for seed, curve in enumerate(curves):
                for trial, best_s in enumerate(curve.tolist(), start=1):
                    value = "" if np.isnan(best_s) else best_s
                    writer.writerow([comparison.workload, method, seed, trial, value])
    write_text(path, text.getvalue())


def methods(comparison: Comparison) -> Mapping[str, Curves]:
    """The curves by the name of their method."""
    return {"random": comparison.random, "annealer": comparison.guided}


def draw_curves(path: Path, comparisons: Sequence[Comparison], flops: Callable[[str], int]) -> None:
    """One panel per workload: GFLOP/s of the best so far, median of the seeds and quartiles."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(
        1, len(comparisons), figsize=(3.4 * len(comparisons), 3), squeeze=False, layout="constrained"
    )
    for panel, comparison in zip(panels[0], comparisons, strict=True):
        for method, curves in methods(comparison).items():
            band = median_band(curves)
            trials = np.arange(1, curves.shape[1] + 1)
            gflop = flops(comparison.workload) / 1e9
            (line,) = panel.plot(trials, gflop / band.median, label=method)
            panel.fill_between(trials, gflop / band.high, gflop / band.low, color=line.get_color(), alpha=0.2)
        panel.set(title=comparison.workload, xlabel="trials", ylim=(0, None))
    panels[0][0].set_ylabel("GFLOP/s of the best so far")
    panels[0][0].legend(loc="lower right")
    figure.savefig(path, dpi=150)
    pyplot.close(figure)
