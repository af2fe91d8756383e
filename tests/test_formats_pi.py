"""pi's sessions: the contexts that pi's own tests pin down, its old versions, and what crashes left of its files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from convtree import (
    BranchSummaryEntry,
    CompactionEntry,
    Context,
    ExtensionDataEntry,
    MessageEntry,
    ModelChangeEntry,
    ParentSession,
    Session,
    Usage,
    open_store,
)
from convtree._formats.common.base import Source
from convtree._formats.common.ids import derive_id
from convtree._formats.pi import reader as pi
from convtree.exchange import ImportReport, export_lines, import_file, import_into, read_foreign

HEADER: dict[str, Any] = {
    "type": "session",
    "version": 3,
    "id": "s1",
    "timestamp": "2025-01-01T00:00:00.000Z",
    "cwd": "/home",
}
TIME = "2025-01-01T00:00:01.500Z"
LARGE = Path(__file__).parents[2] / "shared" / "data" / "pi_large_session.jsonl"


def line(kind: str, id: str, parent: str | None, /, **fields: Any) -> dict[str, Any]:
    return {"type": kind, "id": id, "parentId": parent, "timestamp": TIME, **fields}


def said(id: str, parent: str | None, text: str, **more: Any) -> dict[str, Any]:
    return line("message", id, parent, message={"role": "user", "content": text, "timestamp": 1} | more)


def answered(id: str, parent: str | None, text: str, model: str = "claude-test") -> dict[str, Any]:
    usage = {"input": 1, "output": 2}
    more = {"role": "assistant", "api": "x", "provider": "anthropic", "model": model, "usage": usage}
    return said(id, parent, text, **more)


def compacted(id: str, parent: str | None, summary: str, kept: str | None, **more: Any) -> dict[str, Any]:
    return line("compaction", id, parent, summary=summary, firstKeptEntryId=kept, tokensBefore=1000, **more)


def encoded(*objects: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(each).encode() + b"\n" for each in objects)


def opened(directory: Path, *objects: dict[str, Any], header: dict[str, Any] = HEADER) -> Session:
    source = directory / "source.jsonl"
    source.write_bytes(encoded(header, *objects))
    return read_foreign(source)[0]


def imported(directory: Path, data: bytes) -> tuple[ImportReport, Session]:
    (directory / "source.jsonl").write_bytes(data)
    report = import_file(directory / "source.jsonl", directory / "target.jsonl", durability="process")
    return report, Session.open(directory / "target.jsonl", mode="r")


def codes(report: ImportReport) -> list[str]:
    return [finding.code for finding in report.findings]


def shown(context: Context) -> list[str]:
    """Returns the text of every message, a summary as pi's tests name it."""
    texts = []
    for entry in context.entries:
        if isinstance(entry, CompactionEntry | BranchSummaryEntry):
            texts.append(f"{entry.type}:{entry.summary}")
        elif isinstance(entry, MessageEntry):
            texts.append(entry.text)
    return texts


# --- the contexts of pi's build-context tests ---


def test_a_session_without_entries_shows_nothing(tmp_path: Path) -> None:
    """No messages, no model."""
    context = opened(tmp_path).build_context()
    assert (context.messages, context.model, context.settings) == ([], None, {})


def test_a_single_message(tmp_path: Path) -> None:
    """It is shown verbatim, under pi's shape."""
    session = opened(tmp_path, said("1", None, "hello"))
    assert session.build_context().messages == [{"role": "user", "content": "hello", "timestamp": 1}]
    entry = session.entry("1")
    assert isinstance(entry, MessageEntry)
    assert (entry.shape, entry.timestamp) == ("pi.message", "2025-01-01T00:00:01.500000Z")


def test_a_conversation_keeps_its_order(tmp_path: Path) -> None:
    """Four turns, roles in order."""
    turns = [said("1", None, "hello"), answered("2", "1", "hi"), said("3", "2", "how"), answered("4", "3", "great")]
    context = opened(tmp_path, *turns).build_context()
    assert [message["role"] for message in context.messages] == ["user", "assistant", "user", "assistant"]


def test_the_thinking_level_is_a_setting(tmp_path: Path) -> None:
    """A level after a model is not a message, and belongs to the model that is current."""
    level = line("thinking_level_change", "3", "2", thinkingLevel="high")
    session = opened(tmp_path, said("1", None, "a"), answered("2", "1", "b"), level, said("4", "3", "c"))
    context = session.build_context()
    assert (shown(context), context.settings) == (["a", "b", "c"], {"thinkingLevel": "high"})
    assert session.entry("3") == ModelChangeEntry(
        id="3",
        parent_id="2",
        timestamp="2025-01-01T00:00:01.500000Z",
        provider="anthropic",
        model="claude-test",
        settings={"thinkingLevel": "high"},
    )


