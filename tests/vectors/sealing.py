"""Lines and logs made by hand, in the words of FORMAT.md; and a vector: a log with what its reader must say."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from zlib import crc32

HEADER = '{"type":"session","format":"convtree","version":1,"id":"s1","timestamp":null,"seal":"crc32"}'
PLAIN_HEADER = HEADER.replace(',"seal":"crc32"', "")


def to_json(value: Any) -> str:
    """JSON without spaces."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def header(**fields: Any) -> str:
    """The header of a sealed log, without its seal."""
    return to_json(json.loads(HEADER) | fields)


def user(text: str) -> dict[str, Any]:
    """A user message."""
    return {"role": "user", "content": text}


def reply(text: str) -> dict[str, Any]:
    """A message of a model."""
    return {"role": "assistant", "content": text}


def entry(id: str, parent_id: str | None, type: str, **fields: Any) -> str:
    """An entry without its seal."""
    return to_json({"id": id, "parent_id": parent_id, "type": type, "timestamp": None} | fields)


def said(id: str, parent_id: str | None, message: Mapping[str, Any] | None = None, **fields: Any) -> str:
    """A message entry without its seal. The user says the entry's id, unless told otherwise."""
    return entry(id, parent_id, "message", message=user(id) if message is None else message, **fields)


def compaction(id: str, parent_id: str | None, kept: str | None, **fields: Any) -> str:
    """A compaction without its seal. Its summary is its id."""
    return entry(id, parent_id, "compaction", summary=id, first_kept_entry_id=kept, **fields)


def mark(id: str, type: str, **fields: Any) -> str:
    """A mark without its seal."""
    return to_json({"id": id, "type": type, "timestamp": None} | fields)


def group(count: Any, id: str = "g", **fields: Any) -> str:
    """The mark before a group, without its seal."""
    return mark(id, "group", count=count, **fields)


def seal(text: str | bytes, prev: int) -> bytes:
    """Seals a line that follows a line with the CRC `prev`."""
    data = text.encode() if isinstance(text, str) else text
    chained = b'%b,"prev":"%08x"' % (data[:-1], prev)
    return b'%b,"crc":"%08x"}' % (chained, crc32(chained + b"}"))


def sealed(*texts: str | bytes, prev: int = 0) -> list[bytes]:
    """Seals lines one after the other."""
    lines = []
    for text in texts:
        lines.append(seal(text, prev))
        prev = crc32(lines[-1])
    return lines


def body_crc(text: str) -> str:
    """The checksum of a line without its seal, as `lost` entries have it."""
    return f"{crc32(text.encode()):08x}"


def in_file(lines: Iterable[bytes]) -> bytes:
    """Lines with their newlines."""
    return b"".join(line + b"\n" for line in lines)


def log(*texts: str, first: str = HEADER) -> bytes:
    """A sealed log."""
    return in_file(sealed(first, *texts))


def plain(*texts: str, first: str = PLAIN_HEADER) -> bytes:
    """A log without seals."""
    return in_file(text.encode() for text in (first, *texts))


def changed(lines: Sequence[bytes], number: int, old: bytes, new: bytes) -> list[bytes]:
    """The lines with a few bytes of line `number` changed after it was sealed. The header is line 1."""
    assert lines[number - 1].count(old) == 1
    assert len(old) == len(new)
    return [*lines[: number - 1], lines[number - 1].replace(old, new), *lines[number:]]


Said = list[Any]  # a text: the message's `content`; {"summary": text}; or a whole message


def context(leaf: str | None, said: Said | str, **more: Any) -> dict[str, Any]:
    """What the context at an entry holds, or the name of the error in its place; `more` as in README.md."""
    return {"leaf": leaf, ("error" if isinstance(said, str) else "messages"): said} | more


@dataclass(frozen=True, kw_only=True)
class Vector:
    """A log, and what a reader must say of it.

    Attributes:
        name: the log's file name.
        about: what the log is, in a sentence.
        log: its bytes.
        records: the ids of the records, in order, with a space between.
        leaf: the leaf.
        uncertain: whether a damaged line may have moved the leaf.
        says: the context at the leaf; None to leave it out.
        findings: code and line of what reading the log finds.
        more_findings: code and line of what only a check of every record finds.
        contexts: contexts at chosen entries.
        session: name, archived, metadata, labels, cwd, git_root and hold, where they matter.
        record_fields: fields of records, by id.
        header_fields: fields of the header.
        usage: the sums of a session's usage.
        dropped: ids that an import does not bring back.
        read_only: whether the log must not be written to.
        error: the error in place of all this.
        keeps: what an append keeps of the log; None for all of it.
        after: the records after the append, without the new one, where they differ from `records`.
    """

    name: str
    about: str
    log: bytes
    records: str = ""
    leaf: str | None = None
    uncertain: bool = False
    says: Said | str | None = None
    findings: Sequence[tuple[str, int]] = ()
    more_findings: Sequence[tuple[str, int]] = ()
    contexts: Sequence[dict[str, Any]] = ()
    session: Mapping[str, Any] = field(default_factory=dict)
    record_fields: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    header_fields: Mapping[str, Any] = field(default_factory=dict)
    usage: Sequence[Mapping[str, Any]] | None = None
    dropped: str = ""
    read_only: bool = False
    error: str | None = None
    keeps: bytes | None = None
    after: str | None = None

    def expected(self) -> dict[str, Any]:
        """What the vector says, as `vectors.json` has it."""
        stated: dict[str, Any] = {"name": self.name, "about": self.about}
        if self.error is not None:
            return stated | {"error": self.error}
        stated |= {"records": self.records.split(), "leaf": self.leaf, "leaf_uncertain": self.uncertain}
        stated |= {"findings": _findings(self.findings), "more_findings": _findings(self.more_findings)}
        at_leaf = [] if self.says is None else [{"at_leaf": True} | context(self.leaf, self.says)]
        stated |= {"contexts": [*at_leaf, *self.contexts], "read_only": self.read_only}
        for name in ("session", "record_fields", "header_fields", "usage"):
            if getattr(self, name):
                stated[name] = getattr(self, name)
        if self.dropped:
            stated["dropped"] = self.dropped.split()
        return stated if self.read_only else stated | {"after_append": self._after_append()}

    def _after_append(self) -> dict[str, Any]:
        """How many bytes an append keeps, and how many it cuts off."""
        keeps = self.log if self.keeps is None else self.keeps
        torn = any(code == "torn_tail" for code, _ in self.findings)
        assert torn is (self.keeps is not None), f"{self.name}: an append to a torn log is stated, and only that"
        assert keeps in (self.log + b"\n", self.log[: len(keeps)])
        records = self.records if self.after is None else self.after
        return {"end": len(keeps), "torn": max(0, len(self.log) - len(keeps)), "records": records.split()}


def _findings(found: Sequence[tuple[str, int]]) -> list[dict[str, Any]]:
    return [{"code": code, "line": line} for code, line in found]
