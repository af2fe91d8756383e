"""What the command line prints is safe for a terminal, wherever it comes from. The commands are found, not listed."""

import ast
import io
import json
import os
import pty
import re
import shutil
import subprocess
import sys
import unicodedata
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner
from foreign import CLAUDE, claude_said, encoded
from helpers import log_of, mark, node, to_json

import convtree
from convtree import Session
from convtree._cli import output
from convtree._cli.app import app
from convtree._cli.output import SafeStream, guarded, write_stderr
from convtree.stores._open import open_store

#: escape sequences, colours too; overwriting; bidi; invisible; tags; fillers; separators; a byte that is no UTF-8
NASTY = (
    "\x1b]0;pwned\x07\x1b[31m\x9b2J\x7f\x08\u202etxt\u2066\u061c\u200e\u200f\u200b\u200d\u2060\ufeff\u00ad\u180e"
    "\U000e0041\U000e0100\ufe0f\u115f\u3164\u034f\ufff9\u2028\u2029\r\n"
)
NAME = NASTY + "\udcff"  # what the name of a file can hold besides
SAID = NASTY + "\0"
HOME = Path(convtree.__file__).parent


def unsafe(text: str) -> set[str]:
    """Returns the characters of a text that a terminal must not get. Written by hand, not with the product's rule."""
    drawn = {*"\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2"}
    fillers = {*"\u115f\u1160\u3164\uffa0\u034f\ufe0f\U000e0100"}
    kinds = ("Cc", "Cf", "Cs", "Zl", "Zp")
    return {each for each in text if unicodedata.category(each) in kinds or each in fillers} - drawn - {"\n", "\t"}


# --- every command, with everything from everywhere ---


def hostile_log() -> bytes:
    """Returns a log with nasty text in every field of every kind of record, and damage at its end."""
    header = {"type": "session", "format": "convtree", "version": 1, "id": f"s{SAID}", "timestamp": None}
    header |= {"seal": "crc32", "name": SAID, "cwd": SAID, "owner": SAID, "metadata": {SAID: SAID}}
    call = {"type": "tool_use", "id": SAID, "name": SAID, "input": {SAID: SAID}}
    answer = {"role": "assistant", "content": [{"type": "text", "text": SAID}, call, {"type": SAID, SAID: SAID}]}
    result = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": SAID, "content": SAID}]}
    facts: dict[str, Any] = {"model": SAID, "provider": SAID, "usage": {SAID: SAID}, "extra": {SAID: SAID}}
    return log_of(
        node("q", None, message={"role": f"user{SAID}", "content": SAID}, **facts),
        node(f"a{SAID}", "q", message=answer, **facts),
        node("r", f"a{SAID}", message=result),
        node("m", "r", "model_change", provider=SAID, model=SAID, settings={SAID: SAID}),
        node("d", "m", "extension_data", ext_type=SAID, data={SAID: SAID}),
        node("b", "q", "branch_summary", from_id=f"a{SAID}", summary=SAID, details={SAID: SAID}),
        node("o", "b", f"x.{SAID}", **{SAID: SAID}),
        node("c", "d", "compaction", summary=SAID, first_kept_entry_id="r", details={SAID: SAID}, read_files=[SAID]),
        mark("l", "label", target_id="q", label=SAID),
        mark("t", f"y.{SAID}", **{SAID: SAID}),
        node(f"z{SAID}", f"missing{SAID}"),
        mark("e", "leaf", target_id="c"),
        header=to_json(header),
    )


