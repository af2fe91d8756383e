"""The benchmarks run and print what their README says they print; never how fast."""

from __future__ import annotations

import ast
import importlib
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
SIZES = ["--sizes", "200", "100"]
SIZED = ["100", "200"]

ROWS = {
    "resume.py": {
        "opening and the last 50 messages": [
            "convtree",
            "convtree, no index",
            "sqlite3 by hand",
            "SQLiteSession",
            "AdvancedSQLiteSession",
            "SqliteSaver",
            "pi",
            "pi-agent-harness-lc",
            "reading the file",
            "orjson.loads of every line",
            "json.loads of every line, kept",
        ],
        "processor time of that": 11,
        "peak memory above the imports": 11,
        "target": 8,
    },
    "short.py": {
        "opening and all messages": ["convtree", "sqlite3 by hand", "SQLiteSession"],
        "processor time of that": 3,
        "target": 3,
    },
    "appends.py": {
        "one append, synced": [
            "os.write + fdatasync",
            "convtree",
            "sqlite3 by hand",
            "SQLiteSession",
            "AdvancedSQLiteSession",
            "convtree, SQLite store",
            "RocksDB",
            "LMDB",
        ],
        "one append of the whole state, synced": ["SqliteSaver"],
        "one append, not synced": [
            "os.write",
            "by hand: open, json.dumps, write",
            'convtree, durability="process"',
            "convtree, branch to the middle + append",
            "convtree, append below the middle",
            'convtree, SQLite store, durability="process"',
            "pi",
            "pi-agent-harness-lc",
        ],
        "one call, synced": 5,
        "one call, not synced": 2,
        "target": 12,
    },
    "contexts.py": {
        "one context": [
            "build_context, 50 messages behind a compaction",
            "path(last=51), the same entries",
            "orjson.loads of those lines",
            "build_context, all messages",
            "orjson.loads of all the lines",
        ],
        "target": 5,
    },
    "providers.py": {
        "for each message": [
            "copies of the messages",
            "openai-chat to openai-chat",
            "openai-responses to openai-responses",
            "anthropic to anthropic",
            "gemini to gemini",
            "openai-chat to openai-responses",
            "openai-responses to anthropic",
            "anthropic to gemini",
            "gemini to openai-chat",
        ],
        "target": 8,
    },
    "store.py": {
        "sessions": [
            "list(limit=50), nothing changed",
            "list(limit=50), in a new process",
            "list(limit=50), in a new process: processor time",
            "list(limit=50), one session changed",
            "list(limit=50, cwd=…)",
            "search: a word of every message",
            "search: three words of every message",
            "search: a word of one session",
            "search: a word of no message",
            "os.scandir + os.stat of every log",
            "os.scandir + os.stat of every log, in a new process",
            "os.scandir + os.stat of every log, in a new process: processor time",
            "SELECT of the newest 50, by hand",
            "list(limit=50), no catalogue",
        ],
        "target": 8,
    },
    "wide.py": {
        "children of one message": [
            *(
                f"{call}(id, limit=50), {place}"
                for call in ("children", "siblings")
                for place in ("the first page", "a page in the middle", "the last page")
            ),
            "entry(id), 50 times",
            "children(id)",
        ],
        "target": 6,
    },
    "growing.py": {
        "opening, writer open": [
            "folder, messages",
            "SQLite, messages",
            "PostgreSQL, messages",
            "folder, branching",
            "SQLite, branching",
            "PostgreSQL, branching",
        ],
        "opening, writer killed": 6,
        "opening, nothing saved": 6,
        "opening, writer open, processor time": 6,
        "opening, writer killed, processor time": 6,
        "opening, nothing saved, processor time": 6,
        "one append, on average": 2,
        "target": 14,
    },
    "sql.py": {
        "one append": [
            "convtree",
            "psycopg, one statement",
            "psycopg, the same call",
            "psycopg, the same two statements",
            "psycopg, the fewest columns",
            "SQLAlchemySession",
        ],
        "one append of the whole state": ["PostgresSaver"],
        "connecting, opening and the last 50 messages": ["convtree", "SQLAlchemySession", "PostgresSaver"],
        "opening and the last 50 messages, connected": 3,
        "of 200 sessions": 12,
        "appends each second": [f"{writers} of own sessions" for writers in ("1 writer", "2 writers")],
        "one append, of writers of one session": ["1 writer", "2 writers"],
        "target": 14,
    },
    "sources.py": {
        "MB/s": [
            f"{name}: {way}"
            for name in ("Claude Code", "Codex", "messages")
            for way in ("orjson.loads of every line", "import, one process", "import, other processes read")
        ],
        "target": 6,
    },
    "imports.py": {
        "a process that imports": ["bare Python", "convtree", "SQLiteSession", "SqliteSaver", "pi-agent-harness-lc"],
        "a process that appends one message": ["by hand: open, json.dumps, write", "convtree"],
        "target": 2,
    },
}
PEERS = {"RocksDB", "LMDB", "SQLiteSession", "AdvancedSQLiteSession", "SqliteSaver", "pi", "pi-agent-harness-lc"}
PEERS |= {"SQLAlchemySession", "PostgresSaver"}


