"""Windows of convolutions and pooling as ONNX writes them."""

from __future__ import annotations

from dataclasses import dataclass

from codegen.graph.graph import Node, Shape


@dataclass(frozen=True)
class Window:
    """Along height and width; padding is (top, left, bottom, right)."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    padding: tuple[int, int, int, int]


def convolution_window(node: Node, x: Shape, w: Shape) -> Window:
    """The window of a Conv with input and weights of these shapes."""
    stride, dilation = _pair(node, "strides"), _pair(node, "dilations")
    kernel = (w[2], w[3])
    return Window(kernel, stride, dilation, _padding(node, (x[2], x[3]), kernel, stride, dilation))


def pool_window(node: Node, x: Shape, y: Shape) -> Window:
    """The window of a pooling node; what ceil_mode adds to y becomes padding below and on the right."""
    kernel = node.integers("kernel_shape")
    if kernel is None or len(kernel) != 2:
        raise ValueError("unknown kernel")
    stride, dilation = _pair(node, "strides"), _pair(node, "dilations")
    spans = tuple((k - 1) * d + 1 for k, d in zip(kernel, dilation))
    top, left, bottom, right = _padding(node, (x[2], x[3]), (kernel[0], kernel[1]), stride, dilation)
    needed = [
        (y[d + 2] - 1) * stride[d] + spans[d] - x[d + 2] - before for d, before in enumerate((top, left))
    ]
    padding = (top, left, max(bottom, needed[0]), max(right, needed[1]))
    return Window((kernel[0], kernel[1]), stride, dilation, padding)


def _pair(node: Node, name: str) -> tuple[int, int]:
    values = node.integers(name) or (1, 1)
    if len(values) != 2:
        raise ValueError(f"{name} {list(values)}")
    return values[0], values[1]


def _padding(
    node: Node,
    size: tuple[int, int],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    dilation: tuple[int, int],
) -> tuple[int, int, int, int]:
    mode = node.text("auto_pad", "NOTSET")
    if mode in ("SAME_UPPER", "SAME_LOWER"):
        totals = [
            max(0, (-(-size[d] // stride[d]) - 1) * stride[d] + (kernel[d] - 1) * dilation[d] + 1 - size[d])
            for d in range(2)
        ]
        small, large = [total // 2 for total in totals], [total - total // 2 for total in totals]
        before, after = (small, large) if mode == "SAME_UPPER" else (large, small)
        return before[0], before[1], after[0], after[1]
    pads = node.integers("pads")
    if mode == "VALID" or pads is None:
        return 0, 0, 0, 0
    if len(pads) != 4 or min(pads) < 0:
        raise ValueError(f"pads {list(pads)}")
    return pads[0], pads[1], pads[2], pads[3]
