"""Going out: what pi and kit read of an exported session, and that a way there and back loses nothing."""

from __future__ import annotations

import json
import tempfile
import zlib
from collections.abc import Mapping
from datetime import timedelta, timezone
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from foreign import (
    CLAUDE,
    CODEX,
    GEMINI,
    KIT,
    PI,
    SAMPLES,
    TIME,
    encoded,
    kit_compacted,
    kit_line,
    kit_said,
    pi_line,
    pi_said,
)
from helpers import without_times
from hypothesis import given
from hypothesis import strategies as st

from convtree import (
    BranchSummaryEntry,
    BrokenPath,
    CompactionEntry,
    ExtensionDataEntry,
    MessageEntry,
    ModelChangeEntry,
    Session,
    SessionExists,
)
from convtree._engine import codec
from convtree._messages.custom import CUSTOM
from convtree._model.entries import Entry
from convtree.exchange import export_file, export_lines, read_foreign

Fields = dict[str, Any]


def exported(session: Session, format: str) -> list[Fields]:
    """The lines of an exported session."""
    return [json.loads(line) for line in b"".join(export_lines(session, format)).splitlines()]


def opened(directory: Path, *lines: Fields) -> Session:
    """A session of another tool."""
    (directory / "source").write_bytes(encoded(*lines))
    return read_foreign(directory / "source")[0]


# --- what the tools read, in the words of their documentation ---


def kit_context(lines: list[Fields]) -> tuple[list[Any], str, str]:
    """What kit's BuildContext makes of a file (systems.md 1.2): messages, provider, model."""
    entries = lines[1:]
    index = {each["id"]: each for each in entries if each["type"] != "system_prompt"}
    branch: list[Fields] = []
    at = None if entries[-1]["type"] == "system_prompt" else index.get(entries[-1]["id"])
    while at is not None and at not in branch:
        branch.append(at)
        at = index.get(at.get("parent_id"))
    branch.reverse()
    last = max((n for n, each in enumerate(branch) if each["type"] == "compaction"), default=None)
    shown, chosen = [], branch
    if last is not None:
        shown = [("summary", branch[last]["summary"])]
        kept: list[Fields] = []
        if first := branch[last]["first_kept_entry_id"]:
            order = [each["id"] for each in entries]
            kept = entries[order.index(first) : order.index(branch[last]["id"])]
        chosen = [*kept, *branch[last + 1 :]]
    provider = model = ""
    for each in chosen:
        if each["type"] == "message":
            shown.append((each["role"], each["parts"]))
        elif each["type"] == "branch_summary" and each["summary"]:
            shown.append(("branch", each["summary"]))
        elif each["type"] == "model_change":
            provider, model = each["provider"], each["model_id"]
    return shown, provider, model


def pi_context(lines: list[Fields]) -> tuple[list[Any], Any, Any]:
    """What pi's buildSessionContext makes of a file (formats.md 1.5): messages, model, thinking level."""
    entries = {each["id"]: each for each in lines[1:]}
    path: list[Fields] = []
    at: Fields | None = lines[-1]
    while at is not None:
        path.append(at)
        at = entries.get(at["parentId"])
    path.reverse()
    model, level, at_compaction = None, "off", None
    for number, each in enumerate(path):
        message = each.get("message") or {}
        match each["type"]:
            case "thinking_level_change":
                level = each["thinkingLevel"]
            case "model_change":
                model = each["provider"], each["modelId"]
            case "message" if message.get("role") == "assistant":
                model = message["provider"], message["model"]
            case "compaction":
                at_compaction = number
    shown, chosen = list[Any](), path
    if at_compaction is not None:
        compaction, before = path[at_compaction], path[:at_compaction]
        shown = [("summary", compaction["summary"])]
        ids = [each["id"] for each in before]
        first = compaction["firstKeptEntryId"]
        kept = before[ids.index(first) :] if first in ids else []
        chosen = [*kept, *path[at_compaction + 1 :]]
    for each in chosen:
        if each["type"] == "message":
            shown.append(each["message"])
        elif each["type"] == "custom_message":
            shown.append(("custom", each["content"]))
        elif each["type"] == "branch_summary" and each["summary"]:
            shown.append(("branch", each["summary"]))
    return shown, model, level


def our_texts(session: Session) -> list[str]:
    """What our context says, a message or a summary each."""
    entries = session.build_context().entries
    return [entry.text if isinstance(entry, MessageEntry) else getattr(entry, "summary", "") for entry in entries]


def texts(shown: list[Any]) -> list[str]:
    """The same of what a tool shows."""
    return [_text(each) for each in shown]


def _text(shown: Any) -> str:
    if isinstance(shown, Mapping) and shown["role"] == "toolResult":
        return ""
    said: Any = shown.get("content") if isinstance(shown, Mapping) else shown[1]
    if isinstance(said, str):
        return said
    return "\n".join(part.get("text") or part.get("data", {}).get("text", "") for part in said).strip("\n")


# --- there and back ---


