"""Messages of Bedrock, Strands, Ollama, Cohere, Vercel's AI SDK and ShareGPT, and what each of them says."""

from __future__ import annotations

from typing import Any, NamedTuple

from answers import PNG

from convtree._messages.parts import Call, Hosted, Media, Part, Result, Text, Thinking, Unknown

Json = dict[str, Any]
ORDER: Json = {"from": "moderator", "value": "Order!"}


class Case(NamedTuple):
    """A message, its role, and what it says: see `told`."""

    framework: str
    message: Json
    role: str
    parts: list[Any]


def told(part: Part) -> Any:
    """Returns what a part says, as a value that can be compared."""
    match part:
        case Text():
            return part.text
        case Thinking():
            return ("thinking", part.text, part.raw)
        case Media():
            given = {"mime": part.mime, "data": part.data, "url": part.url, "name": part.name}
            return (part.kind, {name: value for name, value in given.items() if value is not None})
        case Call():
            return ("call", part.id, part.name, part.arguments)
        case Result():
            return ("result", part.id, part.name, [told(each) for each in part.content], part.is_error)
        case Hosted():
            return ("hosted", part.text)
        case Unknown():
            return ("unknown", part.value, part.why)
    raise TypeError(part)


SIGNED = {"type": "thinking", "thinking": "hm", "signature": "c2ln"}
REDACTED = {"type": "redacted_thinking", "data": "cmVk"}
IMAGE = {"format": "png", "source": {"bytes": PNG}}
TOLD_IMAGE = ("image", {"mime": "image/png", "data": PNG})
RESULT_JSON: Json = {"toolUseId": "t1", "status": "success", "content": [{"json": {"a": 1}}, {"text": "b"}]}
PDF = {"format": "pdf", "name": "plan", "source": {"bytes": "JVBERg=="}}
ODD_CALL = {"function": "f"}

BEDROCK = [
    Case(
        "bedrock",
        {
            "role": "user",
            "content": [
                {"text": "See:"},
                {"image": IMAGE},
                {"document": PDF},
                {"document": {"format": "txt", "name": "n", "source": {"text": "words"}}},
                {"document": {"name": "n", "source": {"content": [{"text": "one"}, {"text": "two"}]}}},
                {"video": {"format": "mov", "source": {"s3Location": {"uri": "s3://b/v", "bucketOwner": "1"}}}},
                {"audio": {"format": "wav", "source": {"bytes": "AAAA"}}},
                {"cachePoint": {"type": "default"}},
                {"guardContent": {"text": {"text": "guarded", "qualifiers": ["query"]}}},
                {"guardContent": {"image": IMAGE}},
                {"searchResult": {"source": "https://a", "title": "T", "content": [{"text": "found"}]}},
                {"hologram": {"a": 1}},
                {"image": {"format": "png", "source": {}}},
                {"image": 5},
                7,
                {},
                {"text": " "},
            ],
        },
        "user",
        [
            "See:",
            TOLD_IMAGE,
            ("document", {"mime": "application/pdf", "data": "JVBERg==", "name": "plan"}),
            "words",
            "one\ntwo",
            ("video", {"mime": "video/quicktime", "url": "s3://b/v"}),
            ("audio", {"mime": "audio/wav", "data": "AAAA"}),
            "guarded",
            TOLD_IMAGE,
            "T\nhttps://a\nfound",
            ("unknown", {"hologram": {"a": 1}}, "a part of kind 'hologram'"),
            ("unknown", {"image": {"format": "png", "source": {}}}, "a part of kind 'image'"),
            ("unknown", {"image": 5}, "a part of kind 'image'"),
            ("unknown", 7, "a part without a kind"),
            ("unknown", {}, "a part without a kind"),
        ],
    ),
    Case(
        "bedrock",
        {
            "role": "assistant",
            "content": [
                {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "c2ln"}}},
                {"reasoningContent": {"redactedContent": "cmVk"}},
                {"reasoningContent": {"reasoningText": {"text": "aloud"}}},
                {"reasoningContent": {}},
                {"citationsContent": {"content": [{"text": "cited"}], "citations": [{"title": "t"}]}},
                {"toolUse": {"toolUseId": "t1", "name": "look", "input": {"at": None}}},
                {"toolUse": {"toolUseId": "t2", "name": "search", "input": {"q": 1}, "type": "server_tool_use"}},
                {"toolResult": {"toolUseId": "t2", "type": "nova_grounding_result", "content": [{"json": {}}]}},
            ],
        },
        "assistant",
        [
            ("thinking", "hm", SIGNED),
            ("thinking", "", REDACTED),
            ("thinking", "aloud", None),
            "cited",
            ("call", "t1", "look", {"at": None}),
            ("hosted", '[search] {"q":1}'),
            ("hosted", '[nova_grounding_result] [{"json":{}}]'),
        ],
    ),
    Case(
        "bedrock",
        {
            "role": "user",
            "content": [
                {"toolResult": RESULT_JSON},
                {
                    "toolResult": {
                        "toolUseId": "",
                        "status": "error",
                        "content": [{"image": IMAGE}, {"toolUse": {"name": "f"}}, {"text": ""}],
                    }
                },
                {"toolResult": {"toolUseId": "t3"}},
            ],
        },
        "user",
        [
            ("result", "t1", "", ['{"a":1}', "b"], False),
            ("result", None, "", [TOLD_IMAGE, '{"toolUse":{"name":"f"}}'], True),
            ("result", "t3", "", [], False),
        ],
    ),
    Case(
        "strands",
        {"role": "user", "content": [{"text": "Hi"}], "tracking_id": "u1"},
        "user",
        ["Hi"],
    ),
    Case(
        "strands",
        {
            "role": "assistant",
            "content": [{"image": {"format": "png", "source": {"bytes": {"__bytes_encoded__": True, "data": PNG}}}}],
            "metadata": {"usage": {"inputTokens": 3, "outputTokens": 2, "totalTokens": 5}},
        },
        "assistant",
        [TOLD_IMAGE],
    ),
]

