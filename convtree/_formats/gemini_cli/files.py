"""The files of one session of the Gemini CLI.

It names a file by minute and by the beginning of the session's id. When it resumes a session, it begins another file
and goes on in the old one; earlier versions went on in the new one, and left a `.json` beside its `.jsonl`.
"""

from __future__ import annotations

import re
from pathlib import Path

from convtree._formats.common.base import Source

_NAME = re.compile(r"session-.{16}-([^.]+)\.jsonl?")


def files_beside(source: Source) -> list[Path]:
    """Returns the files that may be of the same session, in the order of their minutes."""
    name = _NAME.fullmatch(source.path.name)
    found = source.see(source.path.parent, _by_session).get(name[1], []) if name else []
    return sorted({source.path, *found}, key=lambda path: path.name)


def is_main(source: Source, own: list[Path]) -> bool:
    """Returns whether a session is listed for this file, and not for an earlier one in the same folder."""
    return source.folder is None or source.path == own[0]


def parent_of(path: Path) -> str | None:
    """Returns the session of a sub-agent's file: its folder is named after it."""
    return path.parent.name if path.parent.parent.name == "chats" else None


def _by_session(folder: Path) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {}
    for path in folder.glob("session-*"):
        name = _NAME.fullmatch(path.name)
        if name is not None and path.is_file() and not path.is_symlink():
            found.setdefault(name[1], []).append(path)
    return found
