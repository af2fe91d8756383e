"""`convtree browse`: the application as a person uses it, over real logs and stores."""

from __future__ import annotations

import html
import itertools
import os
import pty
import re
import select
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from browsing import Hand, browse
from click.testing import CliRunner
from foreign import CLAUDE, encoded
from helpers import assistant, log_of, node, user
from test_cli_output import SAID, hostile_log, unsafe

import convtree
from convtree import Session
from convtree._cli import browsing as browsing_command
from convtree._cli.app import app as cli
from convtree._cli.browse import sessions_screen
from convtree._cli.browse.session_lists import OfOtherTools
from convtree._cli.browse.source import LogFile

MINUTE = 60 * 10**9
BEGIN = 30_000_000 * MINUTE  # 15 January 2027, 08:00 UTC


@pytest.fixture(autouse=True)
def _in_utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The clock of the terminal is that of Greenwich."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def calls(name: str, id: str, **arguments: object) -> dict[str, object]:
    """An answer that calls a tool."""
    return {"role": "assistant", "content": [{"type": "tool_use", "id": id, "name": name, "input": arguments}]}


def result(id: str, text: str) -> dict[str, object]:
    """The result of a call."""
    return {"role": "user", "content": [{"type": "tool_result", "tool_use_id": id, "content": text}]}


@pytest.fixture
def trip(tmp_path: Path) -> Path:
    """A conversation with tools, two answers to one question, and a third question."""
    path = tmp_path / "trip.jsonl"
    ids, clock = (f"e{number}" for number in itertools.count(1)), itertools.count(BEGIN, MINUTE)
    with Session.open(path, id="s", name="Trip", clock=lambda: next(clock), id_source=lambda: next(ids)) as session:
        question = session.append(user("Where shall we go?"))
        session.append(assistant("To Oslo."))
        session.append(assistant("To **Rome**."), parent_id=question.id)
        session.append(user("What is there?"))
        session.append_many([calls("read", "a", path="rome.md"), result("a", "A forum."), calls("read", "b", path="x")])
        session.append_many([result("b", "An aqueduct."), calls("bash", "c", command="ls"), result("c", "rome.md")])
        session.append(assistant("A forum and an aqueduct."))
        session.append(user("Three days, then."))
    return path


TURNS = """\
Trip                                                                      turns
● you        Where shall we go?                                     01-15 08:01
  ○ answer     To Oslo.                                             01-15 08:02
● answer     To **Rome**.                                           01-15 08:03
● you        What is there?                                         01-15 08:04
▸ 3 tools    (2 min) read \N{MULTIPLICATION SIGN}2, bash                                  01-15 08:05
● answer     A forum and an aqueduct.                               01-15 08:09
◉ you        Three days, then.                                      01-15 08:10"""


def shown(hand: Hand) -> str:
    """The screen as one text, without empty lines at its end."""
    return "\n".join(hand.lines).rstrip()


def test_the_tree_by_turn(trip: Path) -> None:
    """Prompts and answers have lines, tools one together. Side branches come first. The cursor is at the leaf."""

    async def steps(hand: Hand) -> None:
        assert shown(hand) == TURNS
        assert hand.at.startswith("◉ you        Three days")

    browse(trip, steps)


def test_folding(trip: Path) -> None:
    """Tools are folded until they are asked for. Turns and side branches can be folded, and everything at once."""

    async def steps(hand: Hand) -> None:
        await hand.press("up", "up", "space")
        assert [line.split("  01-")[0].rstrip() for line in hand.lines[5:12]] == [
            "▾ 3 tools    (2 min) read \N{MULTIPLICATION SIGN}2, bash",
            "  ● calls      calls read",
            "  ● result     A forum.",
            "  ● calls      calls read",
            "  ● result     An aqueduct.",
            "  ● calls      calls bash",
            "  ● result     rome.md",
        ]
        await hand.press("left")
        assert shown(hand) == TURNS
        await hand.press("left")  # nothing to fold: the cursor goes to the prompt
        assert hand.at.startswith("● you        What is there?")
        await hand.press("right")  # nothing to unfold: the message
        assert hand.lines[4:] == ["What is there?", *[""] * 18]
        await hand.press("left", "space")
        assert hand.lines[4] == "▸ you        What is there?                                     +7  01-15 08:04"
        await hand.press("minus")
        assert [line[:11].rstrip() for line in hand.lines[1:6]] == ["● you", "  ▸ answer", "● answer", "▸ you", "◉ you"]
        await hand.press("plus")
        assert len([line for line in hand.lines[1:] if line]) == 13

    browse(trip, steps)


