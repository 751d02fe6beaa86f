"""Candidates and generator states as JSON values, and back, exactly."""

from __future__ import annotations

from typing import Any

import numpy as np

from codegen.schedule.candidates import Candidates


def candidates_to_json(candidates: Candidates) -> dict[str, Any]:
    """Plain values only; an empty batch keeps its number of knobs."""
    return {
        "sketches": candidates.sketches.tolist(),
        "num_knobs": candidates.positions.shape[1],
        "positions": candidates.positions.tolist(),
    }


def candidates_from_json(value: dict[str, Any]) -> Candidates:
    """The inverse of ``candidates_to_json``."""
    sketches = np.array(value["sketches"], np.int64)
    return Candidates(
        sketches, np.array(value["positions"], np.int64).reshape(len(sketches), value["num_knobs"])
    )


def generator_to_json(rng: np.random.Generator) -> dict[str, Any]:
    """State of a PCG64 generator, the kind ``numpy.random.default_rng`` makes; ValueError for others."""
    state = dict(rng.bit_generator.state)
    if state["bit_generator"] != "PCG64":
        raise ValueError(f"the journal keeps PCG64 generators only, got {state['bit_generator']}")
    return state
