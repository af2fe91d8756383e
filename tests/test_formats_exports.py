"""The exports of chat applications: branches, the leaf, and problems in the source. Hand-made samples."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile

import pytest
from foreign_stores import (
    entries_of,
    read,
    read_again,
    read_one,
    said_by,
    shown,
    source_of,
    tree_of,
    write_database,
    write_json,
)

from convtree import ExtensionDataEntry, MessageEntry, NotALog, open_store
from convtree._formats import chatgpt, claude_ai, librechat, openwebui
from convtree._formats.common import json_arrays as arrays
from convtree._formats.common.base import Format
from convtree._formats.common.ids import derive_id
from convtree._formats.common.json_arrays import item_keys
from convtree.exchange import import_into

CLAUDE_ROOT = "00000000-0000-4000-8000-000000000000"
LIBRE_ROOT = "00000000-0000-0000-0000-000000000000"


def gpt_node(
    id: str, parent: str | None, role: str, *parts: Any, children: tuple[str, ...] = (), **message: Any
) -> dict[str, Any]:
    content = {"content_type": "text", "parts": list(parts)}
    said: dict[str, Any] = {
        "id": id,
        "author": {"role": role},
        "create_time": 1700000000.5,
        "content": content,
        "metadata": {},
    }
    return {"id": id, "parent": parent, "children": list(children), "message": said | message}


def gpt_chat(id: str, nodes: list[dict[str, Any]], leaf: str | None, **more: Any) -> dict[str, Any]:
    root: dict[str, Any] = {"id": "root", "parent": None, "children": [], "message": None}
    mapping = {node["id"]: node for node in (root, *nodes)}
    fields = {
        "title": "Trip",
        "create_time": 1700000000.0,
        "update_time": 1700000001.0,
        "conversation_id": id,
        "id": id,
    }
    return fields | {"mapping": mapping, "current_node": leaf} | more


def branched() -> list[dict[str, Any]]:
    """Two questions; the first answered twice, the second asked twice; siblings out of order in the mapping."""
    model: dict[str, Any] = {"metadata": {"model_slug": "gpt-4o"}}
    return [
        gpt_node("b2", "a", "assistant", "Oslo?", **model),
        gpt_node("a", "root", "user", "Where to?", children=("b1", "b2")),
        gpt_node("b1", "a", "assistant", "Rome?", children=("c1", "c2"), **model),
        gpt_node("c1", "b1", "user", "When?"),
        gpt_node("c2", "b1", "user", "How?"),
    ]


# --- ChatGPT ---


def test_every_branch_of_a_chatgpt_conversation_comes_out(tmp_path: Path) -> None:
    """Ids and order of siblings as ChatGPT has them, the root without a message cut, the leaf where it was."""
    found = read_one(chatgpt, write_json(tmp_path / "c.json", [gpt_chat("chat", branched(), "c1")]))
    session = found.session
    assert tree_of(session) == {"a": None, "b1": "a", "c1": "b1", "c2": "b1", "b2": "a"}
    assert [entry.id for entry in session.siblings("b1")] == ["b1", "b2"]
    assert shown(session) == ["user: Where to?", "assistant: Rome?", "user: When?"]
    assert shown(session, "b2") == ["user: Where to?", "assistant: Oslo?"]
    assert (session.id, session.name, session.leaf_id, found.codes) == ("chat", "Trip", "c1", [])
    assert session.header.metadata == {"import": {"format": "chatgpt", "id": "chat"}}
    entry = session.entry("b1")
    assert entry == MessageEntry(
        id="b1",
        parent_id="a",
        timestamp="2023-11-14T22:13:20.500000Z",
        message={
            "role": "assistant",
            "content": "Rome?",
            "chatgpt": {"metadata": {"model_slug": "gpt-4o"}},
        },
        shape="chatgpt.message",
        provider="openai",
        model="gpt-4o",
    )


def test_conversations_are_sessions(tmp_path: Path) -> None:
    """One each; an id that comes again is another session's. A child that is not there is reported."""
    chats = [gpt_chat("one", branched(), "c1"), gpt_chat("two", [], None), gpt_chat("one", branched()[1:], "c2")]
    found = read(chatgpt, write_json(tmp_path / "c.json", chats))
    assert [each.session.id for each in found] == ["one", "two", derive_id("chatgpt", "one", 3)]
    assert [each.codes for each in found] == [[], [], ["source_duplicate", "source_bad_target"]]


