"""What kit, Claude Code, Codex and the Gemini CLI become: the records, stated by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from foreign import (
    CLAUDE,
    CODEX,
    GEMINI,
    KIT,
    OURS,
    TIME,
    call,
    claude_answered,
    claude_line,
    claude_said,
    codex_event,
    codex_line,
    codex_said,
    encoded,
    gemini_answered,
    gemini_said,
    kit_compacted,
    kit_said,
    result,
    words,
)

from convtree import (
    CompactionEntry,
    ExtensionDataEntry,
    MessageEntry,
    ModelChangeEntry,
    NotALog,
    Session,
    SessionExists,
)
from convtree._model.entries import Entry, ParentSession
from convtree.exchange import ImportReport, import_file, read_foreign


def opened(directory: Path, *lines: dict[str, Any]) -> tuple[Session, ImportReport]:
    (directory / "source").write_bytes(encoded(*lines))
    return read_foreign(directory / "source")


def codes(report: ImportReport) -> list[str]:
    return [finding.code for finding in report.findings]


def shown(session: Session, **more: Any) -> list[str]:
    """The text of every message of the context; a summary behind an S, what is no text by its role."""
    entries = session.build_context(**more).entries
    return [
        (entry.text or f"<{entry.role}>") if isinstance(entry, MessageEntry) else f"S {getattr(entry, 'summary', '')}"
        for entry in entries
    ]


def tree(session: Session) -> list[tuple[str, str, str | None]]:
    """Type (of extension data, its own), id and parent of every entry."""
    entries = [record for _, record in session.records() if isinstance(record, Entry)]
    return [
        (entry.ext_type if isinstance(entry, ExtensionDataEntry) else entry.type, entry.id, entry.parent_id)
        for entry in entries
    ]


# --- kit ---


def test_kit_as_a_tree(tmp_path: Path) -> None:
    """Every line is an entry; the compaction goes below what it compacts; labels and names are marks, too."""
    session, report = opened(tmp_path, *KIT)
    assert tree(session) == [
        ("model_change", "k1", None),
        ("message", "k2", "k1"),
        ("message", "k3", "k2"),
        ("kit.label", "k4", "k3"),
        ("kit.session_info", "k5", "k4"),
        ("todo:state", "k6", "k5"),
        ("branch_summary", "k7", "k6"),
        ("compaction", "k8", "k7"),
        ("message", "k9", "k8"),
    ]
    assert (codes(report), session.labels, session.name, session.leaf_id) == ([], {"k2": "w3"}, "w4", "k9")
    assert shown(session) == ["S w7", "w2", "S w6", "w8"]
    assert session.state("todo:state") == '{"n":"w5"}'
    assert session.entry("k3") == MessageEntry(
        id="k3",
        parent_id="k2",
        timestamp=OURS,
        message={"role": "assistant", "parts": [{"type": "text", "data": {"text": "w2"}}]},
        shape="kit.message",
        provider="p2",
        model="m2",
    )
    assert session.entry("k8") == CompactionEntry(
        id="k8",
        parent_id="k7",
        timestamp=OURS,
        summary="w7",
        first_kept_entry_id="k3",
        tokens_before=9,
        tokens_after=4,
        messages_removed=2,
    )


def test_kit_compactions_in_a_row_and_one_of_another_branch(tmp_path: Path) -> None:
    """Each stands behind the one before; one that keeps what is not above it goes below what it keeps."""
    head = KIT[0]
    first = [kit_said("a", None, "a"), kit_said("b", "a", "b"), kit_compacted("c", "S1", "b"), kit_said("d", "c", "d")]
    session, report = opened(tmp_path, head, *first, kit_compacted("e", "S2", "d"), kit_said("f", "e", "f"))
    assert (shown(session), codes(report)) == (["S S2", "d", "f"], [])
    lines = [kit_said("a", None, "a"), kit_said("b", "a", "b"), kit_said("x", "a", "x")]
    session, report = opened(tmp_path, head, *lines, kit_compacted("c", "S", "b"), kit_said("d", "c", "d"))
    assert (shown(session), codes(report)) == (["S S", "b", "d"], ["source_unsupported"])
    session, report = opened(tmp_path, head, *lines, kit_compacted("c", "S", ""), kit_compacted("e", "T", "gone"))
    assert (shown(session), codes(report)) == (["S T"], ["source_bad_target"])


def test_kit_says_whose_session_it_is(tmp_path: Path) -> None:
    """A sub-agent's session is a task; a system prompt at the end of a shared file is not where it goes on."""
    more = {"parent_session": "/p.jsonl", "parent_session_id": "p1", "subagent_task": "do"}
    prompt = {"type": "system_prompt", "id": "z", "timestamp": TIME, "content": "w9", "model": "m", "provider": "p"}
    session, _ = opened(tmp_path, KIT[0] | more, kit_said("a", None, "a"), prompt)
    assert session.header.parent_session == ParentSession(id="p1", kind="task")
    assert (session.leaf_id, tree(session)[-1]) == ("a", ("kit.system_prompt", "z", None))
    session, _ = opened(tmp_path, KIT[0] | {"parent_session_id": "über"}, kit_said("a", None, "a"))
    assert session.header.parent_session is not None
    assert (session.header.parent_session.kind, len(session.header.parent_session.id)) == ("fork", 16)


