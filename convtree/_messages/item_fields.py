"""The fields that OpenAI Responses takes in each type of item and block. Data only.

Source: the input types of OpenAI's Python SDK; a test compares. Tools store fields of their own in such items.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_CALL = {"type", "id", "call_id", "status"}

#: type of an item -> its fields
ITEM_FIELDS: dict[str, frozenset[str]] = {
    kind: frozenset(fields)
    for kind, fields in {
        "message": {"type", "id", "role", "content", "status", "phase"},
        "reasoning": {"type", "id", "summary", "content", "encrypted_content", "status"},
        "function_call": _CALL | {"name", "arguments", "namespace", "caller", "async"},
        "function_call_output": _CALL | {"name", "output", "namespace", "caller"},
        "custom_tool_call": _CALL | {"name", "input", "namespace", "caller", "async"},
        "custom_tool_call_output": _CALL | {"output", "caller"},
        "file_search_call": {"type", "id", "queries", "results", "status"},
        "web_search_call": {"type", "id", "action", "status"},
        "computer_call": _CALL | {"action", "actions", "pending_safety_checks"},
        "computer_call_output": _CALL | {"output", "acknowledged_safety_checks"},
        "tool_search_call": _CALL | {"arguments", "execution"},
        "tool_search_output": _CALL | {"tools", "execution"},
        "image_generation_call": {"type", "id", "result", "status", "action", "background", "error", "output_format"}
        | {"quality", "revised_prompt", "size", "svg_usage"},
        "code_interpreter_call": {"type", "id", "code", "container_id", "outputs", "status"},
        "local_shell_call": _CALL | {"action"},
        "local_shell_call_output": {"type", "id", "output", "status"},
        "shell_call": _CALL | {"action", "caller", "environment"},
        "shell_call_output": _CALL | {"output", "caller", "max_output_length"},
        "apply_patch_call": _CALL | {"operation", "caller"},
        "apply_patch_call_output": _CALL | {"output", "caller"},
        "mcp_list_tools": {"type", "id", "server_label", "tools", "error"},
        "mcp_approval_request": {"type", "id", "server_label", "name", "arguments"},
        "mcp_approval_response": {"type", "id", "approval_request_id", "approve", "reason"},
        "mcp_call": {"type", "id", "server_label", "name", "arguments", "output", "error", "status"}
        | {"approval_request_id"},
        "compaction": {"type", "id", "encrypted_content"},
        "compaction_trigger": {"type", "id"},
        "item_reference": {"type", "id"},
        "program": {"type", "id", "call_id", "code", "fingerprint"},
        "program_output": {"type", "id", "call_id", "result", "status"},
        "additional_tools": {"type", "id", "role", "tools"},
        "configuration_update": {"type", "id", "reasoning", "text"},
    }.items()
}
#: type of a block in an item -> its fields
BLOCK_FIELDS: dict[str, frozenset[str]] = {
    "input_text": frozenset({"type", "text", "prompt_cache_breakpoint"}),
    "input_image": frozenset({"type", "detail", "file_id", "image_url", "prompt_cache_breakpoint"}),
    "input_file": frozenset(
        {"type", "detail", "file_data", "file_id", "file_url", "filename", "prompt_cache_breakpoint"}
    ),
    "output_text": frozenset({"type", "text", "annotations", "logprobs"}),
    "refusal": frozenset({"type", "refusal"}),
    "summary_text": frozenset({"type", "text"}),
    "reasoning_text": frozenset({"type", "text"}),
}
_LISTS = ("content", "output", "summary")


def sendable(item: Mapping[str, Any]) -> dict[str, Any]:
    """Returns an item without the fields that OpenAI does not know, and without those that have no value.

    OpenAI returns some fields as null that it does not take back. An item of an unknown type keeps all fields.
    """
    fields = ITEM_FIELDS.get(str(item.get("type", "message")))
    kept = {name: value for name, value in item.items() if value is not None and (fields is None or name in fields)}
    for name in _LISTS:
        blocks = kept.get(name)
        if isinstance(blocks, list | tuple) and not all(map(_is_sendable, blocks)):
            kept[name] = [_sendable_block(block) for block in blocks]
    return kept


def _is_sendable(block: Any) -> bool:
    fields = BLOCK_FIELDS.get(str(block.get("type"))) if isinstance(block, Mapping) else None
    return fields is None or block.keys() <= fields


def _sendable_block(block: Any) -> Any:
    fields = BLOCK_FIELDS.get(str(block.get("type"))) if isinstance(block, Mapping) else None
    return block if fields is None else {name: value for name, value in block.items() if name in fields}
