"""The part of a generated file that takes torch tensors, and its registration as an operator of PyTorch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from codegen.triton.body import KernelText
from codegen.triton.writing import INDENT, call, indented


@dataclass(frozen=True)
class Operand:
    """An input, the output or a workspace, with the shape that a caller sees."""

    name: str
    shape: tuple[int, ...]

    @property
    def constant(self) -> str:
        """The name of its shape in the file."""
        return f"{self.name.upper()}_SHAPE"


@dataclass(frozen=True)
class Launcher:
    """What a file launches: kernels in order, each with its name and the options of its launch."""

    name: str
    dtype: str
    inputs: tuple[Operand, ...]
    output: Operand
    workspaces: tuple[Operand, ...]
    kernels: tuple[tuple[str, KernelText], ...]
    options: tuple[str, ...]

    def constants(self) -> str:
        """Format, shapes, and sizes of tiles, to which the grids and loops belong."""
        shapes = [f"{operand.constant} = {operand.shape}" for operand in (*self.inputs, self.output)]
        sizes = {block: size for _, kernel in self.kernels for block, size in kernel.blocks.items()}
        tiles = [f"{block} = {size}" for block, size in sizes.items()]
        return "\n".join([f"DTYPE = torch.{self.dtype}", *shapes, *tiles, _INTERPRETED])

    def function(self) -> str:
        """The function that writes the result to a tensor it is given."""
        lines = ['"""Write the result to ``out``, which is contiguous and overlaps no input."""']
        for operand in self.inputs:
            checked = f'_checked("{operand.name}", {operand.name}, {operand.constant}, {self._device})'
            lines.append(f"{operand.name} = {checked}")
        lines.append(f'if _checked("out", out, {self.output.constant}, {self._device}) is not out:')
        lines.append(f'{INDENT}raise ValueError("out must be contiguous")')
        for workspace in self.workspaces:
            arguments = [f"{workspace.shape}", "dtype=torch.float32", f"device={self._device}"]
            lines.append(call(f"{workspace.name} = torch.empty", arguments))
        lines.append(f"with torch.cuda.device_of({self._first}):")
        lines += indented([self._launch(name, kernel) for name, kernel in self.kernels])
        head = call(f"def {self.name}_out", [*self._parameters, "out: torch.Tensor"], " -> None:")
        return "\n".join([head, *indented(lines)])

    def operator(self, number: str) -> str:
        """The function that returns the result, known to PyTorch; ``number`` is unique to the kernels."""
        takes = ", ".join(f"{operand.name} {list(operand.shape)}" for operand in self.inputs)
        new = f"torch.empty({self.output.constant}, dtype=DTYPE, device={self._device})"
        passed = [*(operand.name for operand in self.inputs), "out"]
        body = [
            f'"""From {takes}: {self.output.name} {list(self.output.shape)}."""',
            f"out = {new}",
            call(f"{self.name}_out", passed),
            "return out",
        ]
        head, fake = (call(f"def {name}", self._parameters, " -> torch.Tensor:") for name in (self.name, "_"))
        return "\n".join(
            [
                f'@torch.library.custom_op("looprank::{self.name}_{number}", mutates_args=())',
                head,
                *indented(body),
                "\n",
                f"@{self.name}.register_fake",
                fake,
                *indented([f"return {new}"]),
            ]
        )

    @property
    def _first(self) -> str:
        return self.inputs[0].name

    @property
    def _device(self) -> str:
        return f"{self._first}.device"

    @property
    def _parameters(self) -> Sequence[str]:
        return [f"{operand.name}: torch.Tensor" for operand in self.inputs]

    def _launch(self, name: str, kernel: KernelText) -> str:
        passed = ["out" if pointer == self.output.name else pointer for pointer in kernel.pointers]
        return call(f"{name}[({kernel.num_programs},)]", [*passed, *kernel.blocks, *self.options])


_INTERPRETED = 'INTERPRETED = os.environ.get("TRITON_INTERPRET", "0") == "1"  # on a CPU, for checking'

CHECK = '''def _checked(name, tensor, shape, device):
    """The tensor in contiguous memory; ValueError if it is not what the kernels were made for."""
    if tuple(tensor.shape) != shape:
        raise ValueError(f"{name} must have shape {shape}, got {tuple(tensor.shape)}")
    if tensor.dtype != DTYPE:
        raise ValueError(f"{name} must be {DTYPE}, got {tensor.dtype}")
    if tensor.device != device:
        raise ValueError(f"{name} must be on {device} like the other tensors, got {tensor.device}")
    if device.type != "cuda" and not INTERPRETED:
        raise ValueError(f"{name} must be on a GPU, got {device}")
    return tensor.contiguous()'''
"""The function that looks at every tensor that is passed."""
