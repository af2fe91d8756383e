"""Out to Codex: what it reads of an exported path, and that a way there and back loses nothing of it.

What Codex does with a rollout was seen in what it sends: the items in their order, from the last `compacted` line on
what its `replacement_history` holds; a message needs its type and a list of blocks; lines of unknown types are passed
over.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from exported import PIXEL, asked, chat_session, exported, read_back, said, sessions
from foreign import CODEX, SAMPLES, encoded
from hypothesis import given

from convtree import (
    BranchSummaryEntry,
    CompactionEntry,
    ExtensionDataEntry,
    MessageEntry,
    ModelChangeEntry,
    Session,
)
from convtree._model.entries import Entry
from convtree._model.usage import Usage, usage_of, usage_stored_in
from convtree.exchange import export_file, read_foreign

Fields = dict[str, Any]


def paid(session: Session) -> Usage:
    """The sum of all usage."""
    entries = (entry for _, entry in session.records() if isinstance(entry, Entry))
    return sum((usage_of(usage_stored_in(entry) or {}) for entry in entries), Usage())


def resumed(lines: list[Fields]) -> list[tuple[str, Any]]:
    """What Codex sends of a rollout: role or type, and content, of each item."""
    items: list[Fields] = []
    for each in lines:
        if each["type"] == "compacted":
            items = list(each["payload"]["replacement_history"])
        elif each["type"] == "response_item":
            items.append(each["payload"])
    assert all(isinstance(each["content"], list) for each in items if each["type"] == "message")
    return [(each.get("role") or each["type"], each.get("content") or each.get("output")) for each in items]


def kind_of(entry: Entry) -> str | None:
    """The type of an entry with data of an extension."""
    return entry.ext_type if isinstance(entry, ExtensionDataEntry) else None


def text(words: str, kind: str = "input_text") -> list[Fields]:
    """The content of a message."""
    return [{"type": kind, "text": words}]


def test_a_conversation_of_another_provider_is_in_items(tmp_path: Path) -> None:
    """The prompt as the developer's, results behind their calls, a picture; the other branch is named and left out."""
    session = chat_session()
    assert resumed(exported(session, "codex")) == [
        ("developer", text("Be brief")),
        ("user", text("Look")),
        ("assistant", text("I look", "output_text")),
        ("function_call", None),
        ("function_call", None),
        ("function_call_output", "a.txt"),
        ("function_call_output", "/"),
        ("assistant", text("Done", "output_text")),
        (
            "user",
            [
                *text("And this?"),
                {"type": "input_image", "image_url": f"data:image/png;base64,{PIXEL}", "detail": "auto"},
            ],
        ),
        ("assistant", text("One pixel", "output_text")),
    ]
    session.rename("A trip")
    session.label(session.path()[0], "start")
    findings = export_file(session, tmp_path, "codex")
    assert [path.name for path in tmp_path.iterdir()] == [
        f"rollout-{(session.header.timestamp or '')[:19].replace(':', '-')}-"
        + "-".join(session.id[a:b] for a, b in ((0, 8), (8, 12), (12, 16), (16, 20), (20, 32)))
        + ".jsonl"
    ]
    assert [(each.code, each.about) for each in findings] == [
        ("export_reworded", "system message, as the developer's"),
        ("export_left_out", "message of another branch"),
        ("export_left_out", "label start"),
        ("export_left_out", "name of the session, which Codex keeps in another file"),
    ]


def test_codex_is_given_what_it_shows() -> None:
    """The words of the user and of the model, and pictures; what only the model sees is not shown."""
    session = chat_session()
    session.append({"role": "user", "content": "reminder"}, visible_to="model")
    shown = [each["payload"] for each in exported(session, "codex") if each["type"] == "event_msg"]
    picture = f"data:image/png;base64,{PIXEL}"
    assert shown == [
        {"type": "user_message", "message": "Look", "images": []},
        {"type": "agent_message", "message": "I look"},
        {"type": "agent_message", "message": "Done"},
        {"type": "user_message", "message": "And this?", "images": [picture]},
        {"type": "agent_message", "message": "One pixel"},
    ]


def test_usage_is_counted_as_codex_counts_it() -> None:
    """Cached tokens are part of the input; the sums go on from answer to answer."""
    with Session.memory() as session:
        used = {"input_tokens": 10, "cache_read_input_tokens": 5, "output_tokens": 2}
        for _ in range(2):
            session.append({"role": "assistant", "content": "a"}, usage=used, provider="anthropic", model="m")
        records = [each["payload"] for each in exported(session, "codex") if each["type"] == "token_usage_record"]
        assert (
            paid(read_back(session, "codex"))
            == paid(session)
            == Usage(input_tokens=20, cache_read_tokens=10, output_tokens=4)
        )
    counts = [(each["usage"]["input_tokens"], each["thread_token_usage"]["total_tokens"]) for each in records]
    assert (counts, records[0]["usage"]["cached_input_tokens"]) == ([(15, 17), (15, 34)], 5)


def test_what_codex_does_not_count_is_named(tmp_path: Path) -> None:
    """What an answer cost in money, and counts that nobody can read."""
    with Session.memory() as session:
        session.append({"role": "assistant", "content": "a"}, usage={"input_tokens": 1, "cost": 0.5})
        session.append({"role": "assistant", "content": "b"}, usage={"odd": 1})
        findings = export_file(session, tmp_path / "out", "codex")
    assert [each.about for each in findings] == ["cost of an answer", "usage in an unknown spelling"]


