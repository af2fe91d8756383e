"""What holds for every format: importing twice adds nothing, growth adds the new, damage costs what it hit."""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path
from typing import Any

import msgspec
import pytest
from foreign import SAMPLES, encoded
from hypothesis import given
from hypothesis import strategies as st

from convtree import NotALog, Session
from convtree.exchange import import_file, read_foreign

FORMATS = sorted(SAMPLES)
WORD = re.compile(r"\bw\d+\b")


def found_words(session: Session) -> set[str]:
    """The words that stand anywhere in a session, its header among it."""
    stored = [msgspec.json.encode(record) for _, record in session.records()]
    return set(WORD.findall(b"\n".join([*stored, msgspec.json.encode(session.header)]).decode()))


def words_in(*objects: dict[str, Any]) -> set[str]:
    return set(WORD.findall(json.dumps(objects)))


@pytest.mark.parametrize("name", FORMATS)
def test_a_sample_is_recognised_and_sound(name: str, tmp_path: Path) -> None:
    """It is recognised by its content, every word of it is there, and nothing is wrong with it."""
    (tmp_path / "any").write_bytes(encoded(*SAMPLES[name]))
    session, report = read_foreign(tmp_path / "any")
    assert (name, []) == (report.format, [each.code for each in report.findings if each.severity != "info"])
    assert words_in(*SAMPLES[name]) == found_words(session)


@pytest.mark.parametrize("name", FORMATS)
def test_twice_adds_nothing(name: str, tmp_path: Path) -> None:
    """Not a byte."""
    (tmp_path / "any").write_bytes(encoded(*SAMPLES[name]))
    first = import_file(tmp_path / "any", tmp_path / "log")
    before = (tmp_path / "log").read_bytes()
    again = import_file(tmp_path / "any", tmp_path / "log")
    assert (0, first.written, before) == (again.written, again.already_there, (tmp_path / "log").read_bytes())


@pytest.mark.parametrize("name", FORMATS)
def test_growth_adds_the_new(name: str, tmp_path: Path) -> None:
    """Line by line or at once: the same entries, the same leaf, the same context; what was written stays."""
    lines, before = SAMPLES[name], b""
    for end in range(2, len(lines) + 1):
        (tmp_path / "any").write_bytes(encoded(*lines[:end]))
        import_file(tmp_path / "any", tmp_path / "log", durability="process")
        if (tmp_path / "log").exists():
            assert (tmp_path / "log").read_bytes().startswith(before)
            before = (tmp_path / "log").read_bytes()
    at_once, _ = read_foreign(tmp_path / "any")
    with Session.open(tmp_path / "log", mode="r", strict=True) as grown:
        known = {
            entry.id: (entry.type, entry.parent_id) for _, entry in at_once.records() if hasattr(entry, "parent_id")
        }
        assert known == {
            entry.id: (entry.type, entry.parent_id) for _, entry in grown.records() if hasattr(entry, "parent_id")
        }
        assert (at_once.leaf_id, at_once.name, at_once.labels) == (grown.leaf_id, grown.name, grown.labels)
        assert at_once.build_context().messages == grown.build_context().messages


@st.composite
def damages(draw: st.DrawFn) -> tuple[str, bytes, set[str]]:
    """A sample with damage in some lines after the first two, and the words it still must have."""
    name = draw(st.sampled_from(FORMATS))
    lines = [encoded(line) for line in SAMPLES[name]]
    hit = draw(st.sets(st.integers(2, len(lines) - 1), min_size=1, max_size=4))
    for number in hit:
        data = lines[number][:-1]
        at = draw(st.integers(0, len(data) - 1))
        until = draw(st.integers(at, min(len(data), at + 40)))
        lines[number] = data[:at] + draw(st.binary(max_size=8)).replace(b"\n", b"") + data[until:] + b"\n"
    whole = [line for number, line in enumerate(SAMPLES[name]) if number not in hit]
    return name, b"".join(lines), words_in(*whole)


@given(damages())
def test_damage_costs_what_it_hit(damaged: tuple[str, bytes, set[str]]) -> None:
    """Bytes that changed raise nothing, and every whole line is there."""
    name, data, expected = damaged
    with tempfile.TemporaryDirectory() as directory:
        source = Path(directory, "any")
        source.write_bytes(data)
        session, report = read_foreign(source)
    assert name == report.format
    assert expected <= found_words(session)


@given(st.sampled_from(FORMATS), st.data())
def test_any_bytes_raise_nothing_undocumented(name: str, data: st.DataObject) -> None:
    """Also where the first line is hit, or lines are doubled, dropped and moved."""
    lines = [encoded(line) for line in SAMPLES[name]]
    chosen: list[bytes] = data.draw(st.lists(st.sampled_from(lines), max_size=12))
    is_hit: bool = data.draw(st.booleans())
    if chosen and is_hit:
        at = data.draw(st.integers(0, len(chosen[0]) - 1))
        chosen[0] = chosen[0][:at] + data.draw(st.binary(max_size=4)) + chosen[0][at + 1 :]
    with tempfile.TemporaryDirectory() as directory:
        source = Path(directory, "any")
        source.write_bytes(b"".join(chosen))
        try:
            first = import_file(source, Path(directory, "log"), durability="process")
        except NotALog:
            return
        again = import_file(source, Path(directory, "log"), durability="process")
    assert (0, first.written) == (again.written, again.already_there)


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 5),
    st.text(max_size=3),
    st.builds(list),
    st.builds(dict),
    st.lists(st.just(1), min_size=1),
)


@given(st.sampled_from(FORMATS), st.data())
def test_values_of_any_type_raise_nothing(name: str, data: st.DataObject) -> None:
    """A field, at any depth, that holds something else than it should is no reason to fail."""
    lines: list[Any] = json.loads(json.dumps(SAMPLES[name]))
    for _ in range(data.draw(st.integers(1, 4))):
        inside = lines[data.draw(st.integers(0, len(lines) - 1))]
        while True:
            key = data.draw(st.sampled_from(sorted(inside) if isinstance(inside, dict) else range(len(inside))))
            if not isinstance(inside[key], dict | list) or not inside[key] or data.draw(st.booleans()):
                inside[key] = data.draw(VALUES)
                break
            inside = inside[key]
        if not all(lines):
            break
    with tempfile.TemporaryDirectory() as directory:
        source = Path(directory, "any")
        source.write_bytes(encoded(*lines))
        try:
            session, _ = read_foreign(source)
        except NotALog:
            return
    assert session.leaf_id is not None or not list(session.records())