def test_pi_comes_back_as_it_was(tmp_path: Path) -> None:
    """Every node with its type, parent and message; the last line is the leaf; pi sees the same."""
    lines = exported(opened(tmp_path, *PI), "pi")
    strip = {"timestamp"}
    assert [{k: v for k, v in each.items() if k not in strip} for each in PI] == [
        {k: v for k, v in each.items() if k not in strip} for each in lines
    ]
    assert pi_context(PI) == pi_context(lines)


def test_pi_gets_back_what_it_said_of_a_summary(tmp_path: Path) -> None:
    """Usage, hook and system message of a compaction, as they stood; the system prompt is not in the summary, too."""
    system = {"role": "system", "content": "rules", "sections": {"a": "x"}, "timestamp": 1}
    named = {"systemMessage": system | {"timestamp": 2}, "fromHook": True, "usage": {"input": 1}}
    lines = [
        PI[0],
        pi_line("message", "1", None, message=system),
        pi_said("2", "1", "a"),
        pi_line("compaction", "3", "2", summary="S", firstKeptEntryId="2", tokensBefore=9, **named),
        pi_line("branch_summary", "4", "3", fromId="2", summary="B", details={"readFiles": []}, fromHook=True),
        pi_line("branch_summary", "5", "4", fromId="2", summary="B", usage={"odd": 1}, model="m"),
        pi_line("branch_summary", "6", "5", fromId="2", summary="B", usage={}),
    ]
    back = exported(opened(tmp_path, *lines), "pi")
    assert [each | {"timestamp": None} for each in lines] == [each | {"timestamp": None} for each in back]


def test_pi_is_told_what_a_summary_cost(tmp_path: Path) -> None:
    """In its own spelling, also in a session that began in pi."""
    cost = {"input_tokens": 5, "cache_read_input_tokens": 7, "output_tokens": 2, "cost": 0.5}
    note = CompactionEntry(summary="S", first_kept_entry_id=None, usage=cost, provider="q", model="small")
    told = {
        "input": 5,
        "output": 2,
        "cacheRead": 7,
        "cacheWrite": 0,
        "totalTokens": 14,
        "cost": {"input": 0, "output": 0, "cacheRead": 0, "cacheWrite": 0, "total": 0.5},
    }
    with Session.memory() as ours:
        ours.append({"role": "user", "content": "a"})
        for session in (ours, opened(tmp_path, PI[0], pi_said("1", None, "a"))):
            session.append(note)
            session.append(BranchSummaryEntry(from_id=None, summary="B", usage={"odd": 1}))
            compaction, summary = exported(session, "pi")[-2:]
            assert (compaction["usage"], compaction["provider"], compaction["model"]) == (told, "q", "small")
            assert summary.get("usage") == (None if session is ours else {"odd": 1})


def test_pi_is_given_its_system_prompt_at_a_compaction_of_ours(tmp_path: Path) -> None:
    """Behind a compaction pi leaves its system messages out and shows what the entry says they come to."""
    first = {"role": "system", "content": "one", "sections": {"a": "1", "b": "2"}, "toolsAdded": [{"name": "x"}]}
    more = {"role": "system", "content": "two", "sections": {"a": None, "c": "3"}, "toolsAdded": [{"name": "y"}]}
    lines = [
        PI[0],
        pi_line("message", "1", None, message=first | {"timestamp": 1}),
        pi_said("2", "1", "a"),
        pi_line("message", "3", "2", message=more | {"toolsRemoved": [{"name": "x"}], "timestamp": 2}),
    ]
    session = opened(tmp_path, *lines)
    session.append(CompactionEntry(summary="S", first_kept_entry_id="3"))
    compaction = exported(session, "pi")[-1]
    assert compaction["systemMessage"] == {
        "role": "system",
        "content": "one\n\ntwo",
        "sections": {"b": "2", "c": "3"},
        "toolsAdded": [{"name": "y"}],
        "timestamp": compaction["systemMessage"]["timestamp"],
    }
    assert compaction["summary"] == "S"


def test_data_that_looks_like_a_line_of_pi_is_only_data() -> None:
    """Nothing of it gets into pi's context, or in the way of the line's own id and parent."""
    message = {"role": "user", "content": "LEAK", "timestamp": 1}
    with Session.memory(id="s") as session:
        session.append({"role": "user", "content": "a"})
        session.append(ExtensionDataEntry(ext_type="pi.message", data={"message": message}))
        session.append(ExtensionDataEntry(ext_type="pi.compaction", data={"firstKeptEntryId": "x"}))
        session.append(ExtensionDataEntry(ext_type="pi.future", data={"id": "x", "parentId": None, "type": "message"}))
        session.append(ExtensionDataEntry(ext_type="pi.thinking_level_change", data="high"))
        lines = exported(session, "pi")
        ids = [entry.id for entry in session.path()]
    assert [each["type"] for each in lines[1:]] == ["message", "custom", "custom", "future", "custom"]
    assert [(None, ids[0]), *pairwise(ids)] == [(each["parentId"], each["id"]) for each in lines[1:]]
    assert texts(pi_context(lines)[0]) == ["a"]


