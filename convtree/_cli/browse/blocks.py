"""An entry as blocks of text, in the order in which it says them. Pure. The text is foreign; it is escaped when drawn.

Nothing of an entry is left out but the bytes of images and files, which are named with their size.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Literal, NamedTuple

from convtree._cli.describe import describe, indented
from convtree._cli.terminal import readable_size
from convtree._messages.parts import Call, Hosted, Media, Part, Result, Text, Thinking, Unknown
from convtree._messages.said import read
from convtree._model.entries import BranchSummaryEntry, CompactionEntry, Entry, MessageEntry

Form = Literal["markdown", "plain", "json"]


class Block(NamedTuple):
    """A part of an entry: its text, how to draw it, a title or "", and whether it is folded until it is asked for."""

    form: Form
    text: str
    title: str = ""
    is_folded: bool = False


def blocks_of(entry: Entry, names: Mapping[str, str] | None = None) -> list[Block]:
    """Returns what an entry says. `names` are those of tools by the id of a call, for results that do not say it."""
    if isinstance(entry, MessageEntry):
        return list(_blocks(read(entry.message, entry.shape).parts, names or {}))
    if isinstance(entry, CompactionEntry | BranchSummaryEntry):
        facts = Block("plain", describe(entry).whole.removesuffix(entry.summary), "details", True)
        return [Block("markdown", entry.summary), facts]
    return [Block("plain", describe(entry).whole)]


def text_of_blocks(blocks: Iterable[Block]) -> str:
    """Returns all words of some blocks, for a search."""
    return "\n".join(f"{block.title}\n{block.text}" if block.title else block.text for block in blocks)


def _blocks(parts: Iterable[Part], names: Mapping[str, str]) -> Iterator[Block]:
    for part in parts:
        match part:
            case Text(text=text):
                yield Block("markdown", text)
            case Thinking(text=text):
                yield Block("markdown", text or "(readable for its model only)", "thinking", True)
            case Media():
                yield Block("plain", part.text or "", _media(part))
            case Call(name=name, arguments=arguments):
                form: Form = "plain" if isinstance(arguments, str) else "json"
                yield Block(form, arguments if isinstance(arguments, str) else indented(arguments), f"calls {name}")
            case Result():
                yield from _result(part, names)
            case Hosted(text=text):
                yield Block("plain", text or indented(part.raw), "done by the provider")
            case Unknown(value=value, why=why):
                yield Block("json", indented(value), f"not understood: {why}")


def _result(result: Result, names: Mapping[str, str]) -> Iterator[Block]:
    name = names.get(result.id or "") or result.name
    title = f"{'failed' if result.is_error else 'result'}{f' of {name}' if name else ''}"
    yield Block("plain", "\n".join(part.text for part in result.content if isinstance(part, Text)), title)
    yield from _blocks((part for part in result.content if isinstance(part, Media)), names)


def _media(part: Media) -> str:
    """Returns what an image or a file is, without its bytes."""
    facts = [part.mime, part.name, None if part.data is None else readable_size(len(part.data) * 3 // 4), part.url]
    shown = ", ".join(fact[:200] for fact in facts if fact)
    return f"{part.kind}: {shown}" if shown else part.kind