def test_a_thinking_level_before_any_model_waits_for_one(tmp_path: Path) -> None:
    """Alone it is extension data; the next model change below takes it along."""
    level = line("thinking_level_change", "1", None, thinkingLevel="low")
    change = line("model_change", "2", "1", provider="openai", modelId="gpt")
    session = opened(tmp_path, level, change)
    first = session.entry("1")
    assert isinstance(first, ExtensionDataEntry)
    assert (first.ext_type, first.data) == ("pi.thinking_level_change", {"thinkingLevel": "low"})
    context = session.build_context()
    assert (context.provider, context.model, context.settings) == ("openai", "gpt", {"thinkingLevel": "low"})


def test_the_model_comes_from_the_assistant(tmp_path: Path) -> None:
    """An assistant's message names provider, model and usage."""
    session = opened(tmp_path, said("1", None, "a"), answered("2", "1", "b"))
    context, entry = session.build_context(), session.entry("2")
    assert isinstance(entry, MessageEntry)
    assert (context.provider, context.model) == ("anthropic", "claude-test")
    assert entry.usage == {"input": 1, "output": 2}


def test_an_assistant_overrides_a_model_change(tmp_path: Path) -> None:
    """The last to name a model wins, whatever it is."""
    change = line("model_change", "2", "1", provider="openai", modelId="gpt-4")
    session = opened(tmp_path, said("1", None, "a"), change, answered("3", "2", "b"))
    assert (session.build_context().provider, session.build_context().model) == ("anthropic", "claude-test")
    assert (session.build_context(leaf="2").provider, session.build_context(leaf="2").model) == ("openai", "gpt-4")


def chain(*objects: dict[str, Any]) -> list[dict[str, Any]]:
    ids = [None, *(each["id"] for each in objects)]
    return [each | {"parentId": parent} for each, parent in zip(objects, ids, strict=False)]


def test_a_compaction_shows_summary_kept_and_rest(tmp_path: Path) -> None:
    """The summary first, then what is kept, then what came after."""
    texts = [said("1", None, "a"), answered("2", None, "b"), said("3", None, "c"), answered("4", None, "d")]
    after = [said("6", None, "e"), answered("7", None, "f")]
    session = opened(tmp_path, *chain(*texts, compacted("5", None, "S", "3"), *after))
    assert shown(session.build_context()) == ["compaction:S", "c", "d", "e", "f"]


def test_a_compaction_may_keep_everything(tmp_path: Path) -> None:
    """The first message as the first kept one keeps all."""
    lines = chain(said("1", None, "a"), answered("2", None, "b"), compacted("3", None, "S", "1"), said("4", None, "c"))
    assert shown(opened(tmp_path, *lines).build_context()) == ["compaction:S", "a", "b", "c"]


def test_only_the_last_compaction_counts(tmp_path: Path) -> None:
    """Of two, the later is shown and keeps from its own first entry."""
    first = [said("1", None, "a"), answered("2", None, "b"), compacted("3", None, "S1", "1")]
    second = [said("4", None, "c"), answered("5", None, "d"), compacted("6", None, "S2", "4"), said("7", None, "e")]
    assert shown(opened(tmp_path, *chain(*first, *second)).build_context()) == ["compaction:S2", "c", "d", "e"]


def test_keeping_from_before_an_older_compaction(tmp_path: Path) -> None:
    """The older compaction inside the kept range says nothing and hides nothing."""
    first = [said("1", None, "a"), answered("2", None, "b"), compacted("3", None, "S1", "2")]
    lines = chain(*first, said("4", None, "c"), compacted("5", None, "S2", "1"), said("6", None, "d"))
    assert shown(opened(tmp_path, *lines).build_context()) == ["compaction:S2", "a", "b", "c", "d"]


@pytest.mark.parametrize("kept", ["nowhere", "other", "c", None, "", "not an id"])
def test_entries_outside_of_the_path_are_not_kept(tmp_path: Path, kept: str | None) -> None:
    """Unknown, on another branch, the compaction itself, or nothing: pi keeps nothing, and says nothing."""
    lines = [said("a", None, "a"), said("other", "a", "x"), said("b", "a", "b"), compacted("c", "b", "S", kept)]
    report, session = imported(tmp_path, encoded(HEADER, *lines, said("d", "c", "d")))
    assert shown(session.build_context()) == ["compaction:S", "d"]
    lost = kept in ("nowhere", "other", "not an id")
    assert (["source_bad_target"] if lost else []) == codes(report)