# --- Claude Code ---


def test_claude_code_as_a_tree(tmp_path: Path) -> None:
    """Parallel calls and their results are one chain; the compaction is below what it compacts; the rest is beside."""
    session, report = opened(tmp_path, *CLAUDE)
    first, last = tree(session)[0], tree(session)[-1]
    assert (first[0], first[2], last[0]) == ("claude-code.file-history-snapshot", None, "claude-code.last-prompt")
    assert [each for each in tree(session) if each[1][0] in "usb" and len(each[1]) == 2] == [
        ("message", "u1", None),
        ("message", "u2", "u1"),
        ("message", "u3", "u2"),
        ("message", "u4", "u3"),
        ("claude-code.progress", "u5", "u4"),
        ("message", "u6", "u5"),
        ("message", "u7", "u6"),
        ("message", "u8", "u7"),
        ("message", "s1", None),
        ("message", "u9", "u1"),
        ("claude-code.system", "b1", "u8"),
        ("compaction", "b2", "b1"),
        ("message", "b3", "b2"),
        ("message", "b4", "b3"),
    ]
    assert (session.leaf_id, session.name, codes(report)) == ("b4", "w9", [])
    assert shown(session) == ["S w11", "w12", "w13"]
    context = session.build_context(leaf="u8")
    assert (shown(session, leaf="u8")[:2], context.open_calls) == (["w1", "w2"], ())
    assert (context.provider, context.model) == ("anthropic", "opus")
    assert session.entry("u2") == MessageEntry(
        id="u2",
        parent_id="u1",
        timestamp=OURS,
        message={"role": "assistant", "content": [words("w2")]},
        shape="anthropic",
        provider="anthropic",
        model="opus",
        usage={"input_tokens": 1},
        extra={"message": {"id": "msg1", "type": "message"}},
    )
    compaction, hidden = session.entry("b2"), session.entry("b3")
    assert isinstance(compaction, CompactionEntry)
    assert isinstance(hidden, MessageEntry)
    assert (compaction.first_kept_entry_id, compaction.tokens_before, hidden.visible_to) == (None, 99, "model")
    assert (session.id, session.header.cwd) == ("c1", "/w")


def test_claude_code_results_between_calls_and_answered_again(tmp_path: Path) -> None:
    """In the order of the file; a call that is answered again is a branch, and so is what goes on a second time."""
    lines = [
        claude_said("u1", None, "ask"),
        claude_answered("u2", "u1", "m1", call("t1")),
        claude_said("u3", "u2", result("t1", "one")),
        claude_answered("u4", "u2", "m1", call("t2")),
        claude_said("u5", "u4", result("t2", "two")),
        claude_answered("u6", "u5", "m2", words("done")),
        claude_said("u7", "u2", result("t1", "again")),
        claude_answered("u8", "u5", "m3", words("other")),
    ]
    session, _ = opened(tmp_path, *lines)
    parents = {id: parent for _, id, parent in tree(session)}
    assert parents == {"u1": None, "u2": "u1", "u3": "u2", "u4": "u3", "u5": "u4", "u6": "u5", "u7": "u2", "u8": "u5"}
    assert session.build_context(leaf="u6").open_calls == ()