@pytest.mark.parametrize(
    ("content", "expected", "visible_to"),
    [
        ({"content_type": "code", "language": "python", "text": "1+1"}, "1+1", "all"),
        ({"content_type": "execution_output", "text": "2"}, "2", "all"),
        ({"content_type": "tether_browsing_display", "result": "page"}, "page", "all"),
        ({"content_type": "system_error", "name": "E", "text": "bad"}, "bad", "all"),
        ({"content_type": "thoughts", "thoughts": [1]}, [{"type": "thoughts", "thoughts": [1]}], "user"),
        ({"content_type": "model_editable_context", "x": "p"}, [{"type": "model_editable_context", "x": "p"}], "all"),
        (
            {"content_type": "multimodal_text", "parts": ["see", {"content_type": "image_asset_pointer", "x": "f"}]},
            [{"type": "text", "text": "see"}, {"type": "image_asset_pointer", "x": "f"}],
            "all",
        ),
    ],
)
def test_contents_of_chatgpt(tmp_path: Path, content: dict[str, Any], expected: Any, visible_to: str) -> None:
    """What has a text is a text; reasoning is for the user; all else is a block of its own type."""
    node = gpt_node("a", "root", "assistant", content=content)
    entry = read_one(chatgpt, write_json(tmp_path / "c.json", [gpt_chat("c", [node], "a")])).session.entry("a")
    assert isinstance(entry, MessageEntry)
    assert (entry.message["content"], entry.visible_to) == (expected, visible_to)


def test_empty_messages_stay_in_the_tree(tmp_path: Path) -> None:
    """An empty system message and a node without a message are extension data, and parents."""
    nodes = [
        gpt_node("s", "root", "system", "", weight=0.0),
        {"id": "n", "parent": "s", "children": [], "message": None},
        gpt_node("h", "n", "user", "hi", metadata={"is_visually_hidden_from_conversation": True}),
    ]
    session = read_one(chatgpt, write_json(tmp_path / "c.json", [gpt_chat("c", nodes, "h")])).session
    assert [said_by(entry) for entry in session.path()] == ["chatgpt.message", "chatgpt.node", "user: hi"]
    empty, hidden = session.entry("s"), session.entry("h")
    assert isinstance(empty, ExtensionDataEntry)
    assert empty.data == {"role": "system", "weight": 0.0}
    assert isinstance(hidden, MessageEntry)
    assert hidden.visible_to == "model"


def test_two_roots_an_orphan_and_a_cycle(tmp_path: Path) -> None:
    """Each is kept and reported; nothing is lost."""
    nodes = [
        gpt_node("a", "root", "user", "a"),
        {"id": "root2", "parent": None, "children": ["b"], "message": None},
        gpt_node("b", "root2", "user", "b"),
        gpt_node("o", "gone", "user", "orphan"),
        gpt_node("x", "y", "user", "x"),
        gpt_node("y", "x", "user", "y"),
    ]
    found = read_one(chatgpt, write_json(tmp_path / "c.json", [gpt_chat("c", nodes, "gone")]))
    assert tree_of(found.session) == {"a": None, "b": None, "o": None, "x": None, "y": "x"}
    assert sorted(found.codes) == ["source_bad_target", "source_cycle", "source_orphan", "source_second_root"]


def test_a_grown_export_adds_what_is_new(tmp_path: Path) -> None:
    """An answer made again since is a sibling; a leaf that stayed where it was is marked behind what was added."""
    path = tmp_path / "c.json"
    session = read_one(chatgpt, write_json(path, [gpt_chat("c", branched(), "c1")])).session
    before = len(entries_of(session))
    for leaf in ("c1", "b3"):
        nodes = [*branched(), gpt_node("b3", "a", "assistant", "Paris?")]
        assert read_again(chatgpt, write_json(path, [gpt_chat("c", nodes, leaf)]), session) > 0
        assert (session.leaf_id, len(entries_of(session)) - before) == (leaf, 1)