def test_the_context_follows_the_branch(tmp_path: Path) -> None:
    """Each leaf has its own path."""
    lines = [said("1", None, "start"), answered("2", "1", "r"), said("3", "2", "A"), said("4", "2", "B")]
    session = opened(tmp_path, *lines)
    assert shown(session.build_context(leaf="3")) == ["start", "r", "A"]
    assert shown(session.build_context()) == ["start", "r", "B"]


def test_a_branch_summary_on_the_path_is_shown(tmp_path: Path) -> None:
    """It is the third message of four; one without a summary is none."""
    summary = line("branch_summary", "4", "2", fromId="3", summary="tried")
    empty = line("branch_summary", "5", "4", fromId="root", summary="")
    lines = [said("1", None, "start"), answered("2", "1", "r"), said("3", "2", "wrong"), summary, empty]
    session = opened(tmp_path, *lines, said("6", "5", "better"))
    assert shown(session.build_context()) == ["start", "r", "branch_summary:tried", "better"]
    left = [entry.from_id for entry in session.path() if isinstance(entry, BranchSummaryEntry)]
    assert left == ["3", None]


def test_a_tree_with_branches_and_a_compaction(tmp_path: Path) -> None:
    """pi's complex case: five messages on the main branch, five on the other."""
    lines = [
        said("1", None, "start"),
        answered("2", "1", "r1"),
        said("3", "2", "q2"),
        answered("4", "3", "r2"),
        compacted("5", "4", "S", "3"),
        said("6", "5", "q3"),
        answered("7", "6", "r3"),
        said("8", "3", "wrong"),
        answered("9", "8", "wrong r"),
        line("branch_summary", "10", "3", fromId="9", summary="tried"),
        said("11", "10", "better"),
    ]
    session = opened(tmp_path, *lines)
    assert shown(session.build_context(leaf="7")) == ["compaction:S", "q2", "r2", "q3", "r3"]
    assert shown(session.build_context(leaf="11")) == ["start", "r1", "q2", "branch_summary:tried", "better"]


def test_an_orphan_begins_a_tree_of_its_own(tmp_path: Path) -> None:
    """The context starts at the entry whose parent is missing, as in pi; here that is said."""
    report, session = imported(tmp_path, encoded(HEADER, said("1", None, "a"), said("2", "gone", "orphan")))
    assert shown(session.build_context()) == ["orphan"]
    finding = report.findings[0]
    assert (finding.code, finding.entry_id, finding.line) == ("source_orphan", "2", 3)
    assert session.entry("2").parent_id is None


def test_a_custom_message_is_shown_as_pi_shows_it(tmp_path: Path) -> None:
    """Also when pi would not display it to the user."""
    custom = line("custom_message", "1", None, customType="x", content="c", display=False, details={"n": None})
    message = {"role": "custom", "customType": "x", "content": "c", "display": False, "details": {"n": None}}
    expected = message | {"timestamp": 1735689601500}
    assert [expected] == opened(tmp_path, custom).build_context().messages


def test_a_command_kept_from_the_model_is_for_the_user(tmp_path: Path) -> None:
    """A bash execution with excludeFromContext is stored and not shown; without it is shown."""
    bash = {"role": "bashExecution", "command": "ls", "output": ""}
    lines = chain(said("1", None, "x", **bash, excludeFromContext=True), said("2", None, "y", **bash))
    session = opened(tmp_path, *lines)
    assert [entry.id for entry in session.build_context().entries] == ["2"]
    assert [entry.id for entry in session.path()] == ["1", "2"]


# --- everything else that pi writes ---


def test_labels_and_names_are_nodes_and_marks(tmp_path: Path) -> None:
    """The last label of an entry wins, an empty one clears; nodes stay in the chain, so no parent changes."""
    lines = chain(
        said("1", None, "a"),
        said("2", None, "b"),
        line("label", "3", None, targetId="1", label="first"),
        line("label", "4", None, targetId="1", label="second"),
        line("label", "5", None, targetId="2", label="x"),
        line("label", "6", None, targetId="2"),
        line("session_info", "7", None, name=" trip "),
        said("8", None, "c"),
    )
    session = opened(tmp_path, *lines)
    assert (session.labels, session.name, session.leaf_id) == ({"1": "second"}, "trip", "8")
    assert [str(number) for number in range(1, 9)] == [entry.id for entry in session.path()]
    node = session.entry("3")
    assert isinstance(node, ExtensionDataEntry)
    assert (node.ext_type, node.data) == ("pi.label", {"targetId": "1", "label": "first"})


