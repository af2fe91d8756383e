"""Lists for people: what `ls` shows at which width, and in whose time."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from helpers import user

from convtree import ParentSession, open_store
from convtree._cli import times
from convtree._cli.app import app
from convtree._cli.terminal import Terminal
from convtree.stores._folder_logs import FolderLogs
from convtree.stores._look import Look
from convtree.stores._results import Pruned
from convtree.stores._session_store import SessionStore

NOW = datetime(2026, 3, 29, 12, tzinfo=UTC)
HOUR_NS = 3600 * 10**9


class Shop:
    """A store on a clock that is set by hand, and commands that run at noon on 29 March 2026."""

    def __init__(self, url: str) -> None:
        self.ns = 0
        self.store: SessionStore = open_store(url, durability="process", clock=lambda: self.ns)

    def begin(self, id: str, hours_ago: float, *texts: str, **header: Any) -> None:
        """Begins a session with a question for each text, some hours before noon."""
        self.ns = int(NOW.timestamp() * 10**9) - int(hours_ago * HOUR_NS)
        with self.store.create(id=id, **header) as session:
            for text in texts:
                session.append(user(text))


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    """A store with five sessions."""
    url = str(tmp_path / "store")
    monkeypatch.setenv("CONVTREE_URL", url)
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setattr(times, "now", NOW.astimezone)
    made = Shop(url)
    made.begin("0123456789abcdef-1", 24 * 40, "hello there", cwd="/srv/data")
    made.begin("0123456789abcdef-2", 50, "/model", "go", "Where shall we go?", cwd="/home/me")
    made.begin("fedcba9876543210", 3.5, "An old question " + "x" * 100, cwd="/home/me/code/project/backend", name="")
    made.begin("short", 0.05, "hi", name="旅行 to Rome and back 😀", cwd="/home/other")
    with made.store.open("short") as session:
        session.append({"role": "assistant", "content": "Hi."}, model="gpt-5", usage={"cost": 1234.567})
        session.append({"role": "assistant", "content": "Hi."}, model="opus", usage={"cost": 0.0})
        session.append({"role": "assistant", "content": "Hi."}, model="opus")
    parent = ParentSession(id="short", kind="task")
    made.begin("task", 0, "find hotels", parent_session=parent)
    with made.store:
        yield made


def on_terminal(monkeypatch: pytest.MonkeyPatch, columns: int, *arguments: str) -> list[str]:
    """Runs a command as on a terminal without colours. Returns its lines."""
    begin = Terminal.__init__

    def narrow(self: Terminal) -> None:
        begin(self)
        self.width, self.is_piped = columns, False

    with monkeypatch.context() as patched:
        patched.setattr(Terminal, "__init__", narrow)
        done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    return done.stdout.splitlines()


@pytest.mark.usefixtures("shop")
def test_ls_on_terminals_of_any_width(monkeypatch: pytest.MonkeyPatch) -> None:
    """Columns are narrowed, then left out, the id before the number that names the row. Wide characters count twice."""
    assert on_terminal(monkeypatch, 47, "ls") == [
        "#  ID         AGE      TITLE",
        "1  short      3 min    旅行 to Rome and back 😀",
        "2  fedcba98   3 hours  An old question xxxxxxx…",
        "3  0123…ef-2  2 days   Where shall we go?",
        "4  0123…ef-1  5 weeks  hello there",
        "1 sub-agent not shown; --tasks shows it",
    ]
    assert on_terminal(monkeypatch, 93, "ls") == [
        "#  ID           AGE      DIRECTORY         MODEL    MSGS      COST  TITLE",
        "1  short        3 min    /home/other       opus +1     4  1,234.57  旅行 to Rome and back 😀",
        "2  fedcba98     3 hours  …project/backend              1            An old question xxxxxxxx…",
        "3  01234…def-2  2 days   ~                             3            Where shall we go?",
        "4  01234…def-1  5 weeks  /srv/data                     1            hello there",
        "1 sub-agent not shown; --tasks shows it",
    ]
    wide = on_terminal(monkeypatch, 400, "ls", "--tasks", "-v", "--utc")
    assert wide[0].split() == ["#", "ID", "AGE", "LAST", "ACTIVE", "DIRECTORY", "MODEL", "MSGS", "COST", "TITLE"]
    assert wide[1].split()[:6] == ["1", "task", "now", "2026-03-29", "12:00", "1"]
    assert wide[1].endswith("(sub-agent) find hotels")
    assert "opus +1" in wide[2]
    assert wide[3].endswith("x" * 100)
    for columns in (20, 30, 40, 60, 80, 200):
        assert max(map(len, on_terminal(monkeypatch, columns, "ls", "--tasks"))) <= columns


ALIKE = ["0199a1b2-c3d4-7000-8000-00000000aaa1", "0199a1b2-c3d4-7000-8000-00000000bbb2"]


def begin_alike(shop: Shop) -> None:
    """Begins two sessions whose ids differ in the last four characters, and their entries as well."""
    for hours_ago, id in enumerate(ALIKE, 1):
        shop.ns = int(NOW.timestamp() * 10**9) - hours_ago * HOUR_NS
        with shop.store.create(id=id, cwd="/home/me", name="Needles of all kinds, in any haystack") as session:
            session.append(user("Where is the needle?"), id=id.replace("8000", "9000"))
            for number in (1, 2):
                answer = {"role": "assistant", "content": "No."}
                made, asked = id.replace("8000", f"a00{number}"), id.replace("8000", "9000")
                session.append(answer, id=f"{made}-{number}", parent_id=asked, model="gpt-5", usage={"cost": 1.5})


def test_ids_that_begin_alike_take_no_room(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ends are shown, which stand for the session; the cost stays. No line is longer than the terminal is wide."""
    begin_alike(shop)
    assert on_terminal(monkeypatch, 40, "usage", "--since", "3 hours ago", "--cwd", "/home/me") == [
        "#  ID           COST  TITLE",
        "1  0199…aaa1  3.0000  Needles of all ki…",
        "2  0199…bbb2  3.0000  Needles of all ki…",
        "              6.0000  total",
    ]
    assert on_terminal(monkeypatch, 40, "ls", "--since", "3 hours ago", "--until", "30 minutes ago") == [
        "#  AGE      TITLE",
        "1  1 hour   Needles of all kinds, in an…",
        "2  2 hours  Needles of all kinds, in an…",
    ]
    assert on_terminal(monkeypatch, 80, "ls", "--since", "3 hours ago", "--until", "30 minutes ago") == [
        "#  ID           AGE      DIRECTORY  MODEL  MSGS  COST  TITLE",
        "1  0199a…0aaa1  1 hour   ~          gpt-5     3  3.00  Needles of all kinds, in…",
        "2  0199a…0bbb2  2 hours  ~          gpt-5     3  3.00  Needles of all kinds, in…",
    ]
    assert on_terminal(monkeypatch, 40, "usage", "0199…aaa1", "--by", "branch") == [
        "LEAF       OUTPUT    COST  TITLE",
        "0199…a1-1       0  1.5000  Needles of a…",
        "0199…a1-2       0  1.5000  Needles of a…",
        "total           0  3.0000",
    ]
    for arguments in (["ls", "-v"], ["prune", "--keep", "0"], ["usage", "-v"], ["search", "needle"]):
        for columns in (20, 40, 80):
            lines = on_terminal(monkeypatch, columns, *arguments)
            assert max(map(len, lines)) <= columns
            assert arguments[0] == "usage" or lines[1].startswith(("1", "  "))  # at 20, `ls -v` has only the numbers