def test_claude_code_keeps_a_preserved_segment(tmp_path: Path) -> None:
    """Where it is above the boundary; a boundary of something that is not there begins a tree, and is reported."""
    facts = {"preTokens": 9, "preservedSegment": {"headUuid": "u2", "anchorUuid": "u2", "tailUuid": "u2"}}
    lines = [
        claude_said("u1", None, "a"),
        claude_said("u2", "u1", "b"),
        claude_line("system", "b1", None, subtype="compact_boundary", logicalParentUuid="u2", compactMetadata=facts),
        claude_said("b2", "b1", "S", isCompactSummary=True),
    ]
    session, report = opened(tmp_path, *lines)
    assert (shown(session), codes(report)) == (["S S", "b"], [])
    session, report = opened(tmp_path, *lines[:1], lines[2] | {"logicalParentUuid": "gone"}, lines[3])
    assert (shown(session), codes(report)) == (["S S"], ["source_orphan", "source_bad_target"])


@pytest.mark.parametrize("newer", [False, True])
def test_claude_code_goes_on_below_what_a_compaction_kept(newer: bool, tmp_path: Path) -> None:
    """A line that names the last kept message comes after the summary; so does one behind a record in between."""
    kept = {"preservedMessages": {"uuids": ["u3", "u4"]}} if newer else {}
    facts = {"preTokens": 9, "preservedSegment": {"headUuid": "u3", "anchorUuid": "b3", "tailUuid": "u4"}, **kept}
    lines = [
        claude_said("u1", None, "a"),
        claude_answered("u2", "u1", "m1", words("b")),
        claude_said("u3", "u2", "c"),
        claude_answered("u4", "u3", "m2", words("d")),
        claude_said("u5", "u4", "/compact"),
        claude_line("system", "b1", None, subtype="compact_boundary", logicalParentUuid="u5", compactMetadata=facts),
        claude_line("attachment", "b2", "b1", attachment={"type": "file"}),
        claude_said("b3", "b2", "S", isCompactSummary=True),
        claude_said("u6", "u4", "e"),
        claude_said("u7", "u2", "elsewhere"),
    ]
    session, report = opened(tmp_path, *lines)
    assert (shown(session, leaf="u6"), codes(report)) == (["S S", "c", "d", "e"], [])
    assert shown(session, leaf="u5") == ["a", "b", "c", "d", "/compact"]
    assert shown(session, leaf="u7") == ["a", "b", "elsewhere"]
    compaction = session.entry("b3")
    assert isinstance(compaction, CompactionEntry)
    assert (compaction.tokens_before, compaction.first_kept_entry_id) == (9, "u3")


def test_claude_code_counts_the_usage_of_a_message_once(tmp_path: Path) -> None:
    """Every line of a message says all of it."""
    lines = [
        claude_said("u1", None, "ask"),
        claude_answered("u2", "u1", "m1", words("a")),
        claude_answered("u3", "u2", "m1", call("t1")),
        claude_said("u4", "u3", result("t1", "one")),
        claude_answered("u5", "u4", "m2", words("b")),
    ]
    session, _ = opened(tmp_path, *lines)
    used = [entry.usage for entry in session.path() if isinstance(entry, MessageEntry)]
    assert used == [None, {"input_tokens": 1}, None, None, {"input_tokens": 1}]


