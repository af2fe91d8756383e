"""Reading a vacuumed log: its first entry stands for what was dropped."""

from base64 import b64decode, b64encode
from hashlib import sha256
from pathlib import Path

import orjson
import pytest
from click.testing import CliRunner
from helpers import as_file, codes, contents, log_of, node, user
from hypothesis import given
from hypothesis import strategies as st

from convtree import (
    BrokenPath,
    EntryNotFound,
    IdConflict,
    InvalidMessage,
    LabelMark,
    MessageEntry,
    Session,
    VacuumEntry,
)
from convtree._cli.app import app
from convtree._engine import codec, save_points
from convtree._engine.dropped import DroppedIds, encode_dropped
from convtree._model.entries import Entry
from convtree.exchange import export_lines
from convtree.repair import redact_log, repair, verify

DROPPED = ["gone-1", "gone-2", "gone-mark"]
VACUUM = VacuumEntry(
    id="v",
    provider="anthropic",
    model="opus",
    settings={"effort": "low"},
    state={"todo": ["pack"], "plan": None},
    usage=[{"provider": "anthropic", "model": "opus", "answers": 2, "input_tokens": 30}],
    dropped=2,
    dropped_ids=encode_dropped(DROPPED),
)


def vacuumed(path: Path, *texts: str, vacuum: Entry = VACUUM) -> None:
    """Writes a log that begins with a vacuum entry."""
    path.write_bytes(log_of((codec.encode(vacuum) + b"}").decode(), *texts))


def test_model_settings_and_state_are_in_effect_below(log_path: Path) -> None:
    """Until later entries change them. The entry itself is in no context."""
    vacuumed(
        log_path,
        node("a", "v"),
        node("r", "a", message={"role": "assistant", "content": "r"}),
        node("m", "r", "model_change", provider="openai", model="gpt"),
        node("x", "m", "extension_data", ext_type="todo", data=[]),
        node("n", "x", "model_change", provider="openai", model="gpt", settings={"effort": "high"}),
    )
    with Session.open(log_path, mode="r") as session:
        context = session.build_context(leaf="r")
        assert (context.provider, context.model, context.settings) == ("anthropic", "opus", {"effort": "low"})
        assert context.produced_by == {"r": ("anthropic", "opus")}
        assert [entry.id for entry in context.entries] == ["a", "r"]
        assert (session.state("todo", leaf="r"), session.state("plan", 7, leaf="r")) == (["pack"], None)
        assert (session.state("other", 7), session.state("todo")) == (7, [])
        assert session.extension_data(leaf="r") == []
        assert [entry.id for entry in session.extension_data()] == ["x"]
        later = session.build_context(leaf="x")
        assert (later.provider, later.model, later.settings) == ("openai", "gpt", {"effort": "low"})
        assert session.build_context().settings == {"effort": "high"}
        assert session.build_context(leaf="v").messages == []
        assert (session.findings, session.entry("v")) == ((), VACUUM)
        assert [model.model for model in session.diff("a", "r").b.models] == ["opus"]
        assert [model.model for model in session.diff(None, "a").b.models] == ["opus"]


def test_a_vacuum_entry_need_not_say_anything(log_path: Path) -> None:
    """Then nothing is in effect."""
    vacuumed(log_path, node("a", "v"), vacuum=VacuumEntry(id="v"))
    with Session.open(log_path) as session:
        context = session.build_context()
        assert (context.provider, context.model, context.settings) == (None, None, {})
        assert (session.state("todo", 7), session.extension_data()) == (7, [])
        assert session.append(user("b"), id="gone-1").id == "gone-1"


def test_another_root_is_not_below(log_path: Path) -> None:
    """The vacuum entry counts on its paths only."""
    vacuumed(log_path, node("a", None))
    with Session.open(log_path, mode="r") as session:
        assert (session.build_context().model, session.state("todo")) == (None, None)


