"""Recognises and reads hostile files of other tools: twice as much text must not take more than 2.5 times as long.

The sample of every format is recognised and read with a run of one piece of syntax (quotes, brackets, backslashes, …)
in the place of each string, as it is and as valid JSON, and cut off behind the run. The same is done with rows of
databases, files in folders, members of archives, and the run as a whole file. Messages with such texts are exported as
Markdown.

The time is that of the processor. A case that takes less than a floor is not compared. One that grows too much is
measured again, and the least times count.
"""

from __future__ import annotations

import json
import re
import signal
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from importlib import import_module
from io import BytesIO
from itertools import count
from pathlib import Path
from time import process_time
from typing import NamedTuple
from zipfile import ZIP_DEFLATED, ZipFile

from convtree import Session
from convtree._tools.known_sources import FAILURES, recognise
from convtree.exchange import export_lines

from . import sabotage
from .common import arguments, finish, times_as_long
from .samples import folder

GROWTH = 2.5  # of the time, for twice the size
_FLOOR_S = 0.12
_ENOUGH = 3  # broken cases, each of which can take long
_LIMIT_S = 30  # of processor time for one measurement; more counts as broken
_AGAIN_S = 1  # between two interruptions of a measurement that swallows the first
_RUNS = (
    *('"', '\\"', "[", "]", "{", "}", '{"a":', '[{"', "\\\\", "\\", "\\u", "\\ud800", "1", "1e", "-", " ", "\n", "\t"),
    *(",", ":", '":', "\0", "\ufffd", "\xe9", "<", "`", "*", "- ", "#", "|", "&", "]]>", "~", "> ", "![", "](", "_"),
    *(
        '{"role":"',
        '{"type":"x","timestamp":"y"}',
        '{"id":"',
        "a\n\n",
        "    ",
        "<!--",
        "&#",
        "\u202e",
        "\u200d",
        "http://",
    ),
)
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"')
_SAMPLES = "test_formats_stores_laws", "foreign"


class Case(NamedTuple):
    """A name, and a function of a run that prepares what is measured."""

    name: str
    prepare: Callable[[bytes], Callable[[], object]]


class Hangs(BaseException):
    """A measurement that took longer than the limit."""


class Raises(Exception):
    """What is measured raised an error that an import does not expect."""


def main() -> None:
    """Prints how many cases were compared. Fails if one grows too much."""
    options = arguments(__doc__ or "", size=2**16, every=400, only="")
    sabotage.apply(options.sabotage)
    broken, compared, worst, number = [], 0, 0.0, 0
    with folder() as place:
        cases = [case for case in _cases(place) if options.only in case.name]
        for number, (case, run) in enumerate((case, run) for case in cases for run in _RUNS):
            if (number + options.seed) % options.every:
                continue
            try:
                grown = growth(case, run.encode(errors="surrogatepass"), options.size)
            except Raises as error:
                broken.append(f"{case.name}: {run!r} raises {error}")
            else:
                compared += grown > 0
                worst = max(worst, grown)
                if grown > GROWTH:
                    broken.append(f"{case.name}: twice as much of {run!r} takes {grown:.1f} times as long")
            if len(broken) == _ENOUGH:
                break
    ran = len(range(-options.seed % options.every, number + 1, options.every))
    formats = sorted({case.name.partition(":")[0] for case in cases})
    finish(
        options,
        {"cases": ran, "of": number + 1, "formats": formats, "compared": compared, "growth": round(worst, 2)},
        broken,
    )


# --- what is measured ---


def growth(case: Case, run: bytes, size: int) -> float:
    """Returns how many times as long twice the size takes; 0 if that is below the floor.

    Raises:
        Raises: the case raised something else than the errors of an import.
    """
    if _seconds(case, run, 2 * size) < _FLOOR_S:
        return 0.0
    grown = float("inf")
    seconds = partial(_seconds, case, run)
    for short in (size, 2 * size):  # what grows too much must do so for both
        grown = min(grown, times_as_long(partial(seconds, short), partial(seconds, 2 * short), GROWTH))
        if grown <= GROWTH:
            break
    return grown