def test_filters(trip: Path) -> None:
    """Prompts only, no tools, everything, turns. The cursor stays on its entry, or on the one above it."""

    async def steps(hand: Hand) -> None:
        await hand.press("up")
        await hand.press("2")
        assert [line.split("  01-")[0][13:].rstrip() for line in hand.lines[1:5]] == [
            "Where shall we go?",
            "What is there?",
            "Three days, then.",
            "",
        ]
        assert hand.at.startswith("● you        What is there?")
        await hand.press("3")
        assert len([line for line in hand.lines[1:] if line]) == 6
        await hand.press("4")
        assert len([line for line in hand.lines[1:] if line]) == 12
        await hand.press("1")
        assert shown(hand) == TURNS

    browse(trip, steps)


def test_search_as_you_type(trip: Path) -> None:
    """Only entries with the text are listed, whatever is folded, and also those with it in a result or an argument."""

    async def steps(hand: Hand) -> None:
        await hand.press("slash")
        await hand.type("AQUEDUCT")
        assert [line.split("  01-")[0].rstrip() for line in hand.lines[:4]] == [
            "Trip" + " " * 61 + "turns, 2 found",
            "● result     An aqueduct.",
            "● answer     A forum and an aqueduct.",
            "",
        ]
        await hand.press("enter", "up")
        assert hand.at.startswith("● result")
        await hand.press("escape")
        assert shown(hand) == TURNS
        assert hand.at.startswith("▸ 3 tools")
        await hand.press("slash")
        await hand.press("x", "backspace")
        assert shown(hand).startswith(TURNS)

    browse(trip, steps)


def test_jumps_between_prompts_and_alternatives(trip: Path) -> None:
    """`p` and `n` go to prompts, brackets to alternatives, also to one on a folded branch."""

    async def steps(hand: Hand) -> None:
        await hand.press("p", "p", "n")
        assert hand.at.startswith("● you        What is there?")
        await hand.press("p", "p")
        assert hand.at.startswith("● you        Where shall we go?")
        await hand.press("down", "space", "down")
        await hand.press("left_square_bracket")
        assert hand.at.startswith("▸ answer     To Oslo.")
        await hand.press("left_square_bracket")
        assert hand.said == ["no further alternative here"]
        await hand.press("right_square_bracket")
        assert hand.at.startswith("● answer     To **Rome**.")

    browse(trip, steps)


MESSAGE = """\
Trip                                                                      turns
assistant, 2027-01-15 08:03
alternative 2/2
id e3

To Rome."""


def test_a_message(trip: Path) -> None:
    """Markdown is drawn. A group of tools shows all calls and results. Escape comes back."""

    async def steps(hand: Hand) -> None:
        await hand.press("home", "down", "down", "enter")
        assert shown(hand) == MESSAGE
        await hand.resize(80, 60)
        await hand.press("escape", "down", "down", "enter")
        text = shown(hand)
        assert "▾ calls read\n{\n" in text
        assert "▾ result of read\nA forum." in text
        assert "▾ result of bash\nrome.md" in text
        await hand.press("escape")
        assert shown(hand) == TURNS

    browse(trip, steps)


