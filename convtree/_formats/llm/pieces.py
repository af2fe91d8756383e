"""Reads the tables that llm's conversations share: fragments, attachments, tools and schemas."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

from convtree._formats.common.base import Findings, SourceSpan
from convtree._formats.common.sqlite import Database, parse_cell
from convtree._formats.common.values import as_text, without

_IN_JSON = ("input_schema", "content")  # of a tool, and of a schema


class Pieces:
    """Finds the pieces of one conversation. A missing one is reported."""

    def __init__(self, fields: dict[str, Any], span: SourceSpan, database: Database, findings: Findings) -> None:
        self._fields = fields
        self._span = span
        self._database = database
        self._findings = findings

    def used(self, table: str, column: str) -> list[dict[str, Any]]:
        """Returns the tools or schemas that the calls of this conversation name."""
        is_single = "response" in self._fields
        wanted = self._fields["response"] if is_single else self._fields.get("id")
        found: dict[Any, None] = {}
        for calls, links, group, of_call in (
            ("turns", "turn_tools", "thread_id", "turn_id"),
            ("responses", "tool_responses", "conversation_id", "response_id"),
        ):
            own, columns = "id" if is_single else group, self._database.columns(calls)
            if wanted is None or own not in columns:
                continue
            source, where = calls, f"{own} is ?"
            if column not in columns:
                source, where = links, f"{of_call} in (select id from {calls} where {own} is ?)"
            rows = self._database.rows(source, column, where=where, values=(wanted,), order="1")
            found |= {row.values[column]: None for row in rows if row.values[column] is not None}
        named = (each for id in found for each in self._database.rows(table, "*", where="id is ?", values=(id,)))
        return [
            without(row) | {name: parse_cell(row[name], span, self._findings) for name in _IN_JSON if row.get(name)}
            for row, span in named
        ]

    def fragments(self, table: str, own: Any) -> list[Any]:
        """Returns the texts of the fragments before a prompt, in order."""
        found = list(
            self._database.rows(table, "fragment_id", where="response_id is ?", order='"order"', values=(own,))
        )
        return [self.fragment(row.values.get("fragment_id")) for row in found]

    def fragment(self, id: Any) -> Any:
        """Returns the text of a fragment; None, and a finding, if it is missing."""
        rows = list(self._database.rows("fragments", "content", where="id is ?", values=(as_text(id),)))
        if not rows:
            self._findings.add("source_bad_target", self._span)
        return rows[0].values.get("content") if rows else None

    def attachments(self, table: str, column: str, own: Any) -> list[dict[str, Any]]:
        """Returns the blocks of attachments. Missing ones are reported."""
        names = "attachment_id"
        found = list(self._database.rows(table, names, where=f"{column} is ?", order='"order"', values=(own,)))
        blocks = []
        for row in found:
            wanted, names = (row.values.get("attachment_id"),), "type path url content"
            there = list(self._database.rows("attachments", names, where="id is ?", values=wanted, blobs="content"))
            blocks += [_attachment(values) for values, _ in there]
            if not there:
                self._findings.add("source_bad_target", row.span)
        return blocks


def _attachment(values: dict[str, Any]) -> dict[str, Any]:
    """Makes the block of an attachment: an image or a document, by its address or by its bytes."""
    media, content = as_text(values.get("type")), values.get("content")
    source: dict[str, Any] = without({"type": "url", "url": values.get("url")})
    if content:
        data = content if isinstance(content, bytes) else as_text(content).encode()
        source = {"type": "base64", "media_type": media, "data": b64encode(data).decode()}
    elif not values.get("url"):
        source = {"type": "path", "path": as_text(values.get("path"))}
    return {"type": "image" if media.startswith("image/") else "document", "source": source}
