from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from costmodel.knobs.transfer import KnobPoints, guess_from
from datasets.recorded import RecordedRow, RecordedTable, recorded_table


def source(names: tuple[str, str] = ("BLOCK", "TILE"), most: int = 64) -> RecordedTable:
    rows = []
    for block in (1, 2, 4, 8, 16, 32, 64):
        for tile in (1, 2, 3, 4, 5, 6):
            if block > most:
                continue
            time_s = 1e-3 * (1 + abs(np.log2(block * tile) - 5))
            fails = (block, tile) == (64, 6)
            configuration = {names[0]: block, names[1]: tile}
            rows.append(RecordedRow(configuration, None if fails else time_s, "runtime" if fails else None))
    return recorded_table("k", "A", names, rows)


def points(of: RecordedTable) -> KnobPoints:
    return KnobPoints(names=[name.lower() for name in of.knobs], values=of.values, positions=of.positions)


def order_agreement(guess: NDArray[np.float64], table: RecordedTable) -> float:
    fine = ~np.isnan(table.times_s)
    return float(np.corrcoef(guess[fine], np.log(table.times_s[fine]))[0, 1])


def test_all_records_of_the_same_knobs_are_looked_up() -> None:
    table = source()
    guess = guess_from(table, points(table), None, np.random.default_rng(0)).mean
    fine = ~np.isnan(table.times_s)
    assert (np.argsort(guess[fine], kind="stable") == np.argsort(table.times_s[fine], kind="stable")).all()
    assert guess[~fine].min() > guess[fine].max()


def test_a_few_records_are_learnt_from() -> None:
    table = source()
    guess = guess_from(table, points(table), 25, np.random.default_rng(0)).mean
    assert order_agreement(guess, table) > 0.85


def test_knobs_that_only_one_has_are_left_out() -> None:
    table = source()
    other = KnobPoints(
        names=["tile", "block", "swizzle"],
        values=[table.values[1], table.values[0], (0, 1)],
        positions=np.column_stack([table.positions[:, ::-1], np.arange(len(table)) % 2]),
    )
    guess = guess_from(table, other, None, np.random.default_rng(0)).mean
    assert order_agreement(guess, table) > 0.95


def test_values_that_the_source_never_had_are_extrapolated() -> None:
    whole = source()
    guess = guess_from(source(most=16), points(whole), None, np.random.default_rng(0)).mean
    assert guess.shape == (len(whole),)
    assert np.isfinite(guess).all()


def test_a_guess_from_few_records_is_in_doubt() -> None:
    table = source()
    rows, wide = np.arange(len(table)), {}
    for num in (8, 25):
        guess = guess_from(table, points(table), num, np.random.default_rng(0))
        tried, _ = guess.records
        assert guess.doubt is not None
        assert len(tried) == num
        variance, covariance = guess.doubt.variance(), guess.doubt.covariance(rows, slice(None))
        np.testing.assert_allclose(np.diag(covariance), variance, atol=1e-4)
        np.testing.assert_allclose(
            guess.doubt.covariance(rows[:5], rows[3:9]), covariance[:5, 3:9], atol=1e-4
        )
        assert np.linalg.eigvalsh(covariance).min() > -1e-4
        untried = np.setdiff1d(rows, tried)
        assert variance[tried].mean() < 0.5 * variance[untried].mean()
        wide[num] = variance[untried].mean()
        products = guess.products(rows)
        np.testing.assert_allclose(np.diag(products), guess.squares(), atol=1e-4)
    assert wide[8] > wide[25] > 0


def test_a_source_without_all_knobs_has_no_record_of_a_point() -> None:
    table = source()
    other = KnobPoints(
        names=["tile", "swizzle"],
        values=[table.values[1], tuple(range(len(table)))],
        positions=np.column_stack([table.positions[:, 1], np.arange(len(table))]),
    )
    guess = guess_from(table, other, 25, np.random.default_rng(0))
    assert guess.doubt is not None
    assert not len(guess.records[0])
    assert guess.doubt.variance().min() > 0
    alike = np.flatnonzero(table.positions[:, 1] == 2)
    assert np.ptp(guess.mean[alike]) < 1e-4


def test_what_cannot_be_learnt_from_is_named() -> None:
    with pytest.raises(ValueError, match="k on A has no knob in common: a, b are not among block, tile"):
        guess_from(source(("a", "b")), points(source()), None, np.random.default_rng(0))
    with pytest.raises(ValueError, match="at least 2 source records are needed, got 1"):
        guess_from(source(), points(source()), 1, np.random.default_rng(0))