def test_a_label_may_stand_before_its_target(tmp_path: Path) -> None:
    """A target further down is found; one that never comes is a finding."""
    labels = [line("label", "1", None, targetId="3", label="x"), line("label", "2", "1", targetId="gone", label="y")]
    report, session = imported(tmp_path, encoded(HEADER, *labels, said("3", "2", "a")))
    assert (session.labels, codes(report)) == ({"3": "x"}, ["source_bad_target"])


def test_extension_state_and_unknown_types_are_kept(tmp_path: Path) -> None:
    """Custom entries under their own type, all else under `pi.` and its type, with every field."""
    lines = chain(
        line("custom", "1", None, customType="todo", data={"n": 1}),
        line("usage", "2", None, kind="k", usage={"input": 1}),
        line("future", "3", None, x=[1, None]),
        said("4", None, "a"),
    )
    session = opened(tmp_path, *lines)
    assert session.state("todo") == {"n": 1}
    assert session.state("pi.usage") == {"kind": "k", "usage": {"input": 1}}
    assert session.state("pi.future") == {"x": [1, None]}
    assert shown(session.build_context()) == ["a"]


def test_a_context_edit_is_kept_and_reported(tmp_path: Path) -> None:
    """It changes what pi shows and not what is shown here."""
    edit = line("context_edit", "2", "1", targetId="1", replacement=None)
    report, session = imported(tmp_path, encoded(HEADER, said("1", None, "a"), edit))
    assert (codes(report), shown(session.build_context())) == (["source_unsupported"], ["a"])


def test_a_compaction_brings_its_files(tmp_path: Path) -> None:
    """Details are kept, and the file lists in them are fields; an extension's details are not looked into."""
    details = {"readFiles": ["r"], "modifiedFiles": ["m"]}
    lines = chain(
        compacted("1", None, "S", None, details=details),
        compacted("2", None, "S", None, details=details, fromHook=True),
    )
    report, session = imported(tmp_path, encoded(HEADER, *lines))
    first, second = session.path()
    assert isinstance(first, CompactionEntry)
    assert isinstance(second, CompactionEntry)
    assert (1000, ["r"], ["m"], details) == (
        first.tokens_before,
        first.read_files,
        first.modified_files,
        first.details,
    )
    told = details | {"pi": {"fromHook": True}}
    assert (None, None, told) == (second.read_files, second.modified_files, second.details)
    assert codes(report) == []


def test_the_cost_of_a_summary_is_counted(tmp_path: Path) -> None:
    """Of a compaction and of a branch summary; provider and model if pi says them. It does not set the model."""
    cost = {"input": 192_000, "output": 800, "cacheRead": 0, "cacheWrite": 0, "cost": {"total": 0.5}}
    lines = (
        answered("1", None, "a"),
        compacted("2", "1", "S", None, usage=cost, provider="q", model="small"),
        line("branch_summary", "3", "2", fromId="root", summary="B", usage={"input": 7}),
    )
    report, session = imported(tmp_path, encoded(HEADER, *lines))
    _, compaction, summary = session.path()
    assert isinstance(compaction, CompactionEntry)
    assert isinstance(summary, BranchSummaryEntry)
    found = (compaction.usage, compaction.provider, compaction.model, compaction.details)
    assert found == (cost, "q", "small", None)
    assert (summary.usage, summary.provider, summary.model, summary.details) == ({"input": 7}, None, None, None)
    assert (session.build_context().model, codes(report)) == ("claude-test", [])
    with open_store(str(tmp_path / "store")) as store:
        import_into(tmp_path / "source.jsonl", store)
        by_model = {(row.provider, row.model): row.usage for row in store.usage(by="model")}
    assert by_model == {
        ("q", "small"): Usage(input_tokens=192_000, output_tokens=800, cost=0.5),
        (None, None): Usage(input_tokens=7),
        ("anthropic", "claude-test"): Usage(input_tokens=1, output_tokens=2),
    }


def test_an_unknown_spelling_of_usage_is_reported_once(tmp_path: Path) -> None:
    """At the first entry that has it; it is kept."""
    odd = {"tokens_in": 7, "tokens_out": 8}
    lines = [compacted(str(at), None, "S", None, usage=odd) for at in range(3)]
    lines.append(line("branch_summary", "3", None, fromId="root", summary="B", usage={"tokens_in": 7}))
    report, session = imported(tmp_path, encoded(HEADER, *lines))
    found = [(finding.code, finding.severity, finding.entry_id, finding.line) for finding in report.findings]
    assert found == [("source_usage_unknown", "warning", "0", 2), ("source_usage_unknown", "warning", "3", 5)]
    assert [getattr(entry, "usage", None) for entry in session.path("0")] == [odd]


