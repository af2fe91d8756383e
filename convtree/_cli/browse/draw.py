"""Lines for the screen: texts, escaped and cut to a width, as strips of Textual. Foreign text is never markup here."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache

from markdown_it import MarkdownIt
from rich.cells import cell_len, chop_cells, set_cell_size
from rich.console import Console
from rich.markdown import Markdown
from rich.segment import Segment
from rich.style import Style
from rich.syntax import Syntax
from rich.text import Text
from rich.theme import Theme
from textual.strip import Strip

from convtree._cli.browse.blocks import Block
from convtree._cli.render import count
from convtree._model.terminal_text import escape_controls

#: the styles of `convtree inspect`, by name
STYLES = {
    "": Style(),
    "user": Style(color="cyan", bold=True),
    "assistant": Style(color="green"),
    "entry": Style(color="magenta"),
    "bad": Style(color="red", bold=True),
    "note": Style(color="yellow"),
    "title": Style(bold=True),
    "dim": Style(dim=True),
    "match": Style(underline=True, bold=True),
}
CURSOR = Style(reverse=True)
_MARKDOWN_LIMIT = 50_000  # characters; a longer text is shown as it is
_LIMIT = 200_000  # characters of a block that are shown
_MOST_LINES = 20_000  # of a message, until a further block is left out
_NESTING = 20  # quotes and lists in each other that are drawn as such
_TAB = 4
_ON_ONE_LINE = {ord("\n"): " ", ord("\t"): " "}
_THEME = Theme({"markdown.code": Style(color="cyan"), "markdown.code_block": Style(color="cyan")}, inherit=True)

Piece = tuple[str, str]
"""A text and the name of its style."""


def one_line(pieces: Iterable[Piece], width: int, sought: str = "") -> Strip:
    """Returns pieces of foreign text on one line, cut to a width. What is `sought` is highlighted."""
    segments: list[Segment] = []
    left = width
    for text, style in pieces:
        shown = escape_controls(text, lines=True).translate(_ON_ONE_LINE)
        cells = cell_len(shown)
        if cells > left:
            shown = set_cell_size(shown, left - 1).rstrip() + "…" if left > 0 else ""
            cells = cell_len(shown)
        segments += _highlighted(shown, STYLES[style], sought)
        left -= cells
        if left <= 0:
            break
    return Strip(segments, width - left).adjust_cell_length(width)


def filled(text: str, width: int) -> str:
    """Returns a foreign text on one line of exactly this width."""
    shown = escape_controls(text)
    if cell_len(shown) > width:
        shown = set_cell_size(shown, width - 1).rstrip() + "…"
    return set_cell_size(shown, width)


def message_lines(facts: Sequence[str], blocks: Sequence[Block], width: int, *, unfolded: bool) -> list[Strip]:
    """Returns the lines of a message: facts, then its blocks with their titles."""
    lines = [strip for fact in facts for strip in _drawn(Text(escape_controls(fact), style="dim"), width)]
    for block in blocks:
        if len(lines) > _MOST_LINES:
            lines.append(one_line([("… more; an export (e) has it", "note")], width))
            break
        lines.append(Strip.blank(width))
        is_folded = block.is_folded and not unfolded
        if block.title:
            sign = "▸" if is_folded else "▾"
            hint = f" ({count(len(block.text), 'characters')}, x unfolds)" if is_folded else ""
            lines.append(one_line([(f"{sign} {block.title}", "entry"), (hint, "dim")], width))
        if not is_folded:
            lines += _block_lines(block, width)
    return lines


def _block_lines(block: Block, width: int) -> Iterator[Strip]:
    text = escape_controls(block.text[:_LIMIT], lines=True).expandtabs(_TAB)
    if block.form == "markdown" and len(text) <= _MARKDOWN_LIMIT and (document := _markdown(text)) is not None:
        yield from _drawn(document, width)
    elif block.form == "json" and len(text) <= _MARKDOWN_LIMIT:
        yield from _drawn(Syntax(text, "json", theme="ansi_dark", word_wrap=True, background_color="default"), width)
    elif text:
        yield from _wrapped(text, width, STYLES[""])
    if (more := len(block.text) - _LIMIT) > 0:
        yield one_line([(f"… {count(more, 'characters')} more; an export (e) has them", "note")], width)


def _markdown(text: str) -> Markdown | None:
    """Returns a text as Markdown in which HTML is shown as it is, line breaks stay, and links are no hyperlinks.

    None if it is nested so deeply that the parser would leave something out.
    """
    document = Markdown("", code_theme="ansi_dark", hyperlinks=False)
    document.parsed = _parser().parse(text)
    document.markup = text
    if any(token.level >= _NESTING for token in document.parsed):
        return None
    for token in document.parsed:
        for child in token.children or ():
            child.content = escape_controls(child.content, lines=True)  # it may have been spelled as an entity
            if child.type == "softbreak":
                child.type = "hardbreak"
    return document


@lru_cache(1)
def _parser() -> MarkdownIt:
    return MarkdownIt("commonmark", {"html": False, "maxNesting": 2 * _NESTING}).enable(["table", "strikethrough"])


def _drawn(document: Markdown | Syntax | Text, width: int) -> Iterator[Strip]:
    """Yields the lines that rich makes of a document."""
    console = Console(
        width=width, file=io.StringIO(), force_terminal=True, color_system="truecolor", theme=_THEME, _environ={}
    )
    for line in console.render_lines(document, console.options, pad=False):
        segments = [Segment(escape_controls(segment.text, lines=True), segment.style) for segment in line]
        yield Strip(segments).adjust_cell_length(width)


def _wrapped(text: str, width: int, style: Style) -> Iterator[Strip]:
    """Yields a text as it is, in lines of a width."""
    for line in escape_controls(text, lines=True).expandtabs(_TAB).split("\n"):
        for piece in chop_cells(line, width) if cell_len(line) > width else [line]:
            yield Strip([Segment(piece, style)]).adjust_cell_length(width)


def _highlighted(text: str, style: Style, sought: str) -> Iterator[Segment]:
    """Yields a text in segments, with what is sought in another style."""
    folded = text.casefold()
    if not sought or len(folded) != len(text):
        yield Segment(text, style)
        return
    at = 0
    while (found := folded.find(sought, at)) >= 0:
        if found > at:
            yield Segment(text[at:found], style)
        at = found + len(sought)
        yield Segment(text[found:at], style + STYLES["match"])
    if at < len(text):
        yield Segment(text[at:], style)
