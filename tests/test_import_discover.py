"""The known places of all tools: where they are on each system, what is found in them, and importing it."""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from foreign import CLAUDE, CODEX, GEMINI, encoded

import convtree
from convtree import open_store
from convtree._cli.app import app
from convtree._tools.known_places import Machine, known_tools, places_on
from convtree.exchange import KnownPlace, discover

#: a place of each tool below a home directory on Linux; the names are documented by the tools
LINUX = {
    ".claude/projects": "Claude Code",
    ".codex": "Codex",
    ".gemini/tmp": "Gemini CLI",
    ".qwen": "Qwen Code",
    ".local/share/opencode": "opencode",
    ".pi/agent/sessions": "pi",
    ".kit/sessions": "kit",
    ".local/share/goose/sessions": "goose",
    ".local/share/zed/threads/threads.db": "Zed",
    ".copilot/session-state": "Copilot CLI",
    ".config/Cursor/User/globalStorage/state.vscdb": "Cursor",
    ".cursor/projects": "Cursor",
    ".kimi/sessions": "Kimi CLI",
    ".kimi-code/sessions": "Kimi Code",
    ".crush": "Crush",
    ".aider.chat.history.md": "aider",
    ".continue/sessions": "Continue",
    ".config/Code/User/globalStorage/saoudrizwan.claude-dev/tasks": "Cline",
    ".vscode-server/data/User/globalStorage/rooveterinaryinc.roo-cline/tasks": "Roo Code",
    ".config/Cursor/User/globalStorage/kilocode.kilo-code/tasks": "Kilo Code",
    ".config/Code/User/workspaceStorage/1f/chatSessions": "VS Code chat",
    ".config/VSCodium/User/globalStorage/emptyWindowChatSessions": "VS Code chat",
    ".config/io.datasette.llm/logs.db": "llm",
    "SillyTavern/data/default-user/chats": "SillyTavern",
    ".cache/lm-studio/conversations": "LM Studio",
    ".lmstudio/conversations": "LM Studio",
    ".picoclaw/workspace/sessions": "picoclaw",
    ".kubectl-ai/sessions": "kubectl-ai",
    ".local/share/atuin": "atuin-ai",
}


def run(*arguments: Any) -> Result:
    """Runs the command in this process."""
    return CliRunner(env={"NO_COLOR": "1"}).invoke(app, ["import", *map(str, arguments)])


def places(
    home: Path, system: str = "linux", project: Path | None = None, environ: dict[str, str] | None = None
) -> dict[str, str]:
    """Returns the places that exist on a machine, with their tools, by their paths below the home directory."""
    machine = Machine(home, project or home, environ or {}, system)
    return {str(path.relative_to(home)): tool for tool, path in places_on(machine)}


def made(home: Path, *paths: str) -> None:
    for path in paths:
        (home / path).mkdir(parents=True)


# --- the table ---


def test_the_places_on_linux(tmp_path: Path) -> None:
    """One or more of each tool; those that do not exist are not listed."""
    assert places(tmp_path) == {}
    made(tmp_path, *LINUX)
    assert places(tmp_path) == LINUX


def test_every_tool_has_a_place() -> None:
    """Every tool that the guide names and that keeps sessions by itself. ATIF files are where somebody puts them."""
    guide = (Path(convtree.__file__).parent / "docs" / "guides" / "other-tools.md").read_text()
    named = next(line for line in guide.splitlines() if line.startswith("| pi, ")).split("|")[1]
    tools = {each.strip() for each in re.sub("[()]", ",", named.partition(", ATIF")[0]).split(",")} - {""}
    assert tools == {each.replace("VS Code chat", "VS Code's Copilot Chat") for each in known_tools()}


