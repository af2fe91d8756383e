"""Vacuum of a log in a file, and what a vacuum keeps of the cases that are rare."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Any
from unittest.mock import patch

import orjson
import pytest
from click.testing import CliRunner
from helpers import HEADER, as_file, assistant, contents, log_of, node, sealed, user
from hypothesis import given, settings
from hypothesis import strategies as st

from convtree import (
    BrokenPath,
    CompactionEntry,
    CorruptLog,
    EntryNotFound,
    ExtensionDataEntry,
    LabelMark,
    MessageEntry,
    ModelChangeEntry,
    NotALog,
    OpaqueEntry,
    OpaqueMark,
    ReadOnlySession,
    Session,
    SessionFailed,
    SessionHeld,
    SessionNotFound,
    SessionStore,
    VacuumEntry,
    VisibilityMark,
    open_store,
)
from convtree._cli.app import app
from convtree._engine import codec
from convtree._engine.dropped import encode_dropped
from convtree._engine.log import Addition, LogReplaced
from convtree._logs.memory import MemoryLog
from convtree._logs.sql import SqlLog
from convtree._model.entries import Visibility
from convtree._session import vacuuming
from convtree._session.header import new_header
from convtree._session.vacuuming import rewrite
from convtree.exchange import import_into
from convtree.repair import repair, vacuum, verify

VIEWS: list[Visibility] = ["all", "user", "nobody"]
CALL = {"role": "assistant", "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "f"}}]}
RESULT = {"role": "tool", "tool_call_id": "c1", "content": "done"}


def facts(session: Session, leaf: str) -> list[Any]:
    """What a context says, and the tokens it has."""
    context = session.build_context(leaf=leaf)
    found = (context.provider, context.model, context.settings, context.produced_by, context.pin_changes)
    return [context.messages, *found, context.count_tokens(), context.together, context.first_after_compaction]


def compacted(session: Session, kept: str | None, id: str = "sum") -> None:
    session.append(CompactionEntry(id=id, summary="older", first_kept_entry_id=kept))


def check(path: Path, *keep: str, entries: list[str]) -> VacuumEntry:
    """Vacuums a log; its contexts stay, it is sound, and it has these entries. Returns the vacuum entry."""
    with Session.open(path, mode="r") as session:
        leaves = keep or (str(session.leaf_id),)
        before = [facts(session, leaf) for leaf in leaves]
        known = {record.id for _, record in session.records()}
    done = vacuum(path, keep or None, dry_run=False)
    assert done.done
    assert verify(path).findings == ()
    with Session.open(path, mode="r") as session:
        assert [facts(session, leaf) for leaf in leaves] == before
        root, *others = [record for _, record in session.records() if hasattr(record, "parent_id")]
        assert [record.id for record in others if record.id in known] == entries
        assert isinstance(root, VacuumEntry)
        return root


def numbered() -> Iterator[str]:
    return (f"new{number}" for number in count(1))


def test_the_bytes_of_a_vacuumed_log(log_path: Path) -> None:
    """The vacuum entry first, then the entries as they were, but for the parent of the first; marks last."""
    log_path.write_bytes(
        log_of(
            node("r", None, message={"role": "user", "content": "1"}),
            node("a", "r", message={"role": "assistant", "content": "2"}, provider="p", model="m", usage={"cost": 0.5}),
            node("s", "a", "model_change", provider="p", model="n", settings={"effort": "low"}),
            node("x", "s", "extension_data", ext_type="todo", data=["pack"]),
            '{"message":{"content":1.50,"role":"user"},"parent_id":"x","id":"k","timestamp":null,"type":"message"}',
            node("c", "k", "compaction", summary="S", first_kept_entry_id="k"),
            node("b", "a", message={"role": "user", "content": "left"}),
            '{"id":"m1","type":"label","timestamp":null,"target_id":"k","label":"L"}',
            '{"id":"m2","type":"leaf","timestamp":null,"target_id":"c"}',
        )
    )
    ids = numbered()
    with Session.open(log_path, mode="r") as session:
        made = rewrite(session._index, "log", None, lambda _: set(), lambda: 0, ids.__next__)
    dropped = encode_dropped(["r", "a", "s", "x", "b", "m1", "m2"])
    assert [line[:-36].decode() + "}" for line in (made.lines or [])[1:]] == [
        '{"id":"new1","parent_id":null,"type":"vacuum","timestamp":"1970-01-01T00:00:00.000000Z","provider":"p",'
        '"model":"n","settings":{"effort":"low"},"state":{"todo":["pack"]},'
        '"usage":[{"provider":"p","model":"m","answers":1,"cost":0.5}],"dropped":5,'
        f'"dropped_ids":"{dropped}"}}',
        '{"message":{"content":1.50,"role":"user"},"parent_id":"new1","id":"k","timestamp":null,"type":"message"}',
        node("c", "k", "compaction", summary="S", first_kept_entry_id="k"),
        '{"id":"new2","type":"label","timestamp":"1970-01-01T00:00:00.000000Z","target_id":"k","label":"L"}',
    ]


def test_a_log_in_a_file(log_path: Path) -> None:
    """Nothing changes before it is confirmed; the log as it was is kept until it is removed."""
    with Session.open(log_path) as session:
        for number in range(9):
            session.append(user("word " * 50), id=f"m{number}")
        compacted(session, "m7")
    content = log_path.read_bytes()
    planned = vacuum(log_path)
    assert (log_path.read_bytes(), planned.done, planned.entries) == (content, False, 7)
    done = vacuum(log_path, dry_run=False)
    original = Path(str(done.original))
    assert (original.read_bytes(), done.copies) == (content, (original.name,))
    assert done.complete == (log_path.name, f"{log_path.name}.index")
    assert (done.size_before, done.size_after) == (len(content), log_path.stat().st_size)
    assert done.size_after < len(content) / 2
    again = vacuum(log_path, dry_run=False)
    assert (again.done, again.copies) == (False, ())
    with Session.open(log_path) as session:
        compacted(session, None, "sum2")
    last = vacuum(log_path, dry_run=False, remove_original=True)
    assert (last.entries, last.original, last.copies) == (3, None, (original.name,))
    assert [name.name for name in log_path.parent.iterdir() if "original" in name.name] == [original.name]


def test_a_log_in_the_folder_of_a_store(tmp_path: Path) -> None:
    """It is vacuumed as a session of the store: what a fork holds counts there."""
    with open_store(tmp_path) as store:
        with store.create(id="s") as session:
            session.append(assistant("a"), id="a", model="m", usage={"output_tokens": 5})
            session.append(user("b"), id="b")
        store.fork("s", new_id="f").close()
        with store.open("s") as session:
            compacted(session, "b")
        assert store.info("s").usage.output_tokens == 5
        done = vacuum(tmp_path / "s.jsonl", dry_run=False, remove_original=True)
        assert (done.copies, ".catalogue.sqlite" in done.complete) == (("f",), True)
        assert [store.info(id).usage.output_tokens for id in ("s", "f")] == [0, 5]
        assert (vacuum(tmp_path / "f.jsonl").done, list(tmp_path.glob("*.original"))) == (False, [])


def test_what_is_refused(log_path: Path) -> None:
    """And then nothing changes."""
    with pytest.raises(SessionNotFound):
        vacuum(log_path)
    with Session.open(log_path) as session:
        session.append(user("a"), id="a")
        session.append(user("b"), parent_id=None, id="b")
        session.hold()
    content = log_path.read_bytes()
    with pytest.raises(SessionHeld, match="on hold"):
        vacuum(log_path, dry_run=False)
    assert log_path.read_bytes() == content
    with Session.open(log_path) as session:
        session.hold(False)
    newer = log_path.with_name("newer.jsonl")
    newer.write_bytes(log_path.read_bytes())
    with pytest.raises(EntryNotFound):
        vacuum(log_path, ["nobody"], dry_run=False)
    lines = log_path.read_bytes().splitlines()
    lines[1] = lines[1].replace(b'"a"', b'"z"', 1)
    log_path.write_bytes(as_file(lines))
    with pytest.raises(CorruptLog, match="bad_seal in line 2; repair it first"):
        vacuum(log_path, dry_run=False)
    log_path.write_bytes(as_file(sealed((HEADER.replace('"version":1', '"version":2'), node("a", None)))))
    with pytest.raises(ReadOnlySession, match="version 2"):
        vacuum(log_path)
    log_path.write_bytes(b"nothing of ours\n")
    with pytest.raises(NotALog):
        vacuum(log_path, dry_run=False)
    assert list(log_path.parent.glob("*.original")) == []


def test_a_lost_entry(log_path: Path) -> None:
    """It goes with its branch; a path through it cannot stay."""
    log_path.write_bytes(log_of(node("a", None), node("l", "a", "lost"), node("b", "l"), node("c", "a")))
    with pytest.raises(BrokenPath):
        vacuum(log_path, ["b"], dry_run=False)
    check(log_path, entries=["a", "c"])


def test_an_orphan(log_path: Path) -> None:
    """It goes as well, with what is below it."""
    log_path.write_bytes(log_of(node("a", None), node("o", "x"), node("b", "o"), node("c", "a")))
    for keep in ("o", "b"):
        with pytest.raises(BrokenPath):
            vacuum(log_path, [keep], dry_run=False)
    check(log_path, entries=["a", "c"])


def test_the_vacuum_entry_is_no_leaf(log_path: Path) -> None:
    """Nothing would stay."""
    log_path.write_bytes(log_of(node("v", None, "vacuum", dropped=0), node("a", "v")))
    for keep in (["v"], ["a", "v"]):
        with pytest.raises(ValueError, match="no context is at the vacuum entry"):
            vacuum(log_path, keep)


def test_a_log_without_an_entry(log_path: Path) -> None:
    """There is nothing to drop."""
    with Session.open(log_path) as session:
        session.rename("N")
    done = vacuum(log_path, dry_run=False)
    assert (done.done, done.keep, done.entries) == (False, (), 0)


def test_a_torn_tail_is_cut_off_first(log_path: Path) -> None:
    """As an append would do it. A last line that lacks only its newline is in the log."""
    for torn in (b'{"id":"t', b""):
        log_path.write_bytes(log_of(node("a", None), node("b", None)) + torn)
        if not torn:
            log_path.write_bytes(log_path.read_bytes()[:-1])
        assert vacuum(log_path, ["b"], dry_run=False).done
        with Session.open(log_path, mode="r") as session:
            assert (contents(session), session.findings) == (["b"], ())
    assert log_path.with_name(f"{log_path.name}.torn").read_bytes() == b'{"id":"t\n'


def test_pinned_messages_and_what_they_name(log_path: Path) -> None:
    """A pinned reply says who made it, before and after."""
    with Session.open(log_path) as session:
        session.append({"role": "system", "content": "old"}, id="s1", pinned=True)
        session.append(assistant("by nobody"), id="r0", pinned=True)
        session.append(assistant("x"), id="x", provider="p", model="m")
        session.append(assistant("by m"), id="r1", pinned=True)
        session.append(assistant("by n"), id="r2", pinned=True, model="n")
        session.append({"role": "system", "content": "new"}, id="s2", pinned=True, replaces="s1")
        session.append(user("k"), id="k")
        session.append(assistant("by n, too"), id="r3")
        compacted(session, "k")
    check(log_path, entries=["r0", "r1", "r2", "s2", "k", "r3", "sum"])


def test_hidden_calls_before_the_kept_range(log_path: Path) -> None:
    """A hidden call goes on to hide its result; a hidden text goes."""
    with Session.open(log_path) as session:
        session.append(user("secret"), id="h")
        session.append(CALL, id="call")
        session.append(RESULT, id="result")
        session.append(user("k"), id="k")
        compacted(session, "result")
        session.append(user("last"), id="last")
        session.extend(
            [
                VisibilityMark(id="m1", target_id="h", visible_to="user"),
                VisibilityMark(id="m2", target_id="call", visible_to="user"),
                VisibilityMark(id="m3", target_id="k", pinned=True),
            ]
        )
    check(log_path, "last", entries=["call", "result", "k", "sum", "last"])
    with Session.open(log_path, mode="r") as session:
        assert [message["content"] for message in session.build_context().messages[1:]] == ["k", "last"]


def test_what_replaces_on_another_path_stays(log_path: Path) -> None:
    """A message that one path shows and another replaces."""
    log_path.write_bytes(
        log_of(
            node("s", None, message={"role": "system", "content": "one"}, pinned=True),
            node("a", "s"),
            node("t", "a", message={"role": "system", "content": "two"}, replaces="s"),
            node("b", "t"),
            node("bc", "b", "compaction", summary="B", first_kept_entry_id="b"),
            node("c", "a"),
            node("cc", "c", "compaction", summary="C", first_kept_entry_id="c"),
        )
    )
    check(log_path, "bc", "cc", entries=["s", "t", "b", "bc", "c", "cc"])


def test_an_older_compaction_in_the_kept_range(log_path: Path) -> None:
    """What it kept is gone, so no context is there any more; the log is sound nevertheless."""
    with Session.open(log_path) as session:
        for name in "abc":
            session.append(user(name), id=name)
        compacted(session, "b", "one")
        session.append(user("d"), id="d")
        compacted(session, "c", "two")
    check(log_path, entries=["c", "one", "d", "two"])
    with (
        Session.open(log_path, mode="r") as session,
        pytest.raises(BrokenPath, match="from 'b' on, which a vacuum has removed"),
    ):
        session.build_context(leaf="d")


def test_a_message_that_replaced_a_dropped_one(log_path: Path) -> None:
    """It is no finding that the replaced one is gone."""
    with Session.open(log_path) as session:
        session.append({"role": "system", "content": "old"}, id="s1", pinned=True)
        session.append({"role": "system", "content": "new"}, id="s2", pinned=True, replaces="s1")
        session.append(user("k"), id="k")
        compacted(session, "k")
    check(log_path, entries=["s2", "k", "sum"])
    with Session.open(log_path, mode="r") as session:
        records = [record for _, record in session.records()]
    with Session.memory() as copy:  # records go on their way without their log, too
        assert copy.extend(records) == 4
        assert contents(copy)[0] == "new"


def test_usage_of_a_reply_that_was_asked_before_the_compaction(log_path: Path) -> None:
    """It does not count the context, although the question is gone."""
    with Session.open(log_path) as session:
        session.append(user("q"), id="q")
        session.append(user("k"), id="k")
        compacted(session, "k")
        session.extend(
            [
                MessageEntry(
                    id="r",
                    parent_id="sum",
                    message=assistant("r"),
                    reply_to="q",
                    usage={"input_tokens": 9999, "output_tokens": 1},
                ),
                MessageEntry(id="u", parent_id="r", message=user("u")),
                MessageEntry(id="w", parent_id="u", message=assistant("w"), reply_to="nowhere"),
            ],
            move_leaf=True,
        )
    check(log_path, "w", entries=["k", "sum", "r", "u", "w"])
    with Session.open(log_path, mode="r") as session:
        assert session.build_context(leaf="w").stale_usage == {2}


def test_records_of_unknown_types(log_path: Path) -> None:
    """Entries go with their branch, marks stay as they are."""
    with Session.open(log_path) as session:
        session.extend(
            [
                MessageEntry(id="a", message=user("a")),
                OpaqueMark(id="m1", unknown_type="my.mark", fields={"x": 1}),
                OpaqueEntry(id="o", parent_id="a", unknown_type="my.entry", fields={"y": 1}),
                MessageEntry(id="b", parent_id="a", message=user("b")),
                OpaqueMark(id="m2", unknown_type="my.mark", fields={"x": 2}),
            ],
            move_leaf=True,
        )
        session.label("b", "B")
    vacuum(log_path, ["b"], dry_run=False)
    with Session.open(log_path) as session:
        found = [record.id for _, record in session.records()][1:]
        assert (found[:4], session.labels) == (["a", "m1", "b", "m2"], {"b": "B"})
        assert session.extend([OpaqueMark(id="m2", unknown_type="my.mark", fields={"x": 2})]) == 0


@pytest.mark.parametrize(("kept", "copied_to"), [("q", "q"), ("own", None)])
def test_the_header_of_a_fork(kept: str, copied_to: str | None, tmp_path: Path) -> None:
    """It names the last copied entry that is still there."""
    path = tmp_path / "fork.jsonl"
    with Session.open(tmp_path / "s.jsonl") as session:
        session.append(user("p"), id="p")
        session.append(user("q"), id="q")
        session.append(user("r"), id="r")
        with session.fork(path) as fork:
            fork.append(user("own"), parent_id="q", id="own")
            compacted(fork, kept)
    vacuum(path, dry_run=False)
    with Session.open(path, mode="r") as fork:
        header = fork.header
        assert (header.copied_to, header.parent_session.entry_id if header.parent_session else None) == (copied_to, "r")
        assert fork.findings == ()


def test_records_are_read_again_after_a_vacuum(tmp_path: Path) -> None:
    """They have other numbers. An outline that was made before says so."""
    for url in (tmp_path, f"sqlite:///{tmp_path}/s.db"):
        with open_store(url) as store, store.create(id="s") as session:
            for number in range(1200):
                session.append(user(f"{number}"), id=f"m{number}")
            outline = session.outline()
            records = session.records()
            assert next(records)[1].id == "m0"
            compacted(session, "m1190")
            store.vacuum("s", dry_run=False)
            session.refresh()
            with pytest.raises(SessionFailed, match="read them again"):
                list(records)
            assert len(list(session.records())) == 12
            with pytest.raises(SessionFailed, match="make another"):
                outline.entries([0, 1])


def test_space_in_a_database(tmp_path: Path) -> None:
    """Rows, pages and words are gone."""
    path = tmp_path / "s.db"
    with open_store(f"sqlite:///{path}") as store:
        with store.create(id="s") as session:
            for number in range(300):
                session.append(
                    assistant(f"zebra{number} " * 40), id=f"m{number}", model="m", usage={"output_tokens": 1}
                )
            compacted(session, "m298")
        pages = _used_pages(path)
        done = store.vacuum("s", dry_run=False)
        assert done.complete == ("s.db", "s.db-wal")
    assert _used_pages(path) < pages / 2
    assert b"zebra100" not in path.read_bytes()
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT COUNT(*) FROM ct_lines").fetchall() == [(5,)]
        assert connection.execute("SELECT answers, output_tokens FROM ct_usage").fetchall() == [(300, 300)]


def _used_pages(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        numbers = [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count")]
    return int(numbers[0] - numbers[1])


def test_a_new_log_that_says_something_else_is_not_written(log_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparison finds a wrong context, a wrong label, a wrong name and a wrong root."""
    with Session.open(log_path) as session:
        session.append(user("a"), id="a")
        session.append(user("b"), id="b")
        session.append(user("x"), id="x", parent_id="a")
        session.branch("b")
        session.label("b", "L")
        session.rename("N")
    content = log_path.read_bytes()
    below = codec.with_fields
    for module, name, wrong, what in (
        (
            codec,
            "with_fields",
            lambda payload, **changed: below(payload, **changed).replace(b'"content":"a"', b'"content":"z"'),
            "context",
        ),
        (codec, "with_fields", lambda payload, **_: payload, "roots"),
        (vacuuming, "_session_info", lambda _: None, "name"),
        (vacuuming, "visibility_marks", lambda *_: [(0, LabelMark(target_id="a", label="wrong"))], "labels"),
        (vacuuming, "visibility_marks", lambda *_: [(0, LabelMark(target_id="x", label="wrong"))], "bad_target"),
    ):
        with monkeypatch.context() as patched:
            patched.setattr(module, name, wrong)
            with pytest.raises(CorruptLog, match=f"another one .*{what}.*; nothing was changed"):
                vacuum(log_path, dry_run=False)
        assert log_path.read_bytes() == content


