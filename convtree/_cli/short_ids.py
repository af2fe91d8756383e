"""Ids as lists show them: short enough for a column of a narrow terminal. Pure but for the terminal.

A list shows the beginning that stands for an id. If that is too long for the column, it shows both ends of the id with
an ellipsis between them: ids that begin with a time differ at their ends. `resolve` takes both forms. In a pipe, ids
are whole.
"""

from __future__ import annotations

from collections.abc import Iterable

from convtree._cli.line_layout import beginning_of, id_length
from convtree._cli.terminal import Terminal
from convtree._model.terminal_text import escape_controls

_WIDE = 60  # columns of a terminal that has room for longer ids
_LONG_ENDS, _SHORT_ENDS = 10, 8  # characters of both ends of an id together


def fitted_id(id: str, beginning: str, terminal: Terminal) -> str:
    """Returns the beginning that stands for an id, or both ends of the id if the beginning is too long."""
    most = (_LONG_ENDS if terminal.width >= _WIDE else _SHORT_ENDS) + len(terminal.dots)
    beginning = escape_controls(beginning)
    return beginning if terminal.cells(beginning) <= most else terminal.cut_middle(escape_controls(id), most)


def entry_ids(ids: Iterable[str], terminal: Terminal, sample: Iterable[str] = ()) -> dict[str, str]:
    """Returns what stands for the id of each entry. `sample` has further ids of the session, to judge beginnings by."""
    wanted = list(dict.fromkeys(ids))
    if terminal.is_piped:
        return {id: escape_controls(id) for id in wanted}
    length = id_length([*wanted, *sample])
    return {id: fitted_id(id, beginning_of(id, length), terminal) for id in wanted}
