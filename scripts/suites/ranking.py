"""How well models rank tasks they have never seen, learnt and judged in one run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from costmodel.encoders.baselines import RandomModel, RooflineModel
from costmodel.feature_cache import FeatureCache
from costmodel.model import CostModel
from datasets.splits import Split
from scripts.learning.judgement import Judgement, judge
from scripts.learning.training import comparable_features, fit_model
from scripts.running.display import show_table

METRICS = ("pairwise_accuracy", "top1", "top5", "kendall_tau")


@dataclass(frozen=True)
class Ranking:
    """Each model's judgement by its name, and the seconds that training took."""

    judgements: Mapping[str, Judgement]
    train_s: Mapping[str, float]

    def flat(self) -> dict[str, float]:
        """``<model>_<metric>``, its interval as ``<model>_low_...`` and ``..._high_...``, and the ceiling."""
        values: dict[str, float] = {}
        for name, judgement in self.judgements.items():
            known = judgement.flat()
            for metric in METRICS:
                kinds = (metric, f"low_{metric}", f"high_{metric}")
                values.update({f"{name}_{kind}": known[kind] for kind in kinds if kind in known})
                if f"ceiling_{metric}" in known:
                    values[f"ceiling_{metric}"] = known[f"ceiling_{metric}"]
        return {**values, **{f"{name}_train_s": seconds for name, seconds in self.train_s.items()}}

    def show(self) -> None:
        """Print a table: metric, and for each model its value and interval."""
        rows = []
        for metric in METRICS:
            cells = []
            for judgement in self.judgements.values():
                low, high = judgement.intervals[metric]
                cells.append(f"{judgement.model[metric]:.3f} ({low:.3f} to {high:.3f})")
            ceiling = next(iter(self.judgements.values())).ceiling.get(metric, float("nan"))
            rows.append((metric, *cells, ceiling))
        show_table("tasks kept apart from training", ["metric", *self.judgements, "noise ceiling"], rows)


def rank_models(
    learners: list[CostModel], split: Split, seed: int, cache: FeatureCache | None = None
) -> Ranking:
    """Train each of ``learners`` on one side, and judge all of them and the baselines on the other."""
    train_data = comparable_features("learn from", split.train, cache)
    test_data = comparable_features("be judged on", split.test, cache)
    train_s = {model.name: fit_model(model, train_data, seed).wall_s for model in learners}
    models = [*learners, RooflineModel(), RandomModel(seed)]
    return Ranking({model.name: judge(model, test_data, seed) for model in models}, train_s)