def test_other_fields_of_a_summary_go_into_its_details(tmp_path: Path) -> None:
    """Who wrote it; where the details are no object there is no room for it, and that is reported."""
    lines = chain(
        compacted("1", None, "S", None, usage=[1], model=7),
        line("branch_summary", "2", None, fromId="root", summary="B", details={"x": 1}, fromHook=True),
        line("branch_summary", "3", None, fromId="root", summary="B", details="x", fromHook=True),
        line("branch_summary", "4", None, fromId="root", summary="B", fromHook=False),
    )
    report, session = imported(tmp_path, encoded(HEADER, *lines))
    expected = [{"pi": {"usage": [1], "model": 7}}, {"x": 1, "pi": {"fromHook": True}}, "x", None]
    assert expected == [getattr(entry, "details", None) for entry in session.path()]
    assert [(finding.code, finding.entry_id) for finding in report.findings] == [("source_field_dropped", "3")]


def test_what_was_paid_beside_the_messages_counts(tmp_path: Path) -> None:
    """It keeps all fields, so that pi gets back what it wrote."""
    paid: dict[str, Any] = {"kind": "cache_warm", "provider": "lo", "model": "m", "note": "n"}
    paid["usage"] = {"input": 3, "cacheRead": 500}
    report, session = imported(tmp_path, encoded(HEADER, line("usage", "1", None, **paid)))
    [entry] = session.path()
    assert isinstance(entry, ExtensionDataEntry)
    assert (entry.ext_type, entry.data, report.findings) == ("pi.usage", paid, ())
    assert (entry.usage, entry.provider, entry.model) == (paid["usage"], "lo", "m")
    again = [json.loads(each) for each in export_lines(session, "pi")]
    assert [{name: each[name] for name in paid} for each in again if each["type"] == "usage"] == [paid]


def test_a_system_message_survives_a_compaction(tmp_path: Path) -> None:
    """As in pi, which shows what all of them come to before the summary; here it is they themselves."""
    lines = chain(
        said("1", None, "rules", role="system"),
        said("2", None, "a"),
        said("3", None, "b"),
        compacted("4", None, "S", "3", systemMessage={"role": "system", "content": "rules", "timestamp": 1}),
        said("5", None, "c"),
    )
    session = opened(tmp_path, *lines)
    assert shown(session.build_context()) == ["rules", "compaction:S", "b", "c"]


def test_incomplete_lines_become_extension_data(tmp_path: Path) -> None:
    """Nothing is dropped, and the tree stays whole."""
    lines = chain(line("message", "1", None, message=None), line("model_change", "2", None), said("3", None, "a"))
    report, session = imported(tmp_path, encoded(HEADER, *lines))
    assert codes(report) == ["source_bad_record", "source_bad_record"]
    assert [entry.id for entry in session.path()] == ["1", "2", "3"]


# --- old versions ---


def test_version_1_is_a_chain_with_places(tmp_path: Path) -> None:
    """Ids follow from the place; the kept entry is counted with the header; what that says of a model comes first."""
    header = {"type": "session", "id": "s1", "timestamp": TIME, "cwd": "/", "provider": "p", "modelId": "m"}
    header |= {"thinkingLevel": "off"}
    texts = [said("", None, text) for text in ("a", "b", "c")]
    lines = [*texts, {"type": "compaction", "summary": "S", "firstKeptEntryIndex": 3}, said("", None, "d")]
    for each in lines:
        each.pop("id", None)
        each.pop("parentId", None)
        each["timestamp"] = TIME
    report, session = imported(tmp_path, encoded(header, *lines))
    path = session.path()
    assert [derive_id("pi", "s1", part) for part in ("header", 1, 2, 3, 4, 5)] == [entry.id for entry in path]
    assert isinstance(path[0], ExtensionDataEntry)
    assert (path[0].ext_type, path[0].data) == (
        "pi.header",
        {"provider": "p", "modelId": "m", "thinkingLevel": "off"},
    )
    assert (shown(session.build_context()), codes(report)) == (["compaction:S", "c", "d"], [])


def test_version_2_calls_custom_by_another_name(tmp_path: Path) -> None:
    """Its ids are kept, its hookMessage is custom; in version 3 the role stays what it is."""
    hook = said("1", None, "a", role="hookMessage")
    second = opened(tmp_path, hook, header=HEADER | {"version": 2}).build_context()
    third = opened(tmp_path, hook).build_context()
    assert (second.messages[0]["role"], third.messages[0]["role"]) == ("custom", "hookMessage")


# --- a tree that is none ---