def test_the_places_on_macos_and_windows(tmp_path: Path) -> None:
    """The folders of applications are others; a tool that uses XDG does so everywhere."""
    support, roaming, local = "Library/Application Support", "AppData/Roaming", "AppData/Local"
    cursor, zed = "Cursor/User/globalStorage/state.vscdb", "Zed/threads/threads.db"
    tasks = "Code/User/globalStorage/saoudrizwan.claude-dev/tasks"
    made(tmp_path, f"{support}/{tasks}", f"{support}/io.datasette.llm/logs.db", f"{roaming}/{tasks}")
    made(tmp_path, f"{roaming}/Block/goose/data/sessions", ".local/share/opencode")
    made(tmp_path, f"{support}/{cursor}", f"{support}/{zed}", f"{roaming}/{cursor}", f"{local}/{zed}")
    everywhere = {".local/share/opencode": "opencode"}
    expected = {f"{support}/{tasks}": "Cline", f"{support}/io.datasette.llm/logs.db": "llm"}
    expected |= {f"{support}/{cursor}": "Cursor", f"{support}/{zed}": "Zed"}
    assert places(tmp_path, "darwin") == expected | everywhere
    expected = {f"{roaming}/{tasks}": "Cline", f"{roaming}/Block/goose/data/sessions": "goose"}
    expected |= {f"{roaming}/{cursor}": "Cursor", f"{local}/{zed}": "Zed"}
    assert places(tmp_path, "win32") == expected | everywhere


@pytest.mark.parametrize(
    ("variable", "value", "place", "tool"),
    [
        ("CLAUDE_CONFIG_DIR", "x", "x/projects", "Claude Code"),
        ("CODEX_HOME", "x", "x", "Codex"),
        ("GEMINI_CLI_HOME", "x", "x/.gemini/tmp", "Gemini CLI"),
        ("PI_CODING_AGENT_SESSION_DIR", "x", "x", "pi"),
        ("XDG_DATA_HOME", "x", "x/opencode", "opencode"),
        ("XDG_CONFIG_HOME", "x", "x/Code/User/globalStorage/kilocode.kilo-code/tasks", "Kilo Code"),
        ("GOOSE_PATH_ROOT", "x", "x/data/sessions", "goose"),
        ("COPILOT_HOME", "x", "x/session-state", "Copilot CLI"),
        ("KIMI_SHARE_DIR", "x", "x/sessions", "Kimi CLI"),
        ("KIMI_CODE_HOME", "x", "x/sessions", "Kimi Code"),
        ("AIDER_CHAT_HISTORY_FILE", "x/history.md", "x/history.md", "aider"),
    ],
)
def test_a_variable_takes_the_place_of_the_default(
    variable: str, value: str, place: str, tool: str, tmp_path: Path
) -> None:
    """Absolute, or relative to the current directory. An empty one counts as none."""
    made(tmp_path, place, ".claude/projects", ".codex")
    relative = {} if variable.startswith("XDG") else places(tmp_path, environ={variable: value})
    absolute = places(tmp_path, environ={variable: str(tmp_path / value)})
    assert (absolute[place], relative.get(place, tool)) == (tool, tool)
    assert (".claude/projects" in absolute, ".codex" in absolute) == (tool != "Claude Code", tool != "Codex")
    assert place not in places(tmp_path, environ={variable: ""})


def test_projects_are_looked_for_above_the_current_directory(tmp_path: Path) -> None:
    """Up to the home directory; outside of it, in the current directory only."""
    made(tmp_path, "home/code/project/src", "home/code/.crush", "home/.aider.chat.history.md", ".crush")
    home = tmp_path / "home"
    found = places(home, project=home / "code" / "project" / "src")
    assert found == {"code/.crush": "Crush", ".aider.chat.history.md": "aider"}
    assert [path for _, path in places_on(Machine(home, tmp_path, {}, "linux"))] == [tmp_path / ".crush"]


