"""Damages the catalogue of a folder in every way, and asks the store everything it can be asked.

A catalogue is a cache. Whatever becomes of its files, every answer of the store must be that of the logs: no answer may
change, and no call may fail. Each case begins with a catalogue that the store trusts. Then one bit is flipped, or the
file is replaced, emptied, planted with triggers and views, or written by somebody else. This is done while no process
uses the catalogue, while a store is open, and after a process was killed that had written to it.

Half of the flips keep the file's time, as a decaying disk does.
"""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import Any

from convtree import ParentSession, SessionStore, open_store

from . import sabotage
from .common import apart, arguments, finish, keep
from .samples import folder

_START_NS = 1_767_225_600 * 10**9  # 2026-01-01T00:00:00Z
_DAY_NS = 86_400 * 10**9
_MESSAGES = (
    "Where is the Zürich ticket?",
    "東京 の 天気",
    "наш needle здесь",
    "قطار needle",
    "plain needle twice needle",
)
_CATALOGUE = ".catalogue.sqlite"
_SUFFIXES = ("", "-stamp", "-wal", "-shm")


# --- the store ----------------------------------------------------------------------------------------------------


def build(place: Path) -> None:
    """Fills a store with sessions of every kind."""
    for number in range(11):
        with _opened(place, number) as store:
            above = ParentSession(id=f"s{number - 1}", kind="task") if number % 5 == 4 else None
            session = store.create(
                id=f"s{number}",
                name=f"Trip {number} to Köln" if number % 2 else None,
                cwd=f"/home/{'ab'[number % 2]}",
                git_root="/home" if number % 3 else None,
                owner=("ann", "bob", None)[number % 3],
                metadata={"project": number % 2, "tags": ["x", number]} if number % 4 else None,
                parent_session=above,
            )
            with session:
                _converse(session, number)
            if number % 4 == 0 and not above:
                store.fork(session.id, new_id=f"f{number}").close()
            store.archive(session.id, number % 7 == 3)
            store.hold(session.id, number % 6 == 5)
    shutil.copy2(place / "s1.jsonl", place / "copy.jsonl")
    (place / "foreign.jsonl").write_text("no log\n")
    (place / "b d.jsonl").write_text("no name\n")
    torn = (place / "s2.jsonl").read_bytes()
    (place / "s2.jsonl").write_bytes(torn[:-9])
    with _opened(place, 20) as store:
        for id in ("s6", "s10"):
            store.delete(id)


def _converse(session: Any, number: int) -> None:
    for turn, text in enumerate(_MESSAGES[: 2 + number % 4]):
        session.append({"role": "user", "content": f"{text} {number}"}, id=f"u{number}.{turn}")
        usage = {"input_tokens": 100 + number, "output_tokens": 7 * turn}
        answer = {"role": "assistant", "model": f"model-{turn % 2}", "content": f"answer {turn}", "usage": usage}
        session.append(answer, id=f"a{number}.{turn}")
    session.label(f"u{number}.0", f"start {number}")
    session.update_metadata({"stage": "done"})
    if number % 3 == 0:
        session.branch(f"u{number}.0")
        session.append({"role": "user", "content": "another branch"}, id=f"b{number}")
    if number % 4 == 1:
        session.hide(f"u{number}.1")


def _opened(place: Path, days: int) -> SessionStore:
    ticks = iter(range(_START_NS + days * _DAY_NS, 2**62, 10**9))
    return open_store(place, durability="process", clock=lambda: next(ticks))


# --- what can be asked --------------------------------------------------------------------------------------------