def test_pi_is_told_the_model_of_what_it_does_not_show() -> None:
    """A model that a hidden message or a user's names, and a level that a change takes back."""
    with Session.memory() as session:
        session.append({"role": "assistant", "content": "half"}, provider="p", model="m", visible_to="user")
        assert pi_context(exported(session, "pi")) == ([], ("p", "m"), "off")
        session.append({"role": "user", "content": "a"}, model="n")
        assert pi_context(exported(session, "pi"))[1] == ("unknown", "n")
        session.append(ModelChangeEntry(provider="q", model="o", settings={"thinkingLevel": "high"}))
        session.append(ModelChangeEntry(provider="q", model="o"))
        assert pi_context(exported(session, "pi"))[1:] == (("q", "o"), "high")
        session.append(ModelChangeEntry(provider="q", model="o", settings={"t": 1}))
        assert pi_context(exported(session, "pi"))[1:] == (("q", "o"), "off")


def test_kit_comes_back_as_it_was(tmp_path: Path) -> None:
    """Every node with its type, parent and parts, the compaction apart; kit sees the same."""
    lines = exported(opened(tmp_path, *KIT), "kit")
    assert [each | {"timestamp": None} for each in KIT] == [each | {"timestamp": None} for each in lines]
    assert kit_context(KIT) == kit_context(lines)


def test_kit_keeps_the_side_branches_that_it_kept(tmp_path: Path) -> None:
    """What kit shows besides the path is reported, not shown here, and shown by kit again."""
    lines = [
        KIT[0],
        kit_said("1", None, "a"),
        kit_said("2", "1", "b"),
        kit_said("3", "1", "aside"),
        kit_said("4", "2", "c"),
        kit_compacted("5", "S", "2"),
        kit_said("6", "5", "d"),
    ]
    (tmp_path / "source").write_bytes(encoded(*lines))
    session, report = read_foreign(tmp_path / "source")
    assert [(each.code, each.entry_id) for each in report.findings] == [("source_unsupported", "5")]
    assert our_texts(session) == ["S", "b", "c", "d"]
    back = exported(session, "kit")
    assert texts(kit_context(back)[0]) == texts(kit_context(lines)[0]) == ["S", "b", "aside", "c", "d"]
    session.append(CompactionEntry(summary="T", first_kept_entry_id="2"))
    assert texts(kit_context(exported(session, "kit"))[0]) == our_texts(session) == ["T", "b", "c", "d"]


def test_entries_hidden_in_kit_need_no_reordering(tmp_path: Path) -> None:
    """A label on a side branch, among what a compaction keeps, is no reason to move anything."""
    aside = kit_line("label", "3", "1", target_id="1", label="x")
    lines = [KIT[0], kit_said("1", None, "a"), kit_said("2", "1", "b"), aside, kit_said("4", "2", "c")]
    lines += [kit_compacted("5", "S", "2"), kit_said("6", "5", "d")]
    back = exported(opened(tmp_path, *lines), "kit")
    assert [each["id"] for each in lines] == [each["id"] for each in back]


def test_kit_gets_back_what_was_not_finished(tmp_path: Path) -> None:
    """An output that broke off is a line of kit's own, which its model does not see."""
    unfinished = kit_line("incomplete_output", "2", "1", attempt_id="x", text="half", incomplete=True)
    lines = [KIT[0], kit_said("1", None, "a"), unfinished, kit_said("3", "2", "b")]
    session = opened(tmp_path, *lines)
    assert our_texts(session) == ["a", "b"]
    back = exported(session, "kit")
    assert [each | {"timestamp": None} for each in lines] == [each | {"timestamp": None} for each in back]


def test_kit_can_open_whatever_data_there_is() -> None:
    """One field of another type than kit wants would keep the whole file from opening, so that is only data."""
    with Session.memory(id="s") as session:
        session.append(ExtensionDataEntry(ext_type="kit.label", data={"target_id": 5, "label": "x"}))
        session.append(ExtensionDataEntry(ext_type="kit.session_info", data={"name": ["x"]}))
        session.append(ExtensionDataEntry(ext_type="kit.incomplete_output", data={"text": "x", "incomplete": "yes"}))
        session.append(ExtensionDataEntry(ext_type="kit.label", data={"id": "x", "target_id": "y", "label": "z"}))
        message = {"role": "user", "parts": [{"type": "text", "data": {"text": "a"}}], "id": "x", "parent_id": 1}
        session.append(MessageEntry(message=message, shape="kit.message"))
        lines = exported(session, "kit")
        ids = [entry.id for entry in session.path()]
    assert [*["extension_data"] * 3, "label", "message"] == [each["type"] for each in lines[1:]]
    assert [(None, ids[0]), *pairwise(ids)] == [(each.get("parent_id"), each["id"]) for each in lines[1:]]