def test_claude_code_counts_what_each_line_adds(tmp_path: Path) -> None:
    """A message begins with few output tokens and ends with all. A file that grows in it ends at the same sum."""
    request = {"input_tokens": 3, "cache_read_input_tokens": 2000, "service_tier": "standard"}

    def line(id: str, parent: str, *blocks: dict[str, Any], output: int) -> dict[str, Any]:
        said = claude_answered(id, parent, "m1", *blocks)
        return said | {"message": said["message"] | {"usage": request | {"output_tokens": output}}}

    lines = [
        claude_said("u1", None, "ask"),
        line("u2", "u1", words("a"), output=8),
        line("u3", "u2", call("t1"), output=322),
        line("u4", "u3", call("t2"), output=322),
    ]
    source, log = tmp_path / "c.jsonl", tmp_path / "log.jsonl"
    for count in range(1, len(lines) + 1):
        source.write_bytes(encoded(*lines[:count]))
        import_file(source, log)
    with Session.open(log, mode="r") as session:
        used = [entry.usage for entry in session.path() if isinstance(entry, MessageEntry)]
    assert used == [None, request | {"output_tokens": 8}, {"output_tokens": 314}, None]


@pytest.mark.parametrize(
    ("attachment", "more", "shown_text", "visible"),
    [
        ({"type": "file"}, {"rendered": [{"content": "one"}, {"content": [words("two")]}]}, "one\ntwo", "model"),
        ({"type": "file", "filename": "/n", "content": {"file": {"content": "4711"}}}, {}, "/n:\n\n4711", "model"),
        ({"type": "edited_text_file", "filename": "/n.txt", "snippet": "4712"}, {}, "/n.txt:\n\n4712", "model"),
        ({"type": "nested_memory", "path": "/C.md", "content": {"content": "kind"}}, {}, "/C.md:\n\nkind", "model"),
        ({"type": "hook_additional_context", "content": ["be", "kind"]}, {}, "be\nkind", "model"),
        ({"type": "queued_command", "prompt": "and test"}, {}, "and test", "all"),
        ({"type": "queued_command", "prompt": [words("and test")], "commandMode": "prompt"}, {}, "and test", "all"),
        ({"type": "queued_command", "prompt": "done", "commandMode": "task-notification"}, {}, "done", "model"),
    ],
)
def test_claude_code_shows_the_model_more_than_messages(
    attachment: dict[str, Any], more: dict[str, Any], shown_text: str, visible: str, tmp_path: Path
) -> None:
    """Files, hints, and what was typed while the model worked; newer versions say in which words."""
    session, _ = opened(
        tmp_path, claude_said("u1", None, "ask"), claude_line("attachment", "u2", "u1", attachment=attachment, **more)
    )
    entry = session.entry("u2")
    assert isinstance(entry, MessageEntry)
    assert (entry.role, entry.visible_to) == ("user", visible)
    assert entry.text.endswith(shown_text)
    assert entry.extra is not None
    assert entry.extra["attachment"] == attachment


def test_claude_code_keeps_other_attachments_as_data(tmp_path: Path) -> None:
    """What the model did not see in words stays where it was."""
    lines = [
        claude_said("u1", None, "ask"),
        claude_line("attachment", "u2", "u1", attachment={"type": "skill_listing", "content": "x"}),
        claude_line("attachment", "u3", "u2", attachment={"type": "file", "content": {"type": "image"}}, rendered=[]),
    ]
    session, _ = opened(tmp_path, *lines)
    assert [session.entry(id).type for id in ("u2", "u3")] == ["extension_data"] * 2


def test_claude_code_errors_of_the_api_are_for_the_user(tmp_path: Path) -> None:
    """They are not sent back."""
    said = claude_answered("u2", "u1", "m1", words("API Error: 529"), isApiErrorMessage=True)
    session, report = opened(tmp_path, claude_said("u1", None, "ask"), said)
    assert (shown(session), codes(report)) == (["ask"], [])


def test_claude_code_forks_name_what_they_come_from(tmp_path: Path) -> None:
    """In the header."""
    session, report = opened(tmp_path, claude_said("u1", None, "a", forkedFrom={"sessionId": "c0", "messageUuid": "x"}))
    assert (session.header.parent_session, codes(report)) == (ParentSession(id="c0"), [])


