"""What a PostgreSQL server may do to a store: timeouts, a restart, read-only, no room for a connection, empty tables.

Each case makes the server refuse or stop a call, and says which error the caller sees, what is stored, and that the
same store and session go on when the server does.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Thread
from typing import Any

import sqlalchemy

from convtree import OutcomeUnknown, ReadOnlySession, SessionLocked, SessionStore, open_store

from . import sabotage
from .common import arguments, finish, is_wanted
from .proxy import quick_retries
from .samples import message
from .servers import new_database, private_server
from .wire import WAYS, Plan, proxied


class Place:
    """A database on a private server, and a connection to it that is not a store's."""

    def __init__(self, server: Any, url: str, every: int) -> None:
        self.server = server
        self.every = every
        self.url = url.replace("postgresql+psycopg:", "postgresql:")
        engine_url = sqlalchemy.make_url(url).set(drivername="postgresql+psycopg")
        self.name = engine_url.database
        self.engine = sqlalchemy.create_engine(
            engine_url.set(database="postgres"), isolation_level="AUTOCOMMIT", poolclass=sqlalchemy.NullPool
        )
        self.inside = sqlalchemy.create_engine(engine_url, poolclass=sqlalchemy.NullPool)

    def sql(self, *statements: str) -> None:
        with self.engine.connect() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)

    def set(self, name: str, value: str) -> None:
        """Changes a setting for connections that begin from now on, and ends those that are open."""
        self.sql(f"ALTER DATABASE {self.name} SET {name} = '{value}'")

    @contextmanager
    def row_locked(self, id: str) -> Iterator[None]:
        """Holds the lock of a session's row."""
        with self.inside.begin() as connection:
            connection.exec_driver_sql(f"UPDATE ct_sessions SET size = size WHERE session_id = '{id}'")
            yield

    def store(self) -> SessionStore:
        return open_store(self.url)


Case = Callable[[Place], str | None]


def _refused(store: SessionStore, id: str, entry: str, *kinds: type[Exception]) -> str | None:
    """Appends, expecting one of these errors and nothing stored; then lists and reads, which must work."""
    with store.open(id) as session:
        before = [each.id for each in session.path()]
        try:
            session.append(message(entry))
        except kinds:
            pass
        except Exception as error:
            return f"an append raised {error!r}"
        else:
            return "an append was not refused"
        session.refresh()
        if [each.id for each in session.path()] != before or store.info(id).messages != len(before):
            return "an append that was refused left something"
    return None


def _goes_on(store: SessionStore, id: str, entry: str) -> str | None:
    with store.open(id) as session:
        session.append(message(entry))
        session.append(message(entry))
        found = [record.id for _, record in session.records()].count(entry)
    return None if found == 1 else f"after it was repeated, {entry} is there {found} times"


def begin(place: Place, id: str) -> None:
    with place.store() as store, store.create(id=id) as session:
        session.append(message("e0"))


def _times_out(setting: str, expected: type[Exception]) -> Case:
    def case(place: Place) -> str | None:
        """Another writer keeps the lock of the row; the server ends the one that waits."""
        begin(place, setting)
        place.set(setting, "10ms" if setting == "lock_timeout" else "60ms")
        try:
            with place.store() as store:
                with place.row_locked(setting):
                    began = time.monotonic()
                    wrong = _refused(store, setting, "e1", expected)
                    wrong = wrong or ("it took too long" if time.monotonic() - began > 5 else None)
                return wrong or _goes_on(store, setting, "e1")
        finally:
            place.sql(f"ALTER DATABASE {place.name} RESET {setting}")

    return case


def idle_in_transaction(place: Place) -> str | None:
    """A function of the caller takes too long within an append, so the server ends the transaction."""
    begin(place, "idle")
    place.set("idle_in_transaction_session_timeout", "50ms")
    slow = [0.3]

    def clock() -> int:
        if slow and _in_transaction(place):
            time.sleep(slow.pop())
        return time.time_ns()

    try:
        with open_store(place.url, clock=clock) as store, store.open("idle") as session:
            with place.store() as other, other.open("idle") as faster:
                faster.append(message("e1"))
            session.append(message("e2"), on_stale="rebase")
            if slow:
                return "the clock was not asked within a transaction"
            ids = [record.id for _, record in session.records()]
            return None if ids == ["e0", "e1", "e2"] else f"the log has {ids}"
    finally:
        place.sql(f"ALTER DATABASE {place.name} RESET idle_in_transaction_session_timeout")


def _in_transaction(place: Place) -> bool:
    with place.engine.connect() as connection:
        sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND state = 'idle in transaction'"
        return bool(connection.exec_driver_sql(sql, (place.name,)).scalar())


def read_only(place: Place) -> str | None:
    """The server takes no writes, as a standby does."""
    begin(place, "readonly")
    place.set("default_transaction_read_only", "on")
    try:
        with place.store() as store:
            wrong = _refused(store, "readonly", "e1", ReadOnlySession)
            for call in (
                lambda: store.delete("readonly"),
                lambda: store.fork("readonly"),
                lambda: store.rename("readonly", "x"),
                lambda: store.create(id="other").append(message("e5")),
            ):
                try:
                    call()
                except ReadOnlySession:
                    continue
                return "a call was not refused with ReadOnlySession"
            if wrong or [each.id for each in store.list(limit=1)] == []:
                return wrong or "the list is empty"
    finally:
        place.sql(f"ALTER DATABASE {place.name} RESET default_transaction_read_only")
    with place.store() as store:
        return _goes_on(store, "readonly", "e1")


