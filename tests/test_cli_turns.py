"""`convtree inspect` by turn: what is on the lines, which line hangs from which, and that every line fits."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import wcwidth
from click.testing import CliRunner

from convtree import CompactionEntry, ExtensionDataEntry, MessageEntry, ModelChangeEntry, Session
from convtree._cli.app import app
from convtree._cli.entry_times import EntryTimes, readable_seconds
from convtree._cli.line_layout import id_length, readable_cost, readable_number
from convtree._cli.terminal import Terminal, wrap

NOON = 1_769_860_800 * 10**9  # 2026-01-31T12:00:00Z
MINUTE = 60 * 10**9


def inspect(*arguments: object, columns: int = 80, zone: str = "UTC") -> list[str]:
    """Returns the lines that the command prints, without colour."""
    env = {"COLUMNS": str(columns), "NO_COLOR": "", "FORCE_COLOR": None, "TERM": "xterm"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", zone)
        time.tzset()
        done = CliRunner(env=env).invoke(app, ["inspect", *map(str, arguments)])
    time.tzset()
    assert done.exit_code == 0, done.output
    return done.output.splitlines()


def ticking() -> Any:
    """Returns a clock that goes on by a minute with each call."""
    times = iter(range(NOON, NOON + 10_000 * MINUTE, MINUTE))
    return lambda: next(times)


def used(tokens: int, cost: float = 0.0) -> dict[str, Any]:
    return {"input_tokens": tokens, "output_tokens": 0, "cost": cost}


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log with tools, two answers, another model, a compaction, a label, notes, and a branch of a branch."""
    path = tmp_path_factory.mktemp("turns") / "trip.jsonl"
    call = {"type": "tool_use", "id": "c1", "name": "search", "input": {}}
    result = {"type": "tool_result", "tool_use_id": "c1", "content": "3 found"}
    with Session.open(path, durability="process", id="trip", name="A trip", clock=ticking()) as session:
        session.set_system("You plan trips.")
        session.append({"role": "user", "content": "Where to?"}, id="q")
        session.append({"role": "assistant", "content": [call]}, model="one", usage=used(1200, 0.01), id="t")
        session.append({"role": "user", "content": [result]}, id="r")
        session.append(
            {"role": "assistant", "content": "Rome.\nIt is warm."}, model="one", usage=used(800, 0.02), id="a"
        )
        session.append({"role": "assistant", "content": "Oslo."}, parent_id="r", model="one", id="b")
        session.append({"role": "user", "content": "Why?"}, id="b1")
        session.append({"role": "user", "content": "Really?"}, parent_id="b", id="b2")
        session.branch("a")
        session.append(ModelChangeEntry(provider=None, model="two"))
        session.append(ModelChangeEntry(provider=None, model="two", settings={"thinking": "high"}))
        session.append({"role": "user", "content": "Three days."}, id="u")
        session.append(ExtensionDataEntry(ext_type="todo", data=1))
        session.append({"role": "assistant", "content": "Day o"}, status="interrupted", id="i")
        session.append(CompactionEntry(summary="They chose Rome.", first_kept_entry_id="u", tokens_before=2000))
        session.append({"role": "user", "content": "And day two?"}, id="l")
        session.label("b2", "doubt")
    return path


def test_a_conversation_by_turn(log: Path) -> None:
    """Prompts, tools with their time, the last words, models where they change, labels, times, tokens and cost."""
    assert inspect(log) == [
        "A trip",
        "session trip",
        "15 entries, 11 messages, 3 branches, 1 compaction, 3.4K, two, leaf l",
        "",
        "Sat 31 Jan 2026, times in UTC                                    tokens     cost",
        "● 12:01 system: You plan trips.",
        "● 12:02 Where to?                                                              q",
        "│         1 tool, 60 s                                             1.2K   0.0100",
        "├─○ 12:06   2/2 Oslo.",
        "│ ├─○ 12:07 1/2 Why?                                                          b1",
        '│ ○ 12:08 2/2 ("doubt") Really?                                               b2',
        "● 12:05   1/2 Rome. It is warm.                                     800   0.0200",
        "●       model: one to two",
        "● 12:12 Three days.                                                            u",
        "│         (interrupted) Day o",
        "● 12:15 compaction of 2,000 tokens: They chose Rome.",
        "◉ 12:16 (leaf) And day two?                                                    l",
        "",
        "5 prompts, 1 tool call                                             2.0K   0.0300",
    ]


