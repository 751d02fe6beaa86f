"""Several networks that differ in their seeds: their mean scores, their disagreement says how sure it is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from costmodel.batching import TreeBatch
from costmodel.dataset import FeatureDataset, TaskFeatures
from costmodel.features.featurise import SketchFeatures
from costmodel.model import ModelState, Progress, Scores
from costmodel.native import NativeSketch
from costmodel.neural import NeuralModel
from costmodel.train import seed_of
from costmodel.validation import none_apart


@dataclass(frozen=True, kw_only=True)
class EnsembleConfig:
    """``calibration_fraction`` of the tasks is kept apart from training, to learn how wide an interval is.

    ``coverage``: the share of candidates whose time is to lie within theirs.
    """

    num_members: int = 4
    calibration_fraction: float = 0.1
    coverage: float = 0.9

    def __post_init__(self) -> None:
        if self.num_members < 2:
            raise ValueError(f"num_members must be at least 2, got {self.num_members}")
        if not 0 <= self.calibration_fraction < 1 or not 0 < self.coverage < 1:
            raise ValueError(f"calibration_fraction must be in [0, 1) and coverage in (0, 1), got {self}")


class EnsembleModel:
    """Deep ensemble (Lakshminarayanan et al. 2017) of one kind of network, with calibrated intervals.

    The width of an interval is the members' disagreement times a factor that covers the calibration tasks
    (split conformal prediction with normalised residuals, Papadopoulos et al. 2002). ``uncalibrated``: as in
    ``KnowsUncertainty``.
    """

    name: ClassVar[str] = "ensemble"

    def __init__(self, member: NeuralModel, config: EnsembleConfig | None = None) -> None:
        self.config = config or EnsembleConfig()
        self.members = [member, *(_fresh(member) for _ in range(1, self.config.num_members))]
        self.factor = float("nan")
        self.uncalibrated = ""
        self.snapshot: Path | None = None

    def fit(self, data: FeatureDataset, rng: np.random.Generator, progress: Progress | None = None) -> None:
        seeds = [seed_of(rng) for _ in self.members]
        learning, calibration = data.divided(self.config.calibration_fraction, rng)
        for number, (member, seed) in enumerate(zip(self.members, seeds)):
            if self.snapshot is not None:
                member.snapshot = self.snapshot.with_name(f"{self.snapshot.stem}-{number}.safetensors")
            told = _part_of(progress, number, len(self.members))
            member.fit(learning, np.random.default_rng(seed), told)
        self.factor = self._calibrated(calibration)
        self.uncalibrated = "" if self._is_as_asked else self._gap(data, calibration)

    @property
    def is_fitted(self) -> bool:
        return all(member.is_fitted for member in self.members)

    @property
    def num_parameters(self) -> int:
        return sum(member.num_parameters for member in self.members)

    def tuned(self, data: FeatureDataset, rng: np.random.Generator) -> Self:
        """Tunes every member; intervals keep their factor."""
        members = [member.tuned(data, np.random.default_rng(seed_of(rng))) for member in self.members]
        return self._with_members(members)

    def score(self, batch: TreeBatch) -> Scores:
        return _mean([member.score(batch) for member in self.members])

    def half_widths(self, batch: TreeBatch) -> NDArray[np.float64]:
        """For candidates of one task: how far log time may be from minus the score, up to a constant, (N,).

        A share of ``coverage`` of the candidates of new tasks should lie within; NaN without calibration.
        Members leave a constant per task open, so their scores are compared after each one's mean over the
        batch: the widths are relative to it, and hold for a batch drawn as the task's candidates were.

        Raises:
            ValueError: for fewer than two candidates, which members cannot disagree about.
        """
        return self.factor * self._disagreement(batch)

    def covers(self, task: TaskFeatures) -> NDArray[np.bool_]:
        """For each candidate that did not fail, whether its time lies within its interval."""
        error, is_known = _errors(self.score(task.trees), task)
        return np.asarray(np.abs(error) <= self.half_widths(task.trees)[is_known])

    def compile(self, features: SketchFeatures) -> Sequence[NativeSketch]:
        return [part for member in self.members for part in member.compile(features)]

    def state(self) -> ModelState:
        states = [member.state() for member in self.members]
        arrays = {
            f"{i}.{name}": array for i, each in enumerate(states) for name, array in each.arrays.items()
        }
        arrays["factor"] = np.array([self.factor])
        member = {"model": self.members[0].name, "network": dict(states[0].config)}
        return ModelState({**asdict(self.config), **member}, arrays)

    def restored(self, state: ModelState) -> Self:
        kind = self.members[0].name
        if state.config.get("model") != kind:
            raise ValueError(f"the state is of an ensemble of {state.config.get('model')}, not of {kind}")
        sizes = {name: state.config[name] for name in asdict(self.config)}
        ensemble = type(self)(_fresh(self.members[0]), EnsembleConfig(**sizes))
        members = []
        for number, member in enumerate(ensemble.members):
            prefix = f"{number}."
            mine = {k.removeprefix(prefix): v for k, v in state.arrays.items() if k.startswith(prefix)}
            members.append(member.restored(ModelState(state.config["network"], mine)))
        result = ensemble._with_members(members)
        result.factor = float(state.arrays["factor"][0])
        if not result._is_as_asked:
            fraction = result.config.calibration_fraction
            result.uncalibrated = f"its calibration_fraction={fraction} kept no task apart to learn them from"
        return result

    def _with_members(self, members: list[NeuralModel]) -> Self:
        model = type(self)(members[0], self.config)
        model.members, model.factor, model.uncalibrated = members, self.factor, self.uncalibrated
        return model

    @property
    def _is_as_asked(self) -> bool:
        """Whether intervals are calibrated if that was asked for."""
        return math.isfinite(self.factor) or not self.config.calibration_fraction

    def _gap(self, data: FeatureDataset, calibration: FeatureDataset) -> str:
        """Why what was kept apart of the data calibrates nothing, and what would."""
        fraction = self.config.calibration_fraction
        if not calibration.tasks:
            return none_apart(data, "calibration_fraction", fraction)
        kept = f"{len(calibration.tasks)} of {len(data.tasks)} tasks"
        reason = f"calibration_fraction={fraction} keeps {kept} apart, none with two candidates to compare"
        return f"{reason}; a larger one keeps more"

    def _disagreement(self, batch: TreeBatch) -> NDArray[np.float64]:
        """Standard deviation of the members, plus its mean: to agree by chance is not to be sure."""
        if len(batch) < 2:
            raise ValueError(f"widths need at least 2 candidates of one task, got {len(batch)}")
        scores = np.array([member.score(batch) for member in self.members], dtype=np.float64)
        centred = scores - scores.mean(axis=1, keepdims=True)
        deviation = centred.std(axis=0, ddof=1)
        return np.asarray(deviation + deviation.mean())

    def _calibrated(self, data: FeatureDataset) -> float:
        ratios = []
        for task in data.learnable().tasks:
            error, is_known = _errors(self.score(task.trees), task)
            ratios.append(np.abs(error) / np.maximum(self._disagreement(task.trees)[is_known], 1e-9))
        if not ratios:
            return float("nan")
        return float(np.quantile(np.concatenate(ratios), self.config.coverage))


def _mean(scores: list[Scores]) -> Scores:
    result: Scores = np.mean(scores, axis=0, dtype=np.float32)
    return result


def _fresh(member: NeuralModel) -> NeuralModel:
    return NeuralModel(member.config, member.training, member.refit)


def _errors(scores: Scores, task: TaskFeatures) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Score minus log speed of what did not fail, less its median over the task; and what did not."""
    is_known = np.isfinite(task.latency_s)
    error = scores[is_known] + np.log(task.latency_s[is_known])
    return np.asarray(error - np.median(error)), is_known


def _part_of(progress: Progress | None, number: int, of: int) -> Progress | None:
    """The progress of one member as that of its part of the whole."""
    if progress is None:
        return None
    return lambda done, total, loss: progress(number * total + done, of * total, loss)