def questions(ids: list[str]) -> Iterator[tuple[str, Callable[[SessionStore], Any]]]:
    """Yields every question with its name."""
    everything: dict[str, Any] = {"limit": None, "archived": None, "tasks": True}
    yield "findings", lambda store: store.findings
    yield "ledger", lambda store: store.ledger()
    yield "latest", lambda store: [store.latest(), store.latest(cwd="/home/a"), store.latest(owner="bob")]
    yield "resumable", lambda store: store.resumable(cwd="/home/b", max_age=10**9)
    yield "pages", lambda store: _pages(store, limit=4)
    yield "prune", lambda store: store.prune(max_age=10 * 86_400, dry_run=True)
    for filters in (
        {},
        everything,
        *({**everything, "owner": owner} for owner in ("ann", "bob", "nobody")),
        *({**everything, "cwd": cwd} for cwd in ("/home/a", "/home/b")),
        everything | {"git_root": "/home"},
        everything | {"held": True},
        everything | {"archived": True},
        everything | {"parent": "s4"},
        everything | {"since": "2026-01-05T00:00:00Z"},
        everything | {"until": "2026-01-05T00:00:00Z"},
        everything | {"text": "needle"},
        everything | {"text": "Köln"},
        everything | {"metadata": {"project": 1}},
        everything | {"metadata": {"stage": "done", "tags": None}},
    ):
        yield f"list {filters}", partial(lambda store, asked: store.list(**asked).sessions, asked=filters)
        counted = {name: value for name, value in filters.items() if name != "limit"}
        yield f"count {filters}", partial(lambda store, asked: store.count(**asked), asked=counted)
    for words in ("needle", "ticket", "東京", "здесь", "قطار", "another branch", "answer"):
        yield f"search {words}", partial(lambda store, words: store.search(words, tasks=True, limit=99), words=words)
    yield "usage", lambda store: store.usage()
    yield "usage by model", lambda store: store.usage(by="model")
    for id in ids[::3]:
        yield f"info {id}", partial(SessionStore.info, id=id)
        yield f"children {id}", partial(SessionStore.children, id=id)
        yield f"usage {id}", partial(SessionStore.usage, id=id, by="branch")
        yield f"with {id}", partial(SessionStore.sessions_with, entry_id=f"u{id[1:]}.0")


def _pages(store: SessionStore, limit: int) -> list[Any]:
    found, cursor = [], None
    while True:
        page = store.list(limit=limit, cursor=cursor, archived=None)
        found.append(page.sessions)
        if (cursor := page.cursor) is None:
            return found


def answers(store: SessionStore, ids: list[str]) -> dict[str, str]:
    """Returns every answer as text; an exception is one."""
    said = {}
    for name, ask in questions(ids):
        try:
            said[name] = repr(ask(store))
        except Exception as error:
            said[name] = f"raised {error!r}"
    return said


# --- the damage ---------------------------------------------------------------------------------------------------


def flip(path: Path, bit: int, *, same_time: bool) -> bool:
    """Flips a bit of a file in place; returns whether it has it."""
    if not path.is_file() or (size := path.stat().st_size) == 0:
        return False
    status = path.stat()
    at = bit // 8 % size
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1 << bit % 8]))
    if same_time:
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    return True


def _statement(*statements: str) -> Callable[[Path], None]:
    def plant(path: Path) -> None:
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            for statement in statements:
                connection.execute(statement)

    return plant


def _schema(change: str) -> Callable[[Path], None]:
    return _statement("PRAGMA writable_schema = ON", f"UPDATE sqlite_master SET {change}", "PRAGMA user_version = 9")


def _replaced(make: Callable[[Path], object]) -> Callable[[Path], None]:
    def replace(path: Path) -> None:
        path.unlink()
        make(path)

    return replace