def test_a_compaction_is_followed_by_what_it_kept() -> None:
    """The summary, then the kept messages, which come back as new entries."""
    with Session.memory() as session:
        session.append({"role": "system", "content": "rules"})
        session.append({"role": "user", "content": "a"})
        kept = session.append({"role": "user", "content": "b"})
        session.append(CompactionEntry(summary="S", first_kept_entry_id=kept.id, tokens_before=7, details={"x": 1}))
        session.append({"role": "user", "content": "c"})
        summary = (
            "This conversation began earlier. Summary of the part that is not shown any more:"
            "\n\n<summary>\nS\n</summary>"
        )
        assert resumed(exported(session, "codex")) == [
            ("developer", text("rules")),
            ("user", text(summary)),
            ("user", text("b")),
            ("user", text("c")),
        ]
        again = read_back(session, "codex")
        assert sorted(said(again)) == sorted(said(session))
    (compaction,) = (each for each in again.path() if isinstance(each, CompactionEntry))
    assert (compaction.summary, compaction.tokens_before, compaction.details) == ("S", 7, {"x": 1})


def test_a_result_that_came_late_stands_behind_its_call() -> None:
    """As in the request; what stood between them follows."""
    asked = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    with Session.memory() as session:
        session.append({"role": "assistant", "content": None, "tool_calls": [asked]})
        session.append({"role": "user", "content": "wait"})
        session.append(ExtensionDataEntry(ext_type="app.x", data=1))
        session.append({"role": "tool", "tool_call_id": "c", "content": "late"})
        lines = exported(session, "codex")
    assert [kind for kind, _ in resumed(lines)] == ["function_call", "function_call_output", "user"]


def test_what_codex_has_no_line_for_comes_back() -> None:
    """Hidden messages, data, summaries of branches, the model and its settings; and who sees what."""
    entries = [
        MessageEntry(message={"role": "user", "content": "half"}, visible_to="user"),
        MessageEntry(message={"role": "user", "content": "reminder"}, visible_to="model"),
        MessageEntry(message={"role": "user", "content": "# AGENTS.md instructions of a person"}),
        MessageEntry(message={"role": "assistant", "content": "x"}, provider="p", model="m", status="interrupted"),
        BranchSummaryEntry(from_id=None, summary="B"),
        BranchSummaryEntry(from_id=None, summary=""),
        ModelChangeEntry(provider=None, model="n", settings={"thinkingLevel": "high"}),
        ModelChangeEntry(provider="q", model="o"),
        ExtensionDataEntry(ext_type="app.x", data={"n": 1}),
    ]
    with Session.memory() as session:
        for entry in entries:
            session.append(entry)
        back = [each for each in read_back(session, "codex").path() if not str(kind_of(each)).startswith("codex.")]
    names = ("visible_to", "provider", "model", "status", "summary", "settings", "ext_type", "data")
    assert [type(each) for each in entries] == [type(each) for each in back]
    assert [[getattr(each, name, None) for name in names] for each in entries] == [
        [getattr(each, name, None) for name in names] for each in back
    ]


def test_codex_gets_its_own_lines_back(tmp_path: Path) -> None:
    """Every line of the path, with what Codex keeps beside an item."""
    (tmp_path / "source").write_bytes(encoded(*CODEX))
    session, _ = read_foreign(tmp_path / "source")
    back = exported(session, "codex")
    assert [each["payload"] for each in back if each["type"] == "response_item"] == [
        entry.message | ((entry.extra or {}).get("item") or {})
        for entry in session.path()
        if isinstance(entry, MessageEntry)
    ]
    again = read_back(session, "codex")
    assert said(again) == said(session)
    assert [each["type"] for each in exported(again, "codex")] == [each["type"] for each in back]


def test_a_fork_is_a_session_of_its_own(tmp_path: Path) -> None:
    """It has another id, and does not continue a file."""
    meta = CODEX[0] | {"payload": CODEX[0]["payload"] | {"history_base": {"thread_id": "x"}}}
    (tmp_path / "source").write_bytes(encoded(meta, *CODEX[1:]))
    session, _ = read_foreign(tmp_path / "source")
    with session.fork(tmp_path / "fork.jsonl") as fork:
        payload = exported(fork, "codex")[0]["payload"]
    assert payload["id"] != exported(session, "codex")[0]["payload"]["id"]
    assert "history_base" not in payload


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_every_import_can_go_out_to_codex(name: str, tmp_path: Path) -> None:
    """And comes back saying the same."""
    (tmp_path / "source").write_bytes(encoded(*SAMPLES[name]))
    session, _ = read_foreign(tmp_path / "source")
    assert sorted(said(read_back(session, "codex"))) == sorted(said(session))


@given(sessions())
def test_any_path_comes_back(session: Session) -> None:
    """The request for it says the same, to the same model, and the answers cost the same."""
    again = read_back(session, "codex")
    assert asked(again) == asked(session) == asked(read_back(again, "codex"))
    mine, theirs = session.build_context(), again.build_context()
    assert (mine.model, mine.settings) == (theirs.model, theirs.settings)
    counted = [entry.usage for entry in session.path() if isinstance(entry, MessageEntry) and entry.usage]
    shown = {entry.id for entry in mine.entries}
    if all(entry.id in shown for entry in session.path() if isinstance(entry, MessageEntry)):
        records = [each for each in exported(session, "codex") if each["type"] == "token_usage_record"]
        assert len(records) == len(counted)