@pytest.mark.usefixtures("shop")
def test_nothing_is_cut_in_a_pipe() -> None:
    """Whole ids, directories and titles, and all models. A column is there if no row has anything in it."""
    lines = CliRunner().invoke(app, ["ls"], env={"COLUMNS": "20"}).stdout.splitlines()
    header = "ID\tAGE\tDIRECTORY\tMODEL\tMSGS\tCOST\tTITLE"
    assert lines[:3] == [
        header,
        "short\t3 min\t/home/other\topus, gpt-5\t4\t1,234.57\t旅行 to Rome and back 😀",
        "fedcba9876543210\t3 hours\t~/code/project/backend\t\t1\t\tAn old question " + "x" * 100,
    ]
    titles = [each["title"] for each in json.loads(CliRunner().invoke(app, ["ls", "--json"]).stdout)["sessions"]]
    assert [line.split("\t")[-1] for line in lines[1:]] == titles
    assert CliRunner().invoke(app, ["ls", "--cwd", "/srv/data"]).stdout.splitlines()[:2] == [
        header,
        "0123456789abcdef-1\t5 weeks\t/srv/data\t\t1\t\thello there",
    ]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--since", "today"], ["short", "fedcba9876543210"]),
        (["--since", "yesterday", "--until", "yesterday"], []),
        (["--until", "2 days ago"], ["0123456789abcdef-2", "0123456789abcdef-1"]),
        (["--since", "an hour ago"], ["short"]),
        (["--since", "9:00", "--until", "11:30"], []),
        (["--since", "8:29"], ["short", "fedcba9876543210"]),
        (["--since", "last month", "--until", "2026-02"], ["0123456789abcdef-1"]),
        (["--since", "2026-03-27T10:00:00+00:01"], ["short", "fedcba9876543210", "0123456789abcdef-2"]),
    ],
)
@pytest.mark.usefixtures("shop")
def test_times_as_people_write_them(options: list[str], expected: list[str]) -> None:
    """A day counts whole, from its beginning until its end."""
    done = CliRunner().invoke(app, ["ls", "-q", "--utc", *options])
    assert (done.exit_code, done.stdout.split()) == (0, expected)


