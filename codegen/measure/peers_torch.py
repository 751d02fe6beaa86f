"""PyTorch as a peer. Imports torch, so it is imported only where a comparison runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from codegen.measure.memory_peers_torch import has_memory_layer, memory_layer, torch_memory_binder
from codegen.measure.peers import Binder, Runner
from codegen.ops import Conv2d, Matmul, Operator
from codegen.ops.window import both_dimensions, four_sides

Operands = Mapping[str, NDArray[np.float32]]

Layer: TypeAlias = Callable[[torch.Tensor], torch.Tensor]
"""An operator with its weights fixed."""


@dataclass(frozen=True)
class Place:
    """Where tensors are, and in which format."""

    dtype: torch.dtype = torch.float32
    device: str = "cpu"


PLAIN = Place()


def torch_binders(operator: Operator, num_threads: int) -> dict[str, Binder]:
    """Runners of eager PyTorch, on tensors that ask for no gradients. Sets torch's threads for the process.

    ``torch_packed`` calls what torch.compile's freezing makes of a layer: the operator of oneDNN on weights
    that it has packed ahead of time, images stored NHWC. Eager PyTorch has no public way to that.
    """
    if not isinstance(operator, (Conv2d, Matmul)):
        binder = torch_memory_binder(operator, num_threads)
        return {"torch": binder} if binder else {}
    torch.set_num_threads(num_threads)
    binders: dict[str, Binder] = {}
    if isinstance(operator, Matmul):
        binders["torch"] = lambda operands: _bind_matmul(operator, operands, is_packed=False)
        if operator.batch == 1 and _can_pack():
            binders["torch_packed"] = lambda operands: _bind_matmul(operator, operands, is_packed=True)
        return binders
    plain, last = torch.contiguous_format, torch.channels_last
    binders["torch_nchw"] = lambda operands: _bind_conv2d(operator, operands, plain, is_packed=False)
    binders["torch_nhwc"] = lambda operands: _bind_conv2d(operator, operands, last, is_packed=False)
    if _can_pack():
        binders["torch_packed"] = lambda operands: _bind_conv2d(operator, operands, last, is_packed=True)
    return binders


def torch_bf16_binder(operator: Operator, num_threads: int) -> Binder | None:
    """Eager PyTorch on tensors that are bfloat16 from the start, images NHWC, and a result that stays so.

    Rounding is not timed. Sets torch's threads for the process. None for what is no product or convolution.
    """
    torch.set_num_threads(num_threads)
    if not isinstance(operator, (Conv2d, Matmul)):
        return None
    layer, place = operator, Place(torch.bfloat16)

    def bind(operands: Operands) -> Runner:
        if isinstance(layer, Matmul):
            run = _bind_matmul(layer, operands, is_packed=False, place=place)
        else:
            run = _bind_conv2d(layer, operands, torch.channels_last, is_packed=False, place=place)
        return lambda: _Widened(run())

    return bind


@dataclass(frozen=True)
class _Widened:
    """NumPy has no bfloat16."""

    y: torch.Tensor

    def __array__(self, dtype: object = None, copy: bool | None = None) -> NDArray[np.float32]:
        return np.asarray(self.y.float())


def torch_gpu_binders(operator: Operator, place: Place) -> dict[str, Binder]:
    """Runners of eager PyTorch on tensors of a GPU: those of ``torch_binders`` that pack nothing."""
    if isinstance(operator, Matmul):
        return {"torch": lambda operands: _bind_matmul(operator, operands, is_packed=False, place=place)}
    if not isinstance(operator, Conv2d):
        binder = _memory_binder(operator, place)
        return {"torch": binder} if has_memory_layer(operator) else {}
    formats = {"torch_nchw": torch.contiguous_format, "torch_nhwc": torch.channels_last}

    def binder_of(memory_format: torch.memory_format) -> Binder:
        return lambda operands: _bind_conv2d(operator, operands, memory_format, is_packed=False, place=place)

    return {name: binder_of(memory_format) for name, memory_format in formats.items()}


def _memory_binder(operator: Operator, place: Place) -> Binder:
    def bind(operands: Operands) -> Runner:
        y = torch.empty(operator.user_shapes()["y"], dtype=place.dtype, device=place.device)
        return memory_layer(operator, tensors_at(operator, operands, place), y)

    return bind


def _can_pack() -> bool:
    """These operators carry an underscore: another version of torch may not have them."""
    return torch._C._has_mkldnn and all(
        hasattr(torch.ops.mkldnn, name)
        for name in ("_convolution_pointwise", "_linear_pointwise", "_reorder_convolution_weight")
    )


def _bind_conv2d(
    operator: Conv2d,
    operands: Operands,
    memory_format: torch.memory_format,
    is_packed: bool,
    place: Place = PLAIN,
) -> Runner:
    """The same convolution on tensors that are stored as asked; storing them so is not timed."""
    tensors = tensors_at(operator, operands, place)
    is_channels_last = operator.layout == "NHWC"

    def stored(image: torch.Tensor) -> torch.Tensor:
        nchw = image.permute(0, 3, 1, 2) if is_channels_last else image
        return nchw.contiguous(memory_format=memory_format)

    x, w = stored(tensors["x"]), tensors["w"].contiguous(memory_format=memory_format)
    residual = stored(tensors["residual"]) if operator.residual else None
    top, left, bottom, right = four_sides(operator.padding)
    is_symmetric = top == bottom and left == right
    shape = (
        list(x.shape)
        if is_symmetric
        else [*x.shape[:2], x.shape[2] + top + bottom, x.shape[3] + left + right]
    )
    make = _packed_convolution if is_packed else _convolution
    layer = make(operator, w, tensors.get("bias"), (top, left) if is_symmetric else (0, 0), shape)

    def convolve() -> torch.Tensor:
        image = x if is_symmetric else torch.nn.functional.pad(x, (left, right, top, bottom))
        y = _finish(layer(image), residual, operator.relu)
        return y.permute(0, 2, 3, 1) if is_channels_last else y

    return convolve


def _convolution(
    operator: Conv2d,
    w: torch.Tensor,
    bias: torch.Tensor | None,
    padding: tuple[int, int],
    shape: Sequence[int],
) -> Layer:
    stride, dilation = both_dimensions(operator.stride), both_dimensions(operator.dilation)

    def layer(x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.conv2d(x, w, bias, stride, padding, dilation, operator.groups)

    return layer


def _packed_convolution(
    operator: Conv2d,
    w: torch.Tensor,
    bias: torch.Tensor | None,
    padding: tuple[int, int],
    shape: Sequence[int],
) -> Layer:
    sizes = (padding, both_dimensions(operator.stride), both_dimensions(operator.dilation), operator.groups)
    packed = torch.ops.mkldnn._reorder_convolution_weight(w, *sizes, shape)
    run = torch.ops.mkldnn._convolution_pointwise.default

    def layer(x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = run(x, packed, bias, *sizes, "none", [], "")
        return y

    return layer


def _bind_matmul(operator: Matmul, operands: Operands, is_packed: bool, place: Place = PLAIN) -> Runner:
    tensors = tensors_at(operator, operands, place)
    a = tensors["a"].mT if operator.transpose_a else tensors["a"]
    b = tensors["b"].mT if operator.transpose_b else tensors["b"]
    bias, residual = tensors.get("bias"), tensors.get("residual")
    layer = _packed_product(b, len(a)) if is_packed else _product(b)

    def multiply() -> torch.Tensor:
        y = layer(a)
        return _finish(y if bias is None else y.add_(bias), residual, operator.relu)

    return multiply


def _product(b: torch.Tensor) -> Layer:
    return lambda a: torch.matmul(a, b)


def _packed_product(b: torch.Tensor, num_rows: int) -> Layer:
    packed = torch.ops.mkldnn._reorder_linear_weight(b.mT.contiguous(), num_rows)
    run = torch.ops.mkldnn._linear_pointwise.default

    def layer(a: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = run(a, packed, None, "none", [], "")
        return y

    return layer


def _finish(y: torch.Tensor, residual: torch.Tensor | None, relu: bool) -> torch.Tensor:
    y = y if residual is None else y.add_(residual)
    return y.relu_() if relu else y


def tensors_at(operator: Operator, operands: Operands, place: Place) -> dict[str, torch.Tensor]:
    """Copies of the operands in the user's shapes."""
    shapes = operator.user_shapes()
    return {
        name: torch.from_numpy(array.reshape(shapes[name])).clone().to(place.device, place.dtype)
        for name, array in operands.items()
    }
