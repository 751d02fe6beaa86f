"""What compiled kernels say about themselves: registers, spills, instructions."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

_TOOL_TIMEOUT_S = 60.0

_SASS = re.compile(r"^\s+/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P[0-9T]\w*\s+)?([A-Z][\w.]*)", re.MULTILINE)
"""An instruction in nvdisasm's listing, without its predicate."""

_GCN = re.compile(r"^\t([a-z]+_\w+)", re.MULTILINE)
"""An instruction in AMD's assembly."""

_WIDTHS = {"U8": 8, "S8": 8, "U16": 16, "S16": 16, "64": 64, "128": 128}
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


def read_cubin(cubin: bytes, log: str, folder: Path) -> Binary:
    """Of a binary for NVIDIA: what ``ptxas -v`` said of it, and its listing by Triton's own tool.

    Raises:
        RuntimeError: the tool fails, or the log says nothing of registers.
    """
    from triton import knobs

    path = folder / "kernel.cubin"
    path.write_bytes(cubin)
    registers, stack = int(_found(r"Used (\d+) registers", log)), int(_found(r"(\d+) bytes stack frame", log))
    listing = read_listing(_output(knobs.nvidia.nvdisasm.path, "-ndf", "-c", str(path)))
    return Binary(
        num_registers=registers,
        spilled_bytes=stack,
        num_instructions=listing[0],
        num_matrix_instructions=listing[1],
        widest_load_bits=listing[2],
    )


def read_listing(listing: str) -> tuple[int, int, int]:
    """Instructions in a listing of nvdisasm, those of matrix units, bits of the widest load of a thread."""
    names = _SASS.findall(listing)
    num_matrix = sum(name.split(".")[0].endswith("MMA") for name in names)
    return len(names), num_matrix, max(map(_sass_load_bits, names), default=0)


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


def _sass_load_bits(name: str) -> int:
    operation, *parts = name.split(".")
    if operation not in ("LDG", "LDGSTS"):
        return 0
    return next((_WIDTHS[part] for part in parts if part in _WIDTHS), 32)


def _gcn_load_bits(name: str) -> int:
    match = re.fullmatch(r"(?:global|buffer)_load_([a-z]+(?:x\d)?)(?:_\w+)?", name)
    return _GCN_WIDTHS.get(match[1], 0) if match else 0


def _found(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    if match is None:
        raise RuntimeError(f"there is no {pattern} in what describes the binary")
    return match[1]


def _output(*command: str) -> str:
    try:
        finished = subprocess.run(
            command, capture_output=True, text=True, timeout=_TOOL_TIMEOUT_S, check=True
        )
    except subprocess.SubprocessError as error:
        raise RuntimeError(f"{Path(command[0]).name} failed: {error}") from error
    return finished.stdout