def _seconds(case: Case, run: bytes, size: int) -> float:
    """Returns the processor time; infinite if it is more than the limit."""
    work = case.prepare(run * (size // len(run)))
    signal.signal(signal.SIGVTALRM, _hang)
    try:
        signal.setitimer(signal.ITIMER_VIRTUAL, _LIMIT_S, _AGAIN_S)
        started = process_time()
        try:
            work()
            return process_time() - started
        except Exception as error:
            raise Raises(f"{type(error).__name__}: {error}") from error
        finally:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)  # may be interrupted itself, so Hangs is caught outside
    except Hangs:
        return float("inf")


def _hang(*_: object) -> None:
    raise Hangs


def _read(path: Path) -> None:
    """Recognises a source and reads all of it, as an import does."""
    try:
        known = recognise(path)
        with known.source:
            for ref in known.sessions():
                for _ in known.read(ref).records:
                    pass
    except FAILURES:
        pass  # most are no longer of a known format


# --- the cases ---


def _cases(place: Path) -> Iterator[Case]:
    """Yields the cases of every sample."""
    laws, foreign = map(import_module, _SAMPLES)
    for name, lines in foreign.SAMPLES.items():
        (place / name).write_bytes(foreign.encoded(*lines))
    sources = {name: path for name, (_, path) in laws.sources(place / "samples").items()}
    sources |= {name: place / name for name in foreign.SAMPLES}
    for name, path in sources.items():
        if path.is_dir():
            for file in sorted(each for each in path.rglob("*") if each.is_file()):
                yield from _of_file(f"{name}: {file.relative_to(path)}", file, path)
        elif path.read_bytes().startswith(b"SQLite"):
            yield from _of_database(name, path)
        else:
            yield from _of_file(name, path, path.parent if path.name == "history.json" else path)
    yield from _of_archive(place / "x.zip")
    yield Case("whole file: as it is", lambda data: _reading(place / "whole", data))
    yield Case("Markdown: a message", _exporting)


def _reading(path: Path, data: bytes, source: Path | None = None) -> Callable[[], object]:
    path.write_bytes(data)
    return lambda: _read(source or path)


def _of_file(name: str, file: Path, source: Path) -> Iterator[Case]:
    """Yields the cases of a file of JSON: each string in turn is replaced by the run."""
    sound = file.read_bytes()
    numbers = count()
    for found in _STRING.finditer(sound):
        start, end = sound[: found.start() + 1], sound[found.end() - 1 :]
        copy = source.parent / f"copy of {name.partition(':')[0]} {next(numbers)}"
        target = copy / file.relative_to(source) if source.is_dir() else copy
        for kind in ("raw", "valid", "cut", "cut, valid"):
            pieces = (kind, start, b"" if "cut" in kind else end)
            yield Case(f"{name}: {kind} at {found.start()}", partial(_in_place, source, target, copy, pieces))


def _as(kind: str, run: bytes) -> bytes:
    """Returns a run as it stands between quotes: as it is, or as the text of a JSON string."""
    return json.dumps(run.decode(errors="replace")).encode()[1:-1] if "valid" in kind else run


def _in_place(
    source: Path, target: Path, copy: Path, pieces: tuple[str, bytes, bytes], run: bytes
) -> Callable[[], object]:
    """Copies a source, with a run in the place of a string in one of its files."""
    kind, start, end = pieces
    if source.is_dir():
        for each in sorted(source.rglob("*")):
            if each.is_file():
                (copy / each.relative_to(source)).parent.mkdir(parents=True, exist_ok=True)
                (copy / each.relative_to(source)).write_bytes(each.read_bytes())
    return _reading(target, start + _as(kind, run) + end, copy)


def _of_database(name: str, path: Path) -> Iterator[Case]:
    """Yields the cases of a database: each text in a row, and each string in the JSON there, is replaced in turn."""
    with closing(sqlite3.connect(path)) as database:
        tables = [table for (table,) in database.execute("select name from sqlite_master where type = 'table'")]
        for table in tables:
            columns = [row[1] for row in database.execute(f'pragma table_info("{table}")')]
            for column in columns:
                texts = f'select rowid, "{column}" from "{table}" where typeof("{column}") = \'text\' limit 1'
                for rowid, text in database.execute(texts).fetchall():
                    for at, (start, end) in enumerate(_places(text)):
                        put = partial(_in_cell, path, (table, column, rowid), start, end)
                        yield Case(f"{name}: {table}.{column}, {at}", put)


def _places(text: str) -> Iterator[tuple[str, str]]:
    """Yields what stands before and behind each place of a run in a text of a row."""
    yield "", ""
    for found in _STRING.finditer(text.encode()):
        yield text.encode()[: found.start() + 1].decode(), text.encode()[found.end() - 1 :].decode()


def _in_cell(path: Path, cell: tuple[str, str, int], start: str, end: str, run: bytes) -> Callable[[], object]:
    """Copies a database, with another text in one of its rows."""
    table, column, rowid = cell
    text = start + run.decode(errors="replace") + end
    copy = path.with_name("copy.db")
    copy.write_bytes(path.read_bytes())
    with closing(sqlite3.connect(copy)) as database, database:
        database.execute(f'update or replace "{table}" set "{column}" = ? where rowid = ?', (text, rowid))
    return lambda: _read(copy)


def _of_archive(path: Path) -> Iterator[Case]:
    """Yields the cases of an archive with an export: the run is the content of a member, or the archive itself."""

    def packed(run: bytes) -> bytes:
        file = BytesIO()
        with ZipFile(file, "w", ZIP_DEFLATED) as archive:
            archive.writestr("conversations.json", b'[{"title":"' + run)
        return file.getvalue()

    yield Case("archive: a member", lambda run: _reading(path, packed(run)))
    yield Case("archive: a member, cut", lambda run: _reading(path, packed(run)[:-40]))
    yield Case("archive: as it is", lambda run: _reading(path, b"PK\x03\x04" + run))
    yield Case("archive: many members", lambda run: _reading(path, _many_members(len(run) // 100)))


def _many_members(number: int) -> bytes:
    file = BytesIO()
    with ZipFile(file, "w") as archive:
        for each in range(number):
            archive.writestr(f"conversations-{each}.json", b"")
    return file.getvalue()


def _exporting(run: bytes) -> Callable[[], object]:
    text = run.decode(errors="replace")
    session = Session.memory()
    session.append({"role": "user", "content": text})
    session.append({"role": "assistant", "content": [{"type": "text", "text": text}]})
    return lambda: [*export_lines(session, "markdown")]


if __name__ == "__main__":
    main()
