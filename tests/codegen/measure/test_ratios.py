"""The ratio to the best rival is that of medians, and its interval knows which rounds belong together."""

from __future__ import annotations

import numpy as np
import pytest

from codegen.measure.ratios import ratio_to_best

RNG = np.random.default_rng(1)


def test_the_ratio_is_to_the_rival_of_least_median() -> None:
    found = ratio_to_best([2.0, 1.0, 9.0], {"often": [3.0, 3.0, 3.0], "once": [1.0, 8.0, 8.0]})
    assert (found.rival, found.value) == ("often", 1.5)
    assert found.low <= found.value <= found.high


def test_what_slows_whole_rounds_does_not_widen_the_interval() -> None:
    load = np.exp(RNG.normal(0, 0.3, 40))
    own, other = (load * np.exp(RNG.normal(0, 0.005, 40)) for _ in range(2))
    together = ratio_to_best(own.tolist(), {"rival": other.tolist()})
    apart = ratio_to_best(own.tolist(), {"rival": RNG.permutation(other).tolist()})
    assert together.high - together.low < 0.5 * (apart.high - apart.low)


def test_the_interval_covers_the_true_ratio_about_as_often_as_it_says() -> None:
    covered = 0
    for _ in range(200):
        own, other = (np.exp(RNG.normal(0, 0.1, 21)) for _ in range(2))
        found = ratio_to_best(own.tolist(), {"rival": (1.2 * other).tolist()})
        covered += found.low <= 1.2 <= found.high
    assert covered > 176  # 0.88: five standard deviations below 0.95 would be 0.873


@pytest.mark.parametrize("rivals", [{}, {"short": [1.0]}])
def test_rivals_of_other_rounds_are_refused(rivals: dict[str, list[float]]) -> None:
    with pytest.raises(ValueError, match="need rivals with 2 rounds"):
        ratio_to_best([1.0, 1.0], rivals)
