"""Reads llm's `logs.db` of both generations: linear responses, and since 0.32 a tree of shared messages.

One session for each conversation, which newer versions call a thread. Mapping:

- `responses`: the prompt and the response, in a chain. A system prompt becomes a message when it changes. Fragments
  come before the prompt, as in llm; attachments, tool results and calls are blocks of their messages.
- `messages` and `parts`: the messages that a thread's tip and its turns reach, with their hashes as ids. The tip is the
  leaf. Messages that no thread reaches are a session of their own.
- Other fields of a part, such as the provider's metadata: kept in the message under `llm`, in `parts`.
- `turns`, and the columns of a response: model and usage of the assistant's messages; options, duration and such are
  kept in the message under `llm`, as are `response_json` and `prompt_json` of old databases. `token_details`, which has
  what came from a cache, is part of the usage.
- A response that is also in a turn is read once, from the turn, as in llm.
- `forked_from`: the parent session in the header.
- Every response without a conversation: a session of its own.
- Tools and schemas that a conversation used, and the model it began with: metadata of the session under `llm`.

Shape `llm.message`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from convtree._formats.common.base import Findings, SessionRef, Source, SourceSession, SourceSpan
from convtree._formats.common.blocks import call_block, make_messages, result_block, text_block
from convtree._formats.common.databases import Belonging, Found, list_database, read_row
from convtree._formats.common.headers import make_header, metadata_mark, name_mark
from convtree._formats.common.ids import Ids
from convtree._formats.common.node_tree import make_records
from convtree._formats.common.parents_first import Node, link
from convtree._formats.common.sqlite import Database, Row, has_tables, parse_cell
from convtree._formats.common.values import as_text, key, text, without
from convtree._formats.llm.pieces import Pieces
from convtree._model.entries import Entry, Header, Record

NAME = "llm"
_OLD = {
    "conversations": frozenset({"id", "name"}),
    "responses": frozenset({"id", "model", "prompt", "response", "conversation_id"}),
}
_NEW = {
    "threads": frozenset({"id", "tip_message_hash"}),
    "messages": frozenset({"hash", "parent_hash", "role"}),
    "parts": frozenset({"message_hash", "position", "type"}),
}
_RESPONSE = """id model prompt system prompt_json options_json response response_json duration_ms datetime_utc
    input_tokens output_tokens token_details schema_id resolved_model reasoning"""
_TURN = """id parent_message_hash tip_message_hash model resolved_model options_json schema_id input_tokens
    output_tokens token_details duration_ms datetime_utc response_json"""
_STRAYS = "messages of no thread"
#: what of a part's payload has a place in its block
_PLACED = ("text_ref", "name", "arguments", "tool_call_id", "output", "attachment", "attachments")


def recognises(source: Source) -> bool:
    """Recognises the database by the tables of either generation."""
    return has_tables(source, _OLD, _NEW)


def sessions(source: Source) -> Iterator[SessionRef]:
    """Lists the conversations of a database."""
    calls = (Belonging(table, "response_id", "responses") for table in ("tool_calls", "tool_results"))
    parts = Belonging("parts", "message_hash", "messages", "hash")
    return list_database(source, NAME, _conversations, *calls, parts)


def read(source: Source, ref: SessionRef) -> SourceSession:
    """Reads a conversation."""
    return read_row(source, ref, NAME, _session)


def _session(id: str, found: Found, database: Database) -> tuple[Header, Iterator[Record]]:
    fields, span = found.row
    time, parent = fields.get("datetime_utc"), key(fields.get("forked_from"))
    records = _Conversation(fields, span, database, Ids(NAME, id), database.findings).records()
    return make_header(NAME, id, time=time, parent=parent), records


def _conversations(database: Database) -> Iterator[Found]:
    """Yields threads, then conversations without a thread, then messages and responses that belong to neither."""
    is_new = bool(database.columns("threads"))
    for row in database.rows("threads", "id name tip_message_hash forked_from datetime_utc"):
        yield Found(row.values.get("id"), row)
    others = "id not in (select id from threads where id is not null)" if is_new else ""
    for row in database.rows("conversations", "id name model", where=others):
        yield Found(row.values.get("id"), row)
    if is_new and next(database.rows("messages", "hash", where=_unreached(database)), None) is not None:
        yield Found(_STRAYS, Row({"strays": _STRAYS}, SourceSpan(1, 0, 0)))
    if not database.columns("responses"):
        return
    known = ["select id from conversations"] if database.columns("conversations") else []
    known += ["select id from threads"] if is_new else []
    missing = " and ".join(f"conversation_id not in ({each} where id is not null)" for each in known)
    if missing:
        where = f"conversation_id is not null and {missing} group by conversation_id"
        for row in database.rows("responses", "conversation_id", where=where):
            id = row.values.get("conversation_id")
            yield Found(id, Row({"id": id}, row.span), is_missing=True)
    for row in database.rows("responses", "id", where="conversation_id is null"):
        yield Found(row.values.get("id"), Row({"response": row.values.get("id")}, row.span))


def _unreached(database: Database) -> str:
    """Returns the condition of the messages that no thread reaches."""
    tips = "select tip_message_hash from threads"
    if database.columns("turns"):
        of_threads = "from turns where thread_id in (select id from threads)"
        tips += f" union select tip_message_hash {of_threads} union select parent_message_hash {of_threads}"
    reached = f"""with recursive reached(hash) as ({tips} union
        select parent_hash from messages join reached on messages.hash = reached.hash)
        select hash from reached where hash is not null"""
    return f"hash is null or hash not in ({reached})"


class _Conversation:
    """Reads one conversation from both generations of tables."""

    def __init__(
        self, fields: dict[str, Any], span: SourceSpan, database: Database, ids: Ids, findings: Findings
    ) -> None:
        self._fields = fields
        self._span = span
        self._database = database
        self._ids = ids
        self._findings = findings
        self._pieces = Pieces(fields, span, database, findings)
        self._turns: dict[str, dict[str, Any]] = {}  # by the message they end with
        self._system: Any = None
        self._seen: set[str] = set()

    def records(self) -> Iterator[Record]:
        """Yields the entries of the conversation, and its leaf and name."""
        tip = key(self._fields.get("tip_message_hash"))
        yield from make_records(self._nodes(tip), self._make, self._ids, self._findings, leaf=tip, span=self._span)
        yield from name_mark(self._ids, self._fields.get("name"), self._span, self._findings)
        used = {"tools": self._pieces.used("tools", "tool_id"), "schemas": self._pieces.used("schemas", "schema_id")}
        facts = without(used | {"model": self._fields.get("model")})
        yield from metadata_mark(self._ids, NAME, facts, self._span, self._findings)

    def _nodes(self, tip: str | None) -> Iterator[Node]:
        yield from self._responses()
        if "strays" in self._fields:
            yield from self._messages(_unreached(self._database), ())
            return
        thread = (self._fields.get("id"),)
        for values, _ in self._database.rows("turns", _TURN, where="thread_id is ?", order="id", values=thread):
            end = key(values.get("tip_message_hash"))
            if end is not None:
                self._turns.setdefault(end, values)  # the first: a later one contradicts nothing
            for hash in (key(values.get("parent_message_hash")), end):
                yield from self._chain(hash)
        yield from self._chain(tip)

    # --- responses ---

    def _responses(self) -> Iterator[Node]:
        where, values = "conversation_id is ?", (self._fields.get("id"),)
        if "response" in self._fields:
            where, values = "conversation_id is null and id is ?", (self._fields["response"],)
        elif self._fields.get("id") is None:
            return
        if self._database.columns("turns"):
            where += " and id not in (select id from turns where id is not null)"
        last: str | None = None
        for ordinal, (row, span) in enumerate(
            self._database.rows("responses", _RESPONSE, where=where, order="id", values=values), 1
        ):
            source_id = key(row.get("id"))
            fields = row | {"kind": "response"}
            node = link(self._ids, self._findings, fields, span, source_id, ordinal, last)
            last = node.id
            yield node

    def _prompt(self, fields: dict[str, Any], span: SourceSpan) -> list[Entry]:
        own, time = fields.get("id"), fields.get("datetime_utc")
        said: list[Entry] = []
        system = [*self._pieces.fragments("system_fragments", own), fields.get("system")]
        system_text = "\n".join(as_text(each) for each in system if each)
        if system_text and system_text != self._system:
            said += make_messages(NAME, "system", [text_block(system_text)], {}, time=time)
            self._system = system_text
        asked = [*self._pieces.fragments("prompt_fragments", own), fields.get("prompt")]
        blocks: list[dict[str, Any]] = []
        for row, _ in self._rows("tool_results", "id output tool_call_id exception", own):
            has_failed = bool(row.get("exception"))
            blocks.append(result_block(row.get("tool_call_id"), row.get("output"), is_error=has_failed))
            blocks += self._pieces.attachments("tool_results_attachments", "tool_result_id", row.get("id"))
        blocks += self._pieces.attachments("prompt_attachments", "response_id", own)
        blocks.append(text_block("\n".join(as_text(each) for each in asked if each)))
        prompt_json = parse_cell(fields.get("prompt_json"), span, self._findings)
        if any(block.get("text") != "" for block in blocks):
            said += make_messages(NAME, "user", blocks, without({"prompt_json": prompt_json}), time=time)
        return said

    def _response(self, fields: dict[str, Any], span: SourceSpan) -> list[Entry]:
        blocks = [{"type": "thinking", "thinking": fields["reasoning"]}] if fields.get("reasoning") else []
        blocks.append(text_block(fields.get("response")))
        for row, at in self._rows("tool_calls", "name arguments tool_call_id", fields.get("id")):
            arguments = parse_cell(row.get("arguments"), at, self._findings)
            blocks.append(call_block(row.get("tool_call_id"), row.get("name"), arguments))
        return self._answer("assistant", blocks, fields, span, {})

    def _rows(self, table: str, names: str, own: Any) -> Iterator[Any]:
        return self._database.rows(table, names, where="response_id is ?", values=(own,))

    # --- messages ---

    def _chain(self, hash: str | None) -> Iterator[Node]:
        """Yields the messages above one, and itself, from the top, without those that came before."""
        new: list[str] = []
        while hash is not None and hash not in self._seen:
            self._seen.add(hash)
            found = self._database.rows("messages", "parent_hash", where="hash is ?", values=(hash,))
            row = next(found, None)
            if row is None:
                break
            new.append(hash)
            hash = key(row.values.get("parent_hash"))
        for each in reversed(new):
            yield from self._messages("hash is ?", (each,))

    def _messages(self, where: str, values: tuple[Any, ...]) -> Iterator[Node]:
        names = "hash parent_hash role provider_metadata"
        for ordinal, (row, span) in enumerate(self._database.rows("messages", names, where=where, values=values), 1):
            source_id, parent = key(row.get("hash")), key(row.get("parent_hash"))
            parent_id = None if parent is None else self._ids.refer(parent)
            fields = row | {"kind": "message"}
            yield link(self._ids, self._findings, fields, span, source_id, ordinal, parent_id)

    def _message(self, fields: dict[str, Any], span: SourceSpan) -> list[Entry]:
        hash = fields.get("hash")
        blocks: list[dict[str, Any]] = []
        rest = without({"provider_metadata": parse_cell(fields.get("provider_metadata"), span, self._findings)})
        names = "id type tool_name text payload"
        parts = self._database.rows("parts", names, where="message_hash is ?", order="position, rowid", values=(hash,))
        for row, at in parts:
            payload = parse_cell(row.get("payload"), at, self._findings)
            payload = payload if isinstance(payload, dict) else without({"payload": payload})
            blocks += self._part(row, payload)
            if left := without(payload, *_PLACED):
                rest.setdefault("parts", []).append({"type": as_text(row.get("type"))} | left)
        role = text(fields.get("role")) or "user"
        role = "user" if role == "tool" else role  # Anthropic's blocks of results are the user's
        return self._answer(role, blocks, self._turns.get(as_text(hash), {}), span, rest)

    def _part(self, row: dict[str, Any], payload: dict[str, Any]) -> list[dict[str, Any]]:
        """Returns the blocks that a part is; a text that borrows from fragments is put together again."""
        match row.get("type"):
            case "text":
                return [text_block(self._text(row, payload))]
            case "reasoning":
                return [{"type": "thinking", "thinking": self._text(row, payload)}]
            case "tool_call":
                return [call_block(payload.get("tool_call_id"), row.get("tool_name"), payload.get("arguments"))]
            case "tool_result":
                output = payload.get("output")
                content = self._text(row, payload) if output is None else output
                has_failed = bool(payload.get("exception"))
                result = result_block(payload.get("tool_call_id"), content, is_error=has_failed)
                return [result, *self._pieces.attachments("part_attachments", "part_id", row.get("id"))]
            case "attachment":
                return self._pieces.attachments("part_attachments", "part_id", row.get("id"))
        return [{"type": f"llm.{as_text(row.get('type'))}"} | without(row, "id", "type", "payload") | payload]

    def _text(self, row: dict[str, Any], payload: dict[str, Any]) -> str:
        pieces = payload.get("text_ref")
        if not isinstance(pieces, list):
            return as_text(row.get("text"))
        found = (
            self._pieces.fragment(piece["fragment"]) if "fragment" in piece else piece.get("literal")
            for piece in pieces
            if isinstance(piece, dict)
        )
        return "".join(as_text(each) for each in found)

    # --- both ---

    def _make(self, node: Node) -> list[Entry]:
        if node.fields["kind"] == "message":
            return self._message(node.fields, node.span)
        return self._prompt(node.fields, node.span) + self._response(node.fields, node.span)

    def _answer(
        self, role: str, blocks: list[dict[str, Any]], call: dict[str, Any], span: SourceSpan, rest: dict[str, Any]
    ) -> list[Entry]:
        """Makes the message of a reply, with the facts of the call that returned it."""
        stored = {
            name: parse_cell(call.get(name), span, self._findings)
            for name in ("options_json", "response_json", "token_details")
        }
        rest |= without(stored, "token_details") | without(
            {name: call.get(name) for name in ("duration_ms", "schema_id")}
        )
        tokens = without({name: call.get(name) for name in ("input_tokens", "output_tokens")})
        if isinstance(details := stored["token_details"], dict):  # what the provider's usage has beside the two
            tokens = details | tokens
        else:
            rest |= without({"token_details": details})
        model = call.get("resolved_model") or call.get("model")
        time = call.get("datetime_utc")
        return make_messages(NAME, role, blocks, rest, time=time, model=model, usage=tokens or None)
