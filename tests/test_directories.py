"""Directories of sessions: one form on the way in and in queries, worktrees, and directories that move."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest
from click.testing import CliRunner
from helpers import user
from hypothesis import given
from hypothesis import strategies as st

from convtree import Header, InvalidMessage, Session, SessionStore, open_store
from convtree._cli.app import app
from convtree._logs.directories import directory, find_git_root, git_root, path_of, spelled
from convtree.exchange import import_file, import_into, read_foreign


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SessionStore]:
    """A folder."""
    with open_store(tmp_path / "store", durability="process") as opened:
        yield opened


def begin(store: SessionStore, id: str, **where: str | Path) -> None:
    with store.create(id=id, **where) as session:  # type: ignore[arg-type]
        session.append(user("hello"))


def git(*arguments: str | Path, cwd: Path) -> None:
    setting = ("-c", "user.email=a@b", "-c", "user.name=n", "-c", "protocol.file.allow=always")
    subprocess.run(["git", *setting, *arguments], cwd=cwd, check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with one commit."""
    path = tmp_path / "main"
    path.mkdir()
    git("init", "-q", cwd=path)
    git("commit", "-q", "--allow-empty", "-m", "x", cwd=path)
    return path


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("/a/b", "/a/b"),
        ("/a//b/./c/../", "/a/b"),
        ("//a", "/a"),
        ("/", "/"),
        (".", "/here"),
        ("x/", "/here/x"),
        (Path("x"), "/here/x"),
        ("~", "/home/ann"),
        ("~/x/", "/home/ann/x"),
        ("C:\\Users\\ann", "C:\\Users\\ann"),
        ("\\\\host\\share\\x", "\\\\host\\share\\x"),
        ("a\0b", "a\0b"),
        ("", ""),
        (None, None),
    ],
)
def test_the_form_of_a_directory(
    given: str | Path | None, expected: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Absolute and normalised. What is no path of this system stays."""
    monkeypatch.setattr(os, "getcwd", lambda: "/here")
    monkeypatch.setenv("HOME", "/home/ann")
    assert (directory(given), git_root(given)) == (expected, expected)


@given(st.lists(st.sampled_from(["", ".", "..", "/", "//", "~", "~x", "a", ".b", "a.b", " ", "\\", ":"]), max_size=7))
def test_a_path_is_spelled_as_pathlib_does(parts: list[str]) -> None:
    """Also where pathlib is not asked."""
    text = "".join(parts)
    assert spelled(text) == spelled(Path(text)) == str(Path(text))
    first = next(iter(Path(text).parts), "")
    if text and (first == "~" or not first.startswith("~")):  # else it is the home of a user who may not exist
        assert path_of("path", text) == Path(text).expanduser()


class _Named(str):
    """A text of another type."""


class _Place:
    """The path of something."""

    def __init__(self, path: str | bytes) -> None:
        self._path = path

    def __fspath__(self) -> str | bytes:
        return self._path


def test_a_path_of_any_type_is_spelled_as_pathlib_does() -> None:
    """The spelling is a text. Bytes are refused in the words of pathlib."""
    for path in (_Named("a/b"), _Place("a/b"), _Place("a//b"), _Place(_Named("a/b")), Path("a/b")):
        found = spelled(path)  # type: ignore[arg-type]
        assert (found, type(found)) == ("a/b", str)
    with pytest.raises(TypeError, match="PathLike") as raised:
        Session.open(_Place(b"a/b"))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=re.escape(str(raised.value))):
        Path(_Place(b"a/b"))  # type: ignore[arg-type]


@given(st.text(max_size=20))
def test_the_form_is_stable(text: str) -> None:
    """A directory that was read from a session finds that session."""
    once = directory(text)
    assert directory(once) == once


def test_a_session_is_found_by_every_spelling(store: SessionStore, tmp_path: Path) -> None:
    """In lists, sums and searches, and to resume it."""
    begin(store, "s", cwd=tmp_path / "x", git_root=f"{tmp_path}/y/../x/")
    assert (store.info("s").cwd, store.info("s").git_root) == (f"{tmp_path}/x", f"{tmp_path}/x")
    for spelling in (tmp_path / "x", f"{tmp_path}/x/", os.path.relpath(tmp_path / "x")):
        assert [info.id for info in store.list(cwd=spelling)] == ["s"]
        assert [info.id for info in store.list(git_root=spelling)] == ["s"]
        assert [row.session_id for row in store.usage(cwd=spelling)] == ["s"]
        assert [hit.session_id for hit in store.search("hello", cwd=spelling)] == ["s"]
        for found in (store.latest(cwd=spelling, git_root=spelling), store.resumable(cwd=spelling)):
            assert found is not None
            assert found.id == "s"
    store.set_directories("s", cwd=Path("z"), git_root=None)
    assert (store.info("s").cwd, store.info("s").git_root) == (f"{os.getcwd()}/z", None)
    store.set_directories("s", git_root="z/")
    assert (store.info("s").cwd, store.info("s").git_root) == (f"{os.getcwd()}/z", f"{os.getcwd()}/z")
    assert Session.memory(cwd=".").cwd == os.getcwd()


def test_worktrees_have_the_root_of_the_main_one(repository: Path, store: SessionStore, tmp_path: Path) -> None:
    """So a session of one is found from the others, also when its worktree is gone."""
    git("worktree", "add", "-q", tmp_path / "wt", cwd=repository)
    (tmp_path / "wt" / "deep").mkdir()
    begin(store, "s", cwd=tmp_path / "wt" / "deep", git_root=tmp_path / "wt")
    assert store.info("s").git_root == str(repository)
    assert [info.id for info in store.list(git_root=tmp_path / "wt")] == ["s"]
    assert find_git_root(tmp_path / "wt" / "deep") == find_git_root(repository) == str(repository)
    git("worktree", "remove", "--force", tmp_path / "wt", cwd=repository)
    done = CliRunner().invoke(app, ["resume", "-s", store.location, "--cwd", str(repository)])
    assert done.output == "s\n"
    assert find_git_root(tmp_path) is None


def test_repositories_of_other_kinds(repository: Path, tmp_path: Path) -> None:
    """Bare ones with worktrees, submodules with worktrees, and those whose directory is elsewhere."""
    git("clone", "-q", "--bare", repository, tmp_path / "bare.git", cwd=tmp_path)
    git("worktree", "add", "-q", tmp_path / "of-bare", cwd=tmp_path / "bare.git")
    assert git_root(tmp_path / "of-bare") == git_root(tmp_path / "bare.git") == str(tmp_path / "bare.git")
    git("init", "-q", f"--separate-git-dir={tmp_path}/elsewhere", tmp_path / "apart", cwd=tmp_path)
    git("commit", "-q", "--allow-empty", "-m", "x", cwd=tmp_path / "apart")
    git("worktree", "add", "-q", tmp_path / "of-apart", cwd=tmp_path / "apart")
    assert git_root(tmp_path / "of-apart") == git_root(tmp_path / "apart") == str(tmp_path / "elsewhere")
    other = tmp_path / "other"
    git("clone", "-q", repository, other, cwd=tmp_path)
    git("submodule", "add", "-q", repository, "sub", cwd=other)
    git("worktree", "add", "-q", tmp_path / "of-sub", cwd=other / "sub")
    assert git_root(tmp_path / "of-sub") == git_root(other / "sub") == str(other / "sub")


@pytest.mark.parametrize("content", ["", "gitdir", "gitdir: /nowhere", "gitdir: a\0b", "\xff"])
def test_files_that_only_look_like_those_of_git(content: str, tmp_path: Path) -> None:
    """The directory itself is the root."""
    (tmp_path / ".git").write_text(content, encoding="latin-1")
    assert git_root(tmp_path) == find_git_root(tmp_path) == str(tmp_path)
    (tmp_path / ".git").chmod(0)
    assert git_root(tmp_path) == str(tmp_path)


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        ("/x/../p/", "/p"),
        ("~/p/", "/home/ann/p"),
        ("p/", "p/"),
        (".", "."),
        ("C:\\p", "C:\\p"),
        ("", ""),
        (None, None),
    ],
)
def test_directories_that_another_tool_wrote(
    stored: str | None, expected: str | None, store: SessionStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They get the same form, in a store and in a log. A relative one stays: nobody knows from where it was meant."""
    monkeypatch.setenv("HOME", "/home/ann")
    header = {"type": "session", "version": 3, "id": str(UUID(int=1)), "cwd": stored}
    message = {"type": "message", "id": "a1b2c3d4", "parentId": None, "message": user("hello")}
    source = tmp_path / "source.jsonl"
    source.write_text("".join(json.dumps(line) + "\n" for line in (header, message)))
    (report,) = import_into(source, store)
    import_file(source, tmp_path / "log")
    with Session.open(tmp_path / "log") as session:
        assert (store.info(str(report.session_id)).cwd, session.cwd, read_foreign(source)[0].cwd) == (expected,) * 3
    with store.open_or_create(Header(id="h", cwd=stored, git_root=stored)) as begun:
        assert (begun.cwd, begun.git_root) == (expected, expected)


def test_a_header_with_another_value_than_a_directory(store: SessionStore) -> None:
    """It is refused, as every value that cannot be stored."""
    with store.open_or_create(Header(id="h", cwd=5)) as session, pytest.raises(InvalidMessage):  # type: ignore[arg-type]
        session.append(user("hello"))


def test_sessions_move_with_their_directory(store: SessionStore) -> None:
    """Those below it, too; not those of a directory whose name begins alike."""
    where = {"a": "/old", "b": "/old/deep", "c": "/older", "d": "/else"}
    for id, cwd in where.items():
        begin(store, id, cwd=cwd, git_root="/old" if id == "d" else cwd)
    with store.create(id="e") as session:
        session.append(user("nowhere"))
    store.archive("b")
    assert sorted(store.move_directory("/old/", Path("/new"))) == ["a", "b", "d"]
    found = {info.id: (info.cwd, info.git_root) for info in store.list(archived=None)}
    assert found == {
        "a": ("/new", "/new"),
        "b": ("/new/deep", "/new/deep"),
        "c": ("/older", "/older"),
        "d": ("/else", "/new"),
        "e": (None, None),
    }
    assert store.move_directory("/old", "/new") == []
    with pytest.raises(ValueError, match="must not be empty"):
        store.move_directory("", "/new")


def test_the_command_that_moves_sessions(store: SessionStore) -> None:
    """It prints their ids."""
    begin(store, "a", cwd="/old/x")
    call = CliRunner().invoke
    assert call(app, ["move", "/old", "/", "-s", store.location]).output == "a\n"
    assert store.info("a").cwd == "/x"
    done = call(app, ["move", "/", "/new", "-s", store.location, "--json"])
    assert json.loads(done.output) == {"schema": "convtree.move", "schema_version": 1, "ids": ["a"]}
    assert store.info("a").cwd == "/new/x"
