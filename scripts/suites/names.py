"""The suites by the command that runs them: both choose from the config group ``suite``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from scripts.suites.benchmarks import SUITES
from scripts.suites.evaluations import EVALUATIONS

SUITES_OF: Mapping[str, Sequence[str]] = {"benchmark": (*SUITES, "all"), "evaluate": (*EVALUATIONS,)}