def test_a_torn_export_gives_all_that_is_whole(tmp_path: Path) -> None:
    """Conversations before the cut, and a reading without records for what lies outside of them."""
    data = json.dumps([gpt_chat(str(number), branched(), "c1") for number in range(3)]).encode()
    (tmp_path / "c.json").write_bytes(data[: len(data) * 5 // 6])
    found = read(chatgpt, tmp_path / "c.json")
    assert [each.session.id for each in found[:2]] == ["0", "1"]
    assert (found[2].codes, entries_of(found[2].session)) == (["source_torn_tail"], [])


def test_a_damaged_conversation_does_not_take_others_with_it(tmp_path: Path) -> None:
    """A lost quote turns strings inside out to the end of the file; whole conversations are found behind it."""
    data = json.dumps([gpt_chat(str(number), branched(), "c1") for number in range(4)]).encode()
    at = data.index(b'"Trip"', data.index(b'"conversation_id": "0"'))
    (tmp_path / "c.json").write_bytes(data[:at] + data[at + 1 :])
    found = read(chatgpt, tmp_path / "c.json")
    assert [each.session.id for each in found[:3]] == ["0", "2", "3"]
    assert found[3].codes == ["source_torn_tail"]


# --- Claude.ai ---


def claude_message(id: str, parent: str | None, sender: str, text: str, second: int, **more: Any) -> dict[str, Any]:
    time = f"2025-01-01T00:00:{second:02}.000000+00:00"
    fields = {"uuid": id, "sender": sender, "text": text, "created_at": time, "updated_at": time}
    return fields | ({"parent_message_uuid": parent} if parent else {}) | more


def claude_chat(*messages: dict[str, Any], **more: Any) -> dict[str, Any]:
    fields = {"uuid": "chat", "name": "Trip", "created_at": "2025-01-01T00:00:00Z", "account": {"uuid": "x"}}
    return fields | {"chat_messages": list(messages)} | more


def test_every_branch_of_a_claude_conversation_comes_out(tmp_path: Path) -> None:
    """The sentinel is no parent; the leaf is the newest message that nobody answered."""
    chat = claude_chat(
        claude_message("a", CLAUDE_ROOT, "human", "Where to?", 1),
        claude_message("b1", "a", "assistant", "Rome?", 2),
        claude_message("b2", "a", "assistant", "Oslo?", 9),
        claude_message("c1", "b1", "human", "When?", 4),
    )
    found = read_one(claude_ai, write_json(tmp_path / "c.json", [chat]))
    assert tree_of(found.session) == {"a": None, "b1": "a", "b2": "a", "c1": "b1"}
    assert (shown(found.session), found.codes) == (["user: Where to?", "assistant: Oslo?"], [])
    assert (found.session.name, found.session.leaf_id) == ("Trip", "b2")
    named = read_one(claude_ai, write_json(tmp_path / "c.json", chat | {"current_leaf_message_uuid": "c1"}))
    assert named.session.leaf_id == "c1"


def test_an_export_without_parents_is_a_chain(tmp_path: Path) -> None:
    """As exports were before the field."""
    chat = claude_chat(claude_message("a", None, "human", "Hi", 1), claude_message("b", None, "assistant", "Ho", 2))
    assert tree_of(read_one(claude_ai, write_json(tmp_path / "c.json", [chat])).session) == {"a": None, "b": "a"}


def test_tool_traffic_of_claude_is_parted(tmp_path: Path) -> None:
    """A result inside what the assistant said is the user's; what follows hangs below the last part."""
    call = {"type": "tool_use", "id": "t1", "name": "search", "input": {"q": "x"}}
    result = {"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "found"}]}
    content = [{"type": "text", "text": "Look"}, call, result, {"type": "text", "text": "Done", "citations": []}]
    chat = claude_chat(
        claude_message("a", CLAUDE_ROOT, "human", "Q", 1, attachments=[{"file_name": "f", "extracted_content": "x"}]),
        claude_message("b", "a", "assistant", "Look\nDone", 2, content=content),
        claude_message("c", "b", "human", "Thanks", 3),
    )
    session = read_one(claude_ai, write_json(tmp_path / "c.json", [chat])).session
    expected = [
        "user: <document> Q",
        "assistant: Look <tool_use>",
        "user: <tool_result>",
        "assistant: Done",
        "user: Thanks",
    ]
    assert (shown(session), session.build_context().open_calls) == (expected, ())
    parts = session.path()[1:4]
    assert [part.id for part in parts] == ["b", *(derive_id("claude_ai", "chat", "b", at) for at in (1, 2))]
    assert [part.source_id for part in parts] == [None, "b", "b"]


def test_odd_claude_messages_are_kept(tmp_path: Path) -> None:
    """A second sentinel, an id again, a parent further down, itself as parent, and what is no message."""
    messages: list[Any] = [
        claude_message("a", CLAUDE_ROOT, "human", "one", 1),
        claude_message("b", LIBRE_ROOT, "human", "two", 2),
        claude_message("a", "a", "assistant", "three", 3),
        claude_message("d", "e", "human", "four", 4),
        claude_message("e", "b", "human", "five", 5),
        claude_message("f", "f", "human", "six", 6),
        "no message",
    ]
    found = read_one(claude_ai, write_json(tmp_path / "c.json", [claude_chat(*messages)]))
    again = derive_id("claude_ai", "chat", "a", 3)
    assert len(entries_of(found.session)) == 7
    assert tree_of(found.session)[again] == "a"
    assert sorted(found.codes) == [
        "source_bad_record",
        "source_cycle",
        "source_duplicate",
        "source_forward",
        "source_second_root",
    ]


# --- LibreChat ---


def libre_message(id: str, parent: str, text: str, second: int, *, user: bool = False, **more: Any) -> dict[str, Any]:
    fields = {"messageId": id, "conversationId": "chat", "parentMessageId": parent, "text": text}
    return fields | {"isCreatedByUser": user, "createdAt": f"2025-01-01T00:00:{second:02}.000Z", "sender": "x"} | more


def libre_messages() -> list[dict[str, Any]]:
    return [
        libre_message("a", LIBRE_ROOT, "Where to?", 1, user=True),
        libre_message("b1", "a", "Rome?", 2, model="gpt-4o", endpoint="openAI"),
        libre_message("b2", "a", "Oslo?", 3, model="gpt-4o", endpoint="openAI"),
        libre_message("c1", "b1", "When?", 4, user=True),
    ]


def libre_export(**more: Any) -> dict[str, Any]:
    fields = {"conversationId": "chat", "endpoint": "openAI", "title": "Trip", "exportAt": "x", "branches": True}
    return fields | {"recursive": False, "options": {"model": "gpt-4o"}} | more


def folded(messages: list[dict[str, Any]], parent: str = LIBRE_ROOT) -> list[dict[str, Any]]:
    mine = [message for message in messages if message["parentMessageId"] == parent]
    return [message | {"children": folded(messages, message["messageId"])} for message in mine]


@pytest.mark.parametrize("is_folded", [False, True])
def test_every_branch_of_a_librechat_conversation_comes_out(tmp_path: Path, is_folded: bool) -> None:
    """As a list and as a tree of children."""
    messages = folded(libre_messages()) if is_folded else libre_messages()
    export = libre_export(**{"messagesTree" if is_folded else "messages": messages})
    found = read_one(librechat, write_json(tmp_path / "c.json", export))
    assert tree_of(found.session) == {"a": None, "b1": "a", "c1": "b1", "b2": "a"}
    assert shown(found.session) == ["user: Where to?", "assistant: Rome?", "user: When?"]
    assert (found.session.id, found.session.name, found.session.leaf_id, found.codes) == ("chat", "Trip", "c1", [])
    answer = found.session.entry("b2")
    assert isinstance(answer, MessageEntry)
    assert (answer.provider, answer.model, answer.shape) == ("openAI", "gpt-4o", "librechat.message")


def test_parts_of_librechat(tmp_path: Path) -> None:
    """Texts, reasoning, a call with its output; a summary is reported, an error is for the user."""
    call = {"id": "t1", "name": "search", "args": '{"q":"x"}', "output": "found"}
    parts = [
        {"type": "think", "think": "hm"},
        {"type": "text", "text": {"value": "Look"}},
        {"type": "tool_call", "tool_call": call},
        {"type": "text", "text": "Done"},
    ]
    messages = [
        libre_message("a", LIBRE_ROOT, "", 1, content=parts, summary="old"),
        libre_message("b", "a", "failed", 2, error=True),
    ]
    found = read_one(librechat, write_json(tmp_path / "c.json", libre_export(messages=messages)))
    expected = ["assistant: <thinking> Look <tool_use>", "user: <tool_result>", "assistant: Done"]
    assert (shown(found.session), found.codes) == (expected, ["source_unsupported"])
    said = found.session.entry("a")
    assert isinstance(said, MessageEntry)
    block = {"type": "tool_use", "id": "t1", "name": "search", "input": {"q": "x"}}
    assert (said.message["content"][2], said.message["librechat"]["summary"]) == (block, "old")


# --- Open WebUI ---


def webui_message(id: str, parent: str | None, role: str, content: str, *children: str, **more: Any) -> dict[str, Any]:
    fields = {"id": id, "parentId": parent, "childrenIds": list(children), "role": role, "content": content}
    return fields | {"timestamp": 1700000000} | more


def webui_chat(messages: list[dict[str, Any]], leaf: str | None) -> dict[str, Any]:
    history = {"messages": {message["id"]: message for message in messages}, "currentId": leaf}
    chat = {"title": "Trip", "models": ["m"], "history": history}
    return {"id": "chat", "title": "Trip", "chat": chat, "created_at": 1700000000, "updated_at": 1, "meta": {}}


def webui_messages() -> list[dict[str, Any]]:
    return [
        webui_message("a", None, "user", "Where to?", "b1", "b2"),
        webui_message("b1", "a", "assistant", "Rome?", "c1", model="llama", usage={"prompt_tokens": 3}),
        webui_message("b2", "a", "assistant", "Oslo?", model="llama"),
        webui_message("c1", "b1", "user", "When?"),
    ]


@pytest.mark.parametrize("is_bare", [False, True])
def test_every_branch_of_an_open_webui_chat_comes_out(tmp_path: Path, is_bare: bool) -> None:
    """With its envelope, and without."""
    chat = webui_chat(webui_messages(), "c1")
    found = read_one(openwebui, write_json(tmp_path / "c.json", chat["chat"] if is_bare else [chat]))
    assert tree_of(found.session) == {"a": None, "b1": "a", "c1": "b1", "b2": "a"}
    assert shown(found.session) == ["user: Where to?", "assistant: Rome?", "user: When?"]
    assert (found.session.name, found.session.leaf_id, found.codes) == ("Trip", "c1", [])
    answer = found.session.entry("b1")
    assert isinstance(answer, MessageEntry)
    assert (answer.model, answer.usage, answer.timestamp) == (
        "llama",
        {"prompt_tokens": 3},
        "2023-11-14T22:13:20.000000Z",
    )


def test_output_of_open_webui_replaces_the_content(tmp_path: Path) -> None:
    """Output items become blocks, the rendered content is kept beside; a broken leaf is reported."""
    output = [
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}]},
        {"type": "function_call", "call_id": "t1", "name": "search", "arguments": '{"q": 1}'},
        {"type": "function_call_output", "call_id": "t1", "output": [{"type": "input_text", "text": "found"}]},
        {"type": "message", "content": [{"type": "output_text", "text": "Done"}]},
    ]
    chat = webui_chat([webui_message("a", None, "assistant", "<details>", output=output)], "gone")
    found = read_one(openwebui, write_json(tmp_path / "c.json", [chat]))
    assert shown(found.session) == ["assistant: <thinking> <tool_use>", "user: <tool_result>", "assistant: Done"]
    assert found.codes == ["source_bad_target"]
    first = found.session.entry("a")
    assert isinstance(first, MessageEntry)
    assert first.message["openwebui"]["content"] == "<details>"