def test_kit_is_given_no_image_that_it_cannot_read() -> None:
    """For one it would leave out the whole message."""
    images = [{"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}} for data in ("AQID", "A-_")]
    with Session.memory() as session:
        session.append({"role": "user", "content": [{"type": "text", "text": "look"}, *images]})
        (message,) = exported(session, "kit")[1:]
    assert message["parts"] == [
        {"type": "text", "data": {"text": "look"}},
        {"type": "image", "data": {"data": "AQID", "media_type": "image/png"}},
        {"type": "text", "data": {"text": "[image/png: unreadable]"}},
    ]


@pytest.mark.parametrize("name", sorted(SAMPLES))
@pytest.mark.parametrize("format", ["pi", "kit"])
def test_an_export_can_be_imported_again(name: str, format: str, tmp_path: Path) -> None:
    """Our own importer takes it without a word, and the context says the same."""
    session = opened(tmp_path, *SAMPLES[name])
    export_file(session, tmp_path / "out", format)
    again, report = read_foreign(tmp_path / "out")
    assert (format, []) == (report.format, [each.code for each in report.findings if each.severity != "info"])
    said = [text for text in our_texts(session) if text]
    assert said == [text for text in our_texts(again) if text]
    context = kit_context if format == "kit" else pi_context
    assert said == [text for text in texts(context(exported(session, format))[0]) if text]


@pytest.mark.parametrize("format", ["pi", "kit"])
def test_a_fork_is_not_the_session_it_comes_from(format: str, tmp_path: Path) -> None:
    """It has an id of its own there, too; in kit it names its parent."""
    source = opened(tmp_path, *((PI[0] | {"parentSession": "/p"}, *PI[1:]) if format == "pi" else KIT))
    with source.fork(tmp_path / "fork.jsonl") as fork:
        header = exported(fork, format)[0]
        assert header["id"] == fork.id != source.id
        assert header.get("parentSession") is None
        assert header.get("parent_session_id") == (source.id if format == "kit" else None)
        assert our_texts(fork) == our_texts(source)


# --- the rules of the tools ---


def test_side_branches_do_not_leak_into_what_kit_keeps() -> None:
    """kit keeps what stands between two lines of the file, so nothing else may stand there."""
    with Session.memory(id="s") as session:
        first = session.append({"role": "user", "content": "a"})
        kept = session.append({"role": "user", "content": "b"})
        session.append({"role": "user", "content": "aside"}, parent_id=first.id)
        session.branch(kept.id)
        session.append({"role": "user", "content": "c"})
        session.append(CompactionEntry(summary="S", first_kept_entry_id=kept.id))
        session.append({"role": "user", "content": "below"}, parent_id=kept.id)
        session.branch(session.tip(session.path(kept.id)[-1].id))
        session.branch(next(entry.id for entry in session.leaves() if isinstance(entry, CompactionEntry)))
        lines = exported(session, "kit")
        assert our_texts(session) == texts(kit_context(lines)[0]) == ["S", "b", "c"]
        ids = {entry.id for _, entry in session.records() if isinstance(entry, Entry)}
        assert ids <= {each["id"] for each in lines}


@pytest.mark.parametrize("format", ["pi", "kit"])
def test_the_leaf_is_where_it_was(format: str) -> None:
    """On another branch than the last entry's, on an inner entry, and before the first."""
    context = kit_context if format == "kit" else pi_context
    with Session.memory() as session:
        first = session.append({"role": "user", "content": "a"})
        second = session.append({"role": "user", "content": "b"})
        session.append({"role": "user", "content": "c"}, parent_id=first.id)
        for leaf, expected in ((second.id, ["a", "b"]), (first.id, ["a"]), (None, [])):
            session.branch(leaf)
            assert expected == texts(context(exported(session, format))[0])


def test_kit_is_told_the_model_it_would_not_find() -> None:
    """kit looks at model changes only, and after a compaction not at those before."""
    with Session.memory() as session:
        session.append({"role": "user", "content": "a"})
        session.append({"role": "assistant", "content": "b"}, provider="p", model="m")
        assert kit_context(exported(session, "kit"))[1:] == ("p", "m")
        session.append(ModelChangeEntry(provider="q", model="n"))
        session.append(CompactionEntry(summary="S", first_kept_entry_id=None))
        assert kit_context(exported(session, "kit"))[1:] == ("q", "n")


def test_kit_is_told_the_model_of_what_was_said_since(tmp_path: Path) -> None:
    """What came from kit says it as kit does; what was added here names its model as all do."""
    lines = [KIT[0], kit_said("1", None, "a"), kit_said("2", "1", "b", "assistant", model="m", provider="p")]
    session = opened(tmp_path, *lines)
    assert kit_context(exported(session, "kit"))[1:] == ("", "")
    session.append({"role": "assistant", "content": "c"}, provider="q", model="n")
    assert kit_context(exported(session, "kit"))[1:] == ("q", "n")


def test_pi_is_told_the_model_of_every_answer() -> None:
    """An answer of a model that is not named is the current one's; a level comes with it."""
    with Session.memory() as session:
        session.append(ModelChangeEntry(provider="p", model="m", settings={"thinkingLevel": "high"}))
        session.append({"role": "assistant", "content": "b"})
        assert pi_context(exported(session, "pi"))[1:] == (("p", "m"), "high")


@pytest.mark.parametrize("format", ["pi", "kit"])
def test_hidden_messages_stay_hidden_and_pinned_ones_survive(format: str) -> None:
    """What is for the user only is data there; a system prompt stands in the summary that would lose it."""
    context = kit_context if format == "kit" else pi_context
    with Session.memory() as session:
        session.append({"role": "system", "content": "rules"})
        session.append({"role": "user", "content": "half"}, visible_to="user")
        session.append({"role": "user", "content": "a"})
        assert texts(context(exported(session, format))[0]) == ["rules", "a"]
        session.append(CompactionEntry(summary="S", first_kept_entry_id=None))
        assert texts(context(exported(session, format))[0]) == ["rules\n\nS"]


@pytest.mark.parametrize("format", ["pi", "kit"])
def test_marks_and_replacements_reach_the_tool(format: str) -> None:
    """It shows its model the same context, although it knows neither marks nor replaced messages."""
    context = kit_context if format == "kit" else pi_context
    with Session.memory() as session:
        rules = session.set_system("old rules")
        session.set_system("rules")
        hidden = session.append({"role": "user", "content": "secret"})
        shown = session.append({"role": "user", "content": "a"}, visible_to="user")
        calls = [{"id": f"t{n}", "type": "function", "function": {"name": "f", "arguments": "{}"}} for n in (1, 2)]
        asked = session.append({"role": "assistant", "content": None, "tool_calls": calls[:1]})
        session.append({"role": "tool", "tool_call_id": "t1", "content": "gone"})
        session.append({"role": "assistant", "content": None, "tool_calls": calls[1:]})
        result = session.append({"role": "tool", "tool_call_id": "t2", "content": "taken back"})
        end = session.append({"role": "user", "content": "z"})
        summary = session.branch(end.id, summary="elsewhere")
        assert summary is not None
        for entry in (hidden, asked, result, summary):
            session.hide(entry)
        session.show(shown)
        said = texts(context(exported(session, format))[0])
        assert [text for text in said if text] == ["rules", "a", "z"]
        data = b"".join(export_lines(session, format))
        assert (data.count(b'"t2"'), data.count(b'"hidden"'), b"taken back" in data) == (2, 1, False)
        session.append(CompactionEntry(summary="S", first_kept_entry_id=end.id))
        assert texts(context(exported(session, format))[0]) == ["rules\n\nS", "z"]
        assert session.entry(rules.id) == rules


def test_one_message_of_several_speakers_is_several_messages() -> None:
    """A call, its result and the answer stay in this order, and the tokens count once; a prompt stays the system's."""
    step = {"type": "tool-see", "toolCallId": "c", "state": "output-available", "input": {}, "output": "3"}
    prompt = [{"part_kind": "system-prompt", "content": "rules"}, {"part_kind": "user-prompt", "content": "why?"}]
    with Session.memory() as session:
        session.append(
            {"role": "assistant", "parts": [step, {"type": "text", "text": "yo"}]}, usage={"input_tokens": 3}
        )
        session.append({"kind": "request", "parts": prompt})
        session.append({"role": "user", "content": [{"type": "text", "text": "b"}, tool_result("c")]})
        pi, kit = exported(session, "pi")[1:], exported(session, "kit")[1:]
    asked, answered, said, rules, *rest = pi
    roles = [each["message"]["role"] for each in (asked, answered, said, *rest)]
    assert roles == ["assistant", "toolResult", "assistant", "user", "toolResult", "user"]
    assert [each["message"]["usage"]["input"] for each in (asked, said)] == [0, 3]
    assert [answered["message"][name] for name in ("toolCallId", "toolName")] == ["c", "see"]
    assert (rules["type"], rules["content"]) == ("custom_message", "rules")
    assert [each["role"] for each in kit] == ["assistant", "tool", "assistant", "system", "user", "tool", "user"]


def tool_result(id: str) -> Fields:
    """A result in Anthropic's shape."""
    return {"type": "tool_result", "tool_use_id": id, "content": "ok"}


@pytest.mark.parametrize("format", ["pi", "kit"])
def test_a_log_with_a_damaged_mark_is_not_exported_to_a_tool(format: str, tmp_path: Path) -> None:
    """The tool would show its model what the mark hid. A document for people is written, and says who sees what."""
    path = tmp_path / "log.jsonl"
    with Session.open(path) as session:
        session.hide(session.append({"role": "user", "content": "secret"}))
        assert b"## User, not for the model" in b"".join(export_lines(session, "markdown"))
    path.write_bytes(path.read_bytes().replace(b'"visible_to":"user"', b'"visible_to":"usex"'))
    with Session.open(path, mode="r") as session:
        with pytest.raises(BrokenPath, match="missing: line 3"):
            export_lines(session, format)
        assert b"secret" in b"".join(export_lines(session, "markdown"))


def test_tool_traffic_of_every_shape_is_in_the_words_of_the_tool(tmp_path: Path) -> None:
    """A call and its result, as pi and as kit write them."""
    for sample in (CLAUDE[:8], CODEX[:8], GEMINI[:4]):
        session = opened(tmp_path, *sample)
        said = [each["message"] for each in exported(session, "pi") if each["type"] == "message"]
        calls = [block for each in said if each["role"] == "assistant" for block in each["content"]]
        made = [block["id"] for block in calls if block["type"] == "toolCall"]
        answers = [(each["toolCallId"], each["toolName"]) for each in said if each["role"] == "toolResult"]
        assert made
        assert made == [id for id, _ in answers]
        assert all(name in ("read", "sh") for _, name in answers)
        parts = [part for each in exported(session, "kit") for part in each.get("parts", ())]
        assert [part["data"]["id"] for part in parts if part["type"] == "tool_call"] == made
        assert [part["data"]["tool_call_id"] for part in parts if part["type"] == "tool_result"] == made


def test_labels_and_a_name_go_out(tmp_path: Path) -> None:
    """Those that stand in the tree are not told again; one that was taken away is."""
    for format, sample in (("pi", PI), ("kit", KIT)):
        session = opened(tmp_path, *sample)
        target = next(iter(session.labels))
        session.rename("new")
        session.label(target, None)
        session.label(session.path()[0].id, "start")
        export_file(session, tmp_path / "out", format, replace=True)
        again, _ = read_foreign(tmp_path / "out")
        assert (again.name, again.labels) == ("new", session.labels)
        assert our_texts(again) == our_texts(session)


# --- documents ---


def test_the_json_document_has_everything(tmp_path: Path) -> None:
    """Entries in order, the path, the labels."""
    session = opened(tmp_path, *PI)
    document = json.loads(b"".join(export_lines(session, "json")))
    assert (document["schema"], document["id"], document["name"], document["leaf_id"]) == (
        "convtree.session",
        "p1",
        "w8",
        "ab",
    )
    assert [each["id"] for each in document["entries"]] == [line["id"] for line in PI[1:]]
    assert document["path"] == [entry.id for entry in session.path()]
    assert document["labels"] == {"a2": "w3"}
    assert json.loads(b"".join(export_lines(Session.memory(id="s"), "json")))["entries"] == []


def test_the_markdown_document_is_the_path_and_names_the_branches() -> None:
    """What a message says cannot look like a heading of the document, or be HTML; what is code stays code."""
    with Session.memory(id="s", name="A *trip*") as session:
        question = session.append({"role": "user", "content": "# Rome?\n<b>\n```\n# code\n<b>"})
        session.append({"role": "assistant", "content": "no"}, model="m")
        session.append({"role": "assistant", "content": "yes\x1b"}, parent_id=question.id)
        first, *_, last = leaves = session.leaves()
        text = without_times(b"".join(export_lines(session, "markdown")).decode())
    assert text.startswith("# A \\*trip\\*\n\n- Session: s\n")
    assert "## User\n\n\\# Rome?\n&lt;b>\n```\n# code\n<b>\n```\n\n## Assistant\n\nyes\\x1b\n\n" in text
    assert f"## Other branches\n\n- `{first.id}`: no\n" in text
    assert len(leaves) == 2
    assert last.id not in text


def test_markdown_has_times_and_the_prompts_that_were_edited() -> None:
    """A branch is named by its first prompt. One that leaves another branch begins there; without a prompt, a text."""
    with Session.memory(id="s") as session:
        stored = [
            ("u1", None, "user", "first try"),
            ("a1", "u1", "assistant", "answer one"),
            ("u2", "a1", "user", "and then?"),
            ("a2", "u2", "assistant", "so"),
            ("u3", "a1", "user", "or rather?"),
            ("a3", "u1", "assistant", "another answer"),
            ("u4", None, "user", "second try"),
        ]
        session.extend(
            MessageEntry(
                id=id, parent_id=parent, timestamp="2026-01-02T03:04:05Z", message={"role": role, "content": text}
            )
            for id, parent, role, text in stored
        )
        text = b"".join(export_lines(session, "markdown", zone=timezone(timedelta(hours=1), "CET"))).decode()
    assert "## User, 2026-01-02 04:04 CET\n\nsecond try\n\n" in text
    assert text.endswith("## Other branches\n\n- `a2`: first try\n- `u3`: or rather?\n- `a3`: another answer\n\n")


def test_documents_say_what_became_of_a_message() -> None:
    """Markdown: replaced, hidden, interrupted. JSON: the fields as they were stored, and what marks changed."""
    with Session.memory() as session:
        session.set_system("old")
        session.set_system("new")
        hidden = session.append({"role": "user", "content": "secret"})
        session.hide(hidden)
        session.pin(hidden)
        stopped = session.append({"role": "assistant", "content": "half"}, model="m", status="interrupted")
        session.label(stopped.id, "here")
        text = without_times(b"".join(export_lines(session, "markdown")).decode())
        entries = json.loads(b"".join(export_lines(session, "json")))["entries"]
    assert [each for each in text.splitlines() if each.startswith("## ")] == [
        "## System, replaced below",
        "## System",
        "## User, not for the model",
        "## Assistant, m, interrupted (here)",
    ]
    assert [each.get("visibility") for each in entries] == [None, None, {"visible_to": "user", "pinned": True}, None]
    assert [each["visible_to"] for each in entries] == ["all"] * 4
    assert entries[3]["status"] == "interrupted"


@pytest.mark.parametrize("format", ["markdown", "pi", "kit"])
def test_the_shape_of_a_message_tells_exports_its_reader(format: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that an application added, although the message looks like a plain one."""
    monkeypatch.setitem(CUSTOM, "loud", lambda message: {"role": "assistant", "content": message["content"].upper()})
    with Session.memory() as session:
        session.append({"role": "user", "content": "hello"}, shape="loud")
        data = b"".join(export_lines(session, format))
    assert (b"HELLO" in data, b"hello" in data, b"ssistant" in data) == (True, False, True)


def test_a_file_is_not_replaced_unless_told(tmp_path: Path) -> None:
    """It is there whole or as it was."""
    (tmp_path / "out").write_text("mine")
    session = Session.memory()
    with pytest.raises(SessionExists):
        export_file(session, tmp_path / "out", "pi")
    assert (tmp_path / "out").read_text() == "mine"
    export_file(session, tmp_path / "out", "pi", replace=True)
    assert json.loads((tmp_path / "out").read_text())["type"] == "session"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    with pytest.raises(ValueError, match="choose one of pi, kit, json, markdown"):
        export_lines(session, "word")


# --- any tree ---


@st.composite
def trees(draw: st.DrawFn) -> tuple[str, list[Fields]]:
    """A file of pi or of kit, as these write them: every parent above, compactions of what is on the way."""
    format, lines = draw(st.sampled_from(["pi", "kit"])), list[Fields]()
    paths: dict[str, list[str]] = {}
    for number in range(draw(st.integers(1, 12))):
        above = draw(st.sampled_from([None, *paths]))
        path, id = paths.get(above or "", []), f"n{number}"
        kept = draw(st.sampled_from(path)) if path and draw(st.integers(0, 3)) == 0 else None
        if format == "pi" and kept is not None:
            more = {"summary": f"S{number}", "firstKeptEntryId": kept, "tokensBefore": 1}
            lines.append({"type": "compaction", "id": id, "parentId": above, "timestamp": TIME, **more})
        elif format == "pi":
            lines.append(pi_said(id, above, f"t{number}"))
        elif kept is not None and above == lines[-1]["id"]:
            lines.append(kit_compacted(id, f"S{number}", kept))
        else:
            lines.append(kit_said(id, above, f"t{number}"))
        paths[id] = [*path, id]
    return format, [(PI if format == "pi" else KIT)[0], *lines]


@given(trees(), st.data())
def test_any_tree_comes_back(tree: tuple[str, list[Fields]], data: st.DataObject) -> None:
    """Every node, parent and message; and from any leaf, the tool shows what we show."""
    format, lines = tree
    session = _read(lines)
    back = exported(session, format)
    written = [each | {"timestamp": None} for each in back[1:] if not str(each.get("ext_type")).startswith("convtree.")]
    read = [each | {"timestamp": None} for each in lines[1:]]
    assert sorted(read, key=lambda each: str(each["id"])) == sorted(written, key=lambda each: str(each["id"]))
    session.branch(
        data.draw(st.sampled_from([None, *(entry.id for _, entry in session.records() if isinstance(entry, Entry))]))
    )
    context = kit_context if format == "kit" else pi_context
    assert our_texts(session) == texts(context(exported(session, format))[0])
    if format == "pi":
        assert pi_context(lines) == pi_context(back)


def _read(lines: list[Fields]) -> Session:
    with tempfile.TemporaryDirectory() as directory:
        return opened(Path(directory), *lines)


# --- what comes seldom ---


def gap(path: Path) -> Session:
    """A session whose second of five messages is gone, with a compaction behind the gap."""
    with Session.open(path, durability="process") as session:
        for text in ("a", "b", "c"):
            session.append({"role": "user", "content": text})
        session.append(CompactionEntry(summary="S", first_kept_entry_id=None))
        session.append({"role": "user", "content": "d"})
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:2] + lines[3:]))
    return Session.open(path, mode="r")


def test_a_session_with_a_gap_goes_out_as_far_as_it_is_there(tmp_path: Path) -> None:
    """If gaps are allowed: pi's and kit's files have the entries that are left, the summary as it stands."""
    with gap(tmp_path / "log") as session:
        for format in ("json", "pi", "kit"):
            with pytest.raises(BrokenPath, match="1 entry is missing"):
                export_lines(session, format)
        document = json.loads(b"".join(export_lines(session, "json", allow_gaps=True)))
        assert [each["type"] for each in document["entries"]].count("lost") == 1
        assert (document["path"] is None, len(document["entries"])) == (False, 5)
        for format in ("pi", "kit"):
            lines = [json.loads(line) for line in b"".join(export_lines(session, format, allow_gaps=True)).splitlines()]
            assert [each["summary"] for each in lines if each["type"] == "compaction"] == ["S"]
            assert sum(each["type"] == "message" for each in lines) == 3


def test_numbers_of_any_size_go_out(tmp_path: Path) -> None:
    """A log that another program wrote may hold what we would not write."""
    huge = 10**30
    with Session.open(tmp_path / "log", durability="process") as session:
        session.append({"role": "user", "content": "a"})
    lines = (tmp_path / "log").read_bytes().splitlines(keepends=True)
    parent, prev = json.loads(lines[-1])["id"], zlib.crc32(lines[-1].rstrip(b"\n"))
    body = b'{"id":"x","parent_id":"%s","type":"extension_data","timestamp":null,"ext_type":"t","data":%d'
    (tmp_path / "log").write_bytes(b"".join(lines) + codec.seal(body % (parent.encode(), huge), prev) + b"\n")
    with Session.open(tmp_path / "log", mode="r") as session:
        for format in ("pi", "kit", "json"):
            assert str(huge).encode() in b"".join(export_lines(session, format))


def test_pictures_go_out() -> None:
    """In pi's words, and in a document for people as a word, with a result as well as alone."""
    block = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}}
    brought = {"type": "tool_result", "tool_use_id": "t", "content": [block]}
    with Session.memory() as session:
        session.append({"role": "user", "content": [block]})
        session.append({"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "x", "input": {}}]})
        session.append({"role": "user", "content": [brought]})
        first, _, last = (each["message"] for each in exported(session, "pi") if each["type"] == "message")
        text = b"".join(export_lines(session, "markdown")).decode()
    shown = {"type": "image", "data": "aGk=", "mimeType": "image/png"}
    assert (first["content"], last["content"][1:]) == ([shown], [shown])
    assert text.count("*An image (image/png)*") == 2


def test_files_of_a_compaction_are_exported_to_pi() -> None:
    """As pi itself says it, in the details; a thought that says nothing is left."""
    with Session.memory() as session:
        session.append(
            {"role": "assistant", "content": [{"type": "thinking", "thinking": ""}, {"type": "text", "text": "a"}]}
        )
        session.append(CompactionEntry(summary="S", first_kept_entry_id=None, read_files=["a.py"]))
        answer, compaction = (each for each in exported(session, "pi") if each["type"] in ("message", "compaction"))
    assert answer["message"]["content"] == [{"type": "text", "text": "a"}]
    assert compaction["details"] == {"readFiles": ["a.py"], "modifiedFiles": []}


def test_a_custom_message_with_more_to_say_stays_a_message(tmp_path: Path) -> None:
    """Pi's `custom_message` has no place for it."""
    message = {"role": "custom", "customType": "x", "content": "a", "display": True, "more": 1, "timestamp": 1}
    lines = [PI[0], pi_line("message", "1", None, message=message) | {"timestamp": "1970-01-01T00:00:00.001Z"}]
    assert exported(opened(tmp_path, *lines), "pi")[1:] == lines[1:]


@pytest.mark.parametrize("kind", ["kit.label", "kit.future"])
def test_data_that_kit_would_not_open_is_only_data(kind: str) -> None:
    """What is no object cannot be a line of kit's, whatever it is called."""
    with Session.memory() as session:
        session.append({"role": "user", "content": "a"})
        session.append(ExtensionDataEntry(ext_type=kind, data=["x"]))
        last = exported(session, "kit")[-1]
    assert (last["type"], last["ext_type"], last["data"]) == ("extension_data", kind, '["x"]')


def test_a_label_that_the_file_gave_and_took_is_not_told_again(tmp_path: Path) -> None:
    """Neither by pi's file nor by kit's."""
    gone = [pi_line("label", "b", "a", targetId="a", label="x"), pi_line("label", "c", "b", targetId="a")]
    lines = [PI[0], pi_said("a", None, "a"), *gone]
    assert [each["id"] for each in exported(opened(tmp_path, *lines), "pi")] == ["p1", "a", "b", "c"]
    taken = [
        kit_line("label", "b", "a", target_id="a", label="x"),
        kit_line("label", "c", "b", target_id="a", label=""),
    ]
    kits = [KIT[0], kit_said("a", None, "a"), *taken]
    assert [each["id"] for each in exported(opened(tmp_path, *kits), "kit")][1:] == ["a", "b", "c"]


def test_a_file_that_appears_meanwhile_is_not_written_over(tmp_path: Path) -> None:
    """The export is there whole or not at all; nothing is left of it beside."""
    place = tmp_path / "out"

    def meddle(value: Any) -> Any:
        place.write_text("another's")
        return value

    with Session.memory() as session:
        session.append({"role": "user", "content": "Hi"})
        with pytest.raises(SessionExists):
            export_file(session, place, "json", redact=meddle)
    assert [each.name for each in tmp_path.iterdir()] == ["out"]
    assert place.read_text() == "another's"