def test_thinking_is_folded(tmp_path: Path) -> None:
    """It is shown when it is asked for."""
    thought = {"type": "thinking", "thinking": "Which road?", "signature": "x"}
    with Session.open(tmp_path / "log.jsonl") as session:
        session.append({"role": "assistant", "content": [thought, {"type": "text", "text": "All roads."}]})

    async def steps(hand: Hand) -> None:
        await hand.press("enter")
        assert hand.lines[5:8] == ["▸ thinking (11 characters, x unfolds)", "", "All roads."]
        await hand.press("x")
        assert hand.lines[5:9] == ["▾ thinking", "Which road?", "", "All roads."]

    browse(tmp_path / "log.jsonl", steps)


def test_looking_changes_nothing(trip: Path) -> None:
    """Neither the log nor its folder."""
    before = trip.read_bytes(), sorted(os.listdir(trip.parent))

    async def steps(hand: Hand) -> None:
        await hand.press("up", "enter", "escape", "minus", "2", "4", "slash", "a", "escape", "n", "y")

    browse(trip, steps)
    assert (trip.read_bytes(), sorted(os.listdir(trip.parent))) == before


def test_label_an_entry(trip: Path) -> None:
    """The label is in the log, on its line and in the message. An empty one clears it."""

    async def steps(hand: Hand) -> None:
        await hand.press("up", "l")
        await hand.type("the answer")
        await hand.press("enter")
        assert '("the answer") A forum' in hand.at
        with Session.open(trip, mode="r") as session:
            assert session.labels == {"e13": "the answer"}
        await hand.press("l", "escape")
        assert '("the answer") A forum' in hand.at
        await hand.press("l", *["backspace"] * 10, "enter")
        assert "answer     A forum" in hand.at

    browse(trip, steps)
    with Session.open(trip, mode="r") as session:
        assert session.labels == {}


class Impatient(LogFile):
    """A log that does not wait for a lock."""

    def label(self, session: Session, entry_id: str, text: str | None) -> None:  # noqa: ARG002  # as the source has it
        """Sets the label of an entry at once or not at all."""
        with Session.open(self.path, mode="r+", lock_timeout_s=0) as writing:
            writing.label(entry_id, text)


def test_a_locked_log_is_reported(trip: Path) -> None:
    """What another process holds is not labelled; the application goes on."""

    async def steps(hand: Hand) -> None:
        with Session.open(trip, mode="r+", exclusive=True):
            hand.screen._model.source = Impatient(trip)
            await hand.press("l", "x", "enter")
        assert len(hand.said) == 1
        assert "locked" in hand.said[0]
        assert hand.at.startswith("◉ you")

    browse(trip, steps)


def test_a_log_that_is_gone(trip: Path) -> None:
    """It is said once, however often it is missed. What was read stays on the screen."""

    async def steps(hand: Hand) -> None:
        trip.rename(trip.with_name("moved.jsonl"))
        for _ in range(3):
            await hand.screen._refresh()
        assert hand.said == [f"{trip}: there is no log here"]
        assert shown(hand).split("\n")[1] == TURNS.split("\n")[1]

    browse(trip, steps)


def test_fork_a_log(trip: Path) -> None:
    """A new file with the path up to the entry, which is then shown. One that exists is not replaced."""
    target = trip.parent / "fork.jsonl"

    async def steps(hand: Hand) -> None:
        await hand.press("home", "down", "down", "f")
        await hand.type(str(target))
        await hand.press("enter")
        assert [line.split("  01-")[0].rstrip() for line in hand.lines[1:3]] == [
            "● you        Where shall we go?",
            "◉ answer     To **Rome**.",
        ]
        await hand.press("escape", "f")
        await hand.type(str(target))
        await hand.press("enter")
        assert "fork.jsonl" in hand.said[-1]
        assert hand.lines[4].startswith("● you        What is there?")

    browse(trip, steps)
    with Session.open(target, mode="r") as session:
        assert [entry.id for entry in session.path()] == ["e1", "e3"]


def test_export(trip: Path) -> None:
    """The ending of the name chooses the format. A file that exists, and another ending, are refused."""
    target = trip.parent / "trip.md"

    async def steps(hand: Hand) -> None:
        for name in (target, target, trip.parent / "trip.doc"):
            await hand.press("e")
            await hand.type(str(name))
            await hand.press("enter")
        assert hand.said[0] == f"written: {target}"
        assert "trip.md" in hand.said[1]
        assert hand.said[2] == "trip.doc: no format has this ending; use .html, .md or .json"

    browse(trip, steps)
    assert target.read_text().startswith("# Trip\n")