def test_a_parent_further_down_is_waited_for(tmp_path: Path) -> None:
    """Children that stand first come after their parent; the leaf is still the last line of the file."""
    lines = [said("3", "2", "c"), said("2", "1", "b"), said("1", None, "a")]
    report, session = imported(tmp_path, encoded(HEADER, *lines))
    assert shown(session.build_context(leaf="3")) == ["a", "b", "c"]
    assert (codes(report), session.leaf_id) == (["source_forward", "source_forward"], "1")


def test_a_cycle_is_cut_once(tmp_path: Path) -> None:
    """The first of the circle becomes a root, what hangs below stays below; an entry below itself too."""
    circle = [said("0", "2", "below"), said("1", "3", "a"), said("2", "1", "b"), said("3", "2", "c")]
    report, session = imported(tmp_path, encoded(HEADER, *circle, said("4", "4", "self")))
    assert shown(session.build_context(leaf="3")) == ["a", "b", "c"]
    assert shown(session.build_context(leaf="0")) == ["a", "b", "below"]
    assert shown(session.build_context()) == ["self"]
    cut = [finding.entry_id for finding in report.findings if finding.code == "source_cycle"]
    assert cut == ["1", "4"]


def test_waiting_nodes_are_held_in_bounded_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When too much waits for a parent that does not come, it waits no longer; what follows is planted at once."""
    monkeypatch.setattr("convtree._formats.common.parents_first.HELD_LIMIT", 1000)
    lines = [said("0", "gone", "0"), *(said(f"{number}", f"{number - 1}", f"{number}") for number in range(1, 50))]
    report, session = imported(tmp_path, encoded(HEADER, *lines))
    assert [str(number) for number in range(50)] == shown(session.build_context())
    assert codes(report) == ["source_orphan"]


def test_a_long_cycle_needs_no_recursion(tmp_path: Path) -> None:
    """Ten thousand entries in a circle, each before its parent."""
    count = 10_000
    lines = [said(f"n{number}", f"n{(number + 1) % count}", "x") for number in range(count)]
    report, session = imported(tmp_path, encoded(HEADER, *lines))
    assert (count, 1) == (len(session.path("n1")), codes(report).count("source_cycle"))


def test_an_id_that_comes_again_belongs_to_the_later(tmp_path: Path) -> None:
    """Both are kept; children that come after the second go below it."""
    lines = [said("1", None, "a"), said("2", "1", "old"), said("2", "1", "new"), said("3", "2", "c")]
    report, session = imported(tmp_path, encoded(HEADER, *lines))
    later = session.entry(derive_id("pi", "s1", "2", 3))
    assert (
        shown(session.build_context()),
        shown(session.build_context(leaf="2")),
    ) == (["a", "new", "c"], ["a", "old"])
    assert (codes(report), later.source_id) == (["source_duplicate"], "2")


def test_ids_that_do_not_fit_are_derived(tmp_path: Path) -> None:
    """The entry remembers what it was called, and its children find it."""
    session = opened(tmp_path, said("über uns", None, "a"), said("2", "über uns", "b"))
    first = session.path()[0]
    assert (derive_id("pi", "s1", "über uns"), "über uns") == (first.id, first.source_id)
    assert shown(session.build_context()) == ["a", "b"]


# --- what crashes leave ---


def test_a_torn_last_line_is_a_finding(tmp_path: Path) -> None:
    """What is whole is imported; the last line counts without its newline if it is whole."""
    whole = encoded(HEADER, said("1", None, "a"), said("2", "1", "b"))
    report, session = imported(tmp_path, whole + encoded(said("3", "2", "c"))[:40])
    assert (codes(report), shown(session.build_context())) == (["source_torn_tail"], ["a", "b"])
    report, session = imported(tmp_path, whole + encoded(said("3", "2", "c"))[:-1])
    assert (codes(report), shown(session.build_context()), report.written) == ([], ["a", "b", "c"], 1)


def test_glued_lines_are_taken_apart(tmp_path: Path) -> None:
    """Two records on one line are two; behind the stub of a torn write only a whole record is believed."""
    glued = encoded(said("2", "1", "b"))[:-1] + encoded(said("3", "2", "c"))
    stub = encoded(said("4", "3", "x", content=[{"type": "text", "text": "y"}]))[:-4]
    data = encoded(HEADER, said("1", None, "a")) + glued + stub + encoded(said("5", "3", "d")) + stub + b"\n"
    report, session = imported(tmp_path, data)
    assert shown(session.build_context()) == ["a", "b", "c", "d"]
    assert codes(report) == ["source_glued", "source_bad_line", "source_bad_line"]
    assert [finding.line for finding in report.findings] == [3, 4, 5]


def test_zeros_are_passed_over(tmp_path: Path) -> None:
    """NUL bytes before, inside and instead of a line, a byte order mark, CRLF and empty lines hide nothing."""
    first, second = encoded(said("1", None, "a")), encoded(said("2", "1", "b"))
    data = b"\xef\xbb\xbf" + encoded(HEADER) + b"\0\0" + first[:-1] + b"\r\n\r\n" + b"\0\0\n"
    report, session = imported(tmp_path, data + second[:5] + b"\0" + second[5:])
    assert (codes(report), shown(session.build_context())) == (["source_nul_bytes"] * 3, ["a", "b"])
    assert (2, len(b"\xef\xbb\xbf" + encoded(HEADER))) == (report.findings[0].line, report.findings[0].offset)


def test_a_line_separator_in_a_text_does_not_end_a_line(tmp_path: Path) -> None:
    """U+2028, U+0085 and a form feed are text."""
    entry = said("1", None, "a\u2028b\x85c\x0cd")
    data = encoded(HEADER) + json.dumps(entry, ensure_ascii=False).encode() + b"\n"
    report, session = imported(tmp_path, data)
    assert (codes(report), shown(session.build_context())) == ([], ["a\u2028b\x85c\x0cd"])


def test_values_that_no_log_holds_are_replaced(tmp_path: Path) -> None:
    """Lone surrogates, bytes that are no text, numbers out of range and nesting without end have a stand-in each."""
    content = rb'{"type":"message","id":"%d","parentId":null,"timestamp":null,"message":{"role":"user","content":%b}}'
    values = [rb'"\ud83d"', b'"\xff"', b"[NaN,-Infinity,1e999]", b"123456789012345678901234567890"]
    lines = [content % pair for pair in enumerate([*values, b"[" * 200 + b"]" * 200])]
    report, session = imported(tmp_path, encoded(HEADER) + b"\n".join(lines) + b"\n")
    found = [session.build_context(leaf=str(number)).messages[0]["content"] for number in range(5)]
    assert found[:4] == ["\ufffd", "\ufffd", ["NaN", "-Infinity", "1e999"], 1.2345678901234568e29]
    depth = 0
    while isinstance(found[4], list):
        depth, found[4] = depth + 1, found[4][0]
    assert (depth, found[4]) == (118, "[" * 82 + "]" * 82)
    unread = "source_not_understood"  # the numbers without a value, and the brackets without a block
    assert codes(report) == [*["value_replaced"] * 4, unread, "value_replaced", unread]


def test_a_record_too_long_for_a_line_is_cut(tmp_path: Path) -> None:
    """A message over 16 MiB loses the end of its longest text, and keeps its place in the tree."""
    lines = chain(said("1", None, "a"), said("2", None, "x" * 17 * 2**20), said("3", None, "b"))
    report, session = imported(tmp_path, encoded(HEADER, *lines))
    texts = shown(session.build_context())
    assert (texts[0], texts[1][:3], texts[1][-7:], texts[2]) == ("a", "xxx", "… [cut]", "b")
    assert (codes(report), len(texts[1]) > 14 * 2**20) == (["value_replaced"], True)


def test_a_line_that_is_not_json_orphans_its_children(tmp_path: Path) -> None:
    """The line is reported with its place, what follows is kept."""
    first = encoded(HEADER, said("1", None, "a"))
    report, session = imported(tmp_path, first + b"{broken\n[1]\n" + encoded(said("3", "2", "c")))
    assert codes(report) == ["source_bad_line", "source_bad_line", "source_orphan"]
    bad = report.findings[0]
    assert ("error", 3, len(first), 8) == (bad.severity, bad.line, bad.offset, bad.length)
    assert shown(session.build_context()) == ["c"]


# --- telling pi's sessions from others ---


@pytest.mark.parametrize(
    ("expected", "data"),
    [
        (True, encoded(HEADER)),
        (True, encoded(HEADER, said("1", None, "a"))),
        (True, b"not json\n" + encoded(HEADER, said("1", None, "a"))),
        (True, encoded(HEADER, said("1", None, "a" * 1000))[:400]),
        (True, encoded({"type": "session", "id": "x"}, {"type": "message", "timestamp": TIME, "message": {}})),
        (False, encoded(HEADER, {"type": "model_change", "id": "1", "model_id": "m"})),
        (False, encoded(HEADER, {"type": "message", "id": "1", "parent_id": None, "parts": []})),
        (False, encoded(HEADER | {"format": "convtree"}, said("1", None, "a"))),
        (False, encoded({"type": "session"})),
        (False, encoded(said("1", None, "a"))),
        (False, b""),
        (False, b"\0\xff\n"),
    ],
)
def test_sessions_are_told_by_their_content(expected: bool, data: bytes) -> None:
    """By the header, and by `parentId` where a relative of pi writes `parent_id`."""
    assert pi.recognises(Source(Path("any"), data)) is expected


@pytest.mark.skipif(not LARGE.exists(), reason="the large session of pi is not part of this repository")
def test_a_real_session_of_version_1(tmp_path: Path) -> None:
    """1,018 entries below the header's model, 914 messages shown, nothing to report."""
    report, session = imported(tmp_path, LARGE.read_bytes())
    context = session.build_context()
    assert (report.written, codes(report)) == (1019, [])
    assert (len(session.path()), len(context.messages)) == (1019, 914)
    assert (context.provider, context.model) == ("anthropic", "claude-sonnet-4-5")


