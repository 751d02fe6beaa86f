"""What a knob's values have to do with each other, and what that makes of points."""

from __future__ import annotations

import numpy as np
import pytest

from costmodel.knobs.factors import Factor, guess_factor, knob_factors
from costmodel.knobs.kernel import ProductKernel


def grid(*sizes: int) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    return np.stack(np.unravel_index(np.arange(np.prod(sizes)), sizes), axis=1).astype(np.int64)


def test_numbers_are_near_by_logarithm_and_by_how_often_two_divides_them() -> None:
    (factor,) = knob_factors([(16, 48, 64, 128)], grid(4))
    logs, twos = factor.coordinates
    np.testing.assert_allclose(logs, np.log2([1, 3, 4, 8]) / 3)
    np.testing.assert_allclose(twos, [0, 0, 2 / 3, 1])


def test_powers_of_two_words_and_switches_say_nothing_twice() -> None:
    powers, words, switch = knob_factors([(1, 2, 4, 8), ("a", "b", "c"), (0, 1), (5,)], grid(4, 3, 2, 1))
    assert [len(each.coordinates) for each in (powers, words, switch)] == [1, 0, 0]


def test_products_of_numbers_are_factors_too() -> None:
    *knobs, product = knob_factors([(1, 2, 4), (1, 2, 4)], grid(3, 3))
    assert [each.is_derived for each in (*knobs, product)] == [False, False, True]
    assert product.num_values == 5
    np.testing.assert_array_equal(product.places, grid(3, 3).sum(axis=1))


def test_a_zero_and_a_negative_number_have_a_place() -> None:
    zero, negative = knob_factors([(0, 1, 3), (-1, 0, 1)], grid(3, 3))
    np.testing.assert_allclose(zero.coordinates, [[0, 0.5, 1]])
    np.testing.assert_allclose(negative.coordinates, [[0, 0.5, 1]])


def test_a_guess_is_a_scale_of_levels() -> None:
    factor = guess_factor(np.array([-9.0, -1.0, 0.0, 1.0, 9.0]))
    assert factor.places[0] == 0
    assert factor.places[-1] == factor.num_values - 1
    assert (np.diff(factor.places) > 0).all()


@pytest.mark.parametrize("log_weight", [-6.0, 0.0, 5.0])
def test_a_light_weight_lets_a_knob_be_ignored_and_a_heavy_one_does_not(log_weight: float) -> None:
    kernel = ProductKernel([Factor(np.array([0, 1]), 2, np.zeros((0, 2)))])
    ((one, apart), _) = kernel.among(np.arange(2), np.array([log_weight]))
    assert one == 1.0
    assert apart == pytest.approx(1 / (1 + np.exp(log_weight)))


def test_rows_of_all_points_are_those_of_some() -> None:
    positions = grid(4, 3, 2)
    kernel = ProductKernel(knob_factors([(16, 48, 64, 128), ("a", "b", "c"), (0, 1)], positions))
    tables = [table.astype(np.float32) for table in kernel.tables(kernel.mean)]
    some = np.array([3, 7, 20])
    np.testing.assert_allclose(kernel.rows(some, tables)[:, some], kernel.among(some, kernel.mean), atol=1e-6)