def test_what_follows_the_leaf_hangs_from_it(log: Path) -> None:
    """From another leaf, its branch stays at the left. The last branch has the connector of a last one."""
    lines = inspect(log, "--leaf", "r")
    assert [line[:24].rstrip() for line in lines[5:12]] == [
        "● 12:01 system: You plan",
        "● 12:02 Where to?",
        "◉         (leaf) 1 tool,",
        "├─○ 12:05   1/2 Rome. It",
        "│ ○       model: one to",
        "│ ○ 12:12 Three days.",
        "│ │         (interrupted",
    ]
    assert [line[:20].rstrip() for line in lines[14:17]] == [
        "└─○ 12:06   2/2 Oslo",
        "  ├─○ 12:07 1/2 Why?",
        '  ○ 12:08 2/2 ("doub',
    ]


def test_a_path_by_turn(log: Path) -> None:
    """Only the branch of the leaf, and no numbers of branches."""
    lines = inspect(log, "--path")
    assert lines[6:8] == [
        "● 12:02 Where to?                                                              q",
        "│         1 tool, 60 s: Rome. It is warm.                          2.0K   0.0300",
    ]
    assert not any("Oslo" in line or "1/2" in line for line in lines)


def test_times_are_local(log: Path) -> None:
    """In the zone of the machine, or in UTC. A new day has a line of its own."""
    there = inspect(log, zone="Asia/Tokyo")
    assert there[4].startswith("Sat 31 Jan 2026, times in JST")
    assert there[5] == "● 21:01 system: You plan trips."
    assert inspect(log, "--utc", zone="Asia/Tokyo") == inspect(log)
    late = inspect(log, zone="<ABC>-11:50")  # 11 hours and 50 minutes ahead of UTC
    assert [line[:40].rstrip() for line in late if "2026" in line] == [
        "Sat 31 Jan 2026, times in ABC",
        "│ Sun 1 Feb 2026",
    ]


def test_narrow_terminals_drop_the_cost(log: Path) -> None:
    """With 40 columns, tokens and ids are left."""
    lines = inspect(log, columns=40)
    assert lines[5:9] == [
        "Sat 31 Jan 2026, times in UTC     tokens",
        "● 12:01 system: You plan trips.",
        "● 12:02 Where to?                      q",
        "│         1 tool, 60 s              1.2K",
    ]


#: emoji of several characters, wide scripts, marks that combine, scripts from right to left
WORDS = [
    "👍🏽",
    "🇩🇪🇯🇵",
    "👩‍👩‍👧‍👦",
    "❤️‍🔥",
    "1️⃣",
    "日本語の会話",
    "한국어",
    "e\u0301",
    "שלום",
    "می‌خواهم",
    "क्षत्रिय",
    "\t",
    "plain",
    "x" * 90,
]


def wide(path: Path) -> None:
    """Writes a log with such text in every place, and with branches of branches."""
    with Session.open(path, durability="process", name="".join(WORDS), clock=lambda: NOON) as session:
        session.append({"role": "user", "content": " ".join(WORDS)}, id="a" * 40)
        for number in range(30):
            parent = session.leaf_id
            for word in WORDS[:3]:
                session.append({"role": "assistant", "content": word * 40}, parent_id=parent, model=word, usage=used(9))
                session.append({"role": "user", "content": " ".join(WORDS[number % 5 :] * 3)})
            session.label(session.leaf_id or "", "".join(WORDS))
            session.append(CompactionEntry(summary=" ".join(WORDS), first_kept_entry_id=None))


