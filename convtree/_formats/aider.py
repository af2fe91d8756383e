"""aider's `.aider.chat.history.md`: Markdown in which every start of aider begins a chat.

The facts are those of Aider-AI/aider: `io.py`, `append_chat_history`, writes the file, and `utils.py`,
`split_chat_history_markdown`, reads it. One session for each chat that has a message. Mapping:

- `# aider chat started at <time>`: the next chat. The time is that of the machine's clock, without a zone.
- Lines with `#### `: a message of the user. Two spaces at the end of such a line are aider's, not the user's.
- Lines with `> `: what aider says itself, one extension data `aider.output` for each line, because nothing shows where
  it ends. `Tokens: …` is a usage, in the rounded numbers that aider shows; `Model: …` is the model of later answers.
- All other lines: a message of the assistant. Headings stay in it, which aider itself leaves out when it reads them.

aider ends each line of the user and of its own with two spaces. If the first one in the file does, a line without them
belongs to the answer around it: it is a heading or a quotation. A message whose last line does not end is not read, as
long as it is the last. The file has no ids, so those of chats are derived from
their times, and those of entries from their content.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

from convtree._engine.codec import BYTE_ORDER_MARK
from convtree._formats.common.base import Findings, SessionRef, Source, SourceSession, SourceSpan
from convtree._formats.common.content_ids import node_by_content
from convtree._formats.common.files import SourceFile
from convtree._formats.common.headers import make_header
from convtree._formats.common.ids import Ids, derive_id, make_ref
from convtree._formats.common.jsonl import LINE_LIMIT
from convtree._formats.common.node_tree import make_records
from convtree._formats.common.parents_first import Node
from convtree._model.entries import Entry, ExtensionDataEntry, MessageEntry

NAME = "aider"
SHAPE = "openai-chat"
_STARTED = re.compile(rb"# aider chat started at (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)\s*")
_STARTED_IN = re.compile(rb"^" + _STARTED.pattern + rb"$", re.MULTILINE)
_USER, _OUTPUT, _BREAK = b"#### ", b"> ", b"  "
_TORN = "torn"  # a line that does not end: the message in it is not whole
_NUMBER = r"([0-9.,]+)(k?)"
_TOKENS = re.compile(
    rf"Tokens: {_NUMBER} sent(?:, {_NUMBER} cache write)?(?:, {_NUMBER} (?:cache hit|cached))?, {_NUMBER} received"
    r"(?:, [a-z ]+)?\."
    r"(?: Cost: \$([0-9.]+) (?:message|request).*)?"
)
_COST = re.compile(r"Cost: \$([0-9.]+) (?:message|request).*")
_MODEL = re.compile(r"(?:Main model|Models?): (\S+?),?(?: with .*)?")


class _Chat(NamedTuple):
    """A chat: when it began, where its lines begin, and whether aider's lines end with two spaces."""

    time: str | None
    span: SourceSpan
    has_breaks: bool


class _Line(NamedTuple):
    """A line: what kind it is, its text, its place."""

    kind: str
    text: str
    span: SourceSpan


def recognises(source: Source) -> bool:
    """Recognises a history by the line that begins a chat."""
    is_json = source.beginning.removeprefix(BYTE_ORDER_MARK).lstrip().startswith((b"{", b"["))
    return not is_json and not source.is_database and _STARTED_IN.search(source.beginning) is not None


def sessions(source: Source) -> Iterator[SessionRef]:
    """Lists the chats that have a message."""
    with SourceFile(source.path) as file:
        chat, has_message = _Chat(None, SourceSpan(1, 0, 0), False), False
        has_breaks: bool | None = None
        begun_at = Counter[str | None]()
        for data, span in _raw_lines(file, chat.span):
            begun = _STARTED.fullmatch(data)
            if begun:
                if has_message:
                    yield _ref(chat, begun_at[chat.time])
                time = begun[1].decode()
                begun_at[time] += 1
                has_message = False
                chat = _Chat(time, SourceSpan(span.line + 1, span.offset + span.length, 0), bool(has_breaks))
                continue
            if has_breaks is None and data.startswith((_USER, _OUTPUT)):
                has_breaks = data.rstrip(b"\r\n").endswith(_BREAK)
                chat = chat._replace(has_breaks=has_breaks)
            has_message = has_message or (bool(data.strip()) and _kind(data, chat.has_breaks) != "output")
        if has_message:
            yield _ref(chat, begun_at[chat.time])


def read(source: Source, ref: SessionRef) -> SourceSession:
    """Reads a chat."""
    chat: _Chat = ref.content
    findings = Findings(ref.findings)
    file = source.open_file()
    file.skip(chat.span.offset)
    lines = _lines(file, chat, findings)
    ids = Ids(NAME, ref.source_id)
    records = make_records(_nodes(lines, ids), _make, ids, findings)
    return SourceSession(make_header(NAME, ref.source_id, time=chat.time), records, findings.listed, file.position)


