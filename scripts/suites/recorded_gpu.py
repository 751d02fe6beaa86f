"""How the analytic model of GPUs ranks what others measured, beside two that learnt from other devices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import xgboost
from numpy.typing import NDArray
from scipy.stats import kendalltau, spearmanr

from costmodel.encoders.gpu_roofline import estimated_s
from costmodel.gpu_calibration import fit_weights, terms_s
from costmodel.gpu_prior import MIN_TRIALS
from costmodel.recorded_gpu import OPERATORS, Recorded, read_gemm, read_operator, work_features
from scripts.running.display import progress, show_table

MODELS = ("prior", "calibrated", "learned")

MAX_ROWS = 4_000
"""Rows of one operator and device that the learned model sees, drawn at random."""


def recorded_metrics(folder: Path, seed: int) -> dict[str, float]:
    """Rank correlations and errors by operator and device, of the analytic and of learned models.

    Of the models that learn from all other devices of the operator, ``calibrated`` weighs the bounds that
    the analytic one is made of, and ``learned`` is gradient boosting on them and on what they rest on.
    ``refitted`` weighs them by some kernels of the very space, as tuning on a GPU does.
    """
    values: dict[str, float] = {}
    rows: list[tuple[object, ...]] = []
    with progress("recorded GPUs") as tick:
        for number, name in enumerate((*OPERATORS, "gemm_space"), start=1):
            devices = read_gemm(folder) if name == "gemm_space" else read_operator(folder, name)
            for device, scores in _compare(devices, seed).items():
                if name == "gemm_space":
                    values[f"refitted_spearman_{name}_{device}"] = _refitted(devices[device], seed)
                values |= {f"{metric}_{name}_{device}": value for metric, value in scores.items()}
                rows.append((name, device, *scores.values()))
            tick(number, len(OPERATORS) + 1, name)
    metrics = [
        "kernels",
        *(f"{who} {what}" for who in MODELS for what in ("rho", "tau", "error")),
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
            **_scores("calibrated", _calibrated([devices[other] for other in others], one), one.seconds),
            **_scores("learned", learned, one.seconds),
        }
    return result


def _calibrated(known: Sequence[Recorded], asked: Recorded) -> NDArray[np.float64]:
    """Logarithms of seconds on a device that the model has not seen; each device it has seen counts alike."""
    weights = fit_weights(
        np.concatenate([terms_s(one.work, one.device) for one in known]),
        np.concatenate([one.seconds for one in known]),
        np.concatenate([np.full(len(one.seconds), 1 / len(one.seconds)) for one in known]),
    )
    return np.log(terms_s(asked.work, asked.device) @ weights)


def _refitted(one: Recorded, seed: int) -> float:
    """Rank correlation after ``MIN_TRIALS`` random kernels of the space, over its rest; mean of ten draws."""
    terms = terms_s(one.work, one.device)
    found = []
    for draw in range(10):
        order = np.random.default_rng([seed, draw]).permutation(len(one.seconds))
        seen, rest = order[:MIN_TRIALS], order[MIN_TRIALS:]
        weights = fit_weights(terms[seen], one.seconds[seen])
        found.append(spearmanr(terms[rest] @ weights, one.seconds[rest]).statistic)
    return float(np.mean(found))


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
    for who in MODELS:
        for metric in ("spearman", "kendall", "error"):
            mine = [value for name, value in values.items() if name.startswith(f"{who}_{metric}_")]
            found[f"mean_{who}_{metric}"] = float(np.mean(mine))
    return found