@pytest.mark.parametrize("columns", [40, 61, 80, 200])
def test_no_line_is_wider_than_the_terminal(columns: int, tmp_path: Path) -> None:
    """Whatever the text is, however deep the tree, by turn and by entry."""
    wide(tmp_path / "log")
    for options in ([], ["-v"], ["--path"], ["--context"]):
        lines = inspect(tmp_path / "log", *options, columns=columns)
        assert [line for line in lines if wcwidth.width(line) > columns] == []
        assert len(lines) > 30 or options == ["--context"]


def test_a_deep_tree_keeps_half_of_the_width(tmp_path: Path) -> None:
    """The columns at the left are cut, not the text."""
    with Session.open(tmp_path / "log", durability="process") as session:
        tops = [session.append({"role": "user", "content": "root"}).id]
        for _ in range(7):  # a complete binary tree: every level is one column further right
            tops = [
                session.append({"role": "user", "content": "word " * 9}, parent_id=top).id for top in tops for _ in "ab"
            ]
    lines = [line for line in inspect(tmp_path / "log", columns=40) if "wo" in line]
    assert len(lines) == 2 + 4 + 8 + 16 + 32 + 64 + 128
    assert max(map(len, lines)) == 40
    assert max(map(len, inspect(tmp_path / "log", "-v", columns=40)[4:])) == 40


def test_messages_of_no_prompt(tmp_path: Path) -> None:
    """Empty prompts, images, hidden messages, results alone and notes alone are named."""
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}}
    entries: Iterator[Any] = iter(
        [
            {"role": "user", "content": [image]},
            {"role": "assistant", "content": ""},
            {"role": "user", "content": ""},
            {"role": "tool", "tool_call_id": "c", "content": "late"},
        ]
    )
    with Session.open(tmp_path / "log", durability="process") as session:
        for message in entries:
            session.append(message)
        session.append({"role": "user", "content": "psst"}, visible_to="model")
        session.append({"role": "user", "content": "aside"}, visible_to="user")
        session.append(ExtensionDataEntry(ext_type="x.y", data=1))
    assert [re.sub(r"^(.) \d\d:\d\d|  +[0-9a-f]{6}$", r"\1", line) for line in inspect(tmp_path / "log")[4:-2]] == [
        "● [image]",
        "│         (no text)",
        "● (empty)",
        "│         1 result, 1 hidden message",
        "● (hidden from the model) aside",
        "◉         (leaf)",
    ]


def test_a_log_without_times_has_no_column_for_them(tmp_path: Path) -> None:
    """Nor one for tokens and cost where none are known."""
    with Session.open(tmp_path / "log", durability="process") as session:
        session.extend([MessageEntry(id="a", message={"role": "user", "content": "one"})])
    assert inspect(tmp_path / "log")[2:] == ["", f"◉ (leaf) one{'a':>68}", "", "1 prompt"]


def test_numbers_in_few_characters() -> None:
    """Tokens, costs, seconds and ids are as short as they can be read."""
    assert [readable_number(each) for each in (0, 999, 1000, 99_960, 999_600, 4_300_000)] == [
        *("0", "999", "1.0K", "100K", "1.0M", "4.3M")
    ]
    assert [readable_cost(each) for each in (0, 0.03125, 1.5, 12345.6)] == ["", "0.0312", "1.50", "12,346"]
    assert [readable_seconds(each) for each in (0.4, 9.4, 12, 180, 7200)] == ["0.4 s", "9.4 s", "12 s", "3 min", "2 h"]
    assert id_length([]) == 0
    assert id_length(["q", "a"]) == 1
    assert id_length([f"01234567-89ab-7000-8000-{number:012}" for number in range(20)]) == 36
    assert id_length(["1f0c55aa99887766", "2e0c55aa99887766"]) == 6


