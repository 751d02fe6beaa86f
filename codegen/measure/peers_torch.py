"""PyTorch as a peer. Imports torch, so it is imported only where a comparison runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from codegen.measure.peers import Binder, Runner
from codegen.ops import Conv2d, Matmul
from codegen.ops.window import both_dimensions, four_sides

Operands = Mapping[str, NDArray[np.float32]]


def torch_binders(operator: Conv2d | Matmul, num_threads: int) -> dict[str, Binder]:
    """Runners of eager PyTorch in inference mode. Sets torch's number of threads for the process."""
    torch.set_num_threads(num_threads)
    if isinstance(operator, Matmul):
        return {"torch": lambda operands: _bind_matmul(operator, operands)}
    return {
        "torch_nchw": lambda operands: _bind_conv2d(operator, operands, torch.contiguous_format),
        "torch_nhwc": lambda operands: _bind_conv2d(operator, operands, torch.channels_last),
    }


def _bind_conv2d(operator: Conv2d, operands: Operands, memory_format: torch.memory_format) -> Runner:
    """The same convolution on tensors that are stored as asked; storing them so is not timed."""
    tensors = _tensors(operator, operands)
    is_channels_last = operator.layout == "NHWC"

    def stored(image: torch.Tensor) -> torch.Tensor:
        nchw = image.permute(0, 3, 1, 2) if is_channels_last else image
        return nchw.contiguous(memory_format=memory_format)

    x, w = stored(tensors["x"]), tensors["w"].contiguous(memory_format=memory_format)
    bias = tensors.get("bias")
    residual = stored(tensors["residual"]) if operator.residual else None
    top, left, bottom, right = four_sides(operator.padding)
    is_symmetric = top == bottom and left == right

    stride, dilation = both_dimensions(operator.stride), both_dimensions(operator.dilation)

    def convolve() -> torch.Tensor:
        image = x if is_symmetric else torch.nn.functional.pad(x, (left, right, top, bottom))
        padding = (top, left) if is_symmetric else (0, 0)
        y = torch.nn.functional.conv2d(image, w, bias, stride, padding, dilation, operator.groups)
        return _finish(y, residual, operator.relu)

    def user_order(y: torch.Tensor) -> torch.Tensor:
        return y.permute(0, 2, 3, 1) if is_channels_last else y

    return _runner(convolve, user_order)


def _bind_matmul(operator: Matmul, operands: Operands) -> Runner:
    tensors = _tensors(operator, operands)
    a = tensors["a"].mT if operator.transpose_a else tensors["a"]
    b = tensors["b"].mT if operator.transpose_b else tensors["b"]
    bias, residual = tensors.get("bias"), tensors.get("residual")

    def multiply() -> torch.Tensor:
        y = torch.matmul(a, b)
        return _finish(y if bias is None else y.add_(bias), residual, operator.relu)

    return _runner(multiply, lambda y: y)


def _finish(y: torch.Tensor, residual: torch.Tensor | None, relu: bool) -> torch.Tensor:
    y = y if residual is None else y.add_(residual)
    return y.relu_() if relu else y


def _runner(
    compute: Callable[[], torch.Tensor], user_order: Callable[[torch.Tensor], torch.Tensor]
) -> Runner:
    def run() -> NDArray[np.float32]:
        with torch.inference_mode():
            # A view: the elements are put into order only when somebody reads them.
            result: NDArray[np.float32] = user_order(compute()).numpy()
            return result

    return run


def _tensors(operator: Conv2d | Matmul, operands: Operands) -> dict[str, torch.Tensor]:
    shapes = operator.user_shapes()
    return {name: torch.from_numpy(array.reshape(shapes[name])).clone() for name, array in operands.items()}
