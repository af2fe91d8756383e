"""Breaks the connection to a PostgreSQL server at every request of every call, in several ways.

A call is made through a proxy that follows the protocol (`wire`). At its k-th request, the connection breaks before the
request arrives, after the server has answered, within the answer, or so that the server learns of it late; or the
server ends the session. So each COMMIT is lost before and after it took effect. At the COMMITs, the server also stays
away until the call has ended.

What a call has acknowledged is stored once. If it raised, everything is stored or nothing, and nothing if the error
says that nothing was written. A second call with the same ids leaves the state that one call leaves without a fault.
Then the session goes on, no lock is held, and no connection is missing from the pool.
"""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy

from convtree import ConvtreeError, SessionFailed, SessionStore, open_store
from convtree._logs import sql, sql_database, sql_whole

from . import sabotage
from .common import arguments, finish, is_wanted
from .samples import message
from .servers import new_postgres
from .sql_operations import MUTATIONS, READS, Case, Operation, begin, state, without_repeats
from .wire import WAYS, Plan, Proxy, proxied

_WAIT_S = 5.0  # for the server to notice that a client is gone
_COMMITS = ("COMMIT", "SELECT TRUE WHERE")  # the second appends, by itself or with a COMMIT behind it
_NOTHING = ("nothing was written", "nothing was deleted", "nothing was changed", "no longer exists")


@dataclass
class Totals:
    calls: int = 0
    requests: int = 0  # of all calls without a fault
    faults: int = 0
    commits_lost: int = 0  # of the faults
    answered: int = 0  # calls that returned in spite of the fault
    raised: int = 0
    took_effect: int = 0  # of the calls that raised
    errors: dict[str, int] = field(default_factory=dict)


class Arena:
    """A database, a store that reaches it through the proxy, and one that reaches it without."""

    def __init__(self, proxy: Proxy, direct: str, through: str, folder: Path, totals: Totals) -> None:
        self.proxy = proxy
        self.folder = folder
        self.totals = totals
        self.direct = open_store(direct, create=True)
        self.store = open_store(through)
        self.engine = sqlalchemy.create_engine(direct.replace("postgresql:", "postgresql+psycopg:"))
        self.broken: list[str] = []
        self._cases = 0

    @contextmanager
    def case(self, operation: Operation) -> Iterator[Case]:
        """Gives a new case for a call. Its session is open in the store behind the proxy."""
        self._cases += 1
        id = f"c{self._cases:05}"
        begin(self.direct, id)
        if operation.prepare is not None:
            operation.prepare(id, self.folder)
        with self.store.open(id) as session:
            if operation.name not in ("append", "append_many"):  # most find what another writer has said meanwhile
                with self.direct.open(id) as other:
                    other.label("e3", "news")
            yield Case(self.store, session, id, self.folder)
            self.proxy.plan = Plan()

    def without_fault(self, operation: Operation) -> tuple[list[str], dict[str, Any], dict[str, Any]]:
        """Makes a call without a fault; returns its requests, and the states before and after it."""
        with self.case(operation) as case:
            before = state(self.direct, case.id)
            self.proxy.plan = plan = Plan()
            operation.call(case)
        self.totals.calls += 1
        self.totals.requests += len(plan.requests)
        return plan.requests, before, state(self.direct, case.id)

    def with_fault(self, operation: Operation, plan: Plan, before: dict[str, Any], after: dict[str, Any]) -> str | None:
        """Makes a call with a plan of what breaks; returns what is wrong."""
        with self.case(operation) as case:
            self.proxy.plan = plan
            error = _error_of(operation, case)
            self.proxy.plan = Plan()
            if not plan.broken:
                return None  # the call took another way this time
            self.totals.faults += 1
            self.totals.commits_lost += plan.requests[plan.at] in _COMMITS
            self.await_end(case.id)
            wrong = self._judge(operation, error, state(self.direct, case.id), before, after)
            return wrong or self._repeat(operation, case, error, after) or self._goes_on(case, operation)

    def _judge(
        self,
        operation: Operation,
        error: Exception | None,
        found: dict[str, Any],
        before: dict[str, Any],
        after: dict[str, Any],
    ) -> str | None:
        totals = self.totals
        if error is None:
            totals.answered += 1
            return None if found == after else f"it returned, and left {_difference(found, after)}"
        totals.raised += 1
        name = type(error).__name__
        totals.errors[name] = totals.errors.get(name, 0) + 1
        if not isinstance(error, (OSError, ConvtreeError)) or name in operation.done:
            return f"it raised {error!r}"
        if found == before:
            return None
        totals.took_effect += 1
        if any(words in str(error) for words in _NOTHING):
            return f"it raised {error!r}, and left {_difference(found, before)}"
        return None if found == after else f"it raised {error!r}, and left {_difference(found, after)}"

    def _repeat(self, operation: Operation, case: Case, error: Exception | None, after: dict[str, Any]) -> str | None:
        if error is None:
            return None
        if isinstance(error, SessionFailed):
            with case.store.open(case.id) as session:
                again = _error_of(operation, case._replace(session=session))
        else:
            again = _error_of(operation, case)
        if again is not None and type(again).__name__ not in operation.done:
            return f"it raised {error!r}, and repeated {again!r}"
        found = state(self.direct, case.id)
        if without_repeats(found) == without_repeats(after):
            return None
        return f"it raised {error!r}, and repeated it left {_difference(found, after)}"

    def _goes_on(self, case: Case, operation: Operation) -> str | None:
        if operation.ends_session:
            return None
        try:
            case.session.append(message("e90"), on_stale="rebase")
        except SessionFailed:
            with case.store.open(case.id) as session:
                session.append(message("e90"), on_stale="rebase")
        with self.direct.open(case.id, read_only=True) as other:
            times = [record.id for _, record in other.records()].count("e90")
        return None if times == 1 else f"the next append is there {times} times"

    def await_end(self, id: str) -> None:
        """Waits until no transaction is open; says what is wrong if that takes too long."""
        until = time.monotonic() + _WAIT_S
        query = (
            "SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE locktype IN "
            "('transactionid', 'tuple', 'relation') AND datname = current_database() AND pid <> pg_backend_pid()"
        )
        while True:
            with self.engine.connect() as connection:
                locks = connection.exec_driver_sql(query).scalar()
            taken = len(_connections_of(self.store).used)
            if not locks and not taken:
                return
            if time.monotonic() > until:
                self.broken.append(f"{id}: {locks} locks are held, {taken} connections are in use")
                return
            time.sleep(0.005)

    def clear(self) -> None:
        """Empties the tables, so that calls that look at all sessions take no longer for later cases."""
        with self.engine.begin() as connection:
            names = connection.exec_driver_sql("SELECT tablename FROM pg_tables WHERE tablename ~ '^ct_'").scalars()
            wanted = ", ".join(name for name in names if name != "ct_schema")
            connection.exec_driver_sql(f"TRUNCATE {wanted}")

    def close(self) -> None:
        self.store.close()
        self.direct.close()
        self.engine.dispose()


