"""Instructions of NVIDIA binaries, read off their encoding.

From Volta on an instruction takes 16 bytes. Its lowest 12 bits tell the operation and the kind of its
operands, bits 73 to 75 how much a load moves. NVIDIA documents neither; these were read off listings of
``nvdisasm``, and a test compares. Asking ``nvdisasm`` takes as long as compiling a small kernel.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

_SIZE = 16

_MATRIX = {0x23C, 0x9F0, 0xDF0}
"""HMMA, and HGMMA with its left operand in shared memory and in registers: products of floats."""

_LOADS = {0x981, 0xFAE}
"""LDG, and LDGSTS, which puts what it loads into shared memory."""

_LOAD_BITS = np.array([8, 8, 16, 16, 32, 64, 128, 128])
"""By bits 73 to 75: U8, S8, U16, S16, 32, 64, 128."""


@dataclass(frozen=True)
class InstructionMix:
    """Instructions of a kernel, those of matrix units, and bits of a thread's widest load, 0 without any."""

    num_instructions: int
    num_matrix: int
    widest_load_bits: int


def instruction_mix(cubin: bytes) -> InstructionMix:
    """Of all code in a binary; ValueError if it is not an ELF file of 64 bits with whole instructions."""
    code = b"".join(_sections(cubin, ".text."))
    if len(code) % _SIZE:
        raise ValueError(f"code of {len(code)} bytes is not made of instructions of {_SIZE} bytes")
    words = np.frombuffer(code, dtype="<u8").reshape(-1, 2)
    operations = words[:, 0] & 0xFFF
    loads = words[np.isin(operations, list(_LOADS)), 1] >> 9 & 7
    return InstructionMix(
        num_instructions=len(words),
        num_matrix=int(np.isin(operations, list(_MATRIX)).sum()),
        widest_load_bits=int(_LOAD_BITS[loads].max(initial=0)),
    )


def _sections(elf: bytes, prefix: str) -> Iterator[bytes]:
    """Contents of the sections whose names begin so."""
    if elf[:5] != b"\x7fELF\x02":
        raise ValueError("this is not an ELF file of 64 bits")
    (table,) = struct.unpack_from("<Q", elf, 0x28)
    entry, num, names_at = struct.unpack_from("<HHH", elf, 0x3A)
    headers = [struct.unpack_from("<IIQQQQ", elf, table + number * entry) for number in range(num)]
    names = headers[names_at][4]
    for name, _, _, _, offset, size in headers:
        start = names + name
        if elf[start : elf.index(b"\0", start)].decode().startswith(prefix):
            yield elf[offset : offset + size]