# --- what is in them ---


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home directory of this process, with sessions of three tools."""
    home = tmp_path / "home"
    made(home, ".claude/projects/-w", ".codex/sessions/2026", ".gemini/tmp/1f/chats", ".pi/agent/sessions")
    (home / ".claude/projects/-w/c.jsonl").write_bytes(encoded(*CLAUDE))
    (home / ".codex/sessions/2026/rollout.jsonl").write_bytes(encoded(*CODEX))
    (home / ".codex/config.toml").write_text("model = 1")
    (home / ".gemini/tmp/1f/chats/session.jsonl").write_bytes(encoded(*GEMINI))
    for name in ("CLAUDE_CONFIG_DIR", "CODEX_HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME", "GEMINI_CLI_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(home)
    return home


def test_what_is_found_is_counted(home: Path) -> None:
    """Sessions, and the bytes of the files that hold them. A place without sessions is not listed."""
    expected = [
        ("Claude Code", home / ".claude/projects", 1, len(encoded(*CLAUDE))),
        ("Codex", home / ".codex", 1, len(encoded(*CODEX))),
        ("Gemini CLI", home / ".gemini/tmp", 1, len(encoded(*GEMINI))),
    ]
    found = [
        KnownPlace(tool=tool, path=str(path), sessions=number, size_bytes=size) for tool, path, number, size in expected
    ]
    assert discover() == found
    assert discover(home=home) == found
    assert discover(home=home / "elsewhere") == []


def test_what_cannot_be_read_is_counted_too(home: Path) -> None:
    """A database that is damaged, and a file that is not what its place says."""
    made(home, ".config/io.datasette.llm", ".local/share/goose/sessions")
    (home / ".config/io.datasette.llm/logs.db").write_bytes(b"SQLite format 3\0" + bytes(2000))
    with closing(sqlite3.connect(home / ".local/share/goose/sessions/sessions.db")) as database:
        database.execute("CREATE TABLE other (x)")
    found = {each.tool: (each.sessions, each.failed) for each in discover()}
    assert (found["llm"], "goose" in found) == ((0, 1), False)


@pytest.mark.usefixtures("home")
def test_a_source_that_fails_while_it_is_listed_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The others are counted all the same."""

    def fail(_: object) -> None:
        raise OSError("gone")

    monkeypatch.setattr("convtree._formats.codex.reader.sessions", fail)
    assert {each.tool: (each.sessions, each.failed) for each in discover()} == {
        "Claude Code": (1, 0),
        "Codex": (0, 1),
        "Gemini CLI": (1, 0),
    }


# --- the command ---


def test_without_a_store_it_lists(home: Path) -> None:
    """One line for each place, and then the command that imports them. Nothing is written."""
    before = sorted(home.rglob("*"))
    result = run("--discover")
    assert result.exit_code == 0
    assert result.stdout.splitlines()[0].split()[:4] == ["Claude", "Code", "1", "session"]
    assert result.stderr == "import them: convtree import --discover --all\n"
    assert [line.split()[-1] for line in result.stdout.splitlines()] == [
        str(home / ".claude/projects"),
        str(home / ".codex"),
        str(home / ".gemini/tmp"),
    ]
    document = json.loads(run("--discover", "--json").output)
    assert (document["schema"], document["places"][1]["tool"]) == ("convtree.places", "Codex")
    assert sorted(home.rglob("*")) == before


def test_with_a_store_it_imports(home: Path, tmp_path: Path) -> None:
    """Twice adds nothing."""
    result = run("--discover", tmp_path / "store")
    lines = result.output.splitlines()
    assert (result.exit_code, lines[:3], lines[-2]) == (
        0,
        run("--discover").stdout.splitlines(),
        "passed over 1 file: not a session of a known format",
    )
    with open_store(tmp_path / "store") as store:
        assert len(list(store.list())) == 3
    again = json.loads(run("--discover", tmp_path / "store", "--json").output)
    assert [each["written"] for each in again["imports"] if each["status"] == "imported"] == [0, 0, 0]
    assert [each["tool"] for each in again["places"]] == ["Claude Code", "Codex", "Gemini CLI"]
    assert home.exists()


def test_all_of_them_go_to_the_default_store(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without TARGET, --all imports into the store of CONVTREE_URL, which is created."""
    monkeypatch.setenv("CONVTREE_URL", str(tmp_path / "mine"))
    result = run("--discover", "--all")
    assert (result.exit_code, result.stderr) == (0, f"importing into {tmp_path / 'mine'}\n")
    with open_store(tmp_path / "mine") as store:
        assert len(list(store.list())) == 3
    assert home.exists()


def test_what_cannot_be_read_is_in_the_list(home: Path) -> None:
    """Behind the path of its place."""
    made(home, ".config/io.datasette.llm")
    (home / ".config/io.datasette.llm/logs.db").write_bytes(b"SQLite format 3\0" + bytes(2000))
    assert run("--discover").output.splitlines()[-1].endswith("logs.db (1 file cannot be read)")


def test_wrong_usage(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A source beside --discover, and a machine without any tool."""
    assert run("--discover", home, tmp_path / "store").exit_code == 2
    assert "--all needs --discover" in run(home, "--all").stderr
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "empty"))
    monkeypatch.chdir(tmp_path / "empty")
    result = run("--discover")
    assert (result.exit_code, result.stderr) == (
        3,
        "convtree: no tool has kept sessions in a known place of this machine\n",
    )
