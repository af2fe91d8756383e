"""What the tests share: messages, and logs made by hand, byte for byte, without the engine."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple
from zlib import crc32

from convtree import Finding, Session
from convtree._engine.log import Addition, Build, Chunk
from convtree._messages.matching import match
from convtree._messages.said import read

HEADER = '{"type":"session","format":"convtree","version":1,"id":"s1","timestamp":null,"seal":"crc32"}'
Facts = list[tuple[str, int, int, int]]


def user(text: str) -> dict[str, Any]:
    """A user message."""
    return {"role": "user", "content": text}


def assistant(text: str) -> dict[str, Any]:
    """An assistant message."""
    return {"role": "assistant", "content": text}


def system(text: str) -> dict[str, Any]:
    """A system message."""
    return {"role": "system", "content": text}


def to_json(value: Any) -> str:
    """JSON as the format writes it: without spaces."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def node(id: str, parent_id: str | None, type: str = "message", **fields: Any) -> str:
    """An entry without a seal; a message says its own id unless told otherwise."""
    if type == "message":
        fields = {"message": user(id)} | fields
    return to_json({"id": id, "parent_id": parent_id, "type": type, "timestamp": None} | fields)


def mark(id: str, type: str, **fields: Any) -> str:
    """A mark without a seal."""
    return to_json({"id": id, "type": type, "timestamp": None} | fields)


def seal_by_hand(text: str, prev: int) -> bytes:
    """Seals a JSON object as the format says, in the words of the format."""
    with_prev = text.encode()[:-1] + b',"prev":"' + f"{prev:08x}".encode() + b'"'
    return with_prev + b',"crc":"' + f"{crc32(with_prev + b'}'):08x}".encode() + b'"}'


def sealed(texts: Iterable[str], prev: int = 0) -> list[bytes]:
    """Seals objects one after the other."""
    lines = []
    for text in texts:
        lines.append(seal_by_hand(text, prev))
        prev = crc32(lines[-1])
    return lines


def as_file(lines: Iterable[bytes]) -> bytes:
    """Lines as they stand in a file."""
    return b"".join(line + b"\n" for line in lines)


def log_of(*texts: str, header: str = HEADER) -> bytes:
    """A whole sealed log."""
    return as_file(sealed((header, *texts)))


def contents(session: Session, **arguments: Any) -> list[Any]:
    """What the messages of a context say."""
    return [message["content"] for message in session.build_context(**arguments).messages]


def ids(entries: Iterable[Any]) -> list[str]:
    """The ids of entries."""
    return [entry.id for entry in entries]


def facts(findings: Iterable[Finding]) -> Facts:
    """Findings as (code, line, offset, length)."""
    return [(finding.code, finding.line, finding.offset, finding.length) for finding in findings]


def codes(session: Session) -> list[str]:
    """The codes of a session's findings."""
    return [finding.code for finding in session.findings]


def nested(depth: int) -> Mapping[str, Any]:
    """An object of `depth` levels."""
    value: dict[str, Any] = {}
    for _ in range(depth - 1):
        value = {"a": value}
    return value


def adding(position: int, lines: Iterable[bytes]) -> Build:
    """What `Log.append` calls, for lines that go behind everything that is whole after `position`."""

    def build(news: Iterator[Chunk]) -> Addition:
        end = position
        for chunk in news:
            end = end if chunk.fault == "torn_tail" else chunk.end
        return Addition(lines, end)

    return build


class ToolCall(NamedTuple):
    """The id and the tool's name of a call, or of the call that a result answers."""

    id: str | None
    name: str


def calls_of(message: Any) -> list[ToolCall]:
    return [ToolCall(call.id, call.name) for call in read(message).calls]


def results_of(message: Any) -> list[ToolCall]:
    return [ToolCall(result.id, result.name) for result in read(message).results]


def answered_in(messages: Sequence[Any]) -> list[tuple[int, int]]:
    """The indexes of calls and of their results, by the one rule of which answers which."""
    said = [read(message) for message in messages]
    at = {id(part): index for index, source in enumerate(said) for part in source.parts}
    answers = match(part for source in said for part in source.parts).answers
    return [(at[call], at[id(result)]) for call, result in answers.items()]


def without_times(document: str) -> str:
    """Returns a Markdown document without the times in its headings."""
    return re.sub(r"(?m)^(## .*?), \d{4}-\d\d-\d\d(?:T[\d:.]+Z| [\d:]+ [A-Z]+)", r"\1", document)
