"""What other tasks' measurements teach the model of a task that is tuned."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from codegen.ops import Operator
from costmodel.dataset import FeatureDataset, TaskFeatures
from costmodel.predictor import Predictor

MAX_LESSONS = 4
"""Of more, a network that began with nothing learns the task itself less well."""


@dataclass(frozen=True, eq=False)
class Lesson:
    """What was measured of one task."""

    operator: Operator
    features: TaskFeatures

    @property
    def is_useful(self) -> bool:
        """Whether it holds a comparison."""
        return bool(FeatureDataset((self.features,)).learnable().tasks)


def teach(predictor: Predictor, operator: Operator, lessons: Iterable[Lesson]) -> None:
    """Tell a model of the tasks of its operator whose work (FLOPs) is most like that of its own task."""
    name = operator.operator_name
    alike = [each for each in lessons if each.operator.operator_name == name and each.is_useful]
    alike.sort(key=lambda lesson: work_distance(lesson.operator.flops, operator.flops))
    predictor.teach([lesson.features for lesson in alike[:MAX_LESSONS]])


def work_distance(flops: int, other_flops: int) -> float:
    """How unlike the work of two tasks is: the logarithm of the larger number of FLOPs over the smaller."""
    return abs(math.log(max(flops, 1) / max(other_flops, 1)))