def _connections_of(store: SessionStore) -> Any:
    backend: Any = store._backend
    return backend._database._connections


def _error_of(operation: Operation, case: Case) -> Exception | None:
    try:
        operation.call(case)
    except Exception as error:
        return error
    return None


def _difference(found: dict[str, Any], expected: dict[str, Any]) -> str:
    def flat(value: Any, place: str) -> Iterator[tuple[str, Any]]:
        if isinstance(value, dict) and value:
            for key, each in value.items():
                yield from flat(each, f"{place}/{key}")
        elif isinstance(value, list):
            for number, each in enumerate(value):
                yield f"{place}/{number}", each
        else:
            yield place, value

    a, b = dict(flat(found, "")), dict(flat(expected, ""))
    return str([(key, a.get(key), b.get(key)) for key in {**a, **b} if a.get(key) != b.get(key)][:3])[:600]


@contextmanager
def arena(totals: Totals, folder: Path) -> Iterator[Arena]:
    """Gives a new database on a private server, or that of CONVTREE_TEST_PG, and a proxy before it."""
    with ExitStack() as ends:
        url = ends.enter_context(new_postgres())
        direct = url.replace("postgresql+psycopg:", "postgresql:")
        control = sqlalchemy.create_engine(url, isolation_level="AUTOCOMMIT")

        def terminate(pid: int) -> None:
            with control.connect() as connection:
                connection.exec_driver_sql("SELECT pg_terminate_backend(%s, 2000)", (pid,))

        proxy, through = proxied(direct, terminate)
        ends.callback(proxy.close)
        made = Arena(proxy, direct, through, folder, totals)
        ends.callback(control.dispose)
        ends.callback(made.close)
        yield made


def quick_retries() -> None:
    """Makes the pauses between tries short."""
    for module in (sql, sql_database, sql_whole):
        module.back_off = lambda number: time.sleep(0.002 * 2**number)  # type: ignore[attr-defined]


def sweep(arena: Arena, every: int, only: str, choose: random.Random) -> list[str]:
    """Breaks every request of every call, or one of so many, and every COMMIT; returns what is wrong."""
    operations = [each for each in (*MUTATIONS, *READS) if is_wanted(each.name, only)]
    for operation in operations:
        arena.clear()
        requests, before, after = arena.without_fault(operation)
        plans = [
            Plan(at, way) for at in range(len(requests)) for way in WAYS if every == 1 or choose.randrange(every) == 0
        ]
        plans += [
            Plan(at, way, _COMMITS, stays_away=away)
            for at in range(sum(each in _COMMITS for each in requests))
            for way in WAYS[:2]
            for away in (False, True)
        ]
        for plan in plans:
            wrong = arena.with_fault(operation, plan, before, after)
            if wrong is not None:
                arena.broken.append(f"{operation.name}: {plan}: {wrong}")
    return arena.broken


def main() -> None:
    options = arguments(__doc__ or "", every=1, only="")
    quick_retries()
    sabotage.apply(options.sabotage)
    totals = Totals()
    with tempfile.TemporaryDirectory() as folder, arena(totals, Path(folder)) as made:
        broken = sweep(made, options.every, options.only, random.Random(options.seed))
    finish(options, vars(totals), broken)


if __name__ == "__main__":
    main()