@settings(max_examples=60)
@given(st.data())
def test_contexts_of_what_is_kept_are_the_same(data: st.DataObject) -> None:
    """For any tree with compactions, pinned and hidden messages, replacements, models and data."""
    with Session.memory() as session:
        names: list[str] = []
        for number in range(data.draw(st.integers(1, 14))):
            parent = data.draw(st.sampled_from([None, *names, *names[-2:]]))
            path = [] if parent is None else [entry.id for entry in session.path(parent)]
            kind = data.draw(st.sampled_from(["user", "user", "assistant", "system", "compaction", "model", "data"]))
            id = f"e{number}"
            options: dict[str, Any] = {"parent_id": parent, "id": id}
            if kind == "compaction":
                kept = data.draw(st.sampled_from([None, *path]))
                session.append(CompactionEntry(summary=id, first_kept_entry_id=kept), **options)
            elif kind == "model":
                effort = data.draw(st.sampled_from([None, "low", "high"]))
                name = data.draw(st.sampled_from("xyz"))
                choices = None if effort is None else {"effort": effort}
                change = ModelChangeEntry(id=id, parent_id=parent, provider=None, model=name, settings=choices)
                session.extend([change], move_leaf=True)
            elif kind == "data":
                name = data.draw(st.sampled_from("pq"))
                session.extend(
                    [ExtensionDataEntry(id=id, parent_id=parent, ext_type=name, data=number)], move_leaf=True
                )
            else:
                said = [each for each in path if isinstance(session.entry(each), MessageEntry)]
                replaced = data.draw(st.sampled_from([None, None, *said]))
                pinned = data.draw(st.sampled_from([None, True, False]))
                model = data.draw(st.sampled_from([None, "m", "n"])) if kind == "assistant" else None
                session.append({"role": kind, "content": id}, pinned=pinned, replaces=replaced, model=model, **options)
            names.append(id)
            target = data.draw(st.sampled_from([None, None, *names]))
            if target is not None and isinstance(session.entry(target), MessageEntry):
                shown: Visibility = data.draw(st.sampled_from(VIEWS))
                session.extend([VisibilityMark(id=f"m{number}", target_id=target, visible_to=shown)])
        keep = data.draw(st.lists(st.sampled_from(names), min_size=1, max_size=3))
        made = rewrite(session._index, "log", keep, lambda _: set(), lambda: 0, numbered().__next__)
        if made.lines is None:
            assert made.entries == 0
            return
        before = [facts(session, leaf)[:6] for leaf in keep]
        states = [{name: session.state(name, leaf=leaf) for name in "pq"} for leaf in keep]
        text = b"".join(line + b"\n" for line in made.lines)
        with _reading(text) as new:
            assert [facts(new, leaf)[:6] for leaf in keep] == before
            assert [{name: new.state(name, leaf=leaf) for name in "pq"} for leaf in keep] == states
            assert (new.findings, new.extend([record for _, record in session.records()])) == ((), 0)


