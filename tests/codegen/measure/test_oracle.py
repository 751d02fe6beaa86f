from __future__ import annotations

import numpy as np
import pytest

from codegen.measure.arrays import touched_copy, touched_zeros
from codegen.measure.oracle import Oracle
from codegen.ops import Conv2d, Elementwise, Matmul

MATMUL = Matmul(m=5, k=7, n=6, bias=True)
CONV = Conv2d(height=6, width=5, in_channels=3, out_channels=4, padding=1)


@pytest.fixture
def oracle() -> Oracle:
    oracle = Oracle(MATMUL, MATMUL.program(), seed=3)
    compute(oracle)
    return oracle


def compute(oracle: Oracle) -> None:
    """What a correct float32 kernel would do."""
    a, b, bias = (oracle.operands[name] for name in ("a", "b", "bias"))
    oracle.output[...] = a @ b + bias


def test_a_right_output_has_no_complaint(oracle: Oracle) -> None:
    assert oracle.complaint() is None


def test_a_wrong_element_is_named(oracle: Oracle) -> None:
    right = oracle.output[2, 4]
    oracle.output[2, 4] += 0.5
    complaint = oracle.complaint()
    assert complaint is not None
    assert complaint.startswith("1 of 30 elements are wrong; the worst at (2, 4) is")
    assert f"{right + 0.5:.6g} instead of {right:.6g}" in complaint


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_is_wrong(oracle: Oracle, value: float) -> None:
    oracle.output[0, 1] = value
    complaint = oracle.complaint()
    assert complaint is not None
    assert "(0, 1)" in complaint


def test_an_infinity_is_right_exactly_where_it_is_expected() -> None:
    large = Elementwise(shape=(4,), ops=("exp", "exp", "exp", "exp"))
    with np.errstate(over="ignore"):
        oracle = Oracle(large, large.program(), seed=0)
        oracle.output[...] = np.exp(np.exp(np.exp(np.exp(oracle.operands["x"].astype(np.float64)))))
    is_infinite = np.isinf(oracle.output)
    assert is_infinite.any()
    assert oracle.complaint() is None
    oracle.output[is_infinite] = 1e30
    complaint = oracle.complaint()
    assert complaint is not None
    assert complaint.startswith(f"{np.count_nonzero(is_infinite)} of 4 elements are wrong")
    oracle.output[is_infinite] = -np.inf
    assert oracle.complaint() is not None


def test_an_element_that_is_never_written_is_found(oracle: Oracle) -> None:
    oracle.poison()
    row = oracle.operands["a"][1:] @ oracle.operands["b"] + oracle.operands["bias"]
    oracle.output[1:] = row
    complaint = oracle.complaint()
    assert complaint is not None
    assert complaint.startswith("6 of 30")


def test_the_seed_fixes_the_inputs() -> None:
    first, again, other = (Oracle(CONV, CONV.program(), seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.operands["x"], again.operands["x"])
    assert not np.array_equal(first.operands["x"], other.operands["x"])


def test_constants_are_told_apart(oracle: Oracle) -> None:
    assert set(oracle.constants) == {"b", "bias"}
    assert set(oracle.operands) == {"a", "b", "bias"}


def test_operands_start_on_a_cache_line(oracle: Oracle) -> None:
    assert all(array.ctypes.data % 64 == 0 for array in (*oracle.operands.values(), oracle.output))
    copy = touched_copy(np.arange(6, dtype=np.float32), (2, 3))
    np.testing.assert_array_equal(copy, [[0, 1, 2], [3, 4, 5]])
    assert touched_zeros(()).shape == ()
