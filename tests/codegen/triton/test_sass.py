"""Instructions read off binaries for NVIDIA: what ``nvdisasm``, which ships with Triton, lists."""

from __future__ import annotations

import json
import os
import re
import struct
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from codegen.triton.sass import InstructionMix, instruction_mix

pytest.importorskip("triton", reason="triton is not installed")

INSTRUCTION = re.compile(r"^\s+/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P[0-9T]\w*\s+)?([A-Z][\w.]*)", re.MULTILINE)
WIDTHS = {"U8": 8, "S8": 8, "U16": 16, "S16": 16, "64": 64, "128": 128}

COMPILE = """
import sys
from dataclasses import replace
from pathlib import Path
from codegen.gpu_target import GPU_TARGETS
from codegen.ops import Conv2d, Matmul
from codegen.precision import Precision
from codegen.schedule import build_space
from codegen.triton.candidate import candidate_kernels
from codegen.triton.compile import assemble, use_compiler

use_compiler()
launch = {"num_warps": 4, "num_stages": 3}
product = Matmul(m=200, k=256, n=200, bias=True)
tiles = {"m_block": 64, "n_block": 64, "k_block": 32, "m_group": 1, **launch}
depthwise = Conv2d(height=9, width=11, in_channels=6, out_channels=6, groups=6, padding=1)
cases = [(product, "dot", tiles, pair) for pair in (("float16",), ("bfloat16",), ("float32", "tf32"))]
cases += [(product, "dot", tiles, ("float32", "float16")), (product, "dot", tiles, ("float32",))]
cases += [(depthwise, "vector", {"c_block": 2, "oh_block": 4, "ow_block": 16, **launch}, ("float16",))]
for number, (operator, sketch, knobs, precision) in enumerate(cases):
    for name in ("cuda_sm80", "cuda_sm90"):
        target = replace(GPU_TARGETS[name], precision=Precision(*precision))
        space = build_space(operator.program(), target)
        [kernel] = candidate_kernels(space, {"sketch": sketch, "knobs": knobs})
        path = Path(sys.argv[1]) / f"{number}_{name}.cubin"
        path.write_bytes(assemble(kernel, target).stages["cubin"])
from triton import knobs
print(knobs.nvidia.nvdisasm.path)
"""


def listed(tool: str, cubin: Path) -> InstructionMix:
    """What a listing says."""
    command = [tool, "-ndf", "-c", str(cubin)]
    text = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    names = [name.split(".") for name in INSTRUCTION.findall(text)]
    loads = [parts for operation, *parts in names if operation in ("LDG", "LDGSTS")]
    widths = [next((WIDTHS[part] for part in parts if part in WIDTHS), 32) for parts in loads]
    num_matrix = sum(operation.endswith("MMA") for operation, *_ in names)
    return InstructionMix(len(names), num_matrix, max(widths, default=0))


def test_an_encoding_says_what_the_listing_says(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    environment["PYTHONPATH"] = str(Path(__file__).parents[3])
    finished = subprocess.run(
        [sys.executable, "-c", COMPILE, str(tmp_path)],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    tool = finished.stdout.splitlines()[-1]
    found = {path.stem: instruction_mix(path.read_bytes()) for path in sorted(tmp_path.glob("*.cubin"))}
    expected = {path.stem: listed(tool, path) for path in sorted(tmp_path.glob("*.cubin"))}
    assert json.dumps({k: asdict(v) for k, v in found.items()}) == json.dumps(
        {k: asdict(v) for k, v in expected.items()}
    )
    assert len(found) == 12
    assert {mix.num_matrix > 0 for mix in found.values()} == {True, False}
    assert {mix.widest_load_bits for mix in found.values()} == {16, 128}


def elf(code: bytes) -> bytes:
    """The least file with one section of code."""
    names = b"\0.text.kernel\0.names\0"
    header = bytearray(64)
    header[:5] = b"\x7fELF\x02"
    struct.pack_into("<Q", header, 0x28, 64 + len(names) + len(code))
    struct.pack_into("<HHH", header, 0x3A, 64, 2, 1)
    table = bytearray(128)
    struct.pack_into("<IIQQQQ", table, 0, 1, 1, 0, 0, 64 + len(names), len(code))
    struct.pack_into("<IIQQQQ", table, 64, 14, 3, 0, 0, 64, len(names))
    return bytes(header) + names + code + bytes(table)


def test_matrix_products_and_the_widest_load_are_found() -> None:
    words = [(0x0000000608047981, 4 << 9), (0x7FAE, 5 << 9), (0x723C, 0), (0x79F0, 0), (0x794D, 0)]
    code = b"".join(struct.pack("<QQ", *word) for word in words)
    assert instruction_mix(elf(code)) == InstructionMix(5, 2, 64)
    assert instruction_mix(elf(b"")) == InstructionMix(0, 0, 0)


@pytest.mark.parametrize(("file", "words"), [(b"no", "not an ELF file"), (elf(b"12345"), "code of 5 bytes")])
def test_what_holds_no_instructions_is_refused(file: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        instruction_mix(file)