def build(top: Path) -> None:
    """Builds logs, sources of another tool and stores, with nasty names and contents."""
    log = hostile_log()
    (top / f"log{NAME}.jsonl").write_bytes(log)
    (top / f"torn{NAME}.jsonl").write_bytes(log.replace(b"tool_result", b"fool_result", 1) + b'{"id":"')
    source = [*CLAUDE, claude_said(f"u{SAID}", f"missing{SAID}", SAID, cwd=SAID, gitBranch=SAID, version=SAID)]
    text = encoded(*source).replace(b'"c1"', json.dumps(f"c{SAID}").encode())
    (top / f"many{NAME}").mkdir()
    for place in (f"foreign{NAME}.jsonl", f"many{NAME}/1{NAME}.jsonl", f"many{NAME}/2{NAME}.jsonl"):
        (top / place).write_bytes(text)
    (top / f"many{NAME}/no{NAME}.txt").write_text("nothing")
    for url in (str(top / f"store{NAME}"), f"sqlite:///{top}/store.db"):
        with open_store(url, durability="process") as store:
            text_of = NASTY if "sqlite" in url else SAID
            with store.create(id="a", name=text_of, cwd=f"/c{text_of}", owner=text_of) as session:
                session.append({"role": "user", "content": f"word {SAID}"}, id="q", model=NASTY, provider=NASTY)
                session.append({"role": "assistant", "content": SAID}, id="w", model=NASTY, usage={"input_tokens": 1})
            with store.fork("a", new_id="f") as session:
                session.label("q", SAID)
    store_folder = top / f"store{NAME}"
    (store_folder / f"bad{NAME}.jsonl").write_text("x")
    (store_folder / "zero.jsonl").touch()
    (store_folder / f"folder{NAME}.jsonl").mkdir()
    (store_folder / f"link{NAME}.jsonl").symlink_to(top / f"log{NAME}.jsonl")


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that each call of a command gets a copy of."""
    top = tmp_path_factory.mktemp("template")
    build(top)
    return top


#: What an argument or an option of this name may be, besides nasty text; in the folder that is current then.
_LOGS = (f"log{NAME}.jsonl", f"torn{NAME}.jsonl", f"foreign{NAME}.jsonl", f"many{NAME}", "a")
_STORES = (f"store{NAME}", "sqlite:///store.db")
VALUES: dict[str, tuple[str, ...]] = {
    "log": _LOGS,
    "logs": _LOGS,
    "source": (*_LOGS[2:4], *_STORES),
    "target": (f"new{NAME}.jsonl", f"new{NAME}/"),
    "store": _STORES,
    "url": _STORES,
    "id": ("a",),
    "ids": ("a",),
    "a": ("q", "w"),
    "words": ("word",),
    "old": (f"/c{NASTY}",),
    "max_age": ("0.0000001",),
    "keep": ("0",),
    "cwd": (f"/c{NASTY}",),
    "output": (f"out{NAME}",),
    "format": ("pi", "kit", "json", "markdown", "html"),
    "entry": ("q",),
    "entries": ("q",),
    "at": ("q",),
    "leaf": ("q",),
    "leaf_id": ("q",),
    "summary": ("-",),
    "last": ("3",),
    "timeout_s": ("0",),
}
#: options that every call of a command gets
ALWAYS: dict[str, dict[str, str | None]] = {"follow": {"--timeout": "0"}, "compact": {"--summary-file": "-"}}


#: commands that write to a log, and print little of it
WRITERS = {"append", "branch", "checkout", "compact", "hide", "label", "rename"}


def values_of(param: click.Parameter, command: click.Command) -> list[str]:
    """Returns what to try for an argument or an option. Unknown names, and new ones, get nasty text."""
    known = VALUES.get(param.name or "", ())
    if param.name == "log" and command.name in WRITERS:
        known = (known[0], known[-1])
    return [*known, NASTY]


def calls(command: click.Command) -> Iterator[list[str]]:
    """Yields arguments for a command: each value of each argument, with no option, and with each option alone."""
    places = [param for param in command.params if isinstance(param, click.Argument)]
    options = [param for param in command.params if isinstance(param, click.Option)]
    needed: dict[str, str | None] = {
        param.opts[-1]: values_of(param, command)[0] for param in options if param.required
    }
    needed |= ALWAYS.get(command.name or "", {})
    first = [[values_of(place, command)[0] for place in places if place.required]]
    for at, place in enumerate(places):
        others = [values_of(each, command)[0] for each in places[:at]]
        first += [[*others, value, *(values_of(each, command)[0] for each in places[at + 1 :] if each.required)]
                  for value in values_of(place, command)]  # fmt: skip
    chosen: list[dict[str, str | None]] = [{}]
    for option in options:
        texts: list[str] = [""] if option.is_flag else values_of(option, command)
        chosen += [{option.opts[-1]: None if option.is_flag else text} for text in texts]
    for arguments, extra in product(first, chosen):
        given = needed | extra
        flags = [text for name, value in given.items() for text in ([name] if value is None else [f"{name}={value}"])]
        yield [*flags, "--", *arguments]
    yield [f"--{NASTY}"]
    yield ["--help"]


def copied(template: Path, place: Path) -> Path:
    """Copies the folder, without what an earlier call has left."""
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(template, place, symlinks=True)
    return place


@pytest.mark.parametrize("name", sorted(app.commands))
def test_no_command_prints_what_acts_on_a_terminal(
    name: str, template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is in the files, in their names and on the command line: safe characters come out, and no traceback."""
    runner = CliRunner(env={"COLUMNS": "200", "CONVTREE_URL": _STORES[0]})
    monkeypatch.setattr("uvicorn.Server.run", lambda _server, **_options: None)  # `view` would serve for ever
    monkeypatch.setattr("webbrowser.open", lambda _address: False)
    count = 0
    for arguments in calls(app.commands[name]):
        monkeypatch.chdir(copied(template, tmp_path / "x"))
        done = runner.invoke(app, [name, *arguments], input="y\n")
        shown = done.stderr if name == "export" else done.output  # a pipe gets the document with its bytes
        assert unsafe(shown) == set(), (arguments, shown)
        assert done.exception is None or isinstance(done.exception, SystemExit), (arguments, done.exc_info)
        count += 1
    assert count > 2