# --- forks --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("folder", "named", "parents_folder"),
    [
        ("here", "{top}/here/2025_p.jsonl", "here"),
        ("here", "/gone/there/2025_p.jsonl", "there"),
        ("here", "C:\\pi\\2025_p.jsonl", "here"),
    ],
)
def test_a_fork_names_the_last_entry_that_its_parent_has(
    folder: str, named: str, parents_folder: str, tmp_path: Path
) -> None:
    """The file of the parent is found beside it, or in the folder beside that one."""
    for name in {folder, parents_folder}:
        (tmp_path / name).mkdir()
    shared = [said("a1", None, "q"), answered("a2", "a1", "a")]
    header = HEADER | {"id": "p"}
    (tmp_path / parents_folder / "2025_p.jsonl").write_bytes(encoded(header, *shared, said("a3", "a2", "here only")))
    own = [said("b1", "a2", "q2"), answered("b2", "b1", "a2")]
    fork = HEADER | {"id": "f", "parentSession": named.format(top=tmp_path)}
    with opened(tmp_path / folder, *shared, *own, header=fork) as session:
        assert session.header.parent_session == ParentSession(id="p", kind="fork")
        assert (session.header.copied_to, session.leaf_id) == ("a2", "b2")


def test_a_fork_without_the_file_of_its_parent(tmp_path: Path) -> None:
    """The name of the file has the parent's id, and entries older than the fork were copied."""
    header = {"id": "f", "timestamp": "2025-01-01T00:00:02.000Z", "parentSession": "/gone/2025-01-01_p_1.jsonl"}
    lines = [said("a1", None, "q"), said("b1", "a1", "q2") | {"timestamp": "2025-01-01T00:00:02.500Z"}]
    with opened(tmp_path, *lines, header=HEADER | header) as session:
        assert (session.header.parent_session, session.header.copied_to) == (ParentSession(id="p_1"), "a1")
    with opened(tmp_path, *lines[:1], header=HEADER | header) as session:
        assert session.header.copied_to == "a1"
    with opened(tmp_path, *lines, header=HEADER | header | {"timestamp": None}) as session:
        assert (session.header.parent_session, session.header.copied_to) == (ParentSession(id="p_1"), None)