def test_claude_code_forks_name_the_last_copied_line(tmp_path: Path) -> None:
    """By either mark. A fork of a fork comes from the session of its last copy."""
    said = claude_said("u1", None, "ask")
    one, two = claude_answered("u2", "u1", "m1", words("a")), claude_answered("u3", "u2", "m2", words("b"))
    own = claude_answered("u4", "u3", "m3", words("c"))
    session, report = opened(
        tmp_path, said, one | {"requestSessionId": "c8"}, two | {"requestSessionId": "c9", "requestRef": "r1"}, own
    )
    assert (session.header.parent_session, session.header.copied_to) == (ParentSession(id="c9"), "u3")
    assert codes(report) == []
    remapped = {"forkedFrom": {"sessionId": "c9", "messageUuid": "x"}}
    session, _ = opened(tmp_path, said | remapped, one | remapped, two)
    assert (session.header.parent_session, session.header.copied_to) == (ParentSession(id="c9"), "u2")
    session, _ = opened(tmp_path, said, one | {"requestSessionId": "c1"})
    assert (session.header.parent_session, session.header.copied_to) == (None, None)


def test_claude_code_lines_that_come_again(tmp_path: Path) -> None:
    """At the same place with the same words they are nothing new, whatever their clock. All others are reported."""
    said, answered = claude_said("u1", None, "ask"), claude_answered("u2", "u1", "m1", words("a"))
    later = {"timestamp": "2026-03-04T05:06:07.000Z"}
    again = [said | later, answered | later, claude_said("u3", "u2", "more")]
    session, report = opened(tmp_path, said, answered, *again)
    assert (shown(session), codes(report), len(session.leaves())) == (["ask", "a", "more"], [], 1)
    other = claude_answered("u2", "u1", "m1", words("b"))
    session, report = opened(tmp_path, said, answered, other)
    assert (codes(report), len(session.leaves())) == (["source_duplicate"], 2)
    elsewhere = claude_answered("u2", "u3", "m1", words("a"))
    session, report = opened(tmp_path, said, answered, claude_said("u3", "u2", "more"), elsewhere)
    assert (shown(session), codes(report)) == (["ask", "a", "more", "a"], ["source_duplicate"])
    session, report = opened(tmp_path, claude_line("system", "u1", None), said)
    assert (shown(session), codes(report)) == (["ask"], ["source_duplicate"])


def test_claude_code_says_that_a_task_has_ended(tmp_path: Path) -> None:
    """In the role of the user, for the model only; what a person says by any way is for all."""
    ended = claude_said("u3", "u2", "<task-notification>", origin={"kind": "task-notification"})
    typed = claude_said("u4", "u3", "more", origin={"kind": "human"})
    session, _ = opened(
        tmp_path, claude_said("u1", None, "ask"), claude_answered("u2", "u1", "m1", words("a")), ended, typed
    )
    assert shown(session) == ["ask", "a", "<task-notification>", "more"]
    assert [each.to_dict().get("visible_to", "all") for each in session.path()] == ["all", "all", "model", "all"]


def test_claude_code_lines_without_sessions_and_parents(tmp_path: Path) -> None:
    """Are a chain, in a session that is called like the file."""
    lines = [{"type": role, "uuid": id, "timestamp": TIME, "message": {"role": role, "content": id}} for role, id in
             (("user", "u1"), ("assistant", "u2"), ("user", "u3"))]  # fmt: skip
    (tmp_path / "mine.jsonl").write_bytes(encoded(*lines))
    session, report = read_foreign(tmp_path / "mine.jsonl")
    assert (report.format, session.id, shown(session)) == ("claude-code", "mine", ["u1", "u2", "u3"])