def test_copy_an_id_and_help(trip: Path) -> None:
    """The id goes to the clipboard of the terminal. `?` shows the keys."""

    async def steps(hand: Hand) -> None:
        await hand.press("y")
        assert (hand.app.clipboard, hand.said) == ("e14", ["copied: e14"])
        await hand.press("question_mark")
        assert any("next, previous prompt" in line for line in hand.lines)
        await hand.press("escape")
        assert hand.at.startswith("◉ you")

    browse(trip, steps)


def test_another_size(trip: Path) -> None:
    """From 100 columns on, the message is beside the tree. At 40, times are left out. Nothing is wider than that."""

    async def steps(hand: Hand) -> None:
        await hand.press("up")
        await hand.resize(120, 12)
        assert hand.at.split("│")[0].rstrip() == "● answer   A forum and an aqueduct."
        assert hand.lines[1].split("│")[1].strip() == "assistant, 2027-01-15 08:09"
        await hand.resize(40, 6)
        assert (len(hand.lines), max(map(len, hand.lines)) <= 40) == (5, True)
        assert hand.at.startswith("● answer   A forum and an aqueduct.  ")
        await hand.press("enter")
        assert hand.lines[1] == "assistant, 2027-01-15 08:09"

    browse(trip, steps)


def test_a_log_that_grows(trip: Path) -> None:
    """What another process appends is listed within a second or so. The cursor stays on its entry."""

    async def steps(hand: Hand) -> None:
        await hand.press("up")
        with Session.open(trip, mode="r+") as writer:
            writer.append(assistant("Day one: the Forum."))
            writer.label("e4", "here")
        for _ in range(40):
            await hand.pilot.pause(0.1)
            if len(hand.tree.listing) == 8:
                break
        await hand.settle()
        assert '("here") What is there?' in hand.lines[4]
        assert hand.lines[8].startswith("◉ answer     Day one: the Forum.")
        assert hand.at.startswith("● answer     A forum and an aqueduct.")

    browse(trip, steps)


def test_the_sessions_of_a_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages are read as one goes down. A search finds messages of all sessions and opens one at its place."""
    noon = datetime(2026, 1, 31, 12, tzinfo=UTC)
    monkeypatch.setattr(sessions_screen, "now", lambda _zone: noon)
    clock = itertools.count(int(noon.timestamp()) * 10**9, 10**6).__next__
    with convtree.open_store(f"sqlite:///{tmp_path}/s", durability="process", clock=clock) as store:
        for number in range(120):
            with store.create(id=f"s{number}", name=f"[b]Trip {number}[/b]", cwd="/work") as session:
                session.append(user(f"Where shall we go in week {number}?"))
                session.append(assistant("To Rome."))

        async def steps(hand: Hand) -> None:
            assert " ".join(hand.lines[0].split()[1:]) == "100 sessions and more"
            assert [line.split() for line in hand.lines[1:3]] == [
                ["[b]Trip", "119[/b]", "/work", "2", "now"],
                ["[b]Trip", "118[/b]", "/work", "2", "now"],
            ]
            await hand.press("end")
            assert " ".join(hand.lines[0].split()[1:]) == "120 sessions"
            await hand.press("slash")
            await hand.type("week 7")
            assert " ".join(hand.lines[0].split()[1:]) == "1 message with these words"
            assert " ".join(hand.lines[1].split()) == "[b]Trip 7[/b] user: Where shall we go in week 7?"
            await hand.press("enter", "enter")
            assert hand.at.startswith("● you        Where shall we go in week 7?")
            await hand.press("f", "enter")  # a fork in the same store
            assert store.count() == 121
            await hand.press("escape", "l", "h", "i", "enter", "escape", "escape")
            assert " ".join(hand.lines[0].split()[1:]) == "121 sessions"
            await hand.press("q")

        browse(store, steps)
        with store.open("s7", read_only=True) as session:
            assert list(session.labels.values()) == ["hi"]


def test_an_empty_store_and_one_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both say so. Nothing is raised."""
    with convtree.open_store(tmp_path / "store") as store:

        async def empty(hand: Hand) -> None:
            assert hand.lines[0].endswith("no sessions")
            await hand.press("enter", "down", "end")

        browse(store, empty)

        def fail(**_: object) -> None:
            raise OSError(5, "the disk is gone\x1b")

        monkeypatch.setattr(store, "list", fail)

        async def failing(hand: Hand) -> None:
            assert hand.said == ["[Errno 5] the disk is gone\\x1b"]

        browse(store, failing)