OLLAMA = [
    Case(
        "ollama",
        {
            "role": "assistant",
            "content": "I look.",
            "thinking": "hm",
            "tool_calls": [{"function": {"name": "look", "arguments": {"at": None}}}, ODD_CALL],
        },
        "assistant",
        [
            ("thinking", "hm", None),
            "I look.",
            ("call", None, "look", {"at": None}),
            ("unknown", ODD_CALL, "a part of kind 'tool_calls'"),
        ],
    ),
    Case(
        "ollama",
        {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "f", "arguments": {}}, "id": "c1"}]},
        "assistant",
        [("call", "c1", "f", {})],
    ),
    Case(
        "ollama",
        {"role": "user", "content": "See:", "images": [PNG, "/9j/AAAA", "R0lGODAA", "UklGRAAA", "AAAA", ""]},
        "user",
        [
            "See:",
            TOLD_IMAGE,
            ("image", {"mime": "image/jpeg", "data": "/9j/AAAA"}),
            ("image", {"mime": "image/gif", "data": "R0lGODAA"}),
            ("image", {"mime": "image/webp", "data": "UklGRAAA"}),
            ("image", {"data": "AAAA"}),
            ("unknown", "", "a part of kind 'images'"),
        ],
    ),
    Case(
        "ollama",
        {"role": "assistant", "content": {"a": 1}, "thinking": "", "images": [5]},
        "assistant",
        ['{"a":1}', ("unknown", 5, "a part of kind 'images'")],
    ),
    Case(
        "ollama",
        {"role": "tool", "content": "sun", "tool_name": "look"},
        "tool",
        [("result", None, "look", ["sun"], False)],
    ),
]

COHERE = [
    Case(
        "cohere",
        {
            "role": "assistant",
            "tool_plan": "I look.",
            "tool_calls": [
                {"id": "look_0", "type": "function", "function": {"name": "look", "arguments": "{}"}},
                ODD_CALL,
            ],
        },
        "assistant",
        ["I look.", ("call", "look_0", "look", "{}"), ("unknown", ODD_CALL, "a part of kind 'tool_calls'")],
    ),
    Case(
        "cohere",
        {
            "role": "assistant",
            "content": [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "Rome."}, {"type": "x"}, 5],
            "citations": [{"start": 0, "end": 4, "text": "Rome", "sources": []}],
        },
        "assistant",
        [
            ("thinking", "hm", None),
            "Rome.",
            ("unknown", {"type": "x"}, "a part of kind 'x'"),
            ("unknown", 5, "a part without a kind"),
        ],
    ),
    Case(
        "cohere",
        {"role": "assistant", "content": "Rome.", "citations": []},
        "assistant",
        ["Rome."],
    ),
    Case(
        "cohere",
        {
            "role": "tool",
            "tool_call_id": "look_0",
            "content": [
                {"type": "document", "document": {"id": "1", "data": "sun"}},
                {"type": "document", "document": {"data": {"wind": 3}}},
                {"type": "text", "text": "rain"},
                {"type": "x"},
            ],
        },
        "tool",
        [("result", "look_0", "", ["sun", '{"wind":3}', "rain", '{"type":"x"}'], False)],
    ),
    Case(
        "cohere",
        {"role": "tool", "tool_call_id": "look_0", "content": "sun", "citations": []},
        "tool",
        [("result", "look_0", "", ["sun"], False)],
    ),
    Case(
        "cohere",
        {"role": "user", "content": [{"type": "document", "document": {"data": "a"}}]},
        "user",
        ["a"],
    ),
    Case("cohere", {"role": "USER", "message": "Where?"}, "user", ["Where?"]),
    Case(
        "cohere",
        {"role": "CHATBOT", "message": "I look.", "tool_calls": [{"name": "look", "parameters": {"at": 1}}, 5]},
        "assistant",
        ["I look.", ("call", None, "look", {"at": 1}), ("unknown", 5, "a part of kind 'tool_calls'")],
    ),
    Case("cohere", {"role": "SYSTEM", "message": "Be kind."}, "system", ["Be kind."]),
    Case(
        "cohere",
        {
            "role": "TOOL",
            "tool_results": [{"call": {"name": "look", "parameters": {}}, "outputs": [{"sky": "sun"}]}, 5],
        },
        "tool",
        [("result", None, "look", ['{"sky":"sun"}'], False), ("result", None, "", [], False)],
    ),
]

