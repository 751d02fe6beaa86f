"""Targets of either kind, as records and jobs hold them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from codegen.gpu_target import GpuTarget
from codegen.precision import Precision
from codegen.target import Target

AnyTarget: TypeAlias = Target | GpuTarget


def target_from_fields(fields: Mapping[str, Any]) -> AnyTarget:
    """The inverse of ``dataclasses.asdict``: a GPU has an architecture, a CPU has none.

    Raises:
        KeyError, TypeError: a field is missing or unknown.
        ValueError: a field is impossible.
    """
    if "arch" not in fields:
        return Target(**fields)
    return GpuTarget(**{**fields, "precision": Precision(**fields["precision"])})
