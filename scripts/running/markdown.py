"""Tables as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def markdown_table(
    header: Sequence[str],
    num_words: int,
    rows: Iterable[Sequence[object]],
    words: Iterable[int] = (),
) -> list[str]:
    """Lines of a table; the first ``num_words`` columns hold words, which stand at the left.

    ``words``: numbers of other columns that do so too.

    >>> markdown_table(["who", "s"], 1, [("a", 2)])
    ['| who | s |', '| --- | ---: |', '| a | 2 |']
    """
    at_left = {*range(num_words), *words}
    rule = ["---" if column in at_left else "---:" for column in range(len(header))]
    return [f"| {' | '.join(map(str, cells))} |" for cells in (header, rule, *rows)]