@pytest.mark.parametrize("lines", [CLAUDE, CODEX])
def test_a_text_that_shows_lines_of_a_transcript_is_none(lines: list[dict[str, Any]], tmp_path: Path) -> None:
    """One whose first lines are damaged still is."""
    said = [encoded(line) for line in lines]
    (tmp_path / "notes.md").write_bytes(b"# How they look\n" + b"".join(b"A line:\n\n" + line for line in said))
    with pytest.raises(NotALog):
        read_foreign(tmp_path / "notes.md")
    (tmp_path / "torn").write_bytes(b"".join([said[0][9:], said[1][9:], *said[2:]]))
    session, report = read_foreign(tmp_path / "torn")
    assert (codes(report)[:2], session.leaf_id is None) == (["source_bad_line", "source_bad_line"], False)


def test_claude_code_agents_have_sessions_of_their_own(tmp_path: Path) -> None:
    """A file that begins in an agent's side chain is a task of the session it names."""
    more = {"isSidechain": True, "agentId": "a1"}
    session, _ = opened(
        tmp_path, claude_said("u1", None, "x", **more), claude_answered("u2", "u1", "m", words("y"), **more)
    )
    assert (session.id, session.header.parent_session) == ("c1.a1", ParentSession(id="c1", kind="task"))
    assert (session.leaf_id, shown(session)) == ("u2", ["x", "y"])


def test_claude_code_titles_and_unknown_fields(tmp_path: Path) -> None:
    """The title of a person beats that of a model; a field without a place is in the extra data."""
    titles = [
        {"type": "custom-title", "customTitle": "mine", "sessionId": "c1"},
        {"type": "ai-title", "aiTitle": "its", "sessionId": "c1"},
    ]
    said = [claude_said("u1", None, "x", toolUseResult={"a": 1}), claude_said("u2", "u1", "y", toolUseResult={"a": 1})]
    session, report = opened(tmp_path, *said, *titles)
    assert (session.name, codes(report)) == ("mine", [])
    assert [entry.to_dict()["extra"] for entry in session.path("u2")] == [{"toolUseResult": {"a": 1}}] * 2


# --- Codex ---


def test_codex_as_a_tree(tmp_path: Path) -> None:
    """Items are messages; a roll back makes a branch; a compaction keeps nothing, and what took its place follows."""
    session, report = opened(tmp_path, *CODEX)
    assert (session.id, session.header.cwd, codes(report)) == ("x1", "/w", [])
    path = session.path()
    assert [entry.ext_type if isinstance(entry, ExtensionDataEntry) else entry.type for entry in path] == [
        "codex.session_meta",
        "message",
        "model_change",
        "message",
        "codex.event_msg",
        "message",
        "message",
        "message",
        "codex.event_msg",
        "message",
        "compaction",
        "message",
        "codex.world_state",
        "message",
    ]
    assert shown(session) == ["S w12", "w13", "w15"]
    before = next(entry.id for entry in path if isinstance(entry, CompactionEntry))
    assert shown(session, leaf=session.entry(before).parent_id)[-2:] == ["w7", "w11"]
    left = [entry for entry in session.leaves() if entry.id != session.leaf_id]
    assert [shown(session, leaf=entry.id)[-3:] for entry in left] == [["w7", "w8", "w9"]]
    model = path[2]
    assert isinstance(model, ModelChangeEntry)
    assert (model.provider, model.model, model.settings) == ("openai", "gpt", {"turn_id": "w2", "effort": "high"})
    call = path[5]
    assert isinstance(call, MessageEntry)
    assert (call.shape, call.message) == ("openai-responses", CODEX[5]["payload"])


@pytest.mark.parametrize(("turns", "expected"), [(1, ["a", "b"]), (2, []), (9, []), (0, ["a", "b", "c", "d"])])
def test_codex_roll_backs_at_the_end_move_the_leaf(tmp_path: Path, turns: int, expected: list[str]) -> None:
    """What the tool itself said is no turn, and stays."""
    said = [
        codex_said("user", "a"),
        codex_said("assistant", "b"),
        codex_said("user", "c"),
        codex_said("assistant", "d"),
    ]
    rolled = codex_event("thread_rolled_back", num_turns=turns)
    session, _ = opened(tmp_path, CODEX[0], CODEX[1], *said, rolled)
    assert shown(session)[1:] == expected