def _ref(chat: _Chat, ordinal: int) -> SessionRef:
    return make_ref(NAME, derive_id(NAME, chat.time, ordinal), content=chat)


def _raw_lines(file: SourceFile, start: SourceSpan) -> Iterator[tuple[bytes, SourceSpan]]:
    """Yields the lines from a place on. Of a line that is too long, each part is one."""
    number, offset = start.line, start.offset
    while data := file.readline(LINE_LIMIT):
        yield data, SourceSpan(number, offset, len(data))
        number += 1
        offset += len(data)


def _kind(data: bytes, has_breaks: bool) -> str:
    is_marked = not has_breaks or data.rstrip(b"\r\n").endswith(_BREAK)
    if data.startswith(_USER) and is_marked:
        return "user"
    return "output" if data.startswith(_OUTPUT) and is_marked else "assistant"


def _lines(file: SourceFile, chat: _Chat, findings: Findings) -> Iterator[_Line]:
    for data, span in _raw_lines(file, chat.span):
        if _STARTED.fullmatch(data):
            return
        if not data.endswith(b"\n") and span.length < LINE_LIMIT:  # aider ends each line
            findings.add("source_torn_tail", span)
            yield _Line(_TORN, "", span)
            return
        if b"\0" in data:
            findings.add("source_nul_bytes", span)
        shown = data.replace(b"\0", b"")
        text = shown.decode(errors="replace")
        if "\ufffd" in text and "\ufffd".encode() not in shown:
            findings.add("value_replaced", span)
        kind = _kind(data, chat.has_breaks)
        if kind != "assistant":
            text = text.rstrip("\r\n").removeprefix(_USER.decode() if kind == "user" else _OUTPUT.decode())
            text = text.removesuffix(_BREAK.decode())
        yield _Line(kind, text, span)


def _nodes(lines: Iterator[_Line], ids: Ids) -> Iterator[Node]:
    tip: str | None = None
    model: str | None = None
    for number, (kind, text, span) in enumerate(_joined(lines)):
        fields: dict[str, Any] = {"kind": kind, "text": text}
        if kind == "output" and (named := _MODEL.fullmatch(text)):
            model = named[1]
        if kind != "user" and model is not None:
            fields["model"] = model
        node = node_by_content(ids, fields, span, tip, str(number))
        tip = node.id
        yield node


def _joined(lines: Iterator[_Line]) -> Iterator[_Line]:
    """Joins the lines of one message; empty ones around it are left out."""
    parts: list[_Line] = []
    for line in lines:
        if parts and line.kind != _TORN and (line.kind != parts[0].kind or line.kind == "output"):
            yield from _message(parts)
            parts = []
        parts.append(line)
    yield from _message(parts)


def _message(parts: list[_Line]) -> Iterator[_Line]:
    if not parts:
        return
    kind, _, first = parts[0]
    if parts[-1].kind == _TORN:
        return  # it goes on when the file is whole
    said = ("" if kind == "assistant" else "\n").join(part.text for part in parts)
    said = said.strip("\r\n") if kind == "assistant" else said
    if said.strip():
        yield _Line(kind, said, first._replace(length=sum(part.span.length for part in parts)))


def _make(node: Node) -> list[Entry]:
    kind, text = node.fields["kind"], node.fields["text"]
    model = node.fields.get("model")
    if kind == "output":
        usage = _usage(text)
        paid = model if usage is not None else None
        return [ExtensionDataEntry(ext_type=f"{NAME}.output", data={"text": text}, usage=usage, model=paid)]
    return [MessageEntry(message={"role": kind, "content": text}, shape=SHAPE, model=model)]


def _usage(text: str) -> dict[str, Any] | None:
    """Returns the usage that aider shows, in the spelling of OpenAI.

    What is sent to Anthropic leaves cache hits out, so they are added.
    """
    if cost := _COST.fullmatch(text):
        return _cost(cost[1])
    found = _TOKENS.fullmatch(text)
    if found is None:
        return None
    sent, written, hit, received = (_number(found[at], found[at + 1]) for at in (1, 3, 5, 7))
    cached = {"prompt_tokens_details": {"cached_tokens": hit, "cache_write_tokens": written}} if hit or written else {}
    prompt = sent if hit + written <= sent else sent + hit
    return {"prompt_tokens": prompt, "completion_tokens": received} | cached | (_cost(found[9]) or {})


def _number(value: str | None, thousands: str | None) -> int:
    try:
        return round(float((value or "0").replace(",", "")) * (1000 if thousands else 1))
    except ValueError:
        return 0


def _cost(value: str | None) -> dict[str, Any] | None:
    try:
        return None if value is None else {"cost": float(value.rstrip("."))}
    except ValueError:
        return None