def test_a_command_that_does_not_exist() -> None:
    """Neither its name nor an option of the program itself is printed as it is."""
    for arguments in ([NASTY], [f"--{NASTY}"], ["--help"], []):
        assert unsafe(CliRunner().invoke(app, arguments).output) == set()


def test_a_name_that_is_no_utf8_is_text_in_json(tmp_path: Path) -> None:
    """The byte is shown as an escape. JSON has no way to hold it."""
    path = tmp_path / "é\udcff\u202e"
    path.write_bytes(log_of())
    done = CliRunner().invoke(app, ["verify", str(path), "--json"])
    assert done.exit_code == 0
    assert json.loads(done.stdout)["logs"][0]["path"] == f"{tmp_path}/é\\udcff\u202e"


# --- a real terminal ---


def on_terminal(place: Path, *arguments: str) -> tuple[int, str]:
    """Runs the program on a terminal of its own. Returns its exit code, and all that the terminal got."""
    master, slave = pty.openpty()
    environment = {
        **os.environ,
        "TERM": "xterm-256color",
        "COLUMNS": "200",
        "PYTHONIOENCODING": "utf-8",
        "PAGER": "cat",
    }
    for name in ("NO_COLOR", "CI"):
        environment.pop(name, None)
    program = "from convtree._cli import main, progress; progress.AFTER_S = 600; main()"  # no bar on a slow machine
    command = [sys.executable, "-c", program, *arguments]
    with subprocess.Popen(command, cwd=place, env=environment, stdin=slave, stdout=slave, stderr=slave) as process:
        os.close(slave)
        pieces = []
        while True:
            try:
                pieces.append(os.read(master, 65536))
            except OSError:  # the program has ended
                break
            if not pieces[-1]:
                break
    os.close(master)
    return process.returncode, b"".join(pieces).decode().replace("\r\n", "\n")


