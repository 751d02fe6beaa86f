"""What compiled kernels say about themselves: registers, spills, instructions."""

from __future__ import annotations

import re
from dataclasses import dataclass

from codegen.triton.sass import instruction_mix

_GCN = re.compile(r"^\t([a-z]+_\w+)", re.MULTILINE)
"""An instruction in AMD's assembly."""

_GCN_WIDTHS = {
    "ubyte": 8,
    "sbyte": 8,
    "ushort": 16,
    "sshort": 16,
    "short": 16,
    "dword": 32,
    "dwordx2": 64,
    "dwordx3": 96,
    "dwordx4": 128,
}


@dataclass(frozen=True, kw_only=True)
class Binary:
    """Counts per thread, but for instructions, which are those of the listing.

    ``widest_load_bits`` is that of one thread's loads from global memory, 0 without any.
    """

    num_registers: int
    spilled_bytes: int
    num_instructions: int
    num_matrix_instructions: int
    widest_load_bits: int


def read_cubin(cubin: bytes, log: str) -> Binary:
    """Of a binary for NVIDIA, and of what ``ptxas -v`` said as it made it.

    Raises:
        RuntimeError: the log says nothing of registers.
    """
    mix = instruction_mix(cubin)
    return Binary(
        num_registers=int(_found(r"Used (\d+) registers", log)),
        spilled_bytes=int(_found(r"(\d+) bytes stack frame", log)),
        num_instructions=mix.num_instructions,
        num_matrix_instructions=mix.num_matrix,
        widest_load_bits=mix.widest_load_bits,
    )


def read_amdgcn(assembly: str) -> Binary:
    """Of the assembly that a binary for AMD was made from, which holds the metadata of its notes.

    Vector registers count, those that only matrix instructions reach included.
    """
    counts = {
        name: int(_found(rf"\.{name}:\s+(\d+)", assembly))
        for name in ("vgpr_count", "vgpr_spill_count", "sgpr_spill_count", "private_segment_fixed_size")
    }
    body = assembly.split(".section\t.rodata")[0]
    names = _GCN.findall(body)
    return Binary(
        num_registers=counts["vgpr_count"],
        spilled_bytes=max(counts["private_segment_fixed_size"], 4 * counts["vgpr_spill_count"]),
        num_instructions=len(names),
        num_matrix_instructions=sum("mfma" in name for name in names),
        widest_load_bits=max(map(_gcn_load_bits, names), default=0),
    )


def _gcn_load_bits(name: str) -> int:
    match = re.fullmatch(r"(?:global|buffer)_load_([a-z]+(?:x\d)?)(?:_\w+)?", name)
    return _GCN_WIDTHS.get(match[1], 0) if match else 0


def _found(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    if match is None:
        raise RuntimeError(f"there is no {pattern} in what describes the binary")
    return match[1]