def test_hostile_content_stays_text(tmp_path: Path) -> None:
    """Escape sequences, bidi controls and markup in every field: all of it is shown, none of it acts."""
    path = tmp_path / "log.jsonl"
    path.write_bytes(hostile_log())

    async def steps(hand: Hand) -> None:
        texts = []
        for keys in ("4 home enter", "x", "escape down enter", "x", "escape end e", "escape y"):
            await hand.press(*keys.split())
            texts.append(hand.app.export_screenshot())
        await hand.press("slash")
        await hand.type(SAID)
        await hand.press("enter", "l", "x", "enter")
        texts.append(hand.app.export_screenshot())
        assert [unsafe(html.unescape(text)) - {"\xa0"} for text in texts] == [set()] * len(texts)
        assert sum("pwned" in text for text in texts) == 7

    browse(path, steps, (120, 30))


def test_titles_that_look_like_markup(tmp_path: Path) -> None:
    """Brackets are shown as they are, everywhere."""
    path = tmp_path / "log.jsonl"
    with Session.open(path, name="[red]name[/red] [@click=app.quit]x[/]") as session:
        session.append(user("[bold]asked[/bold] \\[x] [link=https://a.example]y"), label="[on red]label[/]")

    async def steps(hand: Hand) -> None:
        assert hand.lines[0].startswith("[red]name[/red] [@click=app.quit]x[/] ")
        assert '("[on red]label[/]") [bold]asked[/bold] \\[x] [link=https://a.e…' in hand.at
        await hand.press("enter")
        assert '"[on red]label[/]"' in hand.lines[2]
        assert hand.lines[-1 - hand.lines[::-1].index(next(filter(None, hand.lines[::-1])))].startswith("[bold]asked")
        await hand.press("escape", "l")
        assert any("[on red]label[/]" in line for line in hand.lines[8:14])

    browse(path, steps, (90, 24))