def run(script: str | Path, *arguments: str | Path) -> str:
    """Runs a script; returns what it prints."""
    command = [sys.executable, BENCHMARKS / script, *arguments]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def tables(printed: str) -> dict[str, list[list[str]]]:
    """Returns the tables of a script by the head of their first column, each with its rows, heads first."""
    found: dict[str, list[list[str]]] = {}
    for block in printed.split("\n\n"):
        rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in block.splitlines() if line[:1] == "|"]
        if rows:
            found[rows[0][0]] = [rows[0], *rows[2:]]
    return found


@pytest.fixture
def harness(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The module that measures."""
    yield from module("harness", monkeypatch)


@pytest.fixture
def report(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The module that says what was found."""
    yield from module("report", monkeypatch)


def module(name: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """Imports what scripts beside each other import, and forgets it: `tests.harness` is something else."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    own = [path.stem for path in BENCHMARKS.glob("*.py")]
    for stem in own:
        monkeypatch.delitem(sys.modules, stem, raising=False)
    yield importlib.import_module(name)
    for stem in own:
        sys.modules.pop(stem, None)


@pytest.mark.parametrize("script", ROWS)
def test_a_script_prints_every_row_and_leaves_nothing_behind(
    script: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """A quick run prints each table with all its rows, in order; a peer that is not installed is said to be missing."""
    more = [] if script == "imports.py" else SIZES
    if script in ("sql.py", "growing.py"):
        more = SIZES if script == "sql.py" else ["--sizes", "100"]  # growing starts many processes for a size
        more = [*more, "--url", request.getfixturevalue("postgres_server")]
    printed = run(script, "--quick", "--dir", tmp_path, "--npm", tmp_path, *more)
    found = tables(printed)
    assert list(found) == list(ROWS[script])
    for head, promised in ROWS[script].items():
        names = [row[0] for row in found[head][1:]]
        assert (names if isinstance(promised, list) else len(names)) == promised
    for name, *cells in next(iter(found.values()))[1:]:
        skipped = f"* {name}: skipped, " in printed
        assert not skipped or name in PEERS
        assert ("—" in cells[0]) == skipped
    assert list(tmp_path.iterdir()) == []


def test_some_contenders_can_be_left_out(tmp_path: Path) -> None:
    """With --only, the others keep their rows, and a note says why these are empty."""
    printed = run("short.py", "--quick", "--sizes", "20", "--dir", tmp_path, "--only", "convtree")
    rows = {name: cells for name, *cells in tables(printed)["opening and all messages"][1:]}
    assert "—" not in rows["convtree"][0]
    assert rows["sqlite3 by hand"][0] == "—"
    assert "* sqlite3 by hand: not asked for." in printed


def test_without_a_server_every_row_is_skipped_with_a_word(tmp_path: Path) -> None:
    """Away from the checkout, whose tests can start a server, nothing is measured, and each row says why."""
    shutil.copytree(BENCHMARKS, tmp_path / "benchmarks", ignore=shutil.ignore_patterns("plots", "__pycache__"))
    printed = run(tmp_path / "benchmarks/sql.py", "--quick", "--dir", tmp_path)
    found = tables(printed)
    assert list(found) == list(ROWS["sql.py"])
    for head, rows in found.items():
        assert all("—" in row for row in rows[1:]), head
        assert head == "target" or all(f"* {name}: skipped, " in printed for name, *_ in rows[1:])


def test_a_script_saves_its_figures(tmp_path: Path) -> None:
    """--json writes every number with the machine and the versions it depends on."""
    saved = tmp_path / "contexts.json"
    run("contexts.py", "--quick", "--dir", tmp_path, "--json", saved, *SIZES)
    found = json.loads(saved.read_text(encoding="utf-8"))
    assert found["question"] == "contexts"
    assert "CPython" in found["machine"] or "PyPy" in found["machine"]
    assert list(found["versions"]) == ["convtree"]
    assert [list(by_size) for by_size in found["figures"].values()] == [SIZED] * 5


def test_plots_are_drawn_from_saved_figures(tmp_path: Path) -> None:
    """The plots are small, hold the exponents, and are the same bytes for the same figures."""
    pytest.importorskip("matplotlib")
    figures = {"convtree": {"1000": {"seconds": 0.001, "bytes": 10}, "100000": {"seconds": 0.1, "bytes": 1000}}}
    saved = tmp_path / "resume.json"
    saved.write_text(json.dumps({"question": "resume", "machine": "any", "figures": figures}))
    drawn = []
    for folder in (tmp_path / "one", tmp_path / "two"):
        run("plots.py", saved, "--to", folder)
        drawn.append({path.name: path.read_bytes() for path in folder.iterdir()})
    assert drawn[0] == drawn[1]
    assert sorted(drawn[0]) == ["resume-memory.svg", "resume-time.svg"]
    assert all(b"convtree  n^1.00" in svg and len(svg) < 100_000 for svg in drawn[0].values())


def test_the_plots_in_the_repository_are_small() -> None:
    """A plot that is committed stays below 100 KB."""
    assert [path.name for path in (BENCHMARKS / "plots").glob("*.svg") if path.stat().st_size > 100_000] == []


@pytest.mark.parametrize(
    ("costs", "expected"),
    [
        ({10: 5.0, 1_000: 5.0}, 0.0),
        ({10: 3.0, 100: 30.0, 1_000: 300.0}, 1.0),
        ({1: 7.0, 2: 28.0, 4: 112.0}, 2.0),
        ({1: 8.0, 4: 4.0, 16: 2.0}, -0.5),
        ({1: 1.0, 10: 1.0, 100: 100.0}, 1.0),  # a line through what is not one: (0, 0) (1, 0) (2, 2)
    ],
)
def test_the_exponent_is_the_slope_of_the_logarithms(
    report: ModuleType, costs: dict[int, float], expected: float
) -> None:
    """How a cost grows is fitted by least squares over the logarithms."""
    assert report.exponent(costs) == pytest.approx(expected)


def test_one_size_has_no_exponent(report: ModuleType) -> None:
    """Growth needs two sizes."""
    assert report.exponent({10: 1.0}) is None
    assert report.growth({10: 1.0}) == "—"


def test_a_figure_that_fails_says_so_in_a_line(harness: ModuleType, tmp_path: Path) -> None:
    """An error in a figure's process reaches the script as the last line of it."""
    script = tmp_path / "broken.py"
    script.write_text("def figure():\n    raise ValueError('no such luck')\n")
    space: dict[str, object] = {}
    exec(compile(script.read_text(), str(script), "exec"), space)
    with pytest.raises(harness.FigureFailed, match=r"^ValueError: no such luck$"):
        harness.measure(space["figure"])


def test_a_figure_that_fails_leaves_the_others_alone(harness: ModuleType) -> None:
    """Medians are taken over every figure that could be had, and the error of the others is kept."""
    values = iter([{"seconds": 3.0}, {"seconds": 1.0}, {"seconds": 2.0}])

    def fails() -> dict[str, float]:
        raise harness.FigureFailed("no such luck")

    failed: dict[str, str] = {}
    found = harness.medians(3, {"bad": fails, "good": lambda: next(values)}, failed)
    assert (found, failed) == ({"good": {"seconds": 2.0}}, {"bad": "no such luck"})


def test_a_contender_that_fails_leaves_its_group_alone(harness: ModuleType, tmp_path: Path) -> None:
    """Where it begins, or at a call; the others of its group have their numbers."""
    script = tmp_path / "group.py"
    script.write_text(
        "import harness\n"
        "def figure():\n"
        "    calls = {'good': lambda n: [2.0] * n, 'late': lambda n: 1 / 0}\n"
        "    with harness.contender('early'):\n"
        "        raise OSError('no driver')\n"
        "    return harness.p50s(calls, 20)\n"
    )
    space: dict[str, object] = {}
    exec(compile(script.read_text(), str(script), "exec"), space)
    found = harness.medians(2, {"group": lambda: harness.measure(space["figure"])})["group"]
    assert (found, found.failed) == (
        {"good": 2.0},
        {"early": "OSError: no driver", "late": "ZeroDivisionError: division by zero"},
    )


def test_both_sides_of_pi_append_the_same_words() -> None:
    """The text that node makes is the text that Python makes."""
    for line in (BENCHMARKS / "conversation.py").read_text(encoding="utf-8").splitlines():
        if line.startswith("WORDS = "):
            words = ast.literal_eval(line.removeprefix("WORDS = "))
    assert f'const words = "{words}";' in (BENCHMARKS / "pi.mjs").read_text(encoding="utf-8")
