"""The config group ``figure``: which runs a figure of the papers is drawn from."""

from __future__ import annotations

from dataclasses import dataclass, field

from codegen.ops import WORKLOADS


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

    @property
    def num_trials(self) -> int:
        """Of all runs together."""
        return len(self.workloads) * self.num_seeds * (self.random_trials + self.guided_trials)