@pytest.mark.parametrize("indexed", [False, True])
def test_dropped_records_do_not_come_back(indexed: bool, log_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An import passes over them, an append with their ids is refused; with a saved index, too."""
    for name in ("_TAIL_ROWS", "_TAIL_BYTES", "_TAIL_PART") if indexed else ():
        monkeypatch.setattr(save_points, name, 0)
    vacuumed(log_path, node("a", "v"))
    Session.open(log_path).close()
    records = [
        MessageEntry(id="gone-1", message=user("1")),
        MessageEntry(id="gone-2", parent_id="gone-1", message=user("2")),
        MessageEntry(id="a", parent_id="gone-2", message=user("a")),
        LabelMark(id="gone-mark", target_id="gone-1", label="L"),
        MessageEntry(id="b", parent_id="a", message=user("b")),
    ]
    with Session.open(log_path) as session:
        assert session.extend(records) == 1
        assert session.extend(records) == 0
        assert contents(session) == ["a", "b"]
        content = log_path.read_bytes()
        with pytest.raises(IdConflict, match="'gone-1' belongs to a record that vacuum has removed"):
            session.append(user("1"), id="gone-1")
        for child in (
            MessageEntry(id="c", parent_id="gone-2", message=user("c")),
            LabelMark(target_id="gone-1", label="L"),
        ):
            with pytest.raises(EntryNotFound, match="vacuum has removed it"):
                session.extend([child])
        with pytest.raises(EntryNotFound, match="vacuum has removed it"):
            session.append(user("c"), parent_id="gone-2")
        with pytest.raises(EntryNotFound, match="vacuum has removed it"):
            session.entry("gone-2")
        with pytest.raises(EntryNotFound, match="no entry"):
            session.append(user("c"), parent_id="never")
        assert log_path.read_bytes() == content


def test_a_fresh_id_is_not_a_dropped_one(log_path: Path) -> None:
    """An id source that begins again does not bring an id back."""
    vacuumed(log_path, node("a", "v"))
    ids = ["b", "gone-1", "a"]
    with Session.open(log_path, id="s1", id_source=ids.pop) as session:
        assert session.append(user("b")).id == "b"


@pytest.mark.parametrize(
    ("place", "expected"),
    [("second", ["bad_vacuum"]), ("with a parent", ["orphan", "bad_vacuum"]), ("twice", ["bad_vacuum"])],
)
def test_a_vacuum_entry_in_another_place_has_no_effect(place: str, expected: list[str], log_path: Path) -> None:
    """It must be the first record and a root. It is kept, and a repair leaves it."""
    text = (codec.encode(VACUUM) + b"}").decode()
    below = node("b", "v")
    log_path.write_bytes(
        {
            "second": log_of(node("a", None), text, below),
            "with a parent": log_of(text.replace('"parent_id":null', '"parent_id":"p"'), below),
            "twice": log_of(node("v", None, "vacuum"), text.replace('"id":"v"', '"id":"w"'), node("b", "w")),
        }[place]
    )
    with Session.open(log_path) as session:
        assert codes(session) == expected
        context = session.build_context(allow_gaps=True)
        assert (context.model, context.settings, session.state("todo")) == (None, {}, None)
        assert isinstance(session.records().__next__()[1], Entry)
        session.append(user("1"), id="gone-1")
    assert not repair(log_path).needed
    assert verify(log_path).damaged


def test_a_vacuum_entry_is_written_at_the_beginning_only(log_path: Path) -> None:
    """A copy by `extend` begins with it; later it is refused."""
    with Session.open(log_path) as session:
        assert session.extend([VACUUM, MessageEntry(id="a", parent_id="v", message=user("a"))]) == 2
        assert (session.build_context().model, session.state("todo")) == ("opus", ["pack"])
        session.append(user("b"))
        with pytest.raises(InvalidMessage, match="only be the first record"):
            session.extend([VacuumEntry(id="w")])
    with Session.memory() as session:
        with pytest.raises(InvalidMessage, match="only be the first record"):
            session.extend([MessageEntry(id="a", message=user("a")), VacuumEntry(id="w")])
        session.append(VACUUM)
        session.append(user("a"))
        assert (session.build_context().model, session.state("todo")) == ("opus", ["pack"])


@pytest.mark.parametrize(
    "text", ["A", "AAAA", "?", b64encode(b"b" * 8 + b"a" * 8).decode(), b64encode(b"a" * 16).decode()]
)
def test_ids_that_cannot_be_read(text: str, log_path: Path) -> None:
    """It is not known which ids were dropped, so no id is taken; `verify` finds it."""
    kept = node("c", "v", "compaction", summary="S", first_kept_entry_id="gone")  # it may have been dropped
    vacuumed(log_path, kept, node("a", "v"), vacuum=VacuumEntry(id="v", dropped_ids=text))
    assert [finding.code for finding in verify(log_path).findings] == ["bad_body"]
    vacuumed(log_path, node("a", "v"), vacuum=VacuumEntry(id="v", dropped_ids=text))
    with Session.open(log_path) as session:
        assert contents(session) == ["a"]
        with pytest.raises(BrokenPath, match="`dropped_ids` that cannot be read"):
            session.extend([MessageEntry(id="b", parent_id="a", message=user("b"))])
    with Session.memory() as session, pytest.raises(InvalidMessage, match="dropped_ids"):
        session.extend([VacuumEntry(id="v", dropped_ids=text)])


def test_a_fork_of_a_vacuumed_log_begins_with_its_vacuum_entry(log_path: Path) -> None:
    """So the model and the state are the same there."""
    vacuumed(log_path, node("a", "v"))
    with Session.open(log_path) as session, session.fork(log_path.with_name("fork.jsonl")) as fork:
        assert (fork.build_context().model, fork.state("todo"), fork.entry("v")) == ("opus", ["pack"], VACUUM)


def test_a_damaged_vacuum_entry_is_rejoined_and_comes_back(log_path: Path) -> None:
    """It is the root again, with everything that it says."""
    vacuumed(log_path, node("a", "v"))
    lines = log_path.read_bytes().splitlines()
    lines[1] = lines[1].replace(b"opus", b"opux")
    log_path.write_bytes(as_file(lines))
    assert len(repair(log_path, rejoin=True, dry_run=False).rejoined) == 1
    with Session.open(log_path) as session:
        assert session.extend([VACUUM]) == 1
        for each in (session, Session.open(log_path, mode="r")):
            assert (each.build_context().model, each.state("todo"), each.findings) == ("opus", ["pack"], ())
            with each, pytest.raises(IdConflict) if each is session else pytest.raises(Exception, match="read-only"):
                each.append(user("1"), id="gone-1")


def test_redaction_keeps_the_dropped_ids(log_path: Path) -> None:
    """The texts of the state are redacted, the hashes are not, whatever they look like."""
    secret = "sk-ant-" + "a" * 30
    hashes = b64encode(b64decode("AKIA" + "A" * 16)[:15].ljust(16, b"\xff")).decode()
    vacuum = VacuumEntry(id="v", state={"key": secret}, dropped_ids=hashes)
    vacuumed(log_path, node("a", "v"), vacuum=vacuum)
    redact_log(log_path, in_place=True)
    with Session.open(log_path, mode="r") as session:
        assert session.entry("v") == VacuumEntry(id="v", state={"key": "[REDACTED:anthropic_key]"}, dropped_ids=hashes)


@given(st.sets(st.text(min_size=1)), st.text())
def test_a_set_has_the_ids_that_were_put_in(ids: set[str], other: str) -> None:
    """And no others; it is the sorted hashes in base64."""
    text = encode_dropped(ids)
    dropped = DroppedIds(text)
    assert all(id in dropped for id in ids)
    assert (other in dropped) == (other in ids)
    hashes = sorted(sha256(id.encode(errors="replace")).digest()[:8] for id in ids)
    assert b64decode(text) == b"".join(hashes)


def test_no_text_is_an_empty_set() -> None:
    """A vacuum entry without ids has dropped none."""
    assert "a" not in DroppedIds(None)
    assert encode_dropped([]) == ""


def test_the_ids_as_bytes() -> None:
    """The SHA-256 of `a1` begins with f55ff16f66f43360, that of `a2` with 2c3a4249d7707005."""
    assert encode_dropped(["a1", "a2"]) == "LDpCSddwcAX1X/FvZvQzYA=="


def test_inspect_shows_a_vacuum_entry(log_path: Path) -> None:
    """With what it stands for; the model in effect is its model."""
    vacuumed(log_path, node("a", "v"))
    shown = CliRunner(env={"NO_COLOR": "1", "COLUMNS": "100"}).invoke(app, ["inspect", str(log_path)])
    assert shown.exit_code == 0
    assert "vacuum: stands for 2 dropped entries" in shown.output
    assert "anthropic opus" in shown.output
    full = CliRunner(env={"NO_COLOR": "1", "COLUMNS": "100"}).invoke(app, ["inspect", "--full", str(log_path)])
    assert '"effort": "low"' in full.output
    assert "dropped_ids" not in full.output


@pytest.mark.parametrize(("form", "name"), [("pi", "modelId"), ("kit", "model_id")])
def test_exports_know_the_model_of_a_vacuumed_log(form: str, name: str, log_path: Path) -> None:
    """The other tool gets a change of the model, and the entry itself as data."""
    vacuumed(log_path, node("a", "v"))
    with Session.open(log_path, mode="r") as session:
        rows = [orjson.loads(line) for line in export_lines(session, form)]
    assert "convtree.vacuum" in [row.get("customType", row.get("ext_type")) for row in rows]
    assert "opus" in [row.get(name) for row in rows]
    vacuumed(log_path, node("a", "v"), vacuum=VacuumEntry(id="v"))
    with Session.open(log_path, mode="r") as session:
        rows = [orjson.loads(line) for line in export_lines(session, form)]
    assert [row.get(name) for row in rows] == [None] * len(rows)