@pytest.mark.parametrize("named", ["/gone/other.jsonl", "/gone/2025_s1.jsonl", "notes.txt", "folder", 7])
def test_a_parent_that_is_no_session(named: object, tmp_path: Path) -> None:
    """A name without an id, the session itself, and what is not pi's: no parent."""
    (tmp_path / "notes.txt").write_text("{}\n")
    (tmp_path / "folder").mkdir()
    with opened(tmp_path, said("a1", None, "q"), header=HEADER | {"parentSession": named}) as session:
        assert (session.header.parent_session, session.header.copied_to) == (None, None)


def test_ids_that_are_not_valid_here_end_the_copied_part(tmp_path: Path) -> None:
    """Their records get other ids in each session, so what follows counts in both."""
    (tmp_path / "2025_p.jsonl").write_bytes(
        encoded(HEADER | {"id": "p"}, said("a1", None, "q"), said("a 2", "a1", "a"))
    )
    header = HEADER | {"id": "f", "parentSession": "2025_p.jsonl"}
    with opened(tmp_path, said("a1", None, "q"), said("a 2", "a1", "a"), header=header) as session:
        assert session.header.copied_to == "a1"


def test_other_fields_of_the_header_are_kept(tmp_path: Path) -> None:
    """Such as what a session was branched from, and the model that it began with."""
    session = opened(tmp_path, said("1", None, "a"), header=HEADER | {"branchedFrom": "s0.jsonl", "provider": "kit"})
    assert session.header.metadata is not None
    assert session.header.metadata["import"]["header"] == {"branchedFrom": "s0.jsonl", "provider": "kit"}
