"""Named operators: the convolutions of the papers."""

from __future__ import annotations

from dataclasses import replace

from codegen.ops.convolution import Conv2d
from codegen.ops.elementwise import Elementwise
from codegen.ops.matmul import Matmul
from codegen.ops.matrices import Transpose
from codegen.ops.normalization import LayerNorm, Softmax
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
    "matmul_128x768x3072": Matmul(m=128, k=768, n=3072),
    "matmul_8x4096x4096": Matmul(m=8, k=4096, n=4096),
}
"""ResNet-18 C1 to C12 and MobileNet D1 to D9 of arXiv:1802.04799, table 2, at batch 1, and matmuls.

The matmuls (m x k x n): two squares, the first layer of a transformer's feed-forward block on 128 tokens,
and a skinny one that streams its weights.
"""

AWKWARD_WORKLOADS: dict[str, Operator] = {
    "conv_35x35_48_64_5x5": _conv(35, 48, 64, 5, 1, 2),
    "conv_32x32_48_64_5x5": _conv(32, 48, 64, 5, 1, 2),
    "conv_35x35_64_96_3x3": _conv(35, 64, 96, 3, 1, 1),
    "conv_32x32_64_96_3x3": _conv(32, 64, 96, 3, 1, 1),
    "conv_17x17_160_192_1x7": replace(_conv(17, 160, 192, 1, 1, 0), kernel=(1, 7), padding=(0, 3)),
    "conv_16x16_160_192_1x7": replace(_conv(16, 160, 192, 1, 1, 0), kernel=(1, 7), padding=(0, 3)),
    "conv_17x17_192_192_3x3": _conv(17, 192, 192, 3, 1, 1),
    "conv_16x16_192_192_3x3": _conv(16, 192, 192, 3, 1, 1),
    "conv_7x7_512_512_3x3": _conv(7, 512, 512, 3, 1, 1),
    "conv_8x8_512_512_3x3": _conv(8, 512, 512, 3, 1, 1),
    "conv_7x7_512_512_1x1": _conv(7, 512, 512, 1, 1, 0),
    "conv_8x8_512_512_1x1": _conv(8, 512, 512, 1, 1, 0),
    "conv_28x28_97_97_3x3": _conv(28, 97, 97, 3, 1, 1),
    "conv_28x28_96_96_3x3": _conv(28, 96, 96, 3, 1, 1),
    "depthwise_35x35_96_3x3": _depthwise(35, 96, 1),
    "depthwise_32x32_96_3x3": _depthwise(32, 96, 1),
    "matmul_97x97x97": Matmul(m=97, k=97, n=97),
    "matmul_96x96x96": Matmul(m=96, k=96, n=96),
    "matmul_333x333x333": Matmul(m=333, k=333, n=333),
    "matmul_336x336x336": Matmul(m=336, k=336, n=336),
    "matmul_1009x251x127": Matmul(m=1009, k=251, n=127),
    "matmul_1024x256x128": Matmul(m=1024, k=256, n=128),
}
"""Extents that no vector divides (images of Inception-v3, primes), each followed by a round neighbour."""

ROUND_NEIGHBOURS: dict[str, str] = dict(zip(list(AWKWARD_WORKLOADS)[::2], list(AWKWARD_WORKLOADS)[1::2]))
"""The round shape that an awkward one is compared with."""

TRANSFORMER_WORKLOADS: dict[str, Operator] = {
    "bert_projection": Matmul(m=128, k=768, n=768, bias=True),
    "bert_feed_forward_1": Matmul(m=128, k=768, n=3072, bias=True),
    "bert_feed_forward_2": Matmul(m=128, k=3072, n=768, bias=True),
    "bert_attention_scores": Matmul(batch=12, m=128, k=64, n=128, transpose_b=True),
    "bert_attention_values": Matmul(batch=12, m=128, k=128, n=64),
    "bert_softmax": Softmax(rows=12 * 128, cols=128),
    "bert_layer_norm": LayerNorm(rows=128, cols=768),
}
"""What a layer of BERT-base (arXiv:1810.04805) runs on one sequence of 128 tokens."""

GPU_LARGE_WORKLOADS: dict[str, Operator] = {
    "matmul_2048": Matmul(m=2048, k=2048, n=2048),
    "matmul_4096": Matmul(m=4096, k=4096, n=4096),
    "resnet18_c2_batch_32": replace(_conv(56, 64, 64, 3, 1, 1), batch=32),
    "resnet18_c9_batch_32": replace(_conv(14, 256, 256, 3, 1, 1), batch=32),
    "resnet18_c9_batch_32_nhwc": replace(_conv(14, 256, 256, 3, 1, 1), batch=32, layout="NHWC"),
    "mobilenet_d5_batch_32": replace(_depthwise(28, 256, 1), batch=32),
    "softmax_8192x4096": Softmax(rows=8192, cols=4096),
    "layer_norm_8192x4096": LayerNorm(rows=8192, cols=4096),
    "gelu_8192x4096": Elementwise(shape=(8192, 4096), ops=("gelu",)),
    "transpose_8192x4096": Transpose(rows=8192, cols=4096),
}
"""What fills a GPU, where the papers' workloads at batch 1 do not."""