def test_a_chat_without_a_history_is_a_chain(tmp_path: Path) -> None:
    """As the oldest exports are."""
    messages = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}]
    chat = {"id": "chat", "chat": {"title": "T", "history": {"messages": {}}, "messages": messages}}
    assert shown(read_one(openwebui, write_json(tmp_path / "c.json", [chat])).session) == ["user: Hi", "assistant: Ho"]


# --- which format it is ---

SAMPLES: dict[str, tuple[Format, Any]] = {
    "chatgpt": (chatgpt, [gpt_chat("c", branched(), "c1")]),
    "claude_ai": (claude_ai, [claude_chat(claude_message("a", CLAUDE_ROOT, "human", "x", 1))]),
    "librechat": (librechat, libre_export(messages=libre_messages())),
    "openwebui": (openwebui, [webui_chat(webui_messages(), "c1")]),
}


@pytest.mark.parametrize("name", SAMPLES)
def test_each_export_is_told_by_its_own_format_only(tmp_path: Path, name: str) -> None:
    """Also behind a byte order mark, and when the first item is something else."""
    for sample in (SAMPLES[name][1], [{"other": 1}, SAMPLES[name][1]] if name == "librechat" else SAMPLES[name][1]):
        path = write_json(tmp_path / "c.json", sample)
        path.write_bytes(b"\xef\xbb\xbf \n" + path.read_bytes())
        assert [other for other, (form, _) in SAMPLES.items() if form.recognises(source_of(path))] == [name]


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"{}", b"[1,2]", b'{"type":"session"}\n', b"\xff\0[", b'["mapping"]', b"]" * 9]
)
def test_other_files_are_not_recognised(tmp_path: Path, data: bytes) -> None:
    """Nothing is raised either."""
    (tmp_path / "c.json").write_bytes(data)
    assert not any(form.recognises(source_of(tmp_path / "c.json")) for form, _ in SAMPLES.values())


