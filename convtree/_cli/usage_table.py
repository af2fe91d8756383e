"""Sums of tokens and cost as a table, with a row for the total. Pure but for the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from convtree._catalogue.types import LedgerRow
from convtree._cli.session_table import directory_text, number_columns
from convtree._cli.table import Column, table_lines
from convtree._cli.terminal import Terminal, cost_text
from convtree._model.terminal_text import escape_controls
from convtree._model.usage import Usage
from convtree.stores._results import UsageRow

_LEAST = 12  # columns of a name or title
_DECIMALS = 4  # of a cost
_HEADERS = {"session": "ID", "model": "MODEL", "branch": "LEAF", "day": "DAY", "directory": "DIRECTORY"}


def usage_lines(
    rows: Sequence[UsageRow], deleted: Sequence[LedgerRow], by: str, ids: Mapping[str, str], terminal: Terminal
) -> Iterator[str]:
    """Yields the header, a line for each row, one for deleted sessions if there are any, and the total.

    On a terminal, the row of a session has the number that commands take in place of the id.

    Args:
        rows: the sums.
        deleted: what deleted sessions had used.
        by: what each row is about.
        ids: what stands for the id of each session, or of each leaf, escaped.
        terminal: decides how wide the table is.
    """
    has_titles = by == "session" and not terminal.is_piped  # where ids may be left out
    counted = len(rows) if by == "session" else 0  # rows that have a number
    named = [(_name_of(row, by, ids), row.session_title or "", row.usage) for row in rows]
    if deleted:
        named.append((*_words("deleted sessions", has_titles), sum((row.usage for row in deleted), Usage())))
    if not named:
        return
    named.append((*_words("total", has_titles), sum((usage for _, _, usage in named), Usage())))
    names, titles, sums = zip(*named, strict=True)
    least = _LEAST if by in ("model", "directory") else None
    yield from table_lines(
        [
            *number_columns(counted, terminal, more=len(named) - counted),
            Column(
                header=_HEADERS[by],
                texts=list(map(escape_controls, names)),
                least=least,
                rank=int(has_titles),
                keeps_end=by == "directory",
            ),
            _numbers("INPUT", (usage.input_tokens for usage in sums), rank=3),
            _numbers("OUTPUT", (usage.output_tokens for usage in sums), rank=2),
            _numbers("CACHE READ", (usage.cache_read_tokens for usage in sums), rank=4),
            _numbers("CACHE WRITE", (usage.cache_write_tokens for usage in sums), rank=5),
            Column(header="COST", texts=[cost_text(usage.cost, _DECIMALS) for usage in sums], to_right=True),
            Column(
                header="TITLE", texts=list(map(escape_controls, titles)), least=_LEAST, rank=0 if by == "session" else 1
            ),
        ],
        terminal,
    )


def _words(said: str, in_title: bool) -> tuple[str, str]:
    """Returns the first cell and the title of a row that is about no single session."""
    return ("", said) if in_title else (said, "")


def deleted_between(deleted: Iterable[LedgerRow], start: datetime | None, end: datetime | None) -> list[LedgerRow]:
    """Returns the rows of deleted sessions whose day is in a range, in part at least. Their days are in UTC."""
    first = "" if start is None else start.astimezone(UTC).date().isoformat()
    last = "9999" if end is None else (end.astimezone(UTC) - timedelta(microseconds=1)).date().isoformat()
    is_all = start is None and end is None
    return [row for row in deleted if is_all or (row.day is not None and first <= row.day <= last)]


def _numbers(header: str, numbers: Iterable[int], rank: int) -> Column:
    return Column(header=header, texts=[f"{number:,}" for number in numbers], rank=rank, to_right=True)


def _name_of(row: UsageRow, by: str, ids: Mapping[str, str]) -> str:
    match by:
        case "model":
            return " ".join(filter(None, (row.provider, row.model))) or "unknown model"
        case "branch":
            return ids[row.leaf_id] if row.leaf_id is not None else ""
        case "day":
            return row.day or "unknown day"
        case "directory":
            return directory_text(row.directory) or "no directory"
        case _:
            return ids[row.session_id or ""]
