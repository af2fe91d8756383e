"""Forks of Claude Code that no line names: transcripts of one folder that begin with the same lines.

The form is what Claude Code 2.1.197 writes with `--fork-session`: see `tests/tools`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from foreign import claude_answered, claude_said, encoded, words

from convtree import SessionStore, open_store
from convtree._model.entries import ParentSession
from convtree.exchange import import_into

COPIED = [claude_said("u1", None, "Name a city"), claude_answered("u2", "u1", "m1", words("Rome"))]
OWN = [claude_said("u3", "u2", "And its river?"), claude_answered("u4", "u3", "m2", words("The Tiber"))]
ELSEWHERE = [claude_said("u5", "u2", "Another"), claude_answered("u6", "u5", "m3", words("Oslo"))]


def of(session: str, *lines: dict[str, Any], begun: str | None = None) -> bytes:
    """A transcript, which may begin with a line about its first prompt."""
    queued = {"type": "queue-operation", "operation": "enqueue", "timestamp": begun, "sessionId": session}
    return encoded(*([queued] if begun else []), *(line | {"sessionId": session} for line in lines))


def imported(folder: Path, **files: bytes) -> SessionStore:
    """A store with the transcripts of a folder."""
    for name, data in files.items():
        (folder / f"{name}.jsonl").write_bytes(data)
    store = open_store("memory:")
    assert {report.status for report in import_into(folder, store)} == {"imported"}
    return store


def origins(store: SessionStore) -> dict[str, tuple[str | None, str | None, int]]:
    """The parent of each session, its last copied entry, and the input tokens that it has itself."""
    found: dict[str, tuple[str | None, str | None, int]] = {}
    for info in store.list():
        with store.open(info.id) as session:
            parent = session.header.parent_session
            assert parent is None or parent == ParentSession(id=parent.id, kind="fork")
            found[info.id] = (parent.id if parent else None, session.header.copied_to, info.usage.input_tokens)
    return found


@pytest.mark.parametrize(("main", "fork"), [("a", "b"), ("b", "a")])
def test_a_fork_begins_later_than_what_it_has_copied(main: str, fork: str, tmp_path: Path) -> None:
    """Also where the session that it comes from went on, whatever the files are called."""
    store = imported(
        tmp_path,
        **{main: of(main, *COPIED, *ELSEWHERE, begun="2026-01-02T03:04:05.000Z")},
        **{fork: of(fork, *COPIED, *OWN, begun="2026-01-02T03:09:00.000Z")},
    )
    assert origins(store) == {main: (None, None, 2), fork: (main, "u2", 1)}


@pytest.mark.parametrize(("main", "fork"), [("a", "b"), ("b", "a")])
def test_without_times_the_shorter_one_was_first(main: str, fork: str, tmp_path: Path) -> None:
    store = imported(tmp_path, **{main: of(main, *COPIED), fork: of(fork, *COPIED, *OWN)})
    assert origins(store) == {main: (None, None, 1), fork: (main, "u2", 1)}


def test_a_fork_of_a_fork_comes_from_the_one_it_shares_most_with(tmp_path: Path) -> None:
    store = imported(
        tmp_path,
        a=of("a", *COPIED, *ELSEWHERE, begun="2026-01-02T03:04:05.000Z"),
        b=of("b", *COPIED, *OWN, begun="2026-01-02T03:05:00.000Z"),
        c=of("c", *COPIED, *OWN, claude_said("u7", "u4", "Thanks"), begun="2026-01-02T03:06:00.000Z"),
    )
    assert origins(store) == {"a": (None, None, 2), "b": ("a", "u2", 1), "c": ("b", "u4", 0)}


def test_a_marked_fork_is_not_taken_for_the_first(tmp_path: Path) -> None:
    """It has fewer lines here than the session that it comes from."""
    copies = [COPIED[0], COPIED[1] | {"requestSessionId": "b"}]
    store = imported(tmp_path, a=of("a", *copies), b=of("b", *COPIED, *OWN))
    assert origins(store) == {"a": ("b", "u2", 0), "b": (None, None, 2)}


def test_a_copy_of_a_file_is_no_fork(tmp_path: Path) -> None:
    """It is the same session. Nor is a file that cannot be read, or begins elsewhere."""
    (tmp_path / "torn.jsonl").write_bytes(b"")
    (tmp_path / "c.jsonl").write_bytes(of("c", claude_said("v1", None, "Name a city")))
    store = open_store("memory:")
    for name in ("a", "b"):
        (tmp_path / f"{name}.jsonl").write_bytes(of("a", *COPIED))
    import_into(tmp_path, store)
    assert origins(store) == {"a": (None, None, 1), "c": (None, None, 0)}


def test_lines_with_the_same_ids_are_not_all_copies(tmp_path: Path) -> None:
    """A copy has the same words at the same time; and where nothing was answered, nothing was forked."""
    other = claude_answered("u2", "u1", "m1", words("Paris"))
    store = imported(tmp_path, a=of("a", *COPIED), b=of("b", COPIED[0], other, *OWN))
    assert origins(store) == {"a": (None, None, 1), "b": (None, None, 2)}


def test_a_file_alone_has_no_origin(tmp_path: Path) -> None:
    """What lies around it is looked at only when the folder is read."""
    imported(tmp_path, a=of("a", *COPIED), b=of("b", *COPIED, *OWN))
    store = open_store("memory:")
    import_into(tmp_path / "b.jsonl", store)
    assert origins(store) == {"b": (None, None, 2)}
