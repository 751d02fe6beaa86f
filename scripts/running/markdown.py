"""Tables as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def markdown_table(header: Sequence[str], num_words: int, rows: Iterable[Sequence[object]]) -> list[str]:
    """Lines of a table; the first columns hold words, which stand at the left.

    >>> markdown_table(["who", "s"], 1, [("a", 2)])
    ['| who | s |', '| --- | ---: |', '| a | 2 |']
    """
    rule = ["---"] * num_words + ["---:"] * (len(header) - num_words)
    return [f"| {' | '.join(map(str, cells))} |" for cells in (header, rule, *rows)]
