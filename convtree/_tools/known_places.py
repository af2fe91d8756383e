"""Where the tools keep their sessions, by system and environment. Pure: one table, and what it says for one machine.

Each row is a path with `{names}` of folders that differ between machines (`Machine.folder`). Where a variable of the
tool names another folder, that takes the place of the default. A path may have wildcards. Sources: the documentation or
the code of each tool, named in the comment above its rows.
"""

from __future__ import annotations

import glob
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

#: editors that are VS Code, by the names of their folders; servers of remote machines are rows of their own
_EDITORS = ("Code", "Code - Insiders", "VSCodium", "Cursor", "Windsurf")
_SERVERS = (".vscode-server", ".vscode-server-insiders", ".cursor-server", ".windsurf-server")


class _Row(NamedTuple):
    """A place: the tool, a path, and the variable of the tool that names the folder at its beginning."""

    tool: str
    path: str
    variable: str | None = None
    below: str = ""  # what follows the folder that the variable names


_PLACES = (
    # code.claude.com/docs: settings, CLAUDE_CONFIG_DIR
    _Row("Claude Code", "{home}/.claude/projects", "CLAUDE_CONFIG_DIR", "projects"),
    # openai/codex, codex-rs/utils/home-dir
    _Row("Codex", "{home}/.codex", "CODEX_HOME"),
    # google-gemini/gemini-cli, packages/core/src/config/storage.ts
    _Row("Gemini CLI", "{home}/.gemini/tmp", "GEMINI_CLI_HOME", ".gemini/tmp"),
    # QwenLM/qwen-code, packages/core/src/config/storage.ts
    _Row("Qwen Code", "{home}/.qwen", "QWEN_HOME"),
    # sst/opencode, packages/opencode/src/global: xdg-basedir, on every system
    _Row("opencode", "{data}/opencode"),
    # earendil-works/pi, packages/coding-agent/README.md
    _Row("pi", "{home}/.pi/agent/sessions", "PI_CODING_AGENT_DIR", "sessions"),
    _Row("pi", "", "PI_CODING_AGENT_SESSION_DIR"),
    # mark3labs/kit, internal/session
    _Row("kit", "{home}/.kit/sessions"),
    # block/goose, crates/goose/src/config/paths.rs
    _Row("goose", "{data}/goose/sessions", "GOOSE_PATH_ROOT", "data/sessions"),
    _Row("goose", "{roaming}/Block/goose/data/sessions"),
    # zed-industries/zed, crates/paths/src/paths.rs
    _Row("Zed", "{data}/zed/threads/threads.db"),
    _Row("Zed", "{local}/Zed/threads/threads.db"),
    # docs.github.com: Copilot CLI configuration directory
    _Row("Copilot CLI", "{home}/.copilot/session-state", "COPILOT_HOME", "session-state"),
    # no documentation: the places that public readers know (see `_formats/cursor`)
    _Row("Cursor", "{config}/Cursor/User/globalStorage/state.vscdb"),
    _Row("Cursor", "{home}/.cursor/projects"),
    # moonshotai.github.io/kimi-cli and kimi-code: data locations
    _Row("Kimi CLI", "{home}/.kimi/sessions", "KIMI_SHARE_DIR", "sessions"),
    _Row("Kimi Code", "{home}/.kimi-code/sessions", "KIMI_CODE_HOME", "sessions"),
    # charmbracelet/crush, README.md: in the folder of the project
    _Row("Crush", "{project}/.crush"),
    # aider.chat/docs/config/options.html: at the root of the repository
    _Row("aider", "{project}/.aider.chat.history.md", "AIDER_CHAT_HISTORY_FILE"),
    # continuedev/continue, core/util/paths.ts
    _Row("Continue", "{home}/.continue/sessions", "CONTINUE_GLOBAL_DIR", "sessions"),
    # each extension's id at marketplace.visualstudio.com; cline/cline, cli: ~/.cline/data
    _Row("Cline", "{editor}/globalStorage/saoudrizwan.claude-dev/tasks"),
    _Row("Cline", "{home}/.cline/data/tasks"),
    _Row("Roo Code", "{editor}/globalStorage/rooveterinaryinc.roo-cline/tasks"),
    _Row("Kilo Code", "{editor}/globalStorage/kilocode.kilo-code/tasks"),
    # microsoft/vscode, chatSessionStore.ts: of a workspace, and of windows without one
    _Row("VS Code chat", "{editor}/workspaceStorage/*/chatSessions"),
    _Row("VS Code chat", "{editor}/globalStorage/emptyWindowChatSessions"),
    # llm.datasette.io, logging: click.get_app_dir("io.datasette.llm")
    _Row("llm", "{config}/io.datasette.llm/logs.db", "LLM_USER_PATH", "logs.db"),
    # docs.sillytavern.app: in the folder of the installation
    _Row("SillyTavern", "{home}/SillyTavern/data/*/chats"),
    _Row("SillyTavern", "{home}/SillyTavern/data/*/group chats"),
    # no documentation: the folder that LM Studio shows; the older one first
    _Row("LM Studio", "{home}/.cache/lm-studio/conversations"),
    _Row("LM Studio", "{home}/.lmstudio/conversations"),
    # sipeed/picoclaw, docs/guides/configuration.md
    _Row("picoclaw", "{home}/.picoclaw/workspace/sessions", "PICOCLAW_HOME", "workspace/sessions"),
    # GoogleCloudPlatform/kubectl-ai, pkg/sessions
    _Row("kubectl-ai", "{home}/.kubectl-ai/sessions"),
    # docs.atuin.sh: the folder of its databases
    _Row("atuin-ai", "{data}/atuin"),
)