def test_a_hundred_thousand_entries(tmp_path: Path) -> None:
    """Only what is on the screen is drawn and read, however long the session is."""
    size = 100_000
    path = tmp_path / "log.jsonl"
    said = user("q"), assistant("a")
    path.write_bytes(
        log_of(
            *(
                node(f"e{number}", f"e{number - 1}" if number else None, message=said[number % 2])
                for number in range(size)
            )
        )
    )

    async def steps(hand: Hand) -> None:
        assert (len(hand.tree.listing), hand.tree.cursor) == (size, size - 1)
        hand.tree.drawn = 0
        await hand.press("home", "pagedown", "down", "n", "end", "up")
        assert hand.tree.drawn <= 6 * 4 * 22  # keys, times that each draws all, lines of the screen
        assert len(hand.tree._words) <= 8 * 22
        assert len(list(hand.screen.walk_children())) < 40  # widgets
        await hand.press("2")
        assert (len(hand.tree.listing), hand.at[:11]) == (size // 2, "● you      ")

    browse(path, steps)


def test_other_tools_are_only_read(tmp_path: Path) -> None:
    """Another tool's session is shown as it would be imported. It cannot be labelled."""
    path = tmp_path / "claude.jsonl"
    path.write_bytes(encoded(*CLAUDE))
    before = path.read_bytes()

    async def steps(hand: Hand) -> None:
        await hand.press("l", "x", "enter")
        assert hand.said == [f"{path} belongs to another tool and is only read; `convtree import` makes a log"]

    browse(path, steps)
    assert path.read_bytes() == before


def test_the_sessions_of_another_tool(tmp_path: Path) -> None:
    """A folder with several is listed, and each can be opened. A search in all of them needs a store."""
    for name in ("one", "two"):
        (tmp_path / f"{name}.jsonl").write_bytes(encoded(*CLAUDE).replace(b'"c1"', f'"{name}"'.encode()))

    async def steps(hand: Hand) -> None:
        assert hand.lines[0].endswith(" 2 sessions")
        await hand.press("slash", "x")
        assert hand.said == ["only the messages of a store can be searched; `convtree import` makes one of these files"]
        await hand.press("escape", "down", "enter")
        assert (hand.tree.line_count > 1, hand.screen._model.session.id) == (True, "two")

    browse(OfOtherTools(tmp_path), steps)


# --- the command ---


def test_without_a_terminal() -> None:
    """It says what to use instead."""
    done = CliRunner().invoke(cli, ["browse", "x.jsonl"])
    assert (done.exit_code, done.output.strip().split("\n")[-1]) == (
        2,
        "Error: browse needs a terminal; use `convtree inspect`",
    )


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names it."""
    monkeypatch.setattr(browsing_command, "has_terminal", lambda: True)
    for name in [name for name in sys.modules if name.startswith("convtree._cli.browse.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "textual", None)
    monkeypatch.setitem(sys.modules, "textual.app", None)
    done = CliRunner().invoke(cli, ["browse", "x.jsonl"])
    assert (done.exit_code, done.stderr) == (
        5,
        "convtree: convtree browse needs textual: pip install 'convtree[browse]'\n",
    )


def test_on_a_real_terminal(tmp_path: Path) -> None:
    """The log is opened before the screen is taken. Nothing of it acts on the terminal. NO_COLOR is obeyed."""
    path = tmp_path / "log.jsonl"
    path.write_bytes(hostile_log())
    code, got = on_terminal(path, b"\rxq", NO_COLOR="1")
    drawn = re.sub("\x1b(\\[[0-9;?<>]*[$]?[A-Za-z]|]22;default\x07|[78=>])", "", got)  # what Textual itself sends
    assert (code, unsafe(drawn.replace("\r", "")), "pwned" in drawn) == (0, set(), True)
    assert set(re.findall("\x1b\\[([0-9;]*)m", got)) <= {"0", "39;49", *map(";".join, _plain_styles())}
    code, got = on_terminal(tmp_path / "none.jsonl", b"q")
    assert (code, "none.jsonl" in got, "\x1b[?1049h" in got) == (3, True, False)


def _plain_styles() -> Iterator[tuple[str, ...]]:
    """Yields combinations of bold, dim, italic, underlined and reversed, without colours."""
    for length in range(1, 6):
        for some in itertools.combinations("12347", length):
            yield (*some, "39", "49")


def on_terminal(path: Path, keys: bytes, **environment: str) -> tuple[int, str]:
    """Runs the command on a terminal of its own, presses keys, and returns the exit code and all that was drawn."""
    pid, master = pty.fork()
    if pid == 0:
        os.environ.update(TERM="xterm-256color", **environment)
        os.execv(sys.executable, [sys.executable, "-m", "convtree", "browse", str(path)])
    pieces: list[bytes] = []
    begun, left = time.monotonic(), [bytes([key]) for key in keys]
    pressed = begun
    while time.monotonic() - begun < 60:
        ready, _, _ = select.select([master], [], [], 0.2)
        try:
            if ready and (piece := os.read(master, 65536)):
                pieces.append(piece)
        except OSError:  # the program has ended
            break
        is_drawn = b"\x1b[?1049h" in b"".join(pieces) and b"turns" in b"".join(pieces)
        if left and is_drawn and time.monotonic() - pressed > 0.5:
            os.write(master, left.pop(0))
            pressed = time.monotonic()
    os.close(master)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), b"".join(pieces).decode()
