"""What providers answer with an error, rule by rule, and what is sent instead."""

from base64 import b64encode
from typing import Any

import pytest
from helpers import assistant, user
from test_providers import PNG, body, session_of, texts

from convtree import CompactionEntry, ModelChangeEntry

Message = dict[str, Any]
THOUGHT: Message = {"type": "thinking", "thinking": "hm", "signature": "sig"}
USE: Message = {"type": "tool_use", "id": "t1", "name": "f", "input": {}}
GAVE: Message = {"type": "tool_result", "tool_use_id": "t1", "content": "42"}
RESULT: Message = {"role": "user", "content": [GAVE]}
SEARCH: Message = {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {"query": "q"}}
FOUND: Message = {"type": "web_search_tool_result", "tool_use_id": "s1", "content": []}
HI = user("Hi")


def said(*blocks: Message) -> Message:
    return {"role": "assistant", "content": list(blocks)}


# --- Anthropic ---


def test_thinking_is_never_the_last_in_a_message() -> None:
    """A reply that was cut off while it thought is no reply; Anthropic refuses it in every later request."""
    sealed = {"type": "redacted_thinking", "data": "zzz"}
    assert body("anthropic", HI, said(THOUGHT, sealed), user("Again")) == [
        {"role": "user", "content": texts("Hi", "Again")}
    ]
    assert body("anthropic", HI, said(THOUGHT, *texts("A"), sealed)) == [HI, said(THOUGHT, *texts("A"))]
    assert body("anthropic", HI, said(THOUGHT)) == [HI]


def test_thinking_stands_first_when_messages_become_one() -> None:
    """What was said before it by another stands behind."""
    merged = body("anthropic", HI, assistant("One"), said(THOUGHT, *texts("Two")))
    assert merged == [HI, said(THOUGHT, *texts("One", "Two"))]
    own = said(*texts("A"), THOUGHT, *texts("B"))
    assert session_of(HI, own).build_context().to("anthropic")["messages"] == [HI, own]  # as its model gave it


def test_words_behind_a_call_are_a_message_of_their_own() -> None:
    """The result goes between them, late as it came."""
    late = [HI, said(THOUGHT, USE), said(THOUGHT, *texts("Meanwhile")), RESULT]
    assert body("anthropic", *late) == [HI, late[1], RESULT, late[2]]
    parallel = [HI, said(*texts("A"), USE), said(USE | {"id": "t2"}), RESULT]
    content = body("anthropic", *parallel)[1]["content"]
    assert [block.get("id") for block in content] == [None, "t1", "t2"]


def test_at_most_four_blocks_are_marked_for_the_cache() -> None:
    """The oldest marks go, the system's stay; what is stored keeps them all."""
    mark: Message = {"cache_control": {"type": "ephemeral"}}
    system = {"role": "system", "content": [{"type": "text", "text": "Be kind.", **mark}]}
    results: Message = {"role": "user", "content": [{**GAVE, "content": [{**texts("42")[0], **mark}], **mark}]}
    asked = [{"role": "user", "content": [{"type": "text", "text": str(number), **mark}]} for number in range(3)]
    session = session_of(system, asked[0], said(USE), results, assistant("A"), asked[1], assistant("B"), asked[2])
    context = session.build_context()
    written = context.to("anthropic")
    assert written["system"] == system["content"]
    assert repr(written).count("ephemeral") == 4
    assert written["messages"][0] == {"role": "user", "content": texts("0")}
    assert written["messages"][2]["content"] == [{**results["content"][0], "content": texts("42")}]
    assert written["messages"][4:] == [asked[1], assistant("B"), asked[2]]
    assert repr(context.messages).count("ephemeral") == 6


def test_what_anthropics_own_tools_did_is_whole_or_text() -> None:
    """A search that was interrupted, and one whose beginning was cut off."""
    told = '[server_tool_use {"name":"web_search","input":{"query":"q"}}]'
    assert body("anthropic", HI, said(SEARCH, FOUND, *texts("A"))) == [HI, said(SEARCH, FOUND, *texts("A"))]
    assert body("anthropic", HI, said(*texts("A"), SEARCH), user("?"))[1] == said(*texts("A", told))
    assert body("anthropic", HI, said(SEARCH)) == [HI, said(SEARCH)]  # it goes on from there
    session = session_of(HI, said(SEARCH), said(FOUND, *texts("A")))
    assert session.build_context().to("anthropic")["messages"] == [HI, said(SEARCH, FOUND, *texts("A"))]
    session.append(CompactionEntry(summary="S", first_kept_entry_id=session.path()[2].id))
    assert session.build_context().to("anthropic")["messages"][1] == said(*texts("[web_search_tool_result]", "A"))


