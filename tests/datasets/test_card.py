"""The tables of a data card: every target with its own numbers."""

from __future__ import annotations

from pathlib import Path

import pytest

from datasets.card import BEGIN, END, card_tables, tables_text, update_card
from datasets.columns import to_columns
from datasets.record import Record
from datasets.table import table_from_columns


@pytest.fixture
def records(make_record, other_target) -> list[Record]:
    """Three candidates on one target, one timed twice and one failed; one of them on another target."""
    return [
        make_record(1),
        make_record(2, times_s=(1e-3,) * 10, source="mutated", minute=1),
        make_record(1, times_s=(4e-3,), source="repeat", minute=2),
        make_record(3, failure="timeout", minute=3),
        make_record(1, target=other_target, minute=4),
        make_record(1, target=other_target, minute=5, task="pooled", operator="pool2d"),
    ]


def tables(records: list[Record]) -> dict[str, list[str]]:
    columns = to_columns(records)
    facts, operators = card_tables(columns, table_from_columns(columns))
    return {row[0]: list(row[1:]) for row in (facts.header, *facts.rows, *operators.rows)}


def test_each_target_has_its_own_numbers(records: list[Record], target, other_target) -> None:
    found = tables(records)
    assert found[""] == ["here", "elsewhere"]
    assert found["fingerprint"] == [f"`{each.fingerprint}`" for each in (target, other_target)]
    assert (found["tasks"], found["trials"]) == (["1", "2"], ["4", "2"])
    assert (found["trials: random"], found["trials: repeat"]) == (["2", "2"], ["1", "0"])
    assert (found["failed trials"], found["distinct candidates"]) == (["1", "0"], ["3", "2"])
    assert found["candidates timed twice"] == ["1", "0"]
    assert found["trials of 10 or more times"] == ["1", "0"]
    assert (found["trials of 3 to 9 times"], found["trials of 1 to 2 times"]) == (["1", "2"], ["1", "0"])
    assert found["two trials differ by, median"] == ["100.00%", "not known"]
    assert found["trials while the machine was slower than usual"] == ["0.00%", "0.00%"]
    assert (found["matmul"], found["pool2d"]) == (["1: 3", "1: 1"], ["", "1: 1"])
    assert (found["compiler"], found["measured"]) == (["not noted"] * 2, ["2025-01-31"] * 2)


def test_a_card_is_brought_up_to_date_between_its_two_lines(records: list[Record], tmp_path: Path) -> None:
    card = tmp_path / "README.md"
    card.write_text(f"# Before\n\n{BEGIN}\nold\n{END}\n\nAfter\n")
    columns = to_columns(records)
    made = card_tables(columns, table_from_columns(columns))
    for _ in range(2):
        update_card(card, made)
        assert card.read_text() == f"# Before\n\n{BEGIN}\n{tables_text(made)}\n{END}\n\nAfter\n"
    assert "| tasks | 1 | 2 |" in card.read_text()


def test_a_card_without_these_lines_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    card = tmp_path / "README.md"
    card.write_text("nothing\n")
    with pytest.raises(ValueError, match=r"README\.md must have the lines"):
        update_card(card, ())
    assert card.read_text() == "nothing\n"
    with pytest.raises(ValueError, match="cannot read the card"):
        update_card(tmp_path / "absent.md", ())