def _reading(text: bytes) -> Session:
    log = MemoryLog()
    log.append(0, lambda _: Addition(text.splitlines(), 0))
    return Session(log, new_header("s"))


def test_the_command(log_path: Path) -> None:
    """Without --yes it only says what would go; exit codes are those of the other commands."""
    run = CliRunner(env={"NO_COLOR": "1", "COLUMNS": "100"})
    with Session.open(log_path) as session:
        session.append(user("a"), id="a")
        session.append(user("x"), id="x", label="idea")
        session.append(user("b"), id="b", parent_id="a")
    content = log_path.read_bytes()
    shown = run.invoke(app, ["vacuum", str(log_path)])
    assert (shown.exit_code, log_path.read_bytes()) == (0, content)
    assert "would drop 1 entry, 2 entries kept" in shown.output
    assert "branch x 'idea': 1 entry" in shown.output
    document = orjson.loads(run.invoke(app, ["vacuum", str(log_path), "--keep", "x", "--json"]).output)
    assert (document["schema"], document["done"], document["keep"]) == ("convtree.vacuum", False, ["x"])
    assert [each["leaf_id"] for each in document["branches"]] == ["b"]
    done = run.invoke(app, ["vacuum", str(log_path), "--yes"])
    assert done.exit_code == 0
    assert f"still holds some of it: {log_path.name}.original" in done.output
    assert "nothing to drop" in run.invoke(app, ["vacuum", str(log_path), "--yes", "--remove-original"]).output
    for arguments, code in (
        (["--remove-original"], 2),
        (["--keep", "nobody"], 3),
    ):
        assert run.invoke(app, ["vacuum", str(log_path), *arguments]).exit_code == code
    with Session.open(log_path) as session:
        session.branch(None)
    assert run.invoke(app, ["vacuum", str(log_path)]).exit_code == 2
    assert run.invoke(app, ["vacuum", str(log_path.with_name("none.jsonl"))]).exit_code == 3


