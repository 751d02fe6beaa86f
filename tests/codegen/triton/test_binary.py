"""Reading what a binary of AMD says, and how many programs fit an SM."""

from __future__ import annotations

from dataclasses import replace

import pytest

from codegen.gpu_device import gpu_device
from codegen.triton.binary import Binary, read_amdgcn
from codegen.triton.compile import Resources, num_resident, occupancy

AMDGCN = """
\t.globl\tkernel
kernel:                                 ; @kernel
\t.loc\t1 6 0
\tv_and_b32_e32 v1, 7, v0
\tbuffer_load_dwordx4 v[2:5], v1, s[4:7], 0 offen
\tglobal_load_ushort v6, v1, s[2:3]
\tv_mfma_f32_32x32x8_f16 a[0:15], v[2:3], v[4:5], a[0:15]
\ts_endpgm
\t.section\t.rodata,"a",@progbits
\t.amdhsa_next_free_vgpr 70
amdhsa.kernels:
  - .agpr_count:     16
    .private_segment_fixed_size: 12
    .sgpr_spill_count: 0
    .vgpr_count:     86
    .vgpr_spill_count: 3
"""


def test_assembly_of_amd_says_what_it_takes_up() -> None:
    assert read_amdgcn(AMDGCN) == Binary(
        num_registers=86,
        spilled_bytes=12,
        num_instructions=5,
        num_matrix_instructions=1,
        widest_load_bits=128,
    )


def test_assembly_without_metadata_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="vgpr_count"):
        read_amdgcn(AMDGCN.split("\t.section")[0])


A_KERNEL = Resources(
    num_registers=64,
    spilled_bytes=0,
    shared_bytes=0,
    num_threads=256,
    num_instructions=1,
    num_matrix_instructions=0,
    widest_load_bits=0,
)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, 4),  # 65,536 registers / (64 x 256)
        ({"num_registers": 65}, 3),  # rounded up to 72
        ({"num_registers": 16}, 8),  # 2,048 threads
        ({"num_registers": 16, "num_threads": 32}, 32),  # as many programs as an SM has room for
        ({"shared_bytes": 54 * 1024}, 2),  # 164 KiB / (54 + 1)
        ({"shared_bytes": 166912}, 1),
        ({"shared_bytes": 166913}, 0),
    ],
)
def test_programs_on_an_sm_are_limited_by_what_runs_out_first(changes: dict[str, int], expected: int) -> None:
    kernel = replace(A_KERNEL, **changes)
    assert num_resident(kernel, gpu_device("a100")) == expected
    assert occupancy(kernel, gpu_device("a100")) == expected * kernel.num_threads / 2048
