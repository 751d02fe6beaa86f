"""How the analytic model of GPUs ranks what others measured, beside one that learnt from other devices."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import xgboost
from numpy.typing import NDArray
from scipy.stats import kendalltau, spearmanr

from costmodel.encoders.gpu_roofline import estimated_s
from costmodel.recorded_gpu import OPERATORS, Recorded, read_gemm, read_operator, work_features
from scripts.running.display import progress, show_table

MAX_ROWS = 4_000
"""Rows of one operator and device that the learned model sees, drawn at random."""


def recorded_metrics(folder: Path, seed: int) -> dict[str, float]:
    """Rank correlations and errors by operator and device, of the analytic and of the learned model.

    The learned one is gradient boosting on what the analytic one is made of, trained on all other devices
    of the operator.
    """
    values: dict[str, float] = {}
    rows: list[tuple[object, ...]] = []
    with progress("recorded GPUs") as tick:
        for number, name in enumerate((*OPERATORS, "gemm_space"), start=1):
            devices = read_gemm(folder) if name == "gemm_space" else read_operator(folder, name)
            for device, scores in _compare(devices, seed).items():
                values |= {f"{metric}_{name}_{device}": value for metric, value in scores.items()}
                rows.append((name, device, *scores.values()))
            tick(number, len(OPERATORS) + 1, name)
    metrics = [
        "kernels",
        *(f"{who} {what}" for who in ("prior", "learned") for what in ("rho", "tau", "error")),
    ]
    show_table("recorded GPUs", ["operator", "device", *metrics], rows)
    return values | _means(values)


def _compare(devices: Mapping[str, Recorded], seed: int) -> dict[str, dict[str, float]]:
    estimates = {name: estimated_s(one.work, one.device) for name, one in devices.items()}
    features = {name: work_features(one.work, one.device, estimates[name]) for name, one in devices.items()}
    result = {}
    for name, one in devices.items():
        others = [other for other in devices if other != name]
        learned = _learned(
            [(features[other], np.log(devices[other].seconds)) for other in others], features[name], seed
        )
        result[name] = {
            "num_recorded": len(one.seconds),
            **_scores("prior", np.log(estimates[name]), one.seconds),
            **_scores("learned", learned, one.seconds),
        }
    return result


def _learned(
    known: list[tuple[NDArray[np.float64], NDArray[np.float64]]], asked: NDArray[np.float64], seed: int
) -> NDArray[np.float64]:
    """Logarithms of seconds on a device that the model has not seen."""
    rng = np.random.default_rng(seed)
    chosen = [rng.permutation(len(times))[:MAX_ROWS] for _, times in known]
    seen = np.concatenate([rows[order] for (rows, _), order in zip(known, chosen)])
    times = np.concatenate([times[order] for (_, times), order in zip(known, chosen)])
    # Relative to the analytic estimate, so that a device faster than all seen ones is no extrapolation.
    relative = xgboost.DMatrix(seen, label=times - seen[:, 0] * np.log(2))
    settings = {"eta": 0.1, "max_depth": 6, "nthread": 1, "seed": seed}
    model = xgboost.train(settings, relative, num_boost_round=150)
    return np.asarray(model.predict(xgboost.DMatrix(asked)) + asked[:, 0] * np.log(2))


def _scores(who: str, log_estimate: NDArray[np.float64], seconds: NDArray[np.float64]) -> dict[str, float]:
    """Rank correlations, and the median of |estimate / time - 1|."""
    return {
        f"{who}_spearman": float(spearmanr(log_estimate, seconds).statistic),
        f"{who}_kendall": float(kendalltau(log_estimate, seconds).statistic),
        f"{who}_error": float(np.median(np.abs(np.exp(log_estimate) / seconds - 1))),
    }


def _means(values: Mapping[str, float]) -> dict[str, float]:
    """Over operators and devices alike."""
    found = {}
    for who in ("prior", "learned"):
        for metric in ("spearman", "kendall", "error"):
            mine = [value for name, value in values.items() if name.startswith(f"{who}_{metric}_")]
            found[f"mean_{who}_{metric}"] = float(np.mean(mine))
    return found