def test_the_command_for_a_store(tmp_path: Path) -> None:
    """A session on hold is a conflict; a store that cannot do it says so."""
    run = CliRunner(env={"NO_COLOR": "1"})
    with open_store(tmp_path) as store, store.create(id="s") as session:
        session.append(user("a"), id="a")
        session.append(user("b"), id="b", parent_id=None)
        session.hold()
    assert run.invoke(app, ["vacuum", "-s", str(tmp_path), "s"]).exit_code == 4
    with open_store(tmp_path) as store:
        store.release("s")
    done = run.invoke(app, ["vacuum", "-s", str(tmp_path), "s", "--yes", "--remove-original"])
    assert (done.exit_code, "s: dropped 1 entry, 1 entry kept" in done.output) == (0, True)


def test_a_second_import_brings_nothing_back(tmp_path: Path) -> None:
    """Of another tool's session; what the tool has added since is imported."""
    source = tmp_path / "chat.jsonl"
    ids = [f"{number:08x}" for number in range(6)]
    lines = ['{"type":"session","version":3,"id":"s","timestamp":"2026-01-02T03:04:05Z","cwd":"/home/me"}']
    for number, parent in zip(range(5), [None, 0, 1, 2, 0], strict=True):
        above = "null" if parent is None else f'"{ids[parent]}"'
        lines.append(
            f'{{"type":"message","id":"{ids[number]}","parentId":{above},"timestamp":"2026-01-02T03:04:05Z",'
            f'"message":{{"role":"user","content":"{number}"}}}}'
        )
    source.write_text("\n".join(lines) + "\n")
    with open_store(tmp_path / "store") as store:
        (report,) = import_into(source, store)
        id = str(report.session_id)
        assert report.written > 0
        with store.open(id) as session:
            session.branch(ids[3])
            compacted(session, ids[2])
        assert store.vacuum(id, dry_run=False).entries == 3
        with store.open(id) as session:
            before = [record.id for _, record in session.records()]
        assert [each.written for each in import_into(source, store)] == [0]
        with store.open(id) as session:
            assert [record.id for _, record in session.records()] == before
        with source.open("a") as file:
            file.write(lines[-1].replace(ids[4], ids[5]).replace(ids[0], ids[3]) + "\n")
        import_into(source, store)
        with store.open(id) as session:
            assert session.entry(ids[5]).parent_id == ids[3]