def test_a_call_that_code_made_waits_with_it() -> None:
    """The code goes on behind the result; without the code, the call is the model's."""
    code = {"type": "server_tool_use", "id": "s2", "name": "code_execution", "input": {"code": "f()"}}
    called = USE | {"caller": {"type": "code_execution_20250825", "tool_id": "s2"}}
    outcome = {"type": "code_execution_result", "stdout": "", "stderr": "", "return_code": 0, "content": []}
    ran = {"type": "code_execution_tool_result", "tool_use_id": "s2", "content": outcome}
    whole = [HI, said(code, called), RESULT, said(ran, *texts("A"))]
    assert body("anthropic", *whole) == whole
    assert body("anthropic", *whole[:3]) == whole[:3]
    session = session_of(*whole, provider="p", model="m")
    session.append(ModelChangeEntry(provider="p", model="n"))
    told = '[server_tool_use {"name":"code_execution","input":{"code":"f()"}}]'
    ended = '[code_execution_tool_result {"content":{"type":"code_execution_result","return_code":0}}]'
    assert session.build_context().to("anthropic")["messages"] == [
        HI,
        said(*texts(told), USE),
        RESULT,
        said(*texts(ended, "A")),
    ]


def test_what_a_search_is_quoted_for_stays_with_the_search() -> None:
    """Its index is sealed for the model that searched."""
    cited = {"type": "web_search_result_location", "encrypted_index": "x", "cited_text": "c", "title": "t", "url": "u"}
    reply = said(SEARCH, FOUND, {"type": "text", "text": "A", "citations": [cited]})
    assert body("anthropic", HI, reply, provider="p", model="m") == [HI, reply]
    session = session_of(HI, reply, provider="p", model="m")
    session.append(ModelChangeEntry(provider="p", model="n"))
    told = '[server_tool_use {"name":"web_search","input":{"query":"q"}}]'
    assert session.build_context().to("anthropic")["messages"] == [HI, said(*texts(told, "A"))]


def test_an_error_is_told_in_words_only() -> None:
    """What a failed tool shows stands behind the results."""
    picture = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}
    failed = GAVE | {"is_error": True, "content": [*texts("no"), picture]}
    other = {"type": "tool_result", "tool_use_id": "t2", "content": "ok"}
    said_by_user = {"role": "user", "content": [failed, other, *texts("Look")]}
    assert body("anthropic", HI, said(USE, USE | {"id": "t2"}), said_by_user)[2]["content"] == [
        {"type": "tool_result", "tool_use_id": "t1", "content": "no", "is_error": True},
        other,
        picture,
        *texts("Look"),
    ]


def test_what_the_user_brings_along_is_there_whoever_answers() -> None:
    """No model made it."""
    found = {"type": "search_result", "source": "s", "title": "t", "content": texts("c")}
    asked = {"role": "user", "content": [found, *texts("So?")]}
    session = session_of(asked)
    session.append(assistant("A"), provider="anthropic", model="claude")
    assert session.build_context().to("anthropic")["messages"] == [asked, assistant("A")]


def test_what_the_user_brings_along_is_told_to_others() -> None:
    """A search result and a document made of blocks have words."""
    found = {"type": "search_result", "source": "https://x.org", "title": "T", "content": texts("c", "d")}
    page = {"type": "document", "source": {"type": "content", "content": texts("e")}}
    asked = {"role": "user", "content": [found, page, *texts("So?")]}
    assert body("anthropic", asked) == [asked]
    assert body("openai-chat", asked) == [user("T\nhttps://x.org\nc\nd\ne\nSo?")]
    answer = {"role": "user", "content": [GAVE | {"content": [found]}]}
    assert body("anthropic", HI, said(USE), answer)[2] == answer
    assert body("openai-chat", HI, said(USE), answer)[2]["content"] == "T\nhttps://x.org\nc\nd"