class Machine(NamedTuple):
    """What decides where tools keep their files.

    Attributes:
        home: the home directory.
        project: the current directory. Tools that keep files in a project are looked for in it and above, up to `home`.
        environ: the variables of the environment.
        system: "linux", "darwin" or "win32", as in `sys.platform`.
    """

    home: Path
    project: Path
    environ: Mapping[str, str]
    system: str

    def folders(self, name: str) -> list[Path]:
        """Returns the folders that a name in the table stands for."""
        match name:
            case "home":
                return [self.home]
            case "data":
                return [self._set("XDG_DATA_HOME") or self.home / ".local" / "share"]
            case "config":
                return [self._config]
            case "roaming" | "local":
                return self._of_applications(name)
            case "editor":
                servers = [self.home / name / "data" / "User" for name in _SERVERS]
                return [*(self._config / name / "User" for name in _EDITORS), *servers]
            case _:
                return self._projects()

    @property
    def _config(self) -> Path:
        if self.system == "win32":
            return self._set("APPDATA") or self.home / "AppData" / "Roaming"
        if self.system == "darwin":
            return self.home / "Library" / "Application Support"
        return self._set("XDG_CONFIG_HOME") or self.home / ".config"

    def _of_applications(self, name: str) -> list[Path]:
        """Returns what Windows calls "roaming" and "local"; the folder that macOS has instead of the latter."""
        if self.system == "win32":
            return [self._config if name == "roaming" else self._set("LOCALAPPDATA") or self.home / "AppData" / "Local"]
        return [self._config] if self.system == "darwin" and name == "local" else []

    def _projects(self) -> list[Path]:
        above = [self.project, *self.project.parents]
        return above[: above.index(self.home) + 1] if self.home in above else above[:1]

    def _set(self, variable: str) -> Path | None:
        value = self.environ.get(variable)
        return Path(value) if value else None


def known_tools() -> list[str]:
    """Returns the names of the tools that have a known place."""
    return list(dict.fromkeys(row.tool for row in _PLACES))


def places_on(machine: Machine) -> Iterator[tuple[str, Path]]:
    """Yields the places that exist on a machine, each once, with the name of the tool."""
    seen = set[Path]()
    for row in _PLACES:
        for path in _paths_of(row, machine):
            if path not in seen and path.exists():
                seen.add(path)
                yield row.tool, path


def _paths_of(row: _Row, machine: Machine) -> list[Path]:
    instead = machine.environ.get(row.variable) if row.variable is not None else None
    if instead:
        return [machine.project / Path(instead) / row.below]
    if not row.path:
        return []
    name, _, below = row.path.removeprefix("{").partition("}/")
    found = list[Path]()
    for folder in machine.folders(name):
        if "*" in below:
            found.extend(folder / each for each in sorted(glob.glob(below, root_dir=folder)))
        else:
            found.append(folder / below)
    return found
