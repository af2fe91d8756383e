"""Reads the test vectors of the format, in files and over SQLite. Their README says how they are made."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zlib import crc32

import msgspec
import pytest
from helpers import user
from vectors import build

import convtree
from convtree import ConvtreeError, Finding, MessageEntry, NotALog, ReadOnlySession, Session, open_store
from convtree._model.entries import BranchSummaryEntry, CompactionEntry, OpaqueEntry, OpaqueMark, Record
from convtree._model.usage import Usage
from convtree.repair import verify

FOLDER = Path(__file__).parent / "vectors"
VECTORS: list[dict[str, Any]] = json.loads((FOLDER / "vectors.json").read_text(encoding="utf-8"))
READABLE = [vector for vector in VECTORS if "error" not in vector]
#: findings of logs that a database can hold: their lines are whole
LINES_ARE_WHOLE = {"critical_unknown", "newer_version", "bad_group", "bad_target", "orphan", "unsealed"}
IN_SQL = [
    vector
    for vector in READABLE
    if vector["records"] and {finding["code"] for finding in vector["findings"]} <= LINES_ARE_WHOLE
]
Json = dict[str, Any]
ATTRIBUTES = {"hold": "held"}  # of a session, where they are called otherwise than their keys
NO_USAGE = msgspec.to_builtins(Usage())


def cases(vectors: list[Json]) -> list[Any]:
    """Vectors, each with its name."""
    return [pytest.param(vector, id=vector["name"]) for vector in vectors]


def log_of(vector: Json) -> bytes:
    """The log of a vector."""
    return (FOLDER / "logs" / f"{vector['name']}.jsonl").read_bytes()


def as_stated(findings: Iterator[Finding] | tuple[Finding, ...]) -> list[Json]:
    """Findings as the vectors have them, sorted."""
    return in_order({"code": finding.code, "line": finding.line} for finding in findings)


def in_order(findings: Any) -> list[Json]:
    """Findings, sorted by line and code."""
    return sorted(findings, key=lambda finding: (finding["line"], finding["code"]))


def summarised(entry: CompactionEntry | BranchSummaryEntry) -> Json:
    """A summary as the vectors have it."""
    return {"summary": entry.summary}


def fields_of(record: Any) -> Json:
    """A record's fields as on its line, but for the seal."""
    fields: Json = msgspec.to_builtins(record)
    if isinstance(record, OpaqueEntry | OpaqueMark):
        fields |= fields.pop("fields")
    return fields | ({"type": record.type} if isinstance(record, Record) else {})


def context_of(session: Session, stated: Json) -> Json:
    """The context that a vector states, as this session has it: the same keys."""
    leaf = {} if stated.get("at_leaf") else {"leaf": stated["leaf"]}
    found = {name: stated[name] for name in ("at_leaf", "leaf", "gaps_allowed") if name in stated}
    try:
        built = session.build_context(**leaf, render=summarised, allow_gaps=stated.get("gaps_allowed", False))
    except ConvtreeError as error:
        return found | {"error": type(error).__name__}
    said = [
        message["content"] if stated_message == message.get("content") and isinstance(stated_message, str) else message
        for message, stated_message in zip(
            built.messages, [*stated.get("messages", ()), *[None] * len(built.messages)], strict=False
        )
    ]
    facts: Json = {"provider": built.provider, "model": built.model, "settings": built.settings}
    facts |= {"gaps": len(built.gaps), "open_calls": [call.id for call in built.open_calls]}
    if "state" in stated:
        facts["state"] = {name: session.state(name, **leaf) for name in stated["state"]}
    return found | {"messages": said} | {name: value for name, value in facts.items() if name in stated}


def check(session: Session, vector: Json) -> None:
    """Compares everything that a session says with a vector."""
    assert [record.id for _, record in session.records()] == vector["records"]
    assert as_stated(session.findings) == in_order(vector["findings"])
    assert session.leaf_id == vector["leaf"]
    uncertain = session._index.state.leaf_uncertain_because is not None
    assert uncertain == vector["leaf_uncertain"]
    assert [context_of(session, stated) for stated in vector["contexts"]] == vector["contexts"]
    stated = vector.get("session", {})
    assert {name: getattr(session, ATTRIBUTES.get(name, name)) for name in stated} == stated
    records = {record.id: fields_of(record) for _, record in session.records()}
    for id, fields in vector.get("record_fields", {}).items():
        assert {name: records[id].get(name) for name in fields} == fields
    stated = vector.get("header_fields", {})
    header = fields_of(session.header)
    assert {name: header.get(name) for name in stated} == stated


def test_the_files_are_what_the_builders_make() -> None:
    """After a change of a vector, `build` must be run. A published vector does not change."""
    logs = {f"logs/{path.name}": path.read_bytes() for path in (FOLDER / "logs").iterdir()}
    assert logs | {"vectors.json": (FOLDER / "vectors.json").read_bytes()} == build.files()