@pytest.mark.parametrize("format", ["pi", "kit", "json", "markdown"])
def test_an_export_to_a_terminal_shows_escapes(format: str, template: Path, tmp_path: Path) -> None:
    """On a terminal, controls are escapes, and JSON keeps its value. A pipe gets the bytes that a file gets."""
    place = copied(template, tmp_path / "x")
    with Session.open(place / "log.jsonl", id="s", name="n\u202e") as session:
        session.append({"role": "user", "content": NASTY}, id="q", model=NASTY)
        session.append({"role": "assistant", "content": f"\U000e0041{NASTY}"}, id="w", model=NASTY)
    arguments = ["export", "log.jsonl", "--to", format]
    code, shown = on_terminal(place, *arguments)
    assert (code, unsafe(shown), "pwned" in shown) == (0, set(), True)
    piped = subprocess.run([sys.executable, "-m", "convtree", *arguments], cwd=place, capture_output=True, check=True)
    assert on_terminal(place, *arguments, "-o", "out")[0] == 0
    assert piped.stdout == (place / "out").read_bytes()
    if format != "markdown":
        assert {*piped.stdout.decode()} & unsafe(NASTY) != set()
        texts = [[text] if format == "json" else text.strip().split("\n") for text in (shown, piped.stdout.decode())]
        assert [*map(json.loads, texts[0])] == [*map(json.loads, texts[1])]


@pytest.mark.parametrize(
    "arguments",
    [
        ("inspect", f"log{NAME}.jsonl"),
        ("inspect", f"log{NAME}.jsonl", "--full"),
        ("inspect", f"torn{NAME}.jsonl", "--dot"),
        ("inspect", f"foreign{NAME}.jsonl", "--json"),
        ("verify", f"torn{NAME}.jsonl"),
        ("ls", "--store", f"store{NAME}"),
        ("ls", f"--{NASTY}"),
        (NASTY,),
    ],
)
def test_on_a_terminal_only_our_colours_are_left(arguments: tuple[str, ...], template: Path, tmp_path: Path) -> None:
    """Without the colours that convtree chose, no control is left, and no other colour than those."""
    _, shown = on_terminal(copied(template, tmp_path / "x"), *arguments)
    ours = {"\x1b[0m", *(code for style in output.STYLES.values() for code in re.findall("\x1b[^m]*m", style))}
    assert set(re.findall("\x1b\\[[^m]*m", shown)) <= ours
    assert unsafe(re.sub("\x1b\\[[0-9;]*m", "", shown)) == set()
    assert "pwned" in shown


# --- the function that all of it goes through ---


def test_colours_pass_only_while_they_are_on() -> None:
    """Then they are exactly those of a style; any other sequence is an escape."""
    below = io.StringIO()
    stream = SafeStream(below)
    bad = output.STYLES["bad"]
    stream.write(f"{bad}x{output.PLAIN}\n")
    stream.has_colours = True
    stream.write(f"{bad}x\x1b[31m\x1b[5m{output.PLAIN}\t\u202e\n")
    assert below.getvalue() == r"\x1b[31m\x1b[1mx\x1b[0m" + f"\n{bad}x" + r"\x1b[31m\x1b[5m" + "\x1b[0m\t<U+202E>\n"