def test_a_second_vacuum_repairs_nothing(log_path: Path) -> None:
    """A vacuumed log needs no repair, and a repair of a damaged one keeps the vacuum entry."""
    log_path.write_bytes(log_of(node("a", None), node("b", None)))
    vacuum(log_path, ["b"], dry_run=False)
    assert not repair(log_path).needed


def test_ids_that_are_taken(log_path: Path) -> None:
    """An id source that begins again gives no id twice, none that is in the log, and none that was dropped."""
    before = node("v", None, "vacuum", dropped_ids=encode_dropped(["old"]))
    log_path.write_bytes(log_of(before, node("a", "v"), node("b", "v")))
    ids = iter(["a", "old", "new", "new", "newer"])
    with Session.open(log_path, mode="r") as session:
        made = rewrite(session._index, "log", ["a"], lambda _: set(), lambda: 0, ids.__next__)
    with _reading(b"".join(line + b"\n" for line in made.lines or ())) as vacuumed:
        assert [record.id for _, record in vacuumed.records()] == ["new", "a"]


def test_a_store_that_cannot_do_it(tmp_path: Path) -> None:
    """It says so, and what to do instead."""

    class Lasting:
        """A backend of another package: it has what a backend must have."""

        def __init__(self, backend: Any) -> None:
            self.log, self.catalogue, self.location, self.close = (
                backend.log,
                backend.catalogue,
                backend.location,
                backend.close,
            )

    with open_store(tmp_path) as store:
        with store.create(id="s") as session:
            session.append(user("a"))
        other: Any = Lasting(store._backend)
        with pytest.raises(NotImplementedError, match="cannot replace the lines of a session; copy it to a folder"):
            SessionStore(other).vacuum("s")