def test_codex_compactions_of_old_keep_what_the_user_said(tmp_path: Path) -> None:
    """There Codex goes on with what the user said as well; a fork names where it comes from."""
    meta = codex_line("session_meta", {"id": "x2", "timestamp": TIME, "forked_from_id": "x1"})
    said = [codex_said("user", "a"), codex_said("assistant", "b"), codex_said("user", "c")]
    session, report = opened(tmp_path, meta, *said, codex_line("compacted", {"message": "S"}), codex_said("user", "d"))
    assert (shown(session), codes(report)) == (["S S", "a", "c", "d"], [])
    assert session.header.parent_session == ParentSession(id="x1", kind="fork")


def test_codex_rollouts_of_old_are_bare(tmp_path: Path) -> None:
    """A first line without a type, and items that are not wrapped."""
    meta: dict[str, Any] = {"id": "x3", "timestamp": TIME, "instructions": None, "git": {}}
    item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "a"}]}
    session, report = opened(tmp_path, meta, {"record_type": "state"}, item)
    assert [kind for kind, _, _ in tree(session)] == ["codex.session_meta", "codex.state", "message"]
    assert (report.format, shown(session), codes(report)) == ("codex", ["a"], [])


@pytest.mark.parametrize("kind", ["bare", "document"])
def test_codex_rollouts_from_before_lines_were_wrapped(kind: str, tmp_path: Path) -> None:
    """With no more than an id and a time first, or as one document."""
    meta = {"id": "x9", "timestamp": TIME}
    items = [codex_said(role, said)["payload"] for role, said in (("user", "a"), ("assistant", "b"))]
    whole = {"session": meta | {"instructions": ""}, "items": [*items, 7]}
    data = encoded(meta, *items) if kind == "bare" else json.dumps(whole, indent=2).encode()
    (tmp_path / "source").write_bytes(data)
    session, report = read_foreign(tmp_path / "source")
    assert (session.id, session.header.timestamp, shown(session)) == ("x9", OURS, ["a", "b"])
    assert codes(report) == ([] if kind == "bare" else ["source_bad_record"])


def test_codex_what_the_tool_says_for_the_user_is_no_turn(tmp_path: Path) -> None:
    """A command that a person ran goes with the turn before it; a snapshot is no message."""
    session, report = opened(
        tmp_path,
        CODEX[0],
        codex_said("user", "a"),
        codex_line("response_item", {"type": "ghost_snapshot", "ghost_commit": {"id": "g"}}),
        codex_said("user", "b"),
        codex_said("user", "<user_shell_command>ls</user_shell_command>"),
        codex_said("user", "<subagent_notification>done</subagent_notification>"),
        codex_event("thread_rolled_back", num_turns=1),
        codex_said("user", "c"),
    )
    assert (shown(session), codes(report)) == (["a", "c"], [])
    assert [each[0] for each in tree(session)][2] == "codex.ghost_snapshot"


# --- Gemini CLI ---


def test_gemini_as_a_tree(tmp_path: Path) -> None:
    """A message that is replaced and one that is taken back are branches; results follow their calls."""
    session, report = opened(tmp_path, *GEMINI)
    assert (session.id, session.name, codes(report)) == ("g1", "w8", ["source_contradicted"])
    assert session.build_context().messages == [
        {"role": "user", "parts": [{"text": "w1"}]},
        {
            "role": "model",
            "parts": [
                {"text": "s\non w4", "thought": True},
                {"text": "w3"},
                {"functionCall": {"id": "t1", "name": "sh", "args": {"n": 1}}},
            ],
        },
        {"role": "user", "parts": [{"functionResponse": {"id": "t1", "name": "sh", "response": {"output": "w5"}}}]},
        {"role": "user", "parts": [{"text": "w9"}]},
        {"role": "model", "parts": [{"text": "w10"}]},
    ]
    assert (session.build_context().model, session.build_context().open_calls) == ("pro", ())
    left = [entry.id for entry in session.leaves() if entry.id != session.leaf_id]
    assert [shown(session, leaf=id)[-1] for id in left] == ["w2", "w7"]