def test_keys_are_those_of_the_items() -> None:
    """Not of what lies inside, and not in strings."""
    data = rb'[{"a": {"b": 1}, "c\"": "\"d\": 1", "e" : [{"f": 2}]}, {"g": 1'
    assert item_keys(data) == (frozenset({"a", 'c\\"', "e"}), frozenset({"g"}))


# --- what has no place of its own ---


@pytest.mark.parametrize("name", SAMPLES)
def test_fields_of_a_conversation_become_metadata(tmp_path: Path, name: str) -> None:
    """Under the format's name; an import again adds nothing."""
    form, sample = SAMPLES[name]
    one = sample if name == "librechat" else sample[0]
    path = write_json(tmp_path / "c.json", one | {"tags": ["x"], "nothing": None})
    found = read_one(form, path)
    assert (found.session.metadata[name]["tags"], "nothing" in found.session.metadata[name]) == (["x"], False)
    assert read_again(form, path, found.session) == 0


@pytest.mark.parametrize("name", SAMPLES)
def test_two_without_ids_are_two(tmp_path: Path, name: str) -> None:
    """An id is derived from what stands in them first: two have different ones, and one has the same again."""
    form, sample = SAMPLES[name]
    one = dict(sample if name == "librechat" else sample[0])
    for id in ("id", "uuid", "conversation_id", "conversationId"):
        one |= {id: None} if id in one else {}
    text = json.dumps(one)
    ids = []
    for said in (text, text.replace('"a"', '"z"').replace('"b', '"y'), text):
        (tmp_path / "c.json").write_text(said)
        ids.append(read_one(form, tmp_path / "c.json").session.id)
    assert ids[0] == ids[2] != ids[1]


