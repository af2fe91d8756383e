"""Listing the sessions of a source, and reading them: in any order, and no source is parsed twice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from foreign import CLAUDE, CODEX, GEMINI, KIT, PI, claude_said, codex_said, encoded, gemini_said, kit_said, pi_said
from foreign_stores import all_sessions, source_of, write_json
from test_formats_exports import SAMPLES
from test_formats_stores_laws import CHECKPOINT, NAMES, sources

from convtree import SessionNotFound, SeveralSessions
from convtree._formats.common import json_arrays, jsonl
from convtree._formats.common.base import Format, Source
from convtree._formats.registry import FORMATS
from convtree.exchange import import_file, list_foreign, read_foreign

FORM = {form.NAME: form for form in FORMATS}
MANY = 2000
LONG = {
    "pi": encoded(PI[0], *(pi_said(f"n{at}", None, "hello") for at in range(MANY))),
    "kit": encoded(KIT[0], *(kit_said(f"n{at}", None, "hello") for at in range(MANY))),
    "claude-code": encoded(CLAUDE[0], *(claude_said(f"n{at}", None, "hello") for at in range(MANY))),
    "codex": encoded(CODEX[0], *(codex_said("user", "hello") for _ in range(MANY))),
    "gemini-cli": encoded(GEMINI[0], *(gemini_said(f"n{at}", "hello") for at in range(MANY))),
    "gemini-checkpoint": json.dumps(CHECKPOINT * MANY).encode(),
    "chatgpt": json.dumps(SAMPLES["chatgpt"][1] * 20).encode(),
    "claude_ai": json.dumps(SAMPLES["claude_ai"][1] * 100).encode(),
    "openwebui": json.dumps(SAMPLES["openwebui"][1] * 20).encode(),
    "librechat": json.dumps(SAMPLES["librechat"][1]).encode(),
}
DOCUMENTS = {
    "gemini-checkpoint": json.dumps({"history": CHECKPOINT * MANY, "more": 1}).encode(),
    "gemini-cli": json.dumps(GEMINI[0] | {"messages": GEMINI[1:2] * MANY}, indent=1).encode(),
    "codex": json.dumps({"session": {"id": "x"}, "items": [CODEX[1]["payload"]] * MANY}, indent=1).encode(),
}


@pytest.mark.parametrize(("name", "data"), [*LONG.items(), *DOCUMENTS.items()])
def test_no_source_is_parsed_twice(name: str, data: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Listing may look at the beginning of a file of lines; what it parses of a document or an array, it hands on."""
    path = tmp_path / "any"
    path.write_bytes(data)
    source = source_of(path)
    assert FORM[name].recognises(source)
    parsed = 0
    for module in (json_arrays, jsonl):

        def counted(text: bytes, *arguments: Any, of: Any = module.parse, **more: Any) -> Any:
            nonlocal parsed
            parsed += len(text)
            return of(text, *arguments, **more)

        monkeypatch.setattr(module, "parse", counted)
    with source:
        assert sum(len(list(each.records)) for each in all_sessions(FORM[name], source)) > 0
    assert len(data) * 0.9 < parsed < len(data) * 1.1 + 10


@pytest.mark.parametrize("name", NAMES)
def test_sessions_are_read_in_any_order_and_again(name: str, tmp_path: Path) -> None:
    form, path = sources(tmp_path / "samples")[name]
    with source_of(path) as source:
        refs = list(form.sessions(source))
        first, again = (
            {ref.id: (read.header, list(read.records)) for ref in order for read in [form.read(source, ref)]}
            for order in (refs, refs[::-1])
        )
    assert first == again
    assert [header.id for header, _ in first.values()] == [ref.id for ref in refs]


@pytest.mark.parametrize("name", ["pi", "kit"])
def test_a_file_of_one_session_is_listed_by_its_beginning(name: str, tmp_path: Path) -> None:
    """The file itself is not opened."""
    gone = Source(tmp_path / "gone", LONG[name])
    assert [ref.id for ref in FORM[name].sessions(gone)] == [{"pi": PI, "kit": KIT}[name][0]["id"]]


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    """An export with one conversation and an item that is none."""
    form: Format = SAMPLES["chatgpt"][0]
    path = write_json(tmp_path / "export.json", [*SAMPLES["chatgpt"][1], {"other": 1}])
    assert form.recognises(source_of(path))
    return path


def test_problems_outside_of_the_only_session_are_in_its_report(damaged: Path, tmp_path: Path) -> None:
    """They do not make the file one of several sessions."""
    report = import_file(damaged, tmp_path / "log")
    assert (report.session_id, [finding.code for finding in report.findings]) == ("c", ["source_bad_record"])
    session, report = read_foreign(damaged)
    assert (session.id, [finding.code for finding in report.findings]) == ("c", ["source_bad_record"])


def test_problems_without_a_session_are_reported(tmp_path: Path) -> None:
    """The report has no records, and the session that it names is empty."""
    path = write_json(tmp_path / "export.json", {"title": 1, "mapping": []})
    session, report = read_foreign(path)
    assert (report.written, session.leaf_id, [each.code for each in report.findings]) == (
        0,
        None,
        ["source_bad_record"],
    )
    assert import_file(path, tmp_path / "log").findings == report.findings
    assert [each.messages for each in list_foreign(path)] == [0]


def test_a_session_is_chosen_among_several_files(tmp_path: Path) -> None:
    """Without a choice the error names them all."""
    for number in range(3):
        (tmp_path / f"{number}").write_bytes(encoded(PI[0] | {"id": f"p{number}"}, PI[1]))
    session, report = read_foreign(tmp_path, session_id="p1")
    assert (session.id, report.source) == ("p1", str(tmp_path / "1"))
    with pytest.raises(SeveralSessions) as caught:
        read_foreign(tmp_path)
    assert caught.value.ids == ("p0", "p1", "p2")
    with pytest.raises(SessionNotFound, match="it has p0, p1, p2"):
        read_foreign(tmp_path, session_id="p3")
