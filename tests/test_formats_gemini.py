"""Sessions of the Gemini CLI: repeated messages and results, tokens, and several files of one session.

The form is what Gemini CLI 0.61 writes: see `tests/tools`.
"""

import json
from pathlib import Path
from typing import Any

from convtree import ExtensionDataEntry, MessageEntry, Session, Usage, open_store
from convtree._model.entries import ParentSession
from convtree.exchange import ImportReport, import_file, import_into, read_foreign

ID = "6223d23a-0000-4000-8000-000000000001"
TOKENS = {"input": 111, "output": 77, "cached": 33, "thoughts": 12, "tool": 0, "total": 200}
TIME, LATER = "2026-11-28T15:17:02.000Z", "2026-11-28T16:00:00.000Z"


def head(minute: int, **more: Any) -> dict[str, Any]:
    """The first record of a file."""
    time = f"2026-11-28T15:{minute}:00.000Z"
    return {"sessionId": ID, "projectHash": "c7a6", "startTime": time, "lastUpdated": time, "kind": "main"} | more


def said(id: str, *parts: dict[str, Any], time: str = TIME) -> dict[str, Any]:
    """A record of the user."""
    return {"id": id, "timestamp": time, "type": "user", "content": list(parts)}


def answered(id: str, content: Any, **more: Any) -> dict[str, Any]:
    """A record of the model."""
    return {"id": id, "timestamp": TIME, "type": "gemini", "content": content, "model": "gemini-3-flash", **more}


def repeated(*messages: dict[str, Any]) -> dict[str, Any]:
    """The whole conversation, as it is written when the session is resumed."""
    return {"$set": {"messages": list(messages), "lastUpdated": LATER}}


def words(text: str) -> dict[str, Any]:
    return {"text": text}


CONTEXT = words("<session_context>\nThis is the Gemini CLI.\n</session_context>")
CALL = {"functionCall": {"id": "sh_1", "name": "run_shell_command", "args": {"command": "echo alpha"}}}
RESULT = {"functionResponse": {"id": "sh_1", "name": "run_shell_command", "response": {"output": "alpha"}}}
THOUGHT = {"subject": "Thinking", "description": "about it", "timestamp": TIME}
DONE = {"id": "sh_1", "name": "run_shell_command", "args": {"command": "echo alpha"}, "result": [RESULT]}
TOOLS = [DONE | {"status": "success", "displayName": "Shell"}]
BEGUN = {"thoughts": [THOUGHT], "tokens": TOKENS}
LINES = [
    head(17),
    repeated(said("d0", CONTEXT)),
    said("u1", words("Run one command")),
    {"$set": {"lastUpdated": TIME}},
    answered("g1", "", **BEGUN),
    answered("g1", "", **BEGUN, toolCalls=TOOLS),
    said("u2", RESULT),
    answered("g2", "It says alpha.", thoughts=[], tokens=TOKENS),
]
RESUMED = repeated(
    said("d0", CONTEXT, time=LATER),
    said("u1", words("Run one command"), time=LATER),
    answered("g1", [{"text": "**Thinking** about it", "thought": True}, CALL]),
    said("g1_response", RESULT),
    said("u2", RESULT),
    answered("g2", [words("It says alpha.")]),
)