def test_a_session_that_is_deleted_just_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not there when its lock is taken."""
    with open_store(f"sqlite:///{tmp_path}/s.db") as store, open_store(f"sqlite:///{tmp_path}/s.db") as other:
        with store.create(id="s") as session:
            session.append(user("a"))
        database: Any = store._backend._database  # type: ignore[attr-defined]
        transact = database.transact

        def late(*work: Any) -> Any:
            other.delete("s")
            return transact(*work)

        monkeypatch.setattr(database, "transact", late)
        with pytest.raises(SessionNotFound):
            store.vacuum("s", dry_run=False)


def test_a_log_that_is_replaced_just_after_an_append(tmp_path: Path) -> None:
    """The entry is stored, and the session reads the new log."""
    with open_store(f"sqlite:///{tmp_path}/s.db") as store, store.create(id="s") as session:
        session.append(user("a"), id="a")
        session.append(user("b"), id="b", parent_id=None)
        with patch.object(session._index, "add_written", side_effect=LogReplaced):
            assert session.append(user("c"), id="c").parent_id == "b"
        assert contents(session) == ["b", "c"]
        assert session.append(user("d")).parent_id == "c"


def test_a_log_that_is_replaced_at_every_read(tmp_path: Path) -> None:
    """After some tries, the call fails and says why."""
    with open_store(f"sqlite:///{tmp_path}/s.db") as store, store.create(id="s") as session:
        session.append(user("a"), id="a")
        with patch.object(SqlLog, "read_at", side_effect=LogReplaced):
            session.refresh()
            index = session._index
            with patch.object(index, "_read_at", side_effect=LogReplaced), pytest.raises(SessionFailed, match="faster"):
                session.path()
        assert contents(session) == ["a"]