def test_pis_signatures_are_those_of_the_api_that_gave_them() -> None:
    """Google's and OpenAI's are nothing to Anthropic; what was hidden is a block of another type."""
    thought = {"type": "thinking", "thinking": "hm", "thinkingSignature": "c2ln"}
    reply = said(thought, *texts("A"))
    assert body("anthropic", HI, reply | {"api": "google-generative-ai"})[1] == assistant("A")
    kept = {"type": "thinking", "thinking": "hm", "signature": "c2ln"}
    assert body("anthropic", HI, reply | {"api": "anthropic-messages"})[1] == said(kept, *texts("A"))
    hidden = said(thought | {"redacted": True}, *texts("A"))
    assert body("anthropic", HI, hidden)[1] == said({"type": "redacted_thinking", "data": "c2ln"}, *texts("A"))


# --- names, ids and arguments ---


@pytest.mark.parametrize(
    ("name", "sent"),
    [
        ("files.read", "files_read"),
        ("ü", "_"),
        ("", "unknown"),
        ("2nd", "_2nd"),
        ("n" * 70, "n" * 64),
        ("ok-1", "ok-1"),
    ],
)
def test_names_of_tools_are_such_as_every_provider_takes(name: str, sent: str) -> None:
    """The same for call and result, and in its own shape as it came."""
    call = {"type": "toolCall", "id": "c1", "name": name, "arguments": {}}
    result = {"role": "toolResult", "toolCallId": "c1", "toolName": name, "content": "42"}
    spoken: list[Message] = [HI, said(call), result]
    assert body("anthropic", *spoken)[1]["content"][0]["name"] == sent
    assert body("openai-chat", *spoken)[1]["tool_calls"][0]["function"]["name"] == sent
    assert body("openai-responses", *spoken)[1]["name"] == sent
    (_, calling, answer) = body("gemini", *spoken)
    assert calling["parts"][0]["functionCall"]["name"] == answer["parts"][0]["functionResponse"]["name"] == sent
    own = {"functionCall": {"name": "files.read", "args": {}}}
    answered = {"functionResponse": {"name": "files.read", "response": {"output": "42"}}}
    native = [{"role": "user", "parts": [{"text": "Hi"}]}, {"role": "model", "parts": [own]}]
    assert body("gemini", *native, {"role": "user", "parts": [answered]})[1]["parts"] == [own]


def test_a_strangers_long_id_is_renamed_in_its_own_shape_too() -> None:
    """OpenAI takes 40 characters; its imitators give more."""
    call = {"id": "c" * 50, "type": "function", "function": {"name": "f", "arguments": "{}"}}
    spoken: list[Message] = [
        HI,
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c" * 50, "content": "42"},
    ]
    assert body("openai-chat", *spoken, provider="p", model="m") == spoken
    session = session_of(*spoken, provider="p", model="m")
    session.append(ModelChangeEntry(provider="openai", model="gpt"))
    (_, calling, result) = session.build_context().to("openai-chat")["messages"]
    assert len(calling["tool_calls"][0]["id"]) <= 40
    assert calling["tool_calls"][0]["id"] == result["tool_call_id"]


# --- OpenAI ---


def test_a_tool_that_gave_nothing_says_so() -> None:
    """A result's content may not be null."""
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    spoken = [HI, {"role": "assistant", "content": None, "tool_calls": [call]}]
    empty = {"role": "tool", "tool_call_id": "c1", "content": None}
    assert body("openai-chat", *spoken, empty)[2] == empty | {"content": "(no output)"}