def test_the_context_that_a_person_gave_chatgpt_is_for_the_model(tmp_path: Path) -> None:
    """Both texts; the fields stay beside."""
    said = {"content_type": "user_editable_context", "user_profile": "I row.", "user_instructions": "Be brief."}
    hidden = {"is_visually_hidden_from_conversation": True}
    node = gpt_node("a", "root", "user", content=said, metadata=hidden)
    session = read_one(chatgpt, write_json(tmp_path / "c.json", [gpt_chat("c", [node], "a")])).session
    entry = session.entry("a")
    assert isinstance(entry, MessageEntry)
    assert (shown(session), entry.visible_to) == (["user: I row.\nBe brief."], "model")
    assert entry.message["chatgpt"]["content"] == said


def test_calls_of_claude_without_ids_have_their_results(tmp_path: Path) -> None:
    """In their order."""
    call: dict[str, Any] = {"type": "tool_use", "id": None, "name": "search", "input": {}}
    content = [call, call, *({"type": "tool_result", "tool_use_id": None, "content": said} for said in ("1", "2"))]
    chat = claude_chat(claude_message("a", CLAUDE_ROOT, "assistant", "", 1, content=content))
    session = read_one(claude_ai, write_json(tmp_path / "c.json", [chat])).session
    calls, results = (entry.message["content"] for entry in session.path() if isinstance(entry, MessageEntry))
    assert [each["id"] for each in calls] == [each["tool_use_id"] for each in results]
    assert len({each["id"] for each in calls}) == 2
    assert session.build_context().open_calls == ()


def test_an_open_webui_chat_of_old_is_a_chain(tmp_path: Path) -> None:
    """It has no history."""
    chat = {
        "title": "Old",
        "models": ["m"],
        "messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}],
    }
    session = read_one(openwebui, write_json(tmp_path / "c.json", [{"id": "o", "chat": chat, "timestamp": 1}])).session
    assert (session.id, session.name, shown(session)) == ("o", "Old", ["user: q", "assistant: a"])


def test_merged_answers_stand_for_the_one_they_hang_on(tmp_path: Path) -> None:
    """So the tool sends them; the answer itself is kept."""
    answer = webui_message("b", "a", "assistant", "Rome?", merged={"status": True, "content": "Rome or Oslo?"})
    chat = webui_chat([webui_message("a", None, "user", "Where to?", "b"), answer], "b")
    session = read_one(openwebui, write_json(tmp_path / "c.json", [chat])).session
    entry = session.entry("b")
    assert isinstance(entry, MessageEntry)
    assert shown(session) == ["user: Where to?", "assistant: Rome or Oslo?"]
    assert entry.message["openwebui"]["content"] == "Rome?"