def no_room(place: Place) -> str | None:
    """The role has reached its limit of connections; then there is room again."""
    begin(place, "room")
    place.sql("DROP ROLE IF EXISTS ct_guest", "CREATE ROLE ct_guest LOGIN CONNECTION LIMIT 1")
    with place.inside.begin() as connection:
        connection.exec_driver_sql("GRANT ALL ON ALL TABLES IN SCHEMA public TO ct_guest")
    guest = sqlalchemy.make_url(place.url).set(username="ct_guest")
    other = sqlalchemy.create_engine(guest.set(drivername="postgresql+psycopg"), poolclass=sqlalchemy.NullPool)
    try:
        with open_store(guest.render_as_string(hide_password=False)) as store:
            backend: Any = store._backend
            with store.open("room") as session:
                backend._database._connections.close_idle()
                with _when_there_is_room(other):
                    try:
                        session.append(message("e1"))
                    except OutcomeUnknown as error:
                        return f"it raised {error!r}"
                    except OSError:
                        pass
                    else:
                        return "an append was not refused"
                time.sleep(0.1)
                session.append(message("e1"))
            return _goes_on(store, "room", "e1")
    finally:
        with place.inside.begin() as connection:
            connection.exec_driver_sql("DROP OWNED BY ct_guest")
        place.sql("DROP ROLE ct_guest")


def _when_there_is_room(engine: sqlalchemy.Engine) -> sqlalchemy.Connection:
    """Connects as soon as the server has noticed that other connections were closed."""
    for _ in range(200):
        try:
            return engine.connect()
        except sqlalchemy.exc.OperationalError:
            time.sleep(0.05)
    return engine.connect()


def restarted(place: Place) -> str | None:
    """The server is killed and started while a session is open and writers run."""
    begin(place, "restart")
    said: list[str] = []
    ends = [False]

    def write(name: str) -> None:
        number = 0
        with place.store() as store:
            while not ends[0]:
                number += 1
                while True:
                    try:
                        with store.open("restart") as session:
                            session.append(message(f"e{name}{number}"), on_stale="rebase")
                        said.append(f"e{name}{number}")
                        break
                    except Exception:
                        time.sleep(0.02)

    writers = [Thread(target=write, args=[str(number)]) for number in range(1, 4)]
    with place.store() as store, store.open("restart") as session:
        for each in writers:
            each.start()
        for _ in range(2):
            time.sleep(0.4)
            place.server.kill()
            place.server.start()
        time.sleep(0.3)
        ends[0] = True
        for each in writers:
            each.join(20)
        session.append(message("e0last"), on_stale="rebase")
        ids = [record.id for _, record in session.records()]
    lost = [each for each in said if ids.count(each) != 1]
    if lost or len(ids) != len(said) + 2 or len(said) < 5:
        return f"{len(said)} were acknowledged, {len(ids)} are there, among them not once: {lost[:5]}"
    return None


def tables(place: Place) -> str | None:
    """The connection breaks while the tables are created."""
    proxy, through = proxied(place.url)

    def drop() -> None:
        with place.inside.begin() as connection:
            connection.exec_driver_sql("DROP SCHEMA public CASCADE")
            connection.exec_driver_sql("CREATE SCHEMA public")

    def create() -> None:
        open_store(through, create=True).close()

    try:
        drop()
        proxy.plan = plan = Plan()
        create()
        for at, text in enumerate(plan.requests):
            for way in WAYS[:3] if text == "COMMIT" else WAYS[at % 3 : at % 3 + 1] if at % place.every == 0 else ():
                drop()
                proxy.plan = Plan(at, way)
                try:
                    create()
                except OSError:
                    create()
                proxy.plan = Plan()
                with place.store() as store, store.create(id="x") as session:
                    session.append(message("e0"))
                    if [each.entry_id for each in store.search("said")] != ["e0"]:
                        return f"the tables are not whole after request {at} broke {way}"
    finally:
        proxy.close()
    return None


CASES: dict[str, Case] = {
    "lock_timeout": _times_out("lock_timeout", SessionLocked),
    "statement_timeout": _times_out("statement_timeout", TimeoutError),
    "idle_in_transaction": idle_in_transaction,
    "read_only": read_only,
    "no_room": no_room,
    "restarted": restarted,
    "tables": tables,
}


def main() -> None:
    options = arguments(__doc__ or "", rounds=1, every=1, only="")
    quick_retries()
    sabotage.apply(options.sabotage)
    broken, done = [], 0
    wanted = [name for name in CASES if is_wanted(name, options.only)]
    with private_server(sync=True) as server:
        for name in wanted * options.rounds:
            with new_database(server.url) as url:
                place = Place(server, url, options.every)
                open_store(place.url, create=True).close()
                wrong = CASES[name](place)
                done += 1
                if wrong is not None:
                    broken.append(f"{name}: {wrong}")
    finish(options, {"cases": done}, broken)


if __name__ == "__main__":
    main()
