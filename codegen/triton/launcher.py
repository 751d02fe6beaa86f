"""The part of a generated file that takes torch tensors, and its registration as an operator of PyTorch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from codegen.triton.body import KernelText
from codegen.triton.writing import INDENT, call, indented


@dataclass(frozen=True)
class Operand:
    """An input, the output or a workspace, with the shape that a caller sees.

    A ``wide`` workspace is of float32, whatever format inputs and output have.
    """

    name: str
    shape: tuple[int, ...]
    is_wide: bool = False

    @property
    def constant(self) -> str:
        """The name of its shape in the file."""
        return f"{self.name.upper()}_SHAPE"


@dataclass(frozen=True)
class Launcher:
    """What a file launches: kernels in order, each with its name and the options of its launch.

    Those of ``prepack`` fill the buffers ``packed`` from constant inputs.
    """

    name: str
    dtype: str
    inputs: tuple[Operand, ...]
    output: Operand
    workspaces: tuple[Operand, ...]
    packed: tuple[Operand, ...]
    prepack: tuple[tuple[str, KernelText], ...]
    kernels: tuple[tuple[str, KernelText], ...]
    options: tuple[str, ...]

    def constants(self) -> str:
        """Format, shapes, and sizes of tiles, to which the grids and loops belong."""
        shapes = [f"{operand.constant} = {operand.shape}" for operand in (*self.inputs, self.output)]
        kernels = (*self.prepack, *self.kernels)
        sizes = {block: size for _, kernel in kernels for block, size in kernel.blocks.items()}
        tiles = [_TILES, *(f"{block} = {size}" for block, size in sizes.items())] if sizes else []
        return "\n".join([f"DTYPE = torch.{self.dtype}", *shapes, *tiles, _INTERPRETED])

    def functions(self) -> list[str]:
        """The function that writes the result to a tensor it is given, after one that packs constants."""
        return [*([self._prepare()] if self.packed else []), self._out()]

    def _prepare(self) -> str:
        constants = self._constants
        device = f"{constants[0].name}.device"
        lines = ['"""Constant inputs as the kernels read them: keep the result for as long as they stay."""']
        lines += [self._check(operand, device) for operand in constants]
        for packed in self.packed:
            arguments = [f"{packed.shape}", "dtype=DTYPE", f"device={device}"]
            lines.append(call(f"{packed.name} = torch.empty", arguments))
        lines.append(f"with torch.cuda.device_of({constants[0].name}):")
        lines += indented([self._launch(name, kernel) for name, kernel in self.prepack])
        lines.append(f"return {', '.join(packed.name for packed in self.packed)}")
        result = "torch.Tensor" if len(self.packed) == 1 else "tuple[torch.Tensor, ...]"
        parameters = [f"{operand.name}: torch.Tensor" for operand in constants]
        return "\n".join([call(f"def {self.name}_prepare", parameters, f" -> {result}:"), *indented(lines)])

    def _out(self) -> str:
        told = "Write the result to ``out``, which is contiguous and overlaps no input."
        if self.packed:
            told += f"\n\n``prepared`` is what ``{self.name}_prepare`` returned; without it that is called.\n"
        lines = [f'"""{told}"""']
        lines += [self._check(operand, self._device) for operand in self.inputs]
        lines.append(f'if _checked("out", out, {self.output.constant}, {self._device}) is not out:')
        lines.append(f'{INDENT}raise ValueError("out must be contiguous")')
        for workspace in self.workspaces:
            dtype = "torch.float32" if workspace.is_wide else "DTYPE"
            arguments = [f"{workspace.shape}", f"dtype={dtype}", f"device={self._device}"]
            lines.append(call(f"{workspace.name} = torch.empty", arguments))
        lines.append(f"with torch.cuda.device_of({self._first}):")
        lines += indented([self._launch(name, kernel) for name, kernel in self.kernels])
        parameters = [*self._parameters, "out: torch.Tensor"]
        if self.packed:
            names = ", ".join(packed.name for packed in self.packed)
            passed = ", ".join(operand.name for operand in self._constants)
            lines.insert(1, f"{names} = {self.name}_prepare({passed}) if prepared is None else prepared")
            parameters.append("prepared=None")
        head = call(f"def {self.name}_out", parameters, " -> None:")
        return "\n".join([head, *indented(lines)])

    def operator(self, number: str) -> str:
        """The function that returns the result, known to PyTorch; ``number`` is unique to the kernels."""
        takes = ", ".join(f"{operand.name} {list(operand.shape)}" for operand in self.inputs)
        new = f"torch.empty({self.output.constant}, dtype=DTYPE, device={self._device})"
        passed = [*(operand.name for operand in self.inputs), "out"]
        told = f"From {takes}: {self.output.name} {list(self.output.shape)}."
        if self.packed:
            packs = ", ".join(operand.name for operand in self._constants)
            told += f"\n\nPacks {packs} at each call, which ``{self.name}_out`` need not.\n"
        body = [
            f'"""{told}"""',
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
    def _constants(self) -> list[Operand]:
        """Inputs that are packed."""
        read = {pointer for _, kernel in self.prepack for pointer in kernel.pointers}
        return [operand for operand in self.inputs if operand.name in read]

    def _check(self, operand: Operand, device: str) -> str:
        return f'{operand.name} = _checked("{operand.name}", {operand.name}, {operand.constant}, {device})'

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


_TILES = "# The grids and loops below are made for tiles of these sizes."

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
