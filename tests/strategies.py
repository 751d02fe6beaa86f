"""Hypothesis strategies for small operators of every kind."""

from __future__ import annotations

from hypothesis import assume
from hypothesis import strategies as st

from codegen.ops import (
    Conv2d,
    Elementwise,
    GlobalAveragePool,
    LayerNorm,
    Matmul,
    Operator,
    Pool2d,
    Reduce,
    ScaleShift,
    Softmax,
    Transpose,
    make_operator,
)
from codegen.ops.elementwise import BINARY_OPS, UNARY_OPS

flags = st.booleans()
seeds = st.integers(0, 2**32 - 1)

LONG = (13, 16, 17, 31, 32, 37, 64, 67)
"""Extents of one vector and more, exactly and by a tail; the last two are reductions that get cut."""


def sizes(largest: int, *, wide: bool = False) -> st.SearchStrategy[int]:
    """Extents from 1 on, including primes and others that tiles do not divide; long ones if wide."""
    small = st.integers(1, largest)
    return st.one_of(small, st.sampled_from(LONG)) if wide else small


def matmuls(*, wide: bool = False) -> st.SearchStrategy[Matmul]:
    """All transposes, batches and epilogues."""
    return st.builds(
        Matmul,
        m=sizes(9, wide=wide),
        k=sizes(9, wide=wide),
        n=sizes(9, wide=wide),
        batch=sizes(3),
        transpose_a=flags,
        transpose_b=flags,
        bias=flags,
        relu=flags,
        residual=flags,
    )


@st.composite
def convolutions(draw: st.DrawFn, *, wide: bool = False) -> Conv2d:
    """Plain, grouped and depthwise, with every kind of window, layout and epilogue."""
    channels = [(1, 3, 4), (1, 1, 1), (2, 2, 3), (3, 1, 2), (4, 1, 1)]
    channels += [(1, 66, 5), (1, 5, 37), (2, 3, 17), (19, 1, 1)] if wide else []
    groups, in_each, out_each = draw(st.sampled_from(channels))
    pairs = st.one_of(sizes(3), st.tuples(sizes(3), sizes(3)))
    pads = st.integers(0, 2)
    parameters = {
        "batch": draw(sizes(2)),
        "height": draw(sizes(6)),
        "width": draw(sizes(6, wide=wide)),
        "in_channels": groups * in_each,
        "out_channels": groups * out_each,
        "groups": groups,
        "kernel": draw(pairs),
        "stride": draw(pairs),
        "dilation": draw(st.one_of(sizes(2), st.tuples(sizes(2), sizes(2)))),
        "padding": draw(st.one_of(pads, st.tuples(pads, pads), st.tuples(pads, pads, pads, pads))),
        "layout": draw(st.sampled_from(["NCHW", "NHWC"])),
        "bias": draw(flags),
        "relu": draw(flags),
        "residual": draw(flags),
    }
    operator = _make_if_possible("conv2d", parameters)
    assert isinstance(operator, Conv2d)
    return operator


def winograd_convolutions(*, wide: bool = False) -> st.SearchStrategy[Conv2d]:
    """Those that Winograd's algorithm computes: 3 x 3 with several channels, with tails of every kind."""
    channels = st.sampled_from((8, 9, 12, 17) if wide else (8, 9))
    pads = st.integers(0, 2)
    return st.builds(
        Conv2d,
        batch=sizes(2),
        height=st.integers(3, 7),
        width=st.one_of(st.integers(3, 7), st.sampled_from((13, 19) if wide else (10,))),
        in_channels=channels,
        out_channels=channels,
        padding=st.one_of(pads, st.tuples(pads, pads, pads, pads)),
        layout=st.sampled_from(["NCHW", "NHWC"]),
        bias=flags,
        relu=flags,
        residual=flags,
    )


@st.composite
def pools(draw: st.DrawFn, *, wide: bool = False) -> Pool2d:
    """Both kinds, with even and uneven padding."""
    pads = st.integers(0, 2)
    parameters = {
        "batch": draw(sizes(2)),
        "channels": draw(sizes(3)),
        "height": draw(sizes(7)),
        "width": draw(sizes(7, wide=wide)),
        "kernel": draw(st.one_of(sizes(3), st.tuples(sizes(3), sizes(3)))),
        "stride": draw(sizes(3)),
        "padding": draw(st.one_of(pads, st.tuples(pads, pads, pads, pads))),
        "kind": draw(st.sampled_from(["max", "average"])),
        "count_include_pad": draw(flags),
    }
    operator = _make_if_possible("pool2d", parameters)
    assert isinstance(operator, Pool2d)
    return operator


def elementwise_chains(*, wide: bool = False) -> st.SearchStrategy[Elementwise]:
    """Short chains; exponentials of exponentials are left out, for they overflow."""
    tame = sorted({*BINARY_OPS, *UNARY_OPS} - {"exp"})
    chains = st.lists(st.sampled_from(tame), min_size=1, max_size=3)
    return st.builds(
        Elementwise,
        shape=st.lists(sizes(5, wide=wide), min_size=1, max_size=2 if wide else 3).map(tuple),
        ops=st.one_of(chains.map(tuple), st.just(("exp",))),
    )


def row_operators(*, wide: bool = False) -> st.SearchStrategy[Operator]:
    """Operators on the rows of a matrix or the channels of an image."""
    shape = {"rows": sizes(7, wide=wide), "cols": sizes(11, wide=wide)}
    return st.one_of(
        st.builds(Softmax, **shape),
        st.builds(LayerNorm, **shape),
        st.builds(Transpose, **shape),
        st.builds(Reduce, **shape, kind=st.sampled_from(["sum", "max", "mean"])),
        st.builds(ScaleShift, batch=sizes(2), channels=sizes(4), size=sizes(9, wide=wide), relu=flags),
        st.builds(
            GlobalAveragePool,
            batch=sizes(2),
            channels=sizes(5, wide=wide),
            height=sizes(4),
            width=sizes(4, wide=wide),
        ),
    )


def operators(*, wide: bool = False) -> st.SearchStrategy[Operator]:
    """An operator of any kind: a small one, or wide ones too, which fill vectors and have tails."""
    return st.one_of(
        matmuls(wide=wide),
        convolutions(wide=wide),
        winograd_convolutions(wide=wide),
        pools(wide=wide),
        elementwise_chains(wide=wide),
        row_operators(wide=wide),
    )


def _make_if_possible(name: str, parameters: dict[str, object]) -> Operator:
    """The operator, or another draw when the window does not fit; what is refused has tests of its own."""
    try:
        return make_operator(name, parameters)
    except ValueError:
        assume(False)
        raise
