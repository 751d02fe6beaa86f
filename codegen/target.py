"""What a CPU offers to generated code."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass


def compiler_name() -> str:
    """What turns generated code into machine code, such as ``LLVM 22.1.0``; no part of a fingerprint."""
    import llvmlite.binding as llvm  # kept from those who only describe a target

    return "LLVM " + ".".join(map(str, llvm.llvm_version_info))


LANE_FEATURES = {4: (), 8: ("avx2", "fma"), 16: ("avx512f", "avx512bw", "avx512dq", "avx512vl")}
"""What vectors of so many lanes need of an x86 CPU, in LLVM's names."""

BF16_FEATURE = "avx512bf16"
"""What ``Target.bf16_dot`` needs besides."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """A CPU as the lowering sees it. Two targets with the same fingerprint have comparable timings.

    ``vector_lanes`` counts float32 per vector register (16 for AVX-512, 8 for AVX2). Caches are those of
    one core: of a shared one the whole, but not the instances of other cores. ``llvm_cpu`` and
    ``llvm_features`` go to LLVM as they are. ``bf16_dot`` lets schedules round the operands of matrix
    products and convolutions to bfloat16 and multiply them in pairs, for a much larger rounding error.
    """

    name: str
    cpu: str
    llvm_cpu: str
    llvm_features: str
    vector_lanes: int
    num_vector_registers: int
    num_threads: int
    l1_bytes: int
    l2_bytes: int
    l3_bytes: int
    cache_line_bytes: int = 64
    bf16_dot: bool = False

    def __post_init__(self) -> None:
        if self.vector_lanes not in (4, 8, 16):
            raise ValueError(f"vector_lanes must be 4, 8 or 16, got {self.vector_lanes}")
        if self.num_threads < 1:
            raise ValueError(f"num_threads must be positive, got {self.num_threads}")
        has_pairs = self.vector_lanes == 16 and f"+{BF16_FEATURE}" in self.llvm_features.split(",")
        if self.bf16_dot and not has_pairs:
            raise ValueError(
                f"bf16_dot needs 512-bit vectors and {BF16_FEATURE}, which {self.name} does not have"
            )

    @property
    def fingerprint(self) -> str:
        """16 hex digits over every field but the name; ``bf16_dot`` counts where it is on."""
        fields = {key: value for key, value in asdict(self).items() if key != "name"}
        if not self.bf16_dot:
            del fields["bf16_dot"]
        return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:16]