def test_results_that_say_nothing_are_there_for_every_provider() -> None:
    """No null where a provider wants a text or an object; an empty list is no content."""
    (result,) = body("anthropic", HI, said(USE), {"role": "user", "content": [GAVE | {"content": None}]})[2]["content"]
    assert result == {"type": "tool_result", "tool_use_id": "t1"}
    call = {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"}
    output = {"type": "function_call_output", "call_id": "c1", "output": None}
    assert body("openai-responses", HI, call, output)[2] == output | {"output": ""}
    native = {"role": "model", "parts": [{"functionCall": {"name": "f", "args": {}}}]}
    answer = {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": None}}]}
    made = {"functionResponse": {"name": "f", "response": {"output": ""}}}
    assert body("gemini", HI, native, answer)[2] == {"role": "user", "parts": [made]}
    calls = [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
    spoken = {"role": "assistant", "content": [], "tool_calls": calls}
    assert body("openai-chat", HI, spoken, {"role": "tool", "tool_call_id": "c1", "content": "42"})[1] == {
        "role": "assistant",
        "content": None,
        "tool_calls": calls,
    }


def test_what_was_said_aloud_is_told() -> None:
    """OpenAI forgets the sound and takes back neither its data nor its transcript."""
    audio = {"id": "audio_1", "data": "UklG", "expires_at": 1, "transcript": "Hello."}
    spoken = {"role": "assistant", "content": None, "refusal": None, "audio": audio}
    for shape in ("openai-chat", "openai-responses", "anthropic"):
        assert body(shape, HI, spoken) == [HI, assistant("Hello.")]


def test_reasoning_beside_the_content_is_known_by_its_key() -> None:
    """As it came for the model that made it. Another model of its provider gets the plain part; others get none."""
    reply = {"role": "assistant", "content": "A", "reasoning": "hm", "reasoning_details": [{"type": "x", "data": "y"}]}
    assert body("openai-chat", HI, reply, model="m") == [HI, reply]
    session = session_of(HI, reply, model="m", provider="p")
    session.append(ModelChangeEntry(provider="p", model="n"))
    assert session.build_context().to("openai-chat")["messages"] == [HI, assistant("A") | {"reasoning": "hm"}]
    session.append(ModelChangeEntry(provider="q", model="n"))
    written = session.build_context().to("openai-chat")
    assert (written["messages"], len(written.left_out)) == ([HI, assistant("A")], 1)


def test_reasoning_beside_nothing_is_no_message() -> None:
    """A reply that was cut off while its model thought."""
    for name in ("reasoning", "reasoning_content"):
        assert body("openai-chat", HI, {"role": "assistant", "content": None, name: "hm"}, model="m") == [HI]


def test_a_call_that_a_program_made_goes_to_another_model_without_it() -> None:
    """The program is an item that only its own model reads."""
    call = {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"}
    made = call | {"id": "fc_1", "caller": {"type": "program", "caller_id": "p1"}}
    output = {"type": "function_call_output", "call_id": "c1", "output": "42"}
    session = session_of(HI, made, output, model="m")
    session.append(ModelChangeEntry(provider="p", model="n"))
    assert session.build_context().to("openai-responses")["input"] == [HI, call, output]


def test_members_without_a_value_are_not_sent_to_responses() -> None:
    """OpenAI gives some that it does not take back."""
    reasoning = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "x"}
    block = {"type": "output_text", "text": "A", "annotations": []}
    reply = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": [block]}
    empty = {"status": None, "content": None}
    assert body("openai-responses", HI, reasoning | empty, reply | {"phase": None}) == [HI, reasoning, reply]


def test_a_search_for_tools_is_a_call_with_its_result() -> None:
    """As it came for OpenAI, as any call for others; open without."""
    call = {"type": "tool_search_call", "call_id": "c1", "execution": "client", "arguments": {"goal": "g"}}
    tools = [{"type": "function", "name": "f", "parameters": {}, "strict": True}]
    found = {"type": "tool_search_output", "call_id": "c1", "execution": "client", "tools": tools}
    assert body("openai-responses", HI, call, found) == [HI, call, found]
    block = body("anthropic", HI, call, found)[2]["content"][0]
    assert block["content"] == '[{"type":"function","name":"f","parameters":{},"strict":true}]'
    (open_call,) = session_of(HI, call).build_context().open_calls
    assert (open_call.id, open_call.name) == ("c1", "tool_search")


def test_an_approval_goes_with_what_is_asked() -> None:
    """The user gives it, whatever model asks; another model is told of both."""
    asks = {"type": "mcp_approval_request", "id": "mcpr_1", "name": "f", "arguments": "{}", "server_label": "s"}
    approval = {"type": "mcp_approval_response", "approval_request_id": "mcpr_1", "approve": True}
    session = session_of(HI)
    session.append(asks, provider="openai", model="gpt")
    session.append(approval)
    assert session.build_context().to("openai-responses")["input"] == [HI, asks, approval]
    session.append(ModelChangeEntry(provider="openai", model="other"))
    assert session.build_context().to("openai-responses")["input"] == [
        HI,
        assistant('[mcp_approval_request {"name":"f","arguments":"{}","server_label":"s"}]'),
        user('[mcp_approval_response {"approve":true}]'),
    ]


def test_a_block_that_nobody_knows_is_no_item() -> None:
    """It is dropped on request from a message that is made anew."""
    blocks = [{"type": "odd", "x": 1}, {"type": "output_text", "text": "A", "annotations": []}]
    reply = {"id": "msg_1", "role": "assistant", "content": blocks}
    written = session_of(HI, reply, shape="openai-responses").build_context()
    assert written.to("openai-responses", unknown="drop") == {"input": [HI, assistant("A")]}
    assert written.to("openai-responses", unknown="text")["input"][1] == assistant('{"type":"odd","x":1}\nA')


def test_a_search_cut_off_from_its_reasoning_is_text() -> None:
    """It is nothing without its id, and with it OpenAI would ask for the reasoning."""
    search = {
        "type": "web_search_call",
        "id": "ws_1",
        "status": "completed",
        "action": {"type": "search", "query": "q"},
    }
    reasoning = {"type": "reasoning", "id": "rs_1", "summary": []}
    session = session_of(HI, reasoning, search, assistant("A"))
    assert session.build_context().to("openai-responses")["input"] == [HI, reasoning, search, assistant("A")]
    session.append(CompactionEntry(summary="S", first_kept_entry_id=session.path()[2].id))
    told = '[web_search_call {"action":{"type":"search","query":"q"}}]'
    assert session.build_context().to("openai-responses")["input"][1:] == [assistant(told), assistant("A")]


# --- media ---


def test_media_that_only_one_provider_can_reach_are_named() -> None:
    """A link that is none for others, and one without encryption for Anthropic."""
    for url in ("gs://bucket/a.png", "https://generativelanguage.googleapis.com/v1beta/files/abc"):
        spoken = {"role": "user", "parts": [{"fileData": {"mimeType": "image/png", "fileUri": url}}, {"text": "?"}]}
        assert body("gemini", spoken) == [spoken]
        for shape in ("openai-chat", "openai-responses", "anthropic"):
            assert repr(f"[image: {url}]")[1:-1] in repr(body(shape, spoken))
    plain = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://x.org/a.png"}}]}
    assert body("openai-chat", plain) == [plain]
    assert body("anthropic", plain) == [user("[image: http://x.org/a.png]")]


def test_images_of_a_kind_that_a_provider_does_not_read_are_named() -> None:
    """No vectors for anyone, no GIF for Gemini."""

    def shown(mime: str) -> Message:
        return {"role": "user", "content": [{"type": "image", "data": PNG, "mimeType": mime}]}

    named = user("[image]")
    for shape in ("openai-chat", "openai-responses", "anthropic"):
        assert body(shape, shown("image/svg+xml")) == [named]
        assert body(shape, shown("image/gif")) != [named]
    for mime in ("image/svg+xml", "image/gif"):
        assert body("gemini", shown(mime)) == [{"role": "user", "parts": [{"text": "[image]"}]}]
    (sent,) = body("anthropic", shown("image/jpg"))
    assert sent["content"][0]["source"]["media_type"] == "image/jpeg"
    heic = {"inlineData": {"mimeType": "image/heic", "data": PNG}}
    assert body("gemini", shown("image/heic")) == [{"role": "user", "parts": [heic]}]


def test_files_of_nothing_but_words_are_told() -> None:
    """Only Gemini takes them as they are; what is no text is named."""
    data = b64encode("a,b\n1,é".encode()).decode()
    table = {"inlineData": {"mimeType": "text/csv", "data": data}}
    spoken = {"role": "user", "parts": [table]}
    assert body("gemini", spoken) == [spoken]
    for shape in ("openai-chat", "openai-responses", "anthropic"):
        assert body(shape, spoken) == [user("a,b\n1,é")]
        broken = {"role": "user", "parts": [{"inlineData": {"mimeType": "text/csv", "data": "/w=="}}]}
        assert body(shape, broken) == [user("[document]")]
        sheet = {"role": "user", "parts": [{"inlineData": {"mimeType": "application/vnd.ms-excel", "data": "AA=="}}]}
        assert body(shape, sheet) == [user("[document]")]