def test_gemini_repeats_what_follows_a_replaced_message(tmp_path: Path) -> None:
    """So the new path is whole; the same version again is nothing."""
    lines = [gemini_said("m1", "a"), gemini_answered("m2", "b"), gemini_said("m3", "c")]
    session, _ = opened(tmp_path, GEMINI[0], *lines, lines[1], gemini_answered("m2", "B"))
    assert shown(session) == ["a", "B", "c"]
    assert [entry.source_id for entry in session.path()] == [None, "m2", "m3"]
    assert len(tree(session)) == 5


def test_gemini_checkpoints_go_on_from_what_is_the_same(tmp_path: Path) -> None:
    """What differs is a branch."""
    lines = [gemini_said("m1", "a"), gemini_answered("m2", "b"), gemini_said("m3", "c")]
    facts = {"$set": {"messages": [lines[0], lines[1], gemini_said("m4", "d")]}}
    session, _ = opened(tmp_path, GEMINI[0], *lines, facts)
    assert [id for _, id, _ in tree(session)] == ["m1", "m2", "m3", "m4"]
    assert shown(session) == ["a", "b", "d"]


def test_gemini_rewinds_of_the_unknown_begin_anew(tmp_path: Path) -> None:
    """As in the tool; at the end, that is where the leaf is."""
    session, _ = opened(tmp_path, GEMINI[0], gemini_said("m1", "a"), {"$rewindTo": "gone"})
    assert (shown(session), len(session.children(None))) == ([], 2)


@pytest.mark.parametrize("indent", [None, 2])
def test_gemini_documents_of_old(tmp_path: Path, indent: int | None) -> None:
    """One JSON object, on one line or many."""
    import json

    document = GEMINI[0] | {"messages": [gemini_said("m1", "a"), gemini_answered("m2", "b")]}
    (tmp_path / "source").write_text(json.dumps(document, indent=indent))
    session, report = read_foreign(tmp_path / "source")
    assert (report.format, shown(session), codes(report)) == ("gemini-cli", ["a", "b"], [])


def content(role: str, said: str) -> dict[str, Any]:
    """A content, as the Gemini API has it."""
    return {"role": role, "parts": [{"text": said}]}


@pytest.mark.parametrize("is_document", [False, True])
def test_gemini_checkpoints_of_one_conversation_are_its_branches(is_document: bool, tmp_path: Path) -> None:
    """One that was saved again adds what is new; what is no content is kept; what it says of itself too."""

    def saved(*contents: Any) -> Session:
        value = {"history": contents, "authType": "key"} if is_document else contents
        (tmp_path / "source").write_text(json.dumps(value, indent=2))
        import_file(tmp_path / "source", tmp_path / "log")
        return Session.open(tmp_path / "log", mode="r")

    start = [content("user", "a"), content("model", "b")]
    with saved(*start) as session:
        assert (len(session.leaves()), shown(session)) == (1, ["a", "b"])
    with saved(*start, content("user", "c"), content("user", "c")) as session:
        assert (len(session.leaves()), shown(session)) == (1, ["a", "b", "c", "c"])
    with saved(*start, content("user", "d"), {"what": 1}) as session:
        assert (len(session.leaves()), shown(session)) == (2, ["a", "b", "d"])
        assert session.metadata.get("gemini-checkpoint") == ({"authType": "key"} if is_document else None)
        assert tree(session)[-1][0] == "gemini-checkpoint.content"


def test_gemini_checkpoints_that_begin_otherwise_are_others(tmp_path: Path) -> None:
    """They cannot go into one log."""
    for name in "ab":
        (tmp_path / name).write_text(json.dumps([content("user", name)]))
    assert import_file(tmp_path / "a", tmp_path / "log").format == "gemini-checkpoint"
    with pytest.raises(SessionExists):
        import_file(tmp_path / "b", tmp_path / "log")
