"""Named operators: the convolutions of the papers."""

from __future__ import annotations

from codegen.ops.convolution import Conv2d
from codegen.ops.matmul import Matmul
from codegen.ops.operator import Operator


def _conv(size: int, in_channels: int, out_channels: int, kernel: int, stride: int, padding: int) -> Conv2d:
    return Conv2d(
        height=size,
        width=size,
        in_channels=in_channels,
        out_channels=out_channels,
        kernel=kernel,
        stride=stride,
        padding=padding,
    )


def _depthwise(size: int, channels: int, stride: int) -> Conv2d:
    return Conv2d(
        height=size,
        width=size,
        in_channels=channels,
        out_channels=channels,
        groups=channels,
        stride=stride,
        padding=1,
    )


WORKLOADS: dict[str, Operator] = {
    "resnet18_c1": _conv(224, 3, 64, 7, 2, 3),
    "resnet18_c2": _conv(56, 64, 64, 3, 1, 1),
    "resnet18_c3": _conv(56, 64, 64, 1, 1, 0),
    "resnet18_c4": _conv(56, 64, 128, 3, 2, 1),
    "resnet18_c5": _conv(56, 64, 128, 1, 2, 0),
    "resnet18_c6": _conv(28, 128, 128, 3, 1, 1),
    "resnet18_c7": _conv(28, 128, 256, 3, 2, 1),
    "resnet18_c8": _conv(28, 128, 256, 1, 2, 0),
    "resnet18_c9": _conv(14, 256, 256, 3, 1, 1),
    "resnet18_c10": _conv(14, 256, 512, 3, 2, 1),
    "resnet18_c11": _conv(14, 256, 512, 1, 2, 0),
    "resnet18_c12": _conv(7, 512, 512, 3, 1, 1),
    "mobilenet_d1": _depthwise(112, 32, 1),
    "mobilenet_d2": _depthwise(112, 64, 2),
    "mobilenet_d3": _depthwise(56, 128, 1),
    "mobilenet_d4": _depthwise(56, 128, 2),
    "mobilenet_d5": _depthwise(28, 256, 1),
    "mobilenet_d6": _depthwise(28, 256, 2),
    "mobilenet_d7": _depthwise(14, 512, 1),
    "mobilenet_d8": _depthwise(14, 512, 2),
    "mobilenet_d9": _depthwise(7, 1024, 1),
    "matmul_512": Matmul(m=512, k=512, n=512),
    "matmul_1024": Matmul(m=1024, k=1024, n=1024),
}
"""ResNet-18 C1 to C12 and MobileNet D1 to D9 of arXiv:1802.04799, table 2, at batch 1, and square matmuls."""
