"""What a GPU offers to generated code."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from typing import Literal

from codegen.precision import Precision


@dataclass(frozen=True, kw_only=True)
class GpuTarget:
    """A GPU as the lowering sees it. Two targets with the same fingerprint have comparable timings.

    ``arch`` is the architecture in its vendor's words (``sm_80``, ``gfx942``), ``warp_size`` the number
    of threads that run in lockstep, ``device`` the description whose limits hold
    (``codegen.gpu_device``). The precision belongs to the target because kernels of different precisions
    neither compute nor cost the same.
    """

    name: str
    backend: Literal["cuda", "hip"]
    arch: str
    warp_size: int
    device: str
    precision: Precision = field(default_factory=Precision)

    def __post_init__(self) -> None:
        if self.backend not in ("cuda", "hip"):
            raise ValueError(f"backend must be cuda or hip, got {self.backend!r}")
        if self.warp_size not in (32, 64):
            raise ValueError(f"warp_size must be 32 or 64, got {self.warp_size}")

    @property
    def fingerprint(self) -> str:
        """16 hex digits over every field but the name."""
        fields = {key: value for key, value in asdict(self).items() if key != "name"}
        return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:16]


GPU_TARGETS = {
    target.name: target
    for target in (
        GpuTarget(name="cuda_sm80", backend="cuda", arch="sm_80", warp_size=32, device="a100"),
        GpuTarget(name="cuda_sm90", backend="cuda", arch="sm_90", warp_size=32, device="h100"),
        GpuTarget(name="rocm_gfx942", backend="hip", arch="gfx942", warp_size=64, device="mi300x"),
    )
}
"""The architectures that kernels are compiled for, by name."""
