"""What a person typed, in a message in the role of the user that a tool has filled. Pure.

A tool puts what is typed into tags, and says things of its own beside it, or in messages of their own.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

from convtree._formats.common.values import objects, text


def texts_in(content: Any) -> list[str]:
    """Returns the texts of a message's content."""
    return [content] if isinstance(content, str) else [text(part.get("text")) or "" for part in objects(content)]


def typed_in(content: Any, tags: Collection[str]) -> str | None:
    """Returns what stands in the tags that a tool puts around what is typed; None if there are none."""
    pattern = rf"<({'|'.join(tags)})(?: [^<>]*)?>\s*(.*?)\s*</\1>"
    found = re.findall(pattern, "\n".join(texts_in(content)), re.DOTALL)
    return "\n\n".join(said for _, said in found) if found else None


def is_injected(content: Any, starts: tuple[str, ...]) -> bool:
    """Returns whether a message begins as what a tool says itself does."""
    first = next((said for said in texts_in(content) if said.strip()), "")
    return first.lstrip().startswith(starts)