WEBUI = """
create table chat(id text primary key, user_id text, title text, chat json, created_at integer, archived integer,
    meta json, current_message_id text);
create table chat_message(id text primary key, chat_id text, parent_id text, role text, content json, output json,
    model_id text, usage json, created_at integer);
"""


def test_the_database_of_open_webui(tmp_path: Path) -> None:
    """The JSON of its chats, and messages that only have a row of their own; what is no JSON, and strays: reported."""
    chat = webui_chat(webui_messages(), None)["chat"]
    rows: list[dict[str, Any]] = [
        {"id": "k-b1", "chat_id": "k", "parent_id": "a", "role": "assistant", "content": '"not again"'},
        {"id": "k-d1", "chat_id": "k", "parent_id": "c1", "role": "assistant", "content": '"In May."', "model_id": "m"},
        {"id": "k-d2", "chat_id": "k", "parent_id": "c1", "role": "assistant", "content": "In June."},
        {"id": "x-1", "chat_id": "x", "parent_id": None, "role": "user", "content": '"lost"'},
    ]
    own = {"id": "k", "user_id": "u", "title": "Trip", "chat": json.dumps(chat), "archived": 1}
    path = write_database(tmp_path / "webui.db", WEBUI, chat=[own | {"current_message_id": "d1"}], chat_message=rows)
    found, rest = read(openwebui, path)
    assert tree_of(found.session) == {"a": None, "b1": "a", "c1": "b1", "d1": "c1", "d2": "c1", "b2": "a"}
    assert shown(found.session)[1:] == ["assistant: Rome?", "user: When?", "assistant: In May."]
    assert (found.session.id, found.session.archived, found.codes) == ("k", True, ["source_bad_line"])
    assert shown(found.session, "d2")[-1] == "assistant: In June."
    assert rest.codes == ["source_left_out"]


# --- archives ---


def packed(path: Path, **members: bytes) -> Path:
    """An archive as exports come, with members by name."""
    with ZipFile(path, "w", ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def imported(path: Path, folder: Path) -> dict[str | None, list[str]]:
    """The codes of what is wrong, by session."""
    with open_store(str(folder)) as store:
        return {each.session_id: [finding.code for finding in each.findings] for each in import_into(path, store)}


def test_an_archive_is_read_as_it_was_downloaded(tmp_path: Path) -> None:
    """All parts of the conversations, and nothing else in it."""
    parts = [json.dumps([gpt_chat(id, branched(), "b1")]).encode() for id in ("c1", "c2")]
    names = {
        "user.json": b"{}",
        "a/conversations-001.json": parts[1],
        "a/conversations-000.json": parts[0],
        "x.png": b"",
    }
    path = packed(tmp_path / "export", **names)
    assert list(imported(path, tmp_path / "store").items()) == [("c1", []), ("c2", [])]
    claude = packed(tmp_path / "other", **{"conversations.json": json.dumps([claude_chat()]).encode()})
    assert list(imported(claude, tmp_path / "store").items()) == [("chat", [])]


def test_an_archive_that_is_damaged_is_read_up_to_there(tmp_path: Path) -> None:
    """And that is reported; one without conversations is of no known format."""
    chats = [gpt_chat(f"c{number}", [gpt_node("a", "root", "user", str(number**999))], "a") for number in range(400)]
    path = packed(tmp_path / "export", **{"conversations.json": json.dumps(chats).encode()})
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 99] = bytes(99)
    path.write_bytes(data)
    found = imported(path, tmp_path / "store")
    assert "c100" in found
    assert "c399" not in found
    assert "source_torn_tail" in [code for codes in found.values() for code in codes]
    with pytest.raises(NotALog):
        imported(packed(tmp_path / "none", **{"user.json": b"{}"}), tmp_path / "store")
    (tmp_path / "half").write_bytes(path.read_bytes()[:9999])
    with pytest.raises(NotALog):
        imported(tmp_path / "half", tmp_path / "store")


# --- what is too large ---


def test_a_message_that_no_line_holds_is_cut(tmp_path: Path) -> None:
    """It keeps its place in the tree; the others are as they were."""
    nodes = [gpt_node("a", "root", "user", "x" * 17 * 2**20), gpt_node("b", "a", "user", "y")]
    found = read_one(chatgpt, write_json(tmp_path / "c.json", [gpt_chat("c", nodes, "b")]))
    texts = shown(found.session)
    assert (texts[0][:9], texts[0][-7:], texts[1], found.codes) == (
        "user: xxx",
        "… [cut]",
        "user: y",
        ["value_replaced"],
    )