def _bytes(change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def rewrite(path: Path) -> None:
        path.write_bytes(change(path.read_bytes()))

    return rewrite


def _of_another_store(path: Path) -> None:
    """Puts the files of another store's catalogue in place."""
    other = path.parent.with_name("other")
    for suffix in _SUFFIXES:
        theirs, ours = other / f"{_CATALOGUE}{suffix}", path.with_name(f"{path.name}{suffix}")
        ours.unlink(missing_ok=True)
        if theirs.exists():
            shutil.copy2(theirs, ours)


_NEVER = "INSERT INTO ct_sessions SELECT 'ghost-' || session_id, "
_COLUMNS = """owner, cwd, git_root, name, name_words, archived, held, kind, parent_id, parent_entry, copying_to,
arrived_ms, session_key, created_ms, active_ms, activity_bound, size, last_crc, rewrites, leaf_id, entries,
message_count, first_user, last_user, header_id FROM ct_sessions"""
PLANTED: dict[str, Callable[[Path], None]] = {
    "rows deleted": _statement("DELETE FROM ct_sessions WHERE owner = 'ann'"),
    "lines deleted": _statement("DELETE FROM ct_lines"),
    "usage changed": _statement("UPDATE ct_usage SET cost = 1e9, input_tokens = -1"),
    "owner changed": _statement("UPDATE ct_sessions SET owner = 'eve'"),
    "text for numbers": _statement("UPDATE ct_sessions SET active_ms = 'x', entries = x'ff'"),
    "numbers for text": _statement("UPDATE ct_sessions SET name = 7, session_key = '{', first_user = x'ff'"),
    "stamps changed": _statement("UPDATE ct_files SET records = 'many', shared = 2"),
    "sessions that never were": _statement(_NEVER + _COLUMNS),
    "a trigger that deletes": _statement(
        "CREATE TRIGGER planted AFTER UPDATE ON ct_sessions BEGIN DELETE FROM ct_sessions WHERE owner = 'bob'; END"
    ),
    "a trigger that lies": _statement(
        "CREATE TRIGGER planted AFTER INSERT ON ct_files BEGIN UPDATE ct_sessions SET name = 'lie'; END",
        "UPDATE ct_files SET mtime_ns = 1",
    ),
    "a view for a table": _statement(
        "ALTER TABLE ct_usage RENAME TO planted",
        "CREATE VIEW ct_usage AS SELECT session_id, provider, model, answers, 7 AS input_tokens, output_tokens, "
        "cache_read_tokens, cache_write_tokens, cost FROM planted",
    ),
    "a view beside": _statement("CREATE VIEW planted AS SELECT * FROM ct_lines"),
    "a virtual table": _statement("CREATE VIRTUAL TABLE planted USING fts5(x)"),
    "an index": _statement("CREATE INDEX planted ON ct_sessions (name)"),
    "a generated column": _statement("ALTER TABLE ct_sessions ADD COLUMN planted AS (owner || 'x')"),
    "no trigger": _statement("DROP TRIGGER ct_terms_add", "UPDATE ct_files SET mtime_ns = 1"),
    "another schema": _schema("sql = replace(sql, 'name_words TEXT NOT NULL', 'name_words INTEGER')"),
    "another version": _statement("PRAGMA user_version = 99"),
    "no words": _statement("INSERT INTO ct_terms (ct_terms) VALUES ('delete-all')"),
    "no tables": _statement("DROP TABLE ct_files", "DROP TABLE ct_sessions"),
    "half": _bytes(lambda data: data[: len(data) // 2]),
    "a byte short": _bytes(lambda data: data[:-1]),
    "empty": _bytes(lambda _: b""),
    "zeroed": _bytes(lambda data: bytes(len(data))),
    "garbage": _bytes(lambda data: random.Random(1).randbytes(len(data))),
    "zeroed pages": _bytes(lambda data: data[:16384] + bytes(8192) + data[24576:]),
    "swapped pages": _bytes(lambda data: data[:16384] + data[20480:24576] + data[16384:20480] + data[24576:]),
    "missing": Path.unlink,
    "a directory": _replaced(Path.mkdir),
    "a FIFO": _replaced(os.mkfifo),
    "a link": _replaced(lambda path: path.symlink_to(path.parent.with_name("other") / _CATALOGUE)),
    "a hard link": _replaced(lambda path: path.hardlink_to(path.parent.with_name("other") / _CATALOGUE)),
    "another store's": _of_another_store,
}


# --- the judge ----------------------------------------------------------------------------------------------------


class Arena:
    """A store, what it must answer, and what was seen."""

    def __init__(self, place: Path) -> None:
        self.place, self.path = place, place / _CATALOGUE
        self.seen: Counter[str] = Counter()
        self.broken: list[str] = []
        self.ids = sorted(path.stem for path in place.glob("*.jsonl"))
        self.expected: dict[str, str] = {}
        self.start_anew()
        with self.opened() as store:
            self.expected = answers(store, self.ids)

    def opened(self) -> SessionStore:
        return _opened(self.place, 30)

    def start_anew(self) -> None:
        """Leaves a catalogue that the store trusts."""
        for suffix in _SUFFIXES:
            path = self.path.with_name(f"{self.path.name}{suffix}")
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)
        with self.opened() as store:
            store.list()

    def judge(self, store: SessionStore, case: str, was: int) -> None:
        """Compares every answer, and notes whether the catalogue was replaced."""
        said = answers(store, self.ids)
        wrong = [name for name, answer in self.expected.items() if said[name] != answer]
        if any(said[name].startswith("raised") and not self.expected[name].startswith("raised") for name in wrong):
            self.seen["raised"] += 1
        elif wrong:
            self.seen["changed"] += 1
        else:
            self.seen["same" if self.inode() == was else "rebuilt"] += 1
        if wrong:
            first = wrong[0]
            self.broken.append(f"{case}: {first}: {said[first][:300]} instead of {self.expected[first][:300]}")

    def inode(self) -> int:
        with suppress(FileNotFoundError):
            return self.path.lstat().st_ino
        return 0

    def closed_case(self, case: str, harm: Callable[[Path], object]) -> None:
        """Damages the catalogue while no process has it open."""
        was = self.inode()
        harm(self.path)
        with self.opened() as store:
            self.judge(store, case, was)
        if self.inode() == was:
            self.start_anew()  # it was not noticed, or did no harm: the next case begins with a sound one

    def open_case(self, case: str, harm: Callable[[Path], object]) -> None:
        """Damages the catalogue while a store is open that has used it."""
        with self.opened() as store:
            store.list()
            was = self.inode()
            harm(self.path)
            self.judge(store, case, was)
        self.start_anew()

    def killed_case(self, case: str, harm: Callable[[Path], object]) -> None:
        """Damages the catalogue after a process was killed that had written to it."""
        apart(self._write_and_end)
        self.closed_case(case, harm)

    def _write_and_end(self) -> None:
        store = self.opened()
        store.list()
        for id in self.ids[:3]:
            os.utime(self.place / f"{id}.jsonl")  # it reads them again
            store.list()


def run(options: Any, place: Path) -> tuple[dict[str, int], list[str]]:
    """Makes every case, and returns what was seen."""
    build(place / "other")
    with _opened(place / "other", 25) as store, store.create(id="theirs", owner="eve") as session:
        session.append({"role": "user", "content": "needle of another store"})
        store.list()
    build(place / "store")
    arena = Arena(place / "store")
    choose, totals = random.Random(options.seed), Counter[str]()
    was = arena.inode()
    with arena.opened() as store:
        arena.judge(store, "no damage", was)
    if arena.inode() != was:
        arena.broken.append("an undamaged catalogue was replaced")
    bits = 8 * arena.path.stat().st_size
    for number, bit in enumerate(range(choose.randrange(options.every), bits, options.every)):
        harm = partial(flip, bit=bit, same_time=bool(number % 2))
        arena.closed_case(f"bit {bit}", harm)
        totals["flips"] += 1
        if number % 4 == 0:
            arena.open_case(f"bit {bit} while open", harm)
            totals["flips"] += 1
        if number % 4 == 2:
            suffix = _SUFFIXES[number // 4 % 4]
            at = choose.randrange(8 * 4120 * 40)
            harm = partial(flip, bit=at, same_time=bool(number % 3))
            arena.killed_case(f"bit {at} of {suffix!r} after a kill", partial(_beside, suffix, harm))
            totals["flips"] += 1
    for name, plant in PLANTED.items():
        begin = (arena.closed_case, arena.open_case, arena.killed_case)
        for number in choose.sample(range(3), options.states):
            begin[number](f"{name} ({begin[number].__name__})", plant)
            totals["planted"] += 1
            arena.start_anew()
    return {**totals, **{name: arena.seen[name] for name in ("same", "rebuilt", "changed", "raised")}}, arena.broken


def _beside(suffix: str, harm: Callable[[Path], object], path: Path) -> None:
    harm(path.with_name(f"{path.name}{suffix}"))


def main() -> None:
    options = arguments(__doc__ or "", every=10_007, states=3)
    sabotage.apply(options.sabotage)
    with folder() as place:
        totals, broken = run(options, place)
        if broken:
            keep(place)
    finish(options, totals, broken)


if __name__ == "__main__":
    main()