def test_warnings_and_click_go_through_the_guard(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever writes to the streams of the process is escaped; afterwards they are what they were."""
    out, err = io.StringIO(), io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    with guarded():
        click.echo("a\x07\u200b")
        click.echo("b\x9b", err=True)
        print("c\u202e", file=sys.stderr)  # what any library could do
        write_stderr("d\x07")
        with guarded():
            print("e\x1b")
    assert (sys.stdout, sys.stderr) == (out, err)
    assert out.getvalue() == "a\\x07<U+200B>\ne\\x1b\n"
    assert err.getvalue() == "b\\x9b\nc<U+202E>\nd\\x07\n"


def test_a_traceback_is_escaped(tmp_path: Path) -> None:
    """An error that nobody foresaw is printed by Python itself, through the same function."""
    program = (
        "from convtree import _cli\nfrom convtree._cli.app import app\n"
        f"def fail(*_, **__): raise RuntimeError({NASTY!r})\napp.make_context = fail\n_cli.main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        capture_output=True,
        check=False,
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
    )
    shown = done.stderr.decode()
    assert (done.returncode, unsafe(shown), "RuntimeError" in shown, r"\x1b]0;pwned" in shown) == (1, set(), True, True)


def printing(path: Path) -> Iterator[str]:
    """Yields what in a module writes to standard output or standard error, or could take one of them elsewhere."""
    allowed = {"flush", "fileno", "isatty"}
    text = path.read_text(encoding="utf-8")
    if re.search(r"print|input|sys|click|write|warn|logging", text) is None:
        return
    tree = ast.parse(text)
    parents = {child: parent for parent in ast.walk(tree) for child in ast.iter_child_nodes(parent)}
    for each in ast.walk(tree):
        match each:
            case ast.Call(func=ast.Name(id="print" | "input")):
                yield f"{path.name}:{each.lineno}: {each.func.id}"  # type: ignore[attr-defined]  # it is a name
            case ast.Attribute(value=ast.Name(id="sys"), attr="stdout" | "stderr" | "__stdout__" | "__stderr__"):
                parent = parents[each]
                if not (isinstance(parent, ast.Attribute) and parent.attr in allowed):
                    yield f"{path.name}:{each.lineno}: sys.{each.attr}"
            case ast.Attribute(value=ast.Name(id="click"), attr=name) if name in {
                *("echo", "secho", "prompt", "pause", "progressbar", "echo_via_pager", "get_text_stream", "style"),
                *("get_binary_stream", "edit", "launch", "open_file"),
            }:
                yield f"{path.name}:{each.lineno}: click.{name}"
            case ast.Attribute(value=ast.Name(id="os"), attr="write" | "writev") if path.is_relative_to(HOME / "_cli"):
                yield f"{path.name}:{each.lineno}: os.{each.attr}"
            case (
                ast.Attribute(value=ast.Name(id="warnings"), attr="warn")
                | ast.Import(names=[ast.alias(name="logging")])
            ):
                yield f"{path.name}:{each.lineno}: a warning or a log record"
            case ast.ImportFrom(module="sys" | "click") if {"stdout", "stderr", "echo", "secho"} & {
                alias.name for alias in each.names
            }:
                yield f"{path.name}:{each.lineno}: from {each.module}"


def test_nothing_else_prints() -> None:
    """No module but the one of the output writes to the streams of the process."""
    modules = [path for path in sorted(HOME.rglob("*.py")) if "docs" not in path.parts]
    assert [found for path in modules if path.name != "output.py" for found in printing(path)] == []
    assert len([*printing(HOME / "_cli" / "output.py")]) > 5


@pytest.mark.parametrize(
    "source",
    [
        "print(1)",
        "import sys\nsys.stdout.write('x')",
        "import sys\nf(file=sys.stderr)",
        "import click\nclick.echo('x')",
        "from click import echo",
        "import warnings\nwarnings.warn('x')",
    ],
)
def test_the_search_for_printing_finds_it(source: str, tmp_path: Path) -> None:
    """A module that prints on its own is named."""
    path = tmp_path / "x.py"
    path.write_text(source)
    assert len([*printing(path)]) == 1


def test_changes_say_what_they_did_on_a_terminal(tmp_path: Path) -> None:
    """A line for each change that has no id to print. In a pipe, and for a script, there is none."""
    with open_store(tmp_path / "st") as store, store.create(id="trip") as session:
        session.append({"role": "user", "content": "x"}, id="q")
    for arguments, said in (
        (("rename", "-s", "st", "trip", "Rome"), "trip is named Rome"),
        (("rename", "-s", "st", "trip", "--remove"), "the name of trip was removed"),
        (("label", "-s", "st", "trip", "q", "start"), "q has the label start"),
        (("label", "-s", "st", "trip", "q", "--remove"), "the label of q was removed"),
        (("hide", "-s", "st", "trip", "q"), "1 message: hidden from the model"),
        (("hide", "-s", "st", "trip", "q", "--undo"), "1 message: shown to all"),
        (("hold", "-s", "st", "trip"), "1 session on hold"),
        (("hold", "-s", "st", "trip", "--undo"), "1 session released"),
        (("archive", "-s", "st", "trip"), "1 session archived"),
        (("archive", "-s", "st", "trip", "--undo"), "1 session restored"),
    ):
        code, shown = on_terminal(tmp_path, *arguments)
        assert (code, shown.splitlines()) == (0, [said])