def write(path: Path, *lines: dict[str, Any]) -> Path:
    """Writes a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def opened(folder: Path, *lines: dict[str, Any]) -> tuple[Session, ImportReport]:
    """Reads a session."""
    return read_foreign(write(folder / "source", *lines))


def paid(source: Path) -> Usage:
    """What a session has cost."""
    store = open_store("memory:")
    (report,) = (each for each in import_into(source, store) if each.status == "imported")
    assert report.session_id is not None
    return store.info(report.session_id).usage


def codes(report: ImportReport) -> list[str]:
    return [finding.code for finding in report.findings]


def parts(session: Session) -> list[Any]:
    """The parts of the messages in the context."""
    return [message["parts"] for message in session.build_context().messages]


CONVERSATION = [
    [CONTEXT],
    [words("Run one command")],
    [{"text": "Thinking\nabout it", "thought": True}, CALL],
    [RESULT],
    [words("It says alpha.")],
]


def test_an_answer_told_twice_is_one(tmp_path: Path) -> None:
    """One branch, one result, and tokens once; what has no place in the message is kept beside it."""
    session, report = opened(tmp_path, *LINES)
    assert (parts(session), len(list(session.leaves())), codes(report)) == (CONVERSATION, 1, [])
    assert session.build_context().open_calls == ()
    usage = paid(tmp_path / "source")
    assert (usage.input_tokens, usage.cache_read_tokens, usage.output_tokens) == (2 * 78, 2 * 33, 2 * 89)
    messages = [entry for entry in session.path() if isinstance(entry, MessageEntry)]
    assert [entry.visible_to for entry in messages] == ["model", "all", "all", "all", "all"]
    assert messages[2].extra == {
        "toolCalls": [{"id": "sh_1", "status": "success", "displayName": "Shell"}],
        "thoughts": [{"timestamp": THOUGHT["timestamp"]}],
    }


def test_a_conversation_told_again_is_nothing_new(tmp_path: Path) -> None:
    """Not even where the CLI first says only its beginning, and repeats a result under another id."""
    beginning, more = repeated(said("d0", CONTEXT, time=LATER)), said("u3", words("Thanks"))
    session, report = opened(tmp_path, *LINES, head(40), beginning, RESUMED, more, RESUMED)
    assert (parts(session), len(list(session.leaves())), codes(report)) == (CONVERSATION, 1, [])
    assert session.leaf_id == "g2"
    again, _ = opened(tmp_path, *LINES, RESUMED, more, answered("g3", "You are welcome.", tokens=TOKENS))
    assert parts(again) == [*CONVERSATION, [words("Thanks")], [words("You are welcome.")]]
    assert paid(tmp_path / "source").output_tokens == 3 * 89


def test_calls_and_results_that_come_one_by_one(tmp_path: Path) -> None:
    """Each is added once, whichever record has it; each call may have the results of all."""
    other = {"functionResponse": {"id": "sh_2", "name": "ls", "response": {"output": "beta"}}}
    second = {"id": "sh_2", "name": "ls", "args": {}}
    open_call = {name: value for name, value in DONE.items() if name != "result"}
    lines = [
        answered("g1", "I look.", toolCalls=[open_call]),
        answered("g1", "I look.", toolCalls=[open_call, second]),
        answered("g1", "I look.", toolCalls=[DONE | {"result": [RESULT, other]}, second | {"result": [RESULT, other]}]),
        said("u2", RESULT, other, words("Go on")),
    ]
    session, report = opened(tmp_path, *LINES[:3], *lines)
    called = [words("I look."), CALL], [{"functionCall": second}]
    assert parts(session)[2:] == [*called, [RESULT, other], [words("Go on")]]
    assert (codes(report), session.build_context().open_calls) == ([], ())


def test_a_call_that_was_answered_before_it_was_told_so(tmp_path: Path) -> None:
    """The result in the record of the call is not there a second time."""
    open_call = {name: value for name, value in DONE.items() if name != "result"}
    first = [answered("g1", "", toolCalls=[open_call]), said("u2", RESULT), answered("g1", "", toolCalls=[DONE])]
    session, report = opened(tmp_path, *LINES[:3], *first)
    assert (parts(session)[2:], codes(report)) == ([[CALL], [RESULT]], [])


def test_a_call_added_in_the_middle(tmp_path: Path) -> None:
    """What followed the answer is repeated below it, without its tokens."""
    session, report = opened(
        tmp_path,
        *LINES[:3],
        answered("g1", "I look.", tokens=TOKENS),
        said("u2", words("Well?")),
        answered("g2", "Soon.", tokens=TOKENS),
        answered("g1", "I look.", tokens=TOKENS, toolCalls=[DONE]),
    )
    assert parts(session)[2:] == [[words("I look.")], [CALL], [RESULT], [words("Well?")], [words("Soon.")]]
    assert (len(list(session.leaves())), codes(report)) == (2, [])
    assert paid(tmp_path / "source").output_tokens == 2 * 89


def test_another_result_is_a_contradiction(tmp_path: Path) -> None:
    """What was sent to the model is a branch beside what the record of the call says."""
    cut = {"functionResponse": {"id": "sh_1", "name": "run_shell_command", "response": {"output": "[cut]"}}}
    session, report = opened(tmp_path, *LINES[:6], said("u2", cut), answered("g2", "It says alpha."))
    assert (parts(session)[3:], codes(report)) == ([[cut], [words("It says alpha.")]], ["source_contradicted"])
    assert len(list(session.leaves())) == 2


def test_tokens_may_come_later(tmp_path: Path) -> None:
    """They are counted once, with the answer that they are of, and once where they are repeated with less."""
    less = {"input": 11, "output": 7, "cached": 3, "thoughts": 1, "tool": 0, "total": 19}
    lines = [answered("g1", "Hi", tokens=None), answered("g1", "Hi", tokens=less), answered("g1", "Hi", tokens=TOKENS)]
    session, _ = opened(tmp_path, *LINES[:3], *lines, answered("g1", "Hi", tokens=less))
    usage = paid(tmp_path / "source")
    assert (usage.input_tokens, usage.cache_read_tokens, usage.output_tokens) == (78, 33, 89)
    data = [entry for entry in session.path() if isinstance(entry, ExtensionDataEntry)]
    assert [(entry.ext_type, entry.model) for entry in data] == [("gemini-cli.gemini", "gemini-3-flash")] * 2


def test_a_session_over_several_files(tmp_path: Path) -> None:
    """A file that only begins, as each resume leaves one, changes nothing; the leaf is in the one written last."""
    chats = tmp_path / "chats"
    first = write(chats / "session-2026-11-28T15-17-6223d23a.jsonl", *LINES, RESUMED, said("u3", words("Thanks")))
    write(chats / "session-2026-11-28T15-40-6223d23a.jsonl", head(40), repeated(said("d0", CONTEXT, time=LATER)))
    write(chats / "session-2026-11-28T15-50-6223d23a.jsonl", *map(dict, [head(50) | {"sessionId": "6223d23a-other"}]))
    (chats / "session-2026-11-28T15-55-6223d23a.jsonl").write_bytes(b"\x28\xb5\x2f\xfd no archive")
    store = open_store("memory:")
    reports = [each for each in import_into(tmp_path, store) if each.status == "imported"]
    assert sorted(str(each.session_id) for each in reports) == [ID, "6223d23a-other"]
    session, report = read_foreign(first)
    assert (parts(session), codes(report)) == ([*CONVERSATION, [words("Thanks")]], [])
    assert len(list(session.leaves())) == 1
    assert session.metadata["gemini-cli"]["startTime"] == LINES[0]["startTime"]
    with store.open(ID) as imported:
        assert parts(imported) == [*CONVERSATION, [words("Thanks")]]


def test_a_session_that_went_on_in_another_file(tmp_path: Path) -> None:
    """The second file repeats what was before, and goes on: one branch."""
    name = "chats/session-2026-11-28T15-{}-6223d23a.jsonl"
    write(tmp_path / name.format(17), *LINES)
    more = said("u3", words("Thanks"), time=LATER)
    last = write(tmp_path / name.format(40), head(40), RESUMED, more, {"$set": {"lastUpdated": LATER}})
    session, report = read_foreign(last)
    assert (parts(session), codes(report)) == ([*CONVERSATION, [words("Thanks")]], [])
    assert (session.leaf_id, len(list(session.leaves()))) == ("u3", 1)


def test_the_file_of_a_sub_agent(tmp_path: Path) -> None:
    """It lies in a folder that is named after the session."""
    lines = [head(17, sessionId="agent-1", kind="subagent"), said("u1", words("Look"))]
    task, _ = read_foreign(write(tmp_path / "chats" / ID / "agent-1.jsonl", *lines))
    assert task.header.parent_session == ParentSession(id=ID, kind="task")
    elsewhere, _ = read_foreign(write(tmp_path / "agent-1.jsonl", *lines))
    assert elsewhere.header.parent_session is None


def test_growth_adds_the_new(tmp_path: Path) -> None:
    """Record by record: what was imported stays, and at the end there is what one import gives."""
    lines = [*LINES, head(40), repeated(said("d0", CONTEXT)), RESUMED, said("u3", words("Thanks")), {"$rewindTo": "u3"}]
    lines += [said("u4", words("Again")), answered("g2", "It says beta."), answered("g4", "", tokens=TOKENS)]
    before = b""
    for end in range(1, len(lines) + 1):
        import_file(write(tmp_path / "grown", *lines[:end]), tmp_path / "log")
        assert (tmp_path / "log").read_bytes().startswith(before)
        before = (tmp_path / "log").read_bytes()
    assert import_file(tmp_path / "grown", tmp_path / "log").written == 0
    at_once, _ = opened(tmp_path, *lines)
    with Session.open(tmp_path / "log", mode="r", strict=True) as grown:
        assert [entry.id for entry in grown.path()] == [entry.id for entry in at_once.path()]
        assert parts(grown) == [*CONVERSATION[:-1], [words("It says beta.")], [words("Again")]]
