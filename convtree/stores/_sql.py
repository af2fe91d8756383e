"""Sessions in a database, SQLite or PostgreSQL: the tables that list them are those that hold their lines."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from convtree._catalogue.tables import Database
from convtree._engine.log import Durability, Log, Mode
from convtree._logs.sql import SqlLog, delete_session, write_session
from convtree._logs.sql_engine import SqlDatabase
from convtree._model.resources import Uncopyable
from convtree.stores.base import Progress, StoreFinding

if TYPE_CHECKING:
    from sqlalchemy import Engine


class SqlBackend(Uncopyable):
    """Logs in a database. With `create`, the tables are made when they are not there; None does so in SQLite only."""

    def __init__(
        self,
        where: str | Engine,
        *,
        durability: Durability = "power",
        lock_timeout_s: float = 10.0,
        create: bool | None = None,
    ) -> None:
        self._database = SqlDatabase.connect(
            where, durability=durability, lock_timeout_s=lock_timeout_s, create=create is not False
        )
        try:
            if create or (create is None and self._database.dialect == "sqlite"):
                self._database.create_tables()
            else:
                self._database.check_tables()
        except BaseException:
            self._database.close()
            raise

    @property
    def location(self) -> str:
        """The database's URL, without a password."""
        return self._database.location

    def log(self, id: str, mode: Mode) -> Log:
        """Opens a session's log."""
        return SqlLog(self._database, id, mode=mode)

    def write_new(self, id: str, lines: Iterable[bytes]) -> None:
        """Stores a whole session."""
        write_session(self._database, id, lines)

    def delete(self, id: str) -> None:
        """Removes a session."""
        delete_session(self._database, id)

    def catalogue(self, progress: Progress | None = None) -> Database:
        """Returns the tables, which every append brings up to date."""
        del progress  # there is nothing to wait for
        return self._database

    def findings(self) -> list[StoreFinding]:
        """Returns nothing: only whole lines get into the tables."""
        return []

    def close(self) -> None:
        """Closes the connections, unless the engine is the caller's; a session that is open makes its own anew."""
        self._database.close()