ANTHROPIC_NOTES = {"anthropic": {"signature": "c2ln"}}
VERCEL = [
    Case(
        "vercel",
        {
            "id": "m1",
            "role": "assistant",
            "parts": [
                {},
                {"type": "step-start"},
                {"type": "reasoning", "text": "hm", "providerMetadata": ANTHROPIC_NOTES, "state": "done"},
                {"type": "reasoning", "text": "", "providerMetadata": {"anthropic": {"redactedData": "cmVk"}}},
                {"type": "reasoning", "text": "aloud"},
                {"type": "text", "text": "I look."},
                {
                    "type": "tool-look",
                    "toolCallId": "c1",
                    "state": "output-available",
                    "input": {"at": None},
                    "output": {"sky": "sun"},
                },
                {
                    "type": "dynamic-tool",
                    "toolName": "say",
                    "toolCallId": "c2",
                    "state": "output-error",
                    "input": None,
                    "rawInput": "{",
                    "errorText": "no JSON",
                },
                {"type": "tool-ask", "toolCallId": "c3", "state": "input-available", "input": {}},
                {
                    "type": "tool-rm",
                    "toolCallId": "c4",
                    "state": "output-denied",
                    "input": {},
                    "approval": {"id": "a", "approved": False, "reason": "Not now."},
                },
                {"type": "tool-rm", "toolCallId": "c5", "state": "output-denied", "input": {}},
                {"type": "source-url", "sourceId": "s", "url": "https://a", "title": "T"},
                {"type": "data-weather", "data": {"sky": "sun"}},
                {"type": "hologram"},
                5,
            ],
        },
        "assistant",
        [
            ("unknown", {}, "a part without a kind"),
            ("thinking", "hm", SIGNED),
            ("thinking", "", REDACTED),
            ("thinking", "aloud", None),
            "I look.",
            ("call", "c1", "look", {"at": None}),
            ("result", "c1", "look", ['{"sky":"sun"}'], False),
            ("call", "c2", "say", "{"),
            ("result", "c2", "say", ["no JSON"], True),
            ("call", "c3", "ask", {}),
            ("call", "c4", "rm", {}),
            ("result", "c4", "rm", ["Not now."], True),
            ("call", "c5", "rm", {}),
            ("result", "c5", "rm", ["The call was denied."], True),
            ("hosted", ""),
            ("hosted", ""),
            ("unknown", {"type": "hologram"}, "a part of kind 'hologram'"),
            ("unknown", 5, "a part without a kind"),
        ],
    ),
    Case(
        "vercel",
        {
            "id": "m2",
            "role": "user",
            "parts": [
                {"type": "text", "text": "See:"},
                {"type": "file", "mediaType": "image/png", "url": f"data:image/png;base64,{PNG}", "filename": "a.png"},
                {"type": "file", "mediaType": "application/pdf", "url": "https://a/b.pdf"},
                {"type": "file", "mediaType": "application/pdf"},
            ],
        },
        "user",
        [
            "See:",
            ("image", {"mime": "image/png", "data": PNG, "name": "a.png"}),
            ("document", {"mime": "application/pdf", "url": "https://a/b.pdf"}),
            ("unknown", {"type": "file", "mediaType": "application/pdf"}, "a part of kind 'file'"),
        ],
    ),
    Case(
        "vercel",
        {
            "role": "assistant",
            "parts": [
                {
                    "type": "tool-invocation",
                    "toolInvocation": {
                        "state": "result",
                        "toolCallId": "c1",
                        "toolName": "look",
                        "args": {},
                        "result": "sun",
                    },
                }
            ],
        },
        "assistant",
        [("call", "c1", "look", {}), ("result", "c1", "look", ["sun"], False)],
    ),
    Case(
        "vercel",
        {
            "role": "assistant",
            "content": [
                {"type": "reasoning", "text": "hm", "providerOptions": ANTHROPIC_NOTES},
                {"type": "text", "text": "I look."},
                {"type": "tool-call", "toolCallId": "c1", "toolName": "look", "input": {"at": None}},
                {"type": "tool-call", "toolCallId": "c2", "toolName": "look", "args": {}},
                {"type": "tool-approval-request", "approvalId": "a", "toolCallId": "c1"},
            ],
        },
        "assistant",
        [
            ("thinking", "hm", SIGNED),
            "I look.",
            ("call", "c1", "look", {"at": None}),
            ("call", "c2", "look", {}),
            ("hosted", ""),
        ],
    ),
    Case(
        "vercel",
        {
            "role": "tool",
            "content": [
                {
                    "type": "tool-result",
                    "toolCallId": f"c{number}",
                    "toolName": "look",
                    "output": output,
                }
                for number, output in enumerate(
                    [
                        {"type": "text", "value": "sun"},
                        {"type": "json", "value": {"sky": "sun"}},
                        {"type": "error-text", "value": "no"},
                        {"type": "error-json", "value": {"code": 1}},
                        {
                            "type": "content",
                            "value": [
                                {"type": "text", "text": "see"},
                                {"type": "media", "mediaType": "image/png", "data": PNG},
                                {"type": "image-url", "url": "https://a"},
                                {"type": "file-data"},
                                {"type": "custom"},
                            ],
                        },
                        {"type": "execution-denied", "reason": "Not now."},
                        {"type": "execution-denied"},
                    ]
                )
            ]
            + [{"type": "tool-result", "toolCallId": "c9", "toolName": "look", "result": {"a": 1}, "isError": True}],
        },
        "tool",
        [
            ("result", "c0", "look", ["sun"], False),
            ("result", "c1", "look", ['{"sky":"sun"}'], False),
            ("result", "c2", "look", ["no"], True),
            ("result", "c3", "look", ['{"code":1}'], True),
            (
                "result",
                "c4",
                "look",
                [
                    "see",
                    TOLD_IMAGE,
                    ("image", {"mime": "image/png", "url": "https://a"}),
                    '{"type":"file-data"}',
                    '{"type":"custom"}',
                ],
                False,
            ),
            ("result", "c5", "look", ["Not now."], True),
            ("result", "c6", "look", ["The call was denied."], True),
            ("result", "c9", "look", ['{"a":1}'], True),
        ],
    ),
    Case(
        "vercel",
        {
            "role": "user",
            "content": [
                {"type": "image", "image": PNG},
                {"type": "image", "image": "https://a/b.png", "mediaType": "image/webp"},
                {"type": "file", "data": "JVBERg==", "mediaType": "application/pdf", "filename": "a.pdf"},
            ],
        },
        "user",
        [
            TOLD_IMAGE,
            ("image", {"mime": "image/webp", "url": "https://a/b.png"}),
            ("document", {"mime": "application/pdf", "data": "JVBERg==", "name": "a.pdf"}),
        ],
    ),
]