def test_a_conversation_that_is_too_long_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In bounded memory, and with its place; the ones around it are there."""
    monkeypatch.setattr(arrays, "LINE_LIMIT", 4000)
    monkeypatch.setattr(arrays, "_CHUNK", 100)
    long = gpt_chat("long", [gpt_node("a", "root", "user", "x" * 5000)], "a")
    found = read(
        chatgpt, write_json(tmp_path / "c.json", [gpt_chat("1", branched(), "b1"), long, gpt_chat("2", [], None)])
    )
    assert [(each.session.id, each.codes) for each in found[:2]] == [("1", []), ("2", [])]
    assert found[2].codes == ["source_line_too_long"]


# --- what comes seldom ---


def test_a_chatgpt_conversation_before_its_first_message(tmp_path: Path) -> None:
    """It is put away, and the leaf is the root that holds nothing: nothing is marked."""
    chat = gpt_chat("c", [gpt_node("a", "root", "user", "Hi")], "root", is_archived=True)
    found = read_one(chatgpt, write_json(tmp_path / "c.json", [chat]))
    assert (found.session.archived, found.codes, found.session.leaf_id) == (True, [], "a")


def test_the_words_of_a_recording_are_text(tmp_path: Path) -> None:
    """What else is said of it is kept with them."""
    part = {"content_type": "audio_transcription", "text": "Hello", "direction": "in"}
    node = gpt_node("a", "root", "user", part)
    session = read_one(chatgpt, write_json(tmp_path / "c.json", [gpt_chat("c", [node], "a")])).session
    assert session.build_context().messages[0]["content"] == [{"type": "text", "text": "Hello", "direction": "in"}]


def test_an_export_that_begins_with_a_mark(tmp_path: Path) -> None:
    """Of the order of bytes: it is none of its content."""
    path = tmp_path / "c.json"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps([gpt_chat("c", branched(), "c1")]).encode())
    assert [(each.session.id, each.codes) for each in read(chatgpt, path)] == [("c", [])]


def test_odd_parts_of_librechat(tmp_path: Path) -> None:
    """A part that is no object is text, one of an unknown type stays, one without a type is shown."""
    parts = ["plain", {"type": "agent_update", "agent_update": 1}, {"odd": 1}]
    messages = [libre_message("a", LIBRE_ROOT, "", 1, content=parts)]
    session = read_one(librechat, write_json(tmp_path / "c.json", libre_export(messages=messages))).session
    assert session.build_context().messages[0]["content"] == [
        {"type": "text", "text": "plain"},
        {"type": "agent_update", "agent_update": 1},
        {"type": "text", "text": '{"odd":1}'},
    ]


def test_odd_output_of_open_webui(tmp_path: Path) -> None:
    """A result that is no text, an item of an unknown type, a refusal, an item without a type."""
    output = [
        {"type": "function_call_output", "call_id": "t", "output": [{"type": "input_image"}]},
        {"type": "web_search_call", "q": 1},
        {"type": "message", "content": [{"type": "refusal", "refusal": "No"}, {"type": "output_text", "text": ""}]},
        {"odd": 1},
    ]
    messages = [webui_message("a", None, "user", "", output=output)]
    session = read_one(openwebui, write_json(tmp_path / "c.json", [webui_chat(messages, "a")])).session
    assert session.build_context().messages[0]["content"] == [
        {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "input_image"}]},
        {"type": "web_search_call", "q": 1},
        {"type": "refusal", "refusal": "No"},
        {"type": "text", "text": '{"odd":1}'},
    ]


def test_open_webui_chats_between_others(tmp_path: Path) -> None:
    """What is no chat is reported; a chat of the database without any message is a session without one."""
    path = write_json(tmp_path / "c.json", [webui_chat(webui_messages(), "c1"), 7, {"odd": 1}])
    first, rest = read(openwebui, path)
    assert (first.codes, sorted(rest.codes)) == ([], ["source_bad_line", "source_bad_record"])
    own = {"id": "k", "user_id": "u", "title": "Trip", "chat": '{"history": {}}'}
    found = read_one(openwebui, write_database(tmp_path / "webui.db", WEBUI, chat=[own]))
    assert (entries_of(found.session), found.session.name, found.codes) == ([], "Trip", [])
