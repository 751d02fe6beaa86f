"""How the analytic model of GPUs ranks the records that a learned one is judged on, alone and beside it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from codegen.gpu_target import GpuTarget
from codegen.ops import make_operator
from codegen.schedule import build_space
from costmodel.dataset import FeatureDataset, candidates_of
from costmodel.gpu_blend import blended
from costmodel.gpu_prior import GpuPrior
from costmodel.metrics import TaskMetrics, average, task_metrics
from costmodel.model import CostModel, Scores
from datasets.table import RecordTable, TaskTable

ANALYTIC, TOGETHER = "gpu_roofline", "model and gpu_roofline"


def analytic_metrics(model: CostModel, table: RecordTable, data: FeatureDataset) -> Mapping[str, TaskMetrics]:
    """Averages over the tasks of ``data``, which are of ``table``: of ``GpuPrior`` and of ``GpuBlend``.

    Both as they are before any trial of a task. Nothing unless all tasks are of GPUs.
    """
    tasks = {task.label: task for task in table.tasks}
    alone, together = [], []
    for features in data.learnable().tasks:
        analytic = _analytic_scores(tasks[features.label])
        if analytic is None:
            return {}
        alone.append(task_metrics(analytic, features.labels))
        together.append(task_metrics(blended(analytic, model.score(features.trees)), features.labels))
    return {ANALYTIC: average(alone), TOGETHER: average(together)} if alone else {}


def _analytic_scores(task: TaskTable) -> Scores | None:
    """Finite: what should not fit comes last. None for a CPU."""
    if not isinstance(task.target, GpuTarget):
        return None
    space = build_space(make_operator(task.operator, task.parameters).program(), task.target)
    scores = GpuPrior(space).score(candidates_of(task, space))
    fits = np.isfinite(scores)
    last = scores.min(where=fits, initial=0.0) - 10.0
    return np.where(fits, scores, last).astype(np.float32)