VERCEL += [
    Case(
        "vercel",
        {"role": "user", "content": [{"type": "file", "data": "JVBERg==", "mimeType": "application/pdf"}]},
        "user",
        [("document", {"mime": "application/pdf", "data": "JVBERg=="})],
    ),
]

SHAREGPT = [
    Case("sharegpt", {"from": "human", "value": "Where?"}, "user", ["Where?"]),
    Case("sharegpt", {"from": "gpt", "value": "Rome.", "weight": 1}, "assistant", ["Rome."]),
    Case("sharegpt", {"from": "system", "value": "Be kind."}, "system", ["Be kind."]),
    Case("sharegpt", {"from": "Chatgpt", "value": ""}, "assistant", []),
    Case(
        "sharegpt",
        {"from": "function_call", "value": '{"name": "look", "arguments": {"at": 1}}'},
        "assistant",
        [("call", None, "look", {"at": 1})],
    ),
    Case("sharegpt", {"from": "function_call", "value": "look()"}, "assistant", ["look()"]),
    Case(
        "sharegpt",
        {"from": "observation", "value": {"sky": "sun"}},
        "tool",
        [("result", None, "", ['{"sky":"sun"}'], False)],
    ),
    Case("sharegpt", ORDER, "moderator", [("unknown", ORDER, "a message of the role 'moderator'")]),
    Case("sharegpt", {"from": "human", "value": [1]}, "user", [("unknown", [1], "a part of kind 'list'")]),
]

CASES = [*BEDROCK, *OLLAMA, *COHERE, *VERCEL, *SHAREGPT]
