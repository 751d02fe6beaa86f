"""Finished runs of the laboratory in a file of lines, so that a comparison that was stopped goes on."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from scripts.suites.laboratory.contenders import Trials


class TrialLog:
    """``trials.jsonl``: each line has what fixes a batch of runs (its key and the code), and what they found.

    What other code than ``code`` (a hash) has found stays in the file, but is not known.
    """

    def __init__(self, path: Path, code: str) -> None:
        self._path, self._code = path, code
        self._known: dict[str, list[Trials]] = {}
        text = path.read_text() if path.exists() else ""
        if text and not text.endswith("\n"):
            path.write_text(text + "\n")  # or the next line would join what a killed run began
        for line in text.splitlines():
            try:
                entry = json.loads(line)
            except json.JSONDecodeError:
                continue  # what was being written when the run was killed
            if entry.get("code") == code:
                self._known[_text(entry["key"])] = [_trials(run) for run in entry["runs"]]

    def find(self, key: Mapping[str, Any]) -> list[Trials] | None:
        """The runs with this key, if they were made before."""
        return self._known.get(_text(key))

    def add(self, key: Mapping[str, Any], runs: Sequence[Trials]) -> None:
        """Keep finished runs."""
        entry = {"key": dict(key), "code": self._code, "runs": [_json(run) for run in runs]}
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a") as file:
            file.write(json.dumps(entry) + "\n")
        self._known[_text(key)] = list(runs)


def _text(key: Mapping[str, Any]) -> str:
    return json.dumps(key, sort_keys=True)


def _json(run: Trials) -> dict[str, Any]:
    times = [None if np.isnan(time_s) else time_s for time_s in run.times_s.tolist()]
    return {"times_s": times, "elapsed_s": run.elapsed_s.tolist()}


def _trials(run: Mapping[str, Any]) -> Trials:
    return Trials(np.array(run["times_s"], np.float64), np.array(run["elapsed_s"], np.float64))
