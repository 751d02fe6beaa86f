"""What is asked of a measuring process, and the plain form in which jobs and results travel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np

from codegen.any_target import AnyTarget, target_from_fields
from codegen.gpu_target import GpuTarget
from codegen.measure.measurement import Failure, Measurement
from codegen.measure.steadiness import Reading
from codegen.target import Target


@dataclass(frozen=True)
class MeasureJob:
    """Measure one candidate of the space of an operator on a target.

    ``candidate`` is ``{"sketch": name, "knobs": {name: value}}``. ``seed`` makes the inputs; jobs of
    one task should share it, because the reference output is computed once per task and seed.
    """

    operator: str
    parameters: Mapping[str, Any]
    target: AnyTarget
    candidate: Mapping[str, Any]
    seed: int = 0

    @property
    def cpu(self) -> Target:
        """The target; ValueError unless it is a CPU."""
        if isinstance(self.target, GpuTarget):
            raise ValueError(f"target must be a CPU here, got {self.target.name}")
        return self.target

    @property
    def gpu(self) -> GpuTarget:
        """The target; ValueError unless it is a GPU."""
        if isinstance(self.target, Target):
            raise ValueError(f"target must be a GPU here, got {self.target.name}")
        return self.target

    @property
    def task_key(self) -> tuple[str, str, str, int]:
        """Equal for jobs that share inputs and reference output."""
        return (self.operator, repr(sorted(self.parameters.items())), self.target.fingerprint, self.seed)


class ConstraintError(Exception):
    """The candidate's schedule is illegal; raised by ``Workbench.build``."""


class LostDeviceError(Exception):
    """This process cannot use the device any more; raised by the trial that is at fault."""


class Trial(Protocol):
    """A candidate that has been built and can be run."""

    @property
    def compile_s(self) -> float:
        """Seconds from the lowered candidate to a callable."""
        ...

    def check(self) -> str | None:
        """Run once: None if the output is right, else a sentence on how it is wrong."""
        ...

    def time_calls(self, num_calls: int) -> float:
        """Seconds that ``num_calls`` calls in a row take together."""
        ...


class Workbench(Protocol):
    """Turns jobs into trials inside a measuring process; one lives as long as its process."""

    def prepare(self, job: MeasureJob) -> None:
        """Get ready what all candidates of the job's task share; quick if nothing is missing.

        Raises:
            ValueError: the task itself is impossible, whatever the candidate.
        """
        ...

    def build(self, job: MeasureJob) -> Trial:
        """Lower and compile the candidate.

        Raises:
            ConstraintError: its schedule is illegal.
        """
        ...


def job_to_json(job: MeasureJob) -> dict[str, Any]:
    """Plain values only; integers from NumPy become int."""
    knobs = {str(name): int(value) for name, value in job.candidate["knobs"].items()}
    return {
        "operator": job.operator,
        "parameters": dict(job.parameters),
        "target": asdict(job.target),
        "candidate": {"sketch": str(job.candidate["sketch"]), "knobs": knobs},
        "seed": int(job.seed),
    }


def job_from_json(fields: Mapping[str, Any]) -> MeasureJob:
    """The inverse of ``job_to_json``."""
    return MeasureJob(
        operator=fields["operator"],
        parameters=fields["parameters"],
        target=target_from_fields(fields["target"]),
        candidate=fields["candidate"],
        seed=fields["seed"],
    )


def measurement_to_json(measurement: Measurement) -> dict[str, Any]:
    """Plain values only."""
    return asdict(measurement)


def measurement_from_json(fields: Mapping[str, Any]) -> Measurement:
    """The inverse of ``measurement_to_json``."""
    failure = fields["failure"]
    return Measurement(
        times_s=tuple(fields["times_s"]),
        failure=None if failure is None else Failure(**failure),
        compile_s=fields["compile_s"],
        total_s=fields["total_s"],
        reference_s=fields["reference_s"],
        unsteadiness=fields["unsteadiness"],
    )


def readings_to_json(readings: Sequence[Reading]) -> list[list[float]]:
    """Plain values only."""
    return [reading.tolist() for reading in readings]


def readings_from_json(values: Sequence[Sequence[float]]) -> list[Reading]:
    """The inverse of ``readings_to_json``."""
    return [np.array(each) for each in values]
