"""Writes conversations as lines for OpenAI's fine-tuning: `{"messages": […]}`, one for each leaf. See `write`."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from typing import Any

from convtree._formats.common.base import Exported, Findings
from convtree._formats.common.export import line, lose_left_out
from convtree._formats.common.paths import leaf_ids

NAME = "openai-jsonl"

#: members that fine-tuning takes, by role
_MEMBERS = {
    "assistant": frozenset({"role", "content", "name", "refusal", "tool_calls", "weight"}),
    "tool": frozenset({"role", "content", "tool_call_id"}),
}
_OTHERS = frozenset({"role", "content", "name"})


def write(session: Exported, findings: Findings) -> Iterator[bytes]:
    """Yields a line for each leaf: the context there, as the messages of a request to chat completions.

    A line ends with a message of the assistant, because that is what a model learns; what comes behind it is left out,
    as is a leaf without any. Leaves that differ in nothing a line holds give one line.
    """
    written: set[bytes] = set()
    for leaf in leaf_ids(session):
        request = session.build_context(leaf=leaf).to("openai-chat", unknown="text")
        lose_left_out(request.left_out, findings)
        messages = [_trained(message, findings) for message in request["messages"]]
        while messages and messages[-1]["role"] != "assistant":
            messages.pop()
            findings.lose("message behind the last one of the assistant", leaf)
        made = line({"messages": messages})
        digest = sha256(made).digest()
        if messages and digest not in written:
            written.add(digest)
            yield made


def _trained(message: dict[str, Any], findings: Findings) -> dict[str, Any]:
    """Returns a message with the members that fine-tuning takes."""
    taken = _MEMBERS.get(message["role"], _OTHERS)
    for name in message.keys() - taken:
        findings.lose(f"{name} of a message")
    return {name: value for name, value in message.items() if name in taken}
