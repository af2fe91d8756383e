"""What a page gets of a session that grows: the entries since a row, the leaf, the labels, and what marks changed."""

from __future__ import annotations

from itertools import islice
from typing import Any

from convtree._engine.outline import Outline
from convtree._formats.common.base import Exported
from convtree._formats.common.gaps import gaps_of
from convtree._formats.documents.html.entries import EntryMarkup, Shown
from convtree._formats.documents.html.page import page_title, state_of
from convtree._formats.documents.html.script_data import script_data
from convtree._model.entries import Entry, Mark, VisibilityMark

_MOST = 300  # records in one message
_MOST_SIZE = 1_000_000  # characters of markup after which a message ends


class News:
    """Follows a session from a row on. Each call of `since` returns what is new since the one before."""

    def __init__(self, session: Exported, start: int) -> None:
        self.session = session  # may be replaced by one with the same rows and more
        self.next = start
        self._render = EntryMarkup(session.outline(), gaps_of(session))
        self._state: dict[str, Any] | None = None

    def since(self) -> bytes | None:
        """Returns the news as JSON; None if there are none. The session must have been refreshed."""
        found = self._read()
        if not found and self._state is not None:
            return None
        outline = self._look_again()
        changed = {outline.row(each.target_id) for _, each, _ in found if isinstance(each, VisibilityMark)}
        again = [self._again(row) for row in sorted(each for each in changed if each is not None and each < self.next)]
        if found:
            self.next = found[-1][0] + 1
        self._state = state_of(self.session)
        shown = [each for _, _, each in found if each is not None]
        rows, markup = [each.row for each in shown], [each.markup for each in shown]
        again = [each for each in again if each]
        title = page_title(self.session)
        return script_data({"rows": rows, "markup": markup, "again": again, "title": title, **self._state})

    def _read(self) -> list[tuple[int, Entry | Mark, Shown | None]]:
        """Returns the next records by their rows, and what is shown of entries, up to the size of a message."""
        found: list[tuple[int, Entry | Mark, Shown | None]] = []
        size = 0
        for row, record in islice(self.session.records(self.next), _MOST):
            if not found:
                self._look_again()
            shown = self._render.of(row, record) if isinstance(record, Entry) else None
            found.append((row, record, shown))
            size += 0 if shown is None else len(shown.markup)
            if size > _MOST_SIZE:
                break
        return found

    def _look_again(self) -> Outline:
        """Takes the shape of the tree and its gaps as they are now."""
        self._render.outline, self._render.gaps = self.session.outline(), gaps_of(self.session)
        return self._render.outline

    def _again(self, row: int) -> list[Any] | None:
        """Returns the row of an entry that a mark has changed; None if it cannot be read."""
        record = next(islice(self.session.records(row), 1), None)
        if record is None or record[0] != row or not isinstance(record[1], Entry):
            return None
        shown: Shown = self._render.of(row, record[1])
        return shown.row
