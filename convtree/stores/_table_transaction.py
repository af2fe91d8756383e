"""A transaction on the tables of a catalogue, as a block."""

from __future__ import annotations

from collections.abc import Callable

from convtree._catalogue.tables import Execute


class TableTransaction:
    """Calls `begin` with a statement, and `end` with the error of the block, or None.

    Not a generator: one that an interrupt left suspended would roll back a later transaction when it is collected.
    After an interrupt, `end` may not be called at all; then `CatalogueSync` closes the connection.
    """

    def __init__(
        self, begin: Callable[[str], Execute], end: Callable[[BaseException | None], None], statement: str
    ) -> None:
        self._begin = begin
        self._end = end
        self._statement = statement

    def __enter__(self) -> Execute:
        return self._begin(self._statement)

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        self._end(error)
