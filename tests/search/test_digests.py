from __future__ import annotations

import numpy as np

from search.digests import digests, distinct_rows, is_member, keep_new
from tests.search.spaces import KnobSpace


def test_digests_are_equal_exactly_where_keys_are() -> None:
    points = KnobSpace(sizes=((8,) * 6,)).enumerate(10**6)
    assert len(np.unique(digests(points.keys()))) == len(points)
    rows = np.random.default_rng(0).integers(0, len(points), 500)
    np.testing.assert_array_equal(digests(points[rows].keys()), digests(points.keys())[rows])


def test_membership_agrees_with_a_set() -> None:
    values = np.array([5, 1, 9, 0, 2**64 - 1], np.uint64)
    ordered = np.array([1, 7, 9], np.uint64)
    assert is_member(values, ordered).tolist() == [False, True, True, False, False]
    assert not is_member(values, ordered[:0]).any()


def test_first_occurrences_keep_their_order() -> None:
    values = np.array([9, 4, 9, 2, 4], np.uint64)
    assert distinct_rows(values, np.array([2], np.uint64)).tolist() == [0, 1]


def test_nothing_new_is_kept_of_what_is_excluded() -> None:
    points = KnobSpace().sample(40, np.random.default_rng(0))
    assert len(keep_new(points, np.sort(digests(points.keys())))) == 0
