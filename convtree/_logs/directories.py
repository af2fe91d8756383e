"""The directories of sessions, in one form: absolute, without `.`, `..`, `~` and slashes at the end.

Links are not resolved: a directory is called as its user calls it. The root of a repository is that of its main
working tree, so that a session of a worktree is found from the others. Git itself is not run.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

import msgspec
from msgspec import UnsetType

from convtree._model.entries import Header

if TYPE_CHECKING:
    from pathlib import Path

Directory = str | os.PathLike[str]

_POINTER_LIMIT = 2**16  # bytes of a file of git that are read
_POINTER = r"gitdir:[ \t]*([^\n]+)\n?"
_WORKTREE = r"(?m)^[ \t]*worktree[ \t]*=[ \t]*([^\n]+)$"


def directory(path: Directory | None) -> str | None:
    """Returns a directory as sessions are found by it; None for None.

    A relative path is one of the working directory of this process. What is no path of this system, as one of Windows
    elsewhere, stays as it is.
    """
    if path is None:
        return None
    from pathlib import PureWindowsPath  # slow to import

    text = os.fspath(path)
    if not text or "\0" in text or (os.sep == "/" and PureWindowsPath(text).drive):
        return text
    whole = os.path.abspath(os.path.expanduser(text))
    return whole[1:] if whole.startswith("//") and os.sep == "/" else whole


def path_of(name: str, value: Directory) -> Path:
    """Returns the path of a file that the argument `name` gives, with `~` expanded.

    Raises:
        ValueError: as `name_of`.
    """
    from pathlib import Path  # slow to import

    return Path(name_of(name, value))


def name_of(name: str, value: Directory) -> str:
    """Returns the path of a file that the argument `name` gives, as `path_of` does, as a text.

    Raises:
        ValueError: it is empty, or has the character NUL.
    """
    text = os.fspath(value)
    if not text:
        raise ValueError(f"{name}: empty; expected the path of a file")
    check_no_nul(name, text)
    return spelled(value, with_home=True)


def check_no_nul(name: str, text: str) -> None:
    """Raises ValueError if a path has the character NUL: the system's error would not name the argument."""
    if type(text) is str and "\0" in text:  # bytes are refused elsewhere
        raise ValueError(f"{name}: {text!r} has the character NUL, which no path can have")


def spelled(path: Directory, *, with_home: bool = False) -> str:
    """Returns a path as `pathlib` spells it, and with `~` expanded if asked to. Most paths are spelled so already."""
    if type(path) is str and _is_spelled(path):  # other types are for `pathlib`, to convert or to refuse
        return path
    from pathlib import Path  # slow to import

    found = Path(path)
    return str(found.expanduser() if with_home else found)


def _is_spelled(path: str) -> bool:
    return os.sep == "/" and all(part and part[0] not in "~." for part in path.removeprefix("/").split("/"))


def absolute(path: Directory) -> str:
    """Returns a directory in that form.

    Raises:
        ValueError: it is empty.
    """
    text = directory(path)
    if not text:
        raise ValueError("a directory must not be empty")
    return text


def git_root(path: Directory | None) -> str | None:
    """Returns the root of a repository as sessions are found by it: of a worktree, the root of the main one.

    Of a repository without a main working tree, or one that does not know where its main working tree is, that is the
    directory of the repository itself.
    """
    root = directory(path)
    if root is None or "\0" in root or not os.path.isabs(root):
        return root
    pointer = re.fullmatch(_POINTER, _read(os.path.join(root, ".git")))
    if pointer is None:
        return root  # a main working tree, a bare repository, or none at all
    own = os.path.join(root, pointer[1])
    common = _read(os.path.join(own, "commondir")).rstrip("\n")
    shared = os.path.normpath(os.path.join(own, common))
    config = _read(os.path.join(shared, "config"))
    tree = re.search(_WORKTREE, config)
    if not common and (tree is not None or not config):
        return root  # a submodule; or the repository is gone
    if os.path.basename(shared) == ".git":
        return os.path.dirname(shared)
    return shared if tree is None else os.path.normpath(os.path.join(shared, tree[1]))


def find_git_root(start: Directory) -> str | None:
    """Returns the root of the repository that a directory is in, as `git_root` does; None if it is in none."""
    from pathlib import Path  # slow to import

    first = Path(directory(start) or "")
    return next((git_root(each) for each in (first, *first.parents) if (each / ".git").exists()), None)


def of_header(header: Header) -> Header:
    """Returns a header that was made elsewhere, with its directories in that form.

    A relative one stays as it is: nobody knows from where it was meant.
    """
    cwd, root = header.cwd, header.git_root
    return msgspec.structs.replace(
        header,
        cwd=directory(cwd) if _is_whole(cwd) else cwd,
        git_root=git_root(root) if _is_whole(root) else root,
    )


def _is_whole(path: str | None) -> bool:
    return isinstance(path, str) and os.path.isabs(os.path.expanduser(path))


def moved(path: str | None, old: str, new: str) -> str | None:
    """Returns where a directory is after `old` was renamed to `new`; None if that does not concern it."""
    if path is None or not (path == old or path.startswith(f"{old.rstrip('/')}/")):
        return None
    return os.path.normpath(f"{new}/{path[len(old) :]}")


def given(change: Directory | UnsetType | None) -> str | UnsetType | None:
    """Returns a new working directory; UNSET and None stay."""
    return change if isinstance(change, UnsetType) else directory(change)


def given_root(change: Directory | UnsetType | None) -> str | UnsetType | None:
    """Returns a new root; UNSET and None stay."""
    return change if isinstance(change, UnsetType) else git_root(change)


def _read(path: str) -> str:
    """Returns the beginning of a small file; "" if it cannot be read. A pipe does not block."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape", opener=_open) as file:
            return file.read(_POINTER_LIMIT)
    except (OSError, ValueError):
        return ""


def _open(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)
