"""A session as a live page follows it: each look returns what is new, or that the page must be loaded again."""

from __future__ import annotations

from convtree._formats.documents.html.live import News
from convtree._session.session import Session
from convtree._tools.gaps import whole_or_mended

RELOAD = b'{"reload":true}'


class Followed:
    """Follows a session from the last row of a page on.

    A page counts rows. So it must be loaded again when the log was replaced, or when a damaged line got a place in the
    tree above the last row. Both are known by the id of the entry in that row.
    """

    def __init__(self, session: Session, row: int, id: str, *, allow_gaps: bool = False) -> None:
        """`row` is the last row that the page has, and `id` its entry; -1 if the page is empty."""
        self._session = session
        self._allow_gaps = allow_gaps
        self._replaced = session.times_replaced
        self._seen = self._state()
        shown = whole_or_mended(session, allow_gaps)
        self._last = (row, id)
        is_same = row < 0 or shown.outline().row(id) == row
        self._news = News(shown, row + 1) if is_same else None

    def look(self) -> bytes | None:
        """Reads the log; returns what is new as JSON, None if there is nothing new.

        Raises:
            BrokenPath: a line is damaged, and gaps are not allowed.
        """
        self._session.refresh()
        if self._news is None or self._session.times_replaced != self._replaced:
            return RELOAD
        if self._seen != (state := self._state()):
            self._seen = state
            shown = whole_or_mended(self._session, self._allow_gaps)
            row, id = self._last
            if row >= 0 and shown.outline().row(id) != row:
                return RELOAD
            self._news.session = shown
        return self._news.since()

    def _state(self) -> tuple[str | None, int]:
        """Returns what changes when something is appended, or damage is found."""
        return self._session.revision, len(self._session.findings)