def test_times_are_local(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless --utc is given. The day on which the clock goes forward has 23 hours."""
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    try:
        assert "2026-03-29 13:57" in CliRunner().invoke(app, ["ls", "-v"]).stdout
        assert "2026-03-29 11:57" in CliRunner().invoke(app, ["ls", "-v", "--utc"]).stdout
        shop.begin("early", 12.99, "x y")  # at 0:00:36 in Berlin
        for options, expected in (([], True), (["--utc"], False)):
            done = CliRunner().invoke(app, ["ls", "-q", "--since", "today", *options])
            assert ("early" in done.stdout) == expected
    finally:
        monkeypatch.delenv("TZ")
        time.tzset()


@pytest.mark.usefixtures("shop")
def test_an_empty_list_says_so() -> None:
    """On stderr, with how the times were understood. The exit code stays, and JSON says it itself."""
    done = CliRunner().invoke(app, ["ls", "--utc", "--since", "yesterday", "--until", "28 hours ago"])
    assert (done.exit_code, done.stdout) == (0, "")
    assert done.stderr.endswith(
        "store: no sessions match that were active from 2026-03-28 00:00 until 2026-03-28 08:00\n"
    )
    assert CliRunner().invoke(app, ["ls", "--cwd", "/nowhere"]).stderr.endswith("store: no sessions match\n")
    assert CliRunner().invoke(app, ["ls", "--cwd", "/nowhere", "--json"]).stderr == ""


@pytest.mark.parametrize("text", ["mayhem", "sat", "2026-13", "25:00", "3 moons ago", ""])
@pytest.mark.usefixtures("shop")
def test_what_is_no_time_is_refused(text: str) -> None:
    """The message names the option and the text."""
    done = CliRunner().invoke(app, ["ls", "--since", text])
    assert (done.exit_code, done.stdout) == (2, "")
    assert "Invalid value for --since: " in done.stderr
    assert repr(text) in done.stderr


def test_search_on_terminals_of_any_width(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ids, time, role and title on one line, and the excerpt around the hit on the next. Narrow ones have less."""
    shop.begin("f00dfeedc0ffee", 26, "a " * 40 + "needle" + " z" * 60, name="Trip \x1b[31m")
    with shop.store.open("f00dfeedc0ffee") as session:
        first = session.path()[0].id
        session.append({"role": "assistant", "content": "The needle?"}, parent_id=None, id="side")
        session.branch(first)
    assert on_terminal(monkeypatch, 63, "search", "needle", "--utc") == [
        r"1  side    2026-03-28  Trip \x1b[31m",
        "  assistant: The needle? (side)",
        rf"2  {first[:6]}  2026-03-28  Trip \x1b[31m",
        "  user: …a a a a a a a a needle z z z z z z z z z z z z z z z…",
    ]
    assert on_terminal(monkeypatch, 90, "search", "needle", "--utc")[2:] == [
        rf"2  f00dfeed  {first[:6]}  2026-03-28 10:00  user       Trip \x1b[31m",
        "  …a a a a a a a a a a a a a a needle z z z z z z z z z z z z z z z z z z z z z z z z z z…",
    ]
    for columns in (40, 60, 80, 200):
        assert max(map(len, on_terminal(monkeypatch, columns, "search", "needle"))) <= columns


def test_hits_in_sessions_with_long_ids(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ids take no room from time, role and title, at 80 columns and at 40."""
    begin_alike(shop)
    assert sorted(on_terminal(monkeypatch, 80, "search", "where", "needle", "--utc")) == [
        "  Where is the needle?",
        "  Where is the needle?",
        "1  0199a…0aaa1  0199a…0aaa1  2026-03-29 11:00  user       Needles of all kinds,…",
        "2  0199a…0bbb2  0199a…0bbb2  2026-03-29 10:00  user       Needles of all kinds,…",
    ]
    assert sorted(on_terminal(monkeypatch, 40, "search", "where", "needle", "--utc")) == [
        "  user: Where is the needle?",
        "  user: Where is the needle?",
        "1  0199…aaa1  2026-03-29  Needles of al…",
        "2  0199…bbb2  2026-03-29  Needles of al…",
    ]


def test_the_hit_is_highlighted(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every word that was asked for, in any case; only on a terminal with colours."""
    shop.begin("c", 1, "Needles, a NEEDLE and a Thread")
    monkeypatch.setattr(Terminal, "paint", lambda _, text, style: f"<{text}>" if style == "match" else text)
    assert on_terminal(monkeypatch, 80, "search", "thread", "needle")[1] == "  Needles, a <NEEDLE> and a <Thread>"


def test_the_hit_is_bold_without_colours(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """NO_COLOR takes the colours, not the mark. In a pipe there is none."""
    shop.begin("c", 1, "Where is the needle?")
    plain = CliRunner().invoke(app, ["search", "needle"], env={"NO_COLOR": "1"}).stdout
    assert "\x1b" not in plain
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    shown = CliRunner().invoke(app, ["search", "needle"]).stdout
    assert "\x1b[1mneedle\x1b[0m" in shown
    assert shown.count("\x1b") == 2


def test_usage_by_day_model_and_directory(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Days are local. A narrow terminal shows fewer columns, and the cost always."""
    usage = {"input_tokens": 1000, "output_tokens": 20, "cost": 0.5}
    for hours_ago in (13.5, 1):
        shop.ns = int(NOW.timestamp() * 10**9) - int(hours_ago * HOUR_NS)
        with shop.store.open("short") as session:
            session.append({"role": "assistant", "content": "x"}, model="gpt-5", provider="openai", usage=usage)
    assert on_terminal(monkeypatch, 80, "usage", "--by", "day", "--utc") == [
        "DAY         INPUT  OUTPUT  CACHE READ  CACHE WRITE        COST",
        "2026-03-28  1,000      20           0            0      0.5000",
        "2026-03-29  1,000      20           0            0  1,235.0670",
        "total       2,000      40           0            0  1,235.5670",
    ]
    assert on_terminal(monkeypatch, 40, "usage", "--by", "model", "--since", "12 hours ago") == [
        "MODEL         INPUT  OUTPUT        COST",
        "openai gpt-5  1,000      20      0.5000",
        "gpt-5             0       0  1,234.5670",
        "total         1,000      20  1,235.0670",
    ]
    assert on_terminal(monkeypatch, 60, "usage", "--by", "directory") == [
        "DIRECTORY    INPUT  OUTPUT  CACHE READ        COST",
        "/home/other  2,000      40           0  1,235.5670",
        "total        2,000      40           0  1,235.5670",
    ]
    assert on_terminal(monkeypatch, 40, "usage", "short") == [
        "#  ID           COST  TITLE",
        "1  short  1,235.5670  旅行 to Rome and…",
        "          1,235.5670  total",
    ]
    done = CliRunner().invoke(app, ["usage", "short", "--by", "day", "--utc", "--until", "yesterday", "--json"])
    (row,) = json.loads(done.stdout)["rows"]
    assert (row["day"], row["usage"]["cost"]) == ("2026-03-28", 0.5)


@pytest.mark.parametrize(
    ("command", "age", "expected"),
    [
        ("prune", "2", timedelta(days=2)),
        ("prune", "36 hours", timedelta(hours=36)),
        ("prune", "yesterday", timedelta(hours=36)),
        ("prune", "2026-02", timedelta(days=56, hours=12)),
        ("resume", "90", timedelta(minutes=90)),
        ("resume", "2h", timedelta(hours=2)),
        ("resume", "today", timedelta(hours=12)),
    ],
)
@pytest.mark.usefixtures("shop")
def test_ages_as_people_write_them(
    command: str, age: str, expected: timedelta, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A number counts in days or minutes; a day or a longer time counts from its beginning."""
    asked: list[timedelta] = []

    def note(_: object, *, max_age: timedelta, **__: Any) -> Pruned:
        asked.append(max_age)
        return Pruned()

    monkeypatch.setattr(SessionStore, "prune", note)
    monkeypatch.setattr(SessionStore, "resumable", note)
    CliRunner().invoke(app, [command, "--utc", "--max-age", age])
    assert asked == [expected]


@pytest.mark.parametrize(("arguments", "looks"), [(["ls"], 1), (["ls", "--all", "-q"], 1), (["search", "hello"], 1)])
@pytest.mark.usefixtures("shop")
def test_a_list_looks_at_the_files_once(arguments: list[str], looks: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sessions, hidden sub-agents, findings and the beginnings of ids are those of one moment."""
    look, seen = FolderLogs.look, list[int]()

    def counted(logs: FolderLogs) -> Look:
        seen.append(1)
        return look(logs)

    monkeypatch.setattr(FolderLogs, "look", counted)
    on_terminal(monkeypatch, 80, *arguments)
    assert len(seen) == looks
