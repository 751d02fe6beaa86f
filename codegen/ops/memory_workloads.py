"""Named operators that compute little on each byte: what bounds them is memory, a cache, or the call."""

from __future__ import annotations

from codegen.ops.elementwise import Elementwise
from codegen.ops.matrices import Reduce, Transpose
from codegen.ops.normalization import LayerNorm, Softmax
from codegen.ops.operator import Operator
from codegen.ops.pooling import GlobalAveragePool, Pool2d
from codegen.ops.scale_shift import ScaleShift

_LARGE = (4096, 4096)

LARGE_MEMORY_WORKLOADS: dict[str, Operator] = {
    "softmax_4096x4096": Softmax(rows=4096, cols=4096),
    "layer_norm_8192x1024": LayerNorm(rows=8192, cols=1024),
    "gelu_4096x4096": Elementwise(shape=_LARGE, ops=("gelu",)),
    "gelu_tanh_4096x4096": Elementwise(shape=_LARGE, ops=("gelu_tanh",)),
    "sigmoid_4096x4096": Elementwise(shape=_LARGE, ops=("sigmoid",)),
    "add_add_relu_4096x4096": Elementwise(shape=_LARGE, ops=("add", "add", "relu")),
    "scale_shift_relu_32x64x112x112": ScaleShift(batch=32, channels=64, size=112 * 112, relu=True),
    "max_pool_32x64x112x112": Pool2d(
        batch=32, channels=64, height=112, width=112, kernel=3, stride=2, padding=1
    ),
    "average_pool_32x64x112x112": Pool2d(batch=32, channels=64, height=112, width=112, kind="average"),
    "global_average_pool_64x512x28x28": GlobalAveragePool(batch=64, channels=512, height=28, width=28),
    "sum_4096x4096": Reduce(rows=4096, cols=4096),
    "max_4096x4096": Reduce(rows=4096, cols=4096, kind="max"),
    "transpose_4096x4096": Transpose(rows=4096, cols=4096),
}
"""Operands and output are 64 MB and more together: beyond the last cache of common CPUs."""

SMALL_MEMORY_WORKLOADS: dict[str, Operator] = {
    "softmax_12x128x128": Softmax(rows=12 * 128, cols=128),
    "softmax_1x1000": Softmax(rows=1, cols=1000),
    "layer_norm_128x768": LayerNorm(rows=128, cols=768),
    "gelu_128x3072": Elementwise(shape=(128, 3072), ops=("gelu",)),
    "gelu_tanh_128x3072": Elementwise(shape=(128, 3072), ops=("gelu_tanh",)),
    "sigmoid_128x768": Elementwise(shape=(128, 768), ops=("sigmoid",)),
    "add_add_relu_64x56x56": Elementwise(shape=(64, 56, 56), ops=("add", "add", "relu")),
    "scale_shift_relu_64x56x56": ScaleShift(channels=64, size=56 * 56, relu=True),
    "max_pool_64x112x112": Pool2d(channels=64, height=112, width=112, kernel=3, stride=2, padding=1),
    "average_pool_128x56x56": Pool2d(channels=128, height=56, width=56, kind="average"),
    "global_average_pool_512x7x7": GlobalAveragePool(channels=512, height=7, width=7),
    "sum_128x768": Reduce(rows=128, cols=768),
    "transpose_1024x1024": Transpose(rows=1024, cols=1024),
    "transpose_128x768": Transpose(rows=128, cols=768),
}
"""Shapes of transformers and ResNets at batch 1: they stay in the caches between calls."""

MEMORY_WORKLOADS: dict[str, Operator] = {**LARGE_MEMORY_WORKLOADS, **SMALL_MEMORY_WORKLOADS}
"""All of them, large ones first."""