@pytest.mark.parametrize("vector", cases(READABLE))
def test_a_log_is_read_as_stated(vector: Json, log_path: Path) -> None:
    """Reading changes nothing."""
    log_path.write_bytes(log_of(vector))
    with Session.open(log_path, mode="r") as session:
        check(session, vector)
    assert log_path.read_bytes() == log_of(vector)
    assert list(log_path.parent.iterdir()) == [log_path]


@pytest.mark.parametrize("vector", cases(READABLE))
def test_verify_finds_what_is_stated(vector: Json, log_path: Path) -> None:
    """It decodes every record, so it may find more than reading does."""
    log_path.write_bytes(log_of(vector))
    assert as_stated(verify(log_path).findings) == in_order(vector["findings"] + vector["more_findings"])


@pytest.mark.parametrize("vector", cases([each for each in VECTORS if "error" in each]))
def test_what_is_not_a_log_is_refused(vector: Json, log_path: Path) -> None:
    """The file is not touched."""
    log_path.write_bytes(log_of(vector))
    for mode in ("r", "a"):
        with pytest.raises(getattr(convtree, vector["error"])):
            Session.open(log_path, mode=mode)
    with pytest.raises(NotALog):
        verify(log_path)
    assert log_path.read_bytes() == log_of(vector)


def last_line_of(data: bytes) -> bytes:
    """The last line that is not empty."""
    lines = [line.removesuffix(b"\r") for line in data.removeprefix(b"\xef\xbb\xbf").split(b"\n")]
    return next((line for line in reversed(lines) if line), b"")


def without_ends(findings: list[Json]) -> list[Json]:
    """Findings without those about the ends of lines, which an append may change."""
    return [finding for finding in findings if finding["code"] not in ("torn_tail", "carriage_return")]


@pytest.mark.parametrize("vector", cases([each for each in READABLE if "after_append" in each]))
def test_an_append_keeps_what_is_stated(vector: Json, log_path: Path) -> None:
    """What it cuts off is in `<log>.torn`. The log is whole afterwards: the first new line names the last old one."""
    data, stated = log_of(vector), vector["after_append"]
    log_path.write_bytes(data)
    with Session.open(log_path, durability="process") as session:
        session.append(user("appended"), id="appended", parent_id=None)
    now, end = log_path.read_bytes(), stated["end"]
    assert now[:end] == (data + b"\n")[:end]
    torn = log_path.with_name("log.jsonl.torn")
    cut = data[len(data) - stated["torn"] :] if stated["torn"] else b""
    assert (torn.read_bytes() if torn.exists() else b"") == (cut + b"\n" if cut else b"")
    new = now[end:].split(b"\n")[0]
    last = last_line_of(now[:end])
    assert new[-27:-19] == (b"%08x" % crc32(last) if last else b"00000000")
    with Session.open(log_path, mode="r") as session:
        assert [record.id for _, record in session.records()] == [*stated["records"], "appended"]
        assert without_ends(as_stated(session.findings)) == without_ends(in_order(vector["findings"]))
        assert session.leaf_id == "appended"


@pytest.mark.parametrize("vector", cases([each for each in READABLE if "dropped" in each]))
def test_ids_that_were_dropped_do_not_come_back(vector: Json, log_path: Path) -> None:
    """An import passes over them and stores another entry."""
    log_path.write_bytes(log_of(vector))
    entries = [MessageEntry(id=id, message=user(id)) for id in [*vector["dropped"], "another"]]
    with Session.open(log_path, durability="process") as session:
        assert session.extend(entries) == 1
        assert [record.id for _, record in session.records()] == [*vector["records"], "another"]


@pytest.mark.parametrize("vector", cases([each for each in READABLE if each["read_only"]]))
def test_a_log_that_must_not_be_written_to(vector: Json, log_path: Path) -> None:
    """Every append is refused, and no byte changes."""
    log_path.write_bytes(log_of(vector))
    with Session.open(log_path) as session, pytest.raises(ReadOnlySession):
        session.append(user("appended"), parent_id=None)
    assert log_path.read_bytes() == log_of(vector)


@pytest.mark.parametrize("vector", cases(IN_SQL))
def test_a_log_in_a_database_is_read_as_stated(vector: Json, tmp_path: Path) -> None:
    """The lines of a log are copied into SQLite as they are."""
    (tmp_path / "s1.jsonl").write_bytes(log_of(vector))
    with open_store(tmp_path) as folder, open_store(f"sqlite:///{tmp_path}/chats.db") as store:
        [copied] = folder.copy_to(store, ["s1"])
        assert (copied.status, copied.reason) == ("copied", None)
        with store.open("s1") as session:
            check(session, vector)
        if "usage" in vector:
            spent = [row for row in store.usage("s1", by="model") if row.usage != Usage()]  # not only set
            rows = [msgspec.to_builtins(row) for row in spent]
            found = [{"provider": row["provider"], "model": row["model"], **row["usage"]} for row in rows]
            stated = [NO_USAGE | each for each in vector["usage"]]
            assert sorted(found, key=model_of) == sorted(stated, key=model_of)


def model_of(row: Json) -> tuple[str, str]:
    """Provider and model of a sum."""
    return row["provider"], row["model"]