def test_long_output_goes_through_the_pager(tmp_path: Path) -> None:
    """On a terminal, with the colours of convtree and without controls of messages. `--no-pager` prints it at once."""
    with Session.open(tmp_path / "log", clock=lambda: NOON) as session:
        session.append({"role": "user", "content": "one\x1b[2Jtwo"}, id="a")
    pager = tmp_path / "pager"
    pager.write_text(f'#!/bin/sh\necho "$LESS" > {tmp_path}/options; cat > {tmp_path}/paged\n')
    pager.chmod(0o755)
    shown = on_terminal(["inspect", str(tmp_path / "log"), "--utc"], PAGER=str(pager))
    paged = (tmp_path / "paged").read_text()
    assert (shown, (tmp_path / "options").read_text()) == ("", "FRSX\n")
    assert r"\x1b[2J" in paged
    assert re.findall(r"\x1b\[\d*[A-Z]", paged) == []
    assert "\x1b[36mone" in paged
    printed = on_terminal(["inspect", str(tmp_path / "log"), "--utc", "--no-pager"], PAGER=str(pager))
    assert printed.replace("\r\n", "\n") == paged


def on_terminal(arguments: list[str], **environment: str) -> str:
    """Runs the program with a terminal of its own for everything; returns what the terminal got."""
    leader, follower = pty.openpty()
    env = {**os.environ, "COLUMNS": "80", "TERM": "xterm", "PYTHONIOENCODING": "utf-8", **environment}
    for name in ("NO_COLOR", "LESS", "CI"):
        env.pop(name, None)
    command = [sys.executable, "-m", "convtree", *arguments]
    written = b""
    with subprocess.Popen(command, env=env, stdin=follower, stdout=follower, stderr=follower) as process:
        os.close(follower)
        try:
            while data := os.read(leader, 65536):
                written += data
        except OSError:  # the program has ended
            pass
        assert process.wait() == 0
    os.close(leader)
    return written.decode()


def test_text_that_is_no_time() -> None:
    """It is shown as it is, and has no clock."""
    times = EntryTimes(utc=True)
    assert [times.read(text) for text in (None, "noon", "9999-12-31T23:59:59-23:00")] == [None, None, None]
    assert [times.text(text) for text in (None, "noon", "2026-01-31T12:00:00")] == [
        *("no time", "noon", "2026-01-31 12:00:00 UTC")
    ]


def test_lines_are_cut_for_every_terminal() -> None:
    """To columns that no terminal exceeds: an emoji with a skin tone takes four where the two are shown apart."""
    terminal = Terminal()
    assert [terminal.cells(text) for text in ("👍🏽", "❤️", "🇩🇪", "👩‍👩‍👧‍👦", "क्ष", "é", "漢")] == [4, 2, 2, 2, 2, 1, 2]
    assert terminal.cut("👍🏽👍🏽👍🏽 words", 10) == "👍🏽👍🏽…"
    assert terminal.cut("क्षक्षक्ष", 6) == "क्षक्षक्ष"
    assert terminal.cut("क्षक्षक्ष", 5, fill=True) == "क्षक्ष…"


def test_lines_are_broken_at_spaces() -> None:
    """A word that does not fit is broken where it must be, an emoji never.

    What some terminals show as one character and others as two, such as a skin tone, counts as two.
    """
    assert wrap("one two three", 7) == ["one two", "three"]
    assert wrap("abcdefgh", 3) == ["abc", "def", "gh"]
    assert wrap("\tx", 8) == ["    x"]
    assert wrap("👍🏽🇩🇪👩‍👩‍👧‍👦", 4) == ["👍🏽", "🇩🇪👩‍👩‍👧‍👦"]
    assert wrap("क्षक्षक्ष", 4) == ["क्षक्ष", "क्ष"]
    assert wrap("", 4) == [""]
