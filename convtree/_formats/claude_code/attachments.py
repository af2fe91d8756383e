"""What Claude Code showed the model without writing it as a message: files, hints, prompts typed while it worked. Pure.

Newer versions write the words of each such line as `rendered`. For older ones, the kinds that carry words of a person
or of a file are known here; all others are data.
"""

from __future__ import annotations

from typing import Any

from convtree._formats.common.values import as_object, texts

_TYPED = "queued_command"  # a prompt, or a notice in the place of one


def shown_to_model(fields: dict[str, Any]) -> list[dict[str, Any]]:
    """Returns the content blocks that the model saw; empty for a line that it did not see, or not in words."""
    rendered = fields.get("rendered")
    if isinstance(rendered, list):
        contents = [as_object(each).get("content") for each in rendered]
    else:
        contents = _words_of(as_object(fields.get("attachment")))
    blocks: list[dict[str, Any]] = []
    for content in contents:
        if isinstance(content, str) and content:
            blocks.append({"type": "text", "text": content})
        elif isinstance(content, list):
            blocks.extend(block for block in content if isinstance(block, dict) and block)
    return blocks


def is_typed(fields: dict[str, Any]) -> bool:
    """Returns whether a person typed what the line holds."""
    attachment = as_object(fields.get("attachment"))
    mode = attachment.get("commandMode", "prompt")
    return attachment.get("type") == _TYPED and mode == "prompt" and not attachment.get("isMeta")


def _words_of(attachment: dict[str, Any]) -> list[Any]:
    """Returns what an attachment without `rendered` says."""
    kind, content = attachment.get("type"), attachment.get("content")
    if kind == _TYPED:
        return [attachment.get("prompt")]
    if kind == "file":
        return _of_file(attachment, as_object(as_object(content).get("file")).get("content"))
    if kind == "edited_text_file":
        return _of_file(attachment, attachment.get("snippet"))
    if kind == "nested_memory":
        return _of_file(attachment, as_object(content).get("content"))
    if kind == "hook_additional_context":
        return [content] if isinstance(content, str) else list(texts(content) or ())
    return []


def _of_file(attachment: dict[str, Any], content: Any) -> list[Any]:
    """Returns the text of a file with its name."""
    name = attachment.get("filename") or attachment.get("path") or attachment.get("displayPath")
    return [f"Contents of {name}:\n\n{content}"] if isinstance(content, str) and content else []
