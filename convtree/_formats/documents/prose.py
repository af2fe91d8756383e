r"""Writes the text of a message as Markdown that stays within its place in a document. Pure.

Text of messages is mostly Markdown and is to be read as that: emphasis, lists, quotes, tables, code. But it must not
make a heading of the document, contain HTML, load a picture, define a link for other messages, or take what follows
it into a block of code. Text that could is escaped with a backslash, or `&lt;`.

Two ideas carry this module:

* **Escapes do not depend on the lines before.** A `#` is escaped after anything that could be the marks of lists and
  quotes. An escape too many is only seen; one too few would be dangerous.
* **Text goes out unchanged only where all parsers agree that it is code.** A fenced block is written anew: every line
  has the marks of its list or quote, the fence is longer than any in the code, and the last line closes it. Indented
  code stays only outside of lists and quotes, after a blank line. Backticks that do not pair up within their line are
  escaped, so a code span never depends on another line.

Messages are not put into quotes, which they could not leave either: a person who reads the file would see a mark before
every line, and HTML in a quote is HTML all the same.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_MAX_DEPTH = 16  # lists and quotes within each other; what is deeper is text

_FENCE = re.compile(r"(`{3,})([^`]*)$|(~{3,})(.*)$")
_BREAK = re.compile(r"(?:\*[ \t]*+){3,}$|(?:-[ \t]*+){3,}$|(?:_[ \t]*+){3,}$")
_ITEM = re.compile(r"(?:[-+*]|([0-9]{1,9})[.)])(?=[ \t]|$)")
_LANGUAGE = re.compile(r"[\w+#.:/-]+")

_MARKS = re.compile(r"(?:[ \t]*+(?:>|[-+*]|\d+[.)]))*+[ \t]*+")  # all that could be marks of lists and quotes
_UNDERLINE = re.compile(r"([ \t>]*)(=+\s*$|-+\s*$)")
_HEADING_OR_FENCE = re.compile(r"#{1,6}(?=\s|$)|~{3}")
_LABEL = re.compile(r"\[(?:[^\]\\]|\\.|\\$)*+(\](?!:))?")

_BLANKS = re.compile(r"[ \t]{0,40}")  # more than the widest mark of a list, with its white space
_SEPARATOR = re.compile("([\u2028\u2029])")  # no end of a line in CommonMark, but one to the regexes of JavaScript
_TICKS = re.compile("`+")
_SPECIAL = re.compile(
    r"://|www\.|(?:mailto|xmpp):|\\<(?=[A-Za-z/!?])|\\[!-/:-@\[-`{-~]|`+|!(?=\[)|\[(?=\]\()|\]\(|<(?=[A-Za-z/!?])"
)
_ADDRESS = re.compile(r"[^ \t]*+")  # what some dialects make a link without any marks, backticks included
#: What an address follows. A link without its beginning is one.
_BEFORE_ADDRESS = {"://", "www.", "mailto:", "xmpp:", "]("}
_AUTOLINK = re.compile(r"<(?:https?://|mailto:)[^\s<>`\\|]*+>", re.IGNORECASE)
_URL = r"(?:https?://|mailto:)(?:[^\s()<>\[\]`\\|]|\([^\s()<>\[\]`\\|]*+\))*+"
_RELATIVE = r"(?!//)[^\s()<>\[\]`\\|&:]*+"
_TITLE = r'"[^"<\[\]`\\|]*+"'
#: A whole link. Nothing in it could be read as anything else, so it does not matter whether it has a beginning.
_LINK = re.compile(rf"\]\((?:{_AUTOLINK.pattern}|{_URL}|{_RELATIVE})(?: +{_TITLE})? *\)", re.IGNORECASE)
#: What is written for a special piece of text that is neither code nor such a link. A link without a text is not seen.
_ESCAPES = {"[": "\\[", "\\<": "&lt;", "<": "&lt;", "!": "\\!", "](": "]\\("}


def prose(*texts: str) -> str:
    """Returns texts as paragraphs of Markdown. Controls in them must be escaped already.

    Texts that follow each other belong into one call, because the second can go on with a list of the first.
    """
    blocks, written = _Blocks(), list[str]()
    for text in texts:
        for line in text.split("\n"):
            blocks.add(line)
        written.append("\n".join(blocks.end_text()))
    return "\n\n".join(written)


class _Fence(NamedTuple):
    """A fenced block of code that is open: its first and its other marks, the fence, its indent, the lines in it."""

    first_marks: str
    marks: str
    fence: str
    indent: int
    language: str
    lines: list[str]


class _Start(NamedTuple):
    """A line without the marks of lists and quotes.

    Attributes:
        text: What is left of the line, with its white space.
        indent: The columns of that white space.
        kept: How many of the lists and quotes before go on.
        opened: The list items and quotes that begin on this line.
        marks: Their marks.
    """

    text: str
    indent: int
    kept: int
    opened: list[int]
    marks: str


class _Blocks:
    """Reads lines as CommonMark does, as far as needed to find where blocks of code end.

    `_containers` are the list items and quotes that a line is in: the width of an item's indentation, 0 for a quote.
    """

    def __init__(self) -> None:
        self._containers: list[int] = []
        self._written: list[str] = []
        self._fence: _Fence | None = None
        self._in_paragraph = False
        self._is_item_empty = False  # the last line is the mark of a list item and nothing else
        self._is_outside = True  # no parser can be in a list or a quote here
        self._is_after_blank = True  # or after code that is outside of lists and quotes

    def end_text(self) -> list[str]:
        """Ends a text: closes a block of code that is open, and returns the lines. A blank line follows."""
        self._close()
        written, self._written = self._written, []
        self.add("")
        self._written.clear()
        return written

    def add(self, line: str) -> None:
        """Adds a line."""
        text, column, kept = self._continued(line)
        if self._fence is not None:
            if kept == len(self._containers):
                self._add_code(self._fence, text, column)
                return
            self._close()
        start = self._opened(text, column, kept)
        text = start.text.strip(" \t")
        self._is_item_empty = False
        is_margin = self._is_after_blank and line[:1] not in ("", " ") and line[:1].isprintable()
        is_after_blank, self._is_after_blank = self._is_after_blank, False
        is_lazy = self._in_paragraph and not start.opened and start.kept < len(self._containers)
        if start.indent < 4 and (found := _FENCE.match(text)):
            self._open(start, found)
            return
        if not text:
            self._place(start)
            self._is_item_empty = bool(start.opened and start.opened[-1])
            self._is_after_blank = not line.strip(" \t")
        elif start.indent >= 4 and (start.opened or not self._in_paragraph):
            self._place(start)
            self._is_after_blank = self._is_outside and is_after_blank
            if not self._is_after_blank:
                line = _text_line(line, start)
        elif start.indent < 4 and _BREAK.match(text) and not self._is_underline(text):
            self._place(start)
        else:
            if not is_lazy:
                self._place(start)
            self._in_paragraph = True
            line = _text_line(line, start)
        self._is_outside = self._is_outside or (is_margin and not self._containers)
        self._written.append(line)

    def _continued(self, line: str) -> tuple[str, int, int]:
        """Returns what follows the marks of the lists and quotes that go on, its column, and how many do."""
        text, column, kept = line, 0, 0
        for width in self._containers:
            indent = _indent(text, column)
            is_blank = not text.strip(" \t")
            if width == 0:
                if indent > 3 or not text.lstrip(" \t").startswith(">"):
                    break
                text, column = _after_quote_mark(text, column)
            elif is_blank:
                if self._is_item_empty and kept == len(self._containers) - 1:
                    break
                text, column = _cut(text, column, width), column + min(indent, width)
            elif indent >= width:
                text, column = _cut(text, column, width), column + width
            else:
                break
            kept += 1
        return text, column, kept

    def _opened(self, text: str, column: int, kept: int) -> _Start:
        """Returns a line without the marks of the list items and quotes that begin on it."""
        opened: list[int] = []
        marks = ""
        while kept + len(opened) < _MAX_DEPTH:
            indent, bare = _indent(text, column), text.lstrip(" \t")
            if indent > 3:
                break
            if bare.startswith(">"):
                text, column = _after_quote_mark(text, column)
                opened.append(0)
                marks += "> "
                continue
            item = _ITEM.match(bare)
            if item is None or _BREAK.match(bare) or self._is_underline(bare):
                break
            rest, at = bare[item.end() :], column + indent + item.end()
            is_in_paragraph = self._in_paragraph and not opened and kept == len(self._containers)
            if is_in_paragraph and (not rest.strip(" \t") or int(item[1] or 1) != 1):
                break
            gap = _indent(rest, at)
            gap = gap if gap < 5 and rest.strip(" \t") else 1
            text, column = _cut(rest, at, gap), at + gap
            opened.append(indent + item.end() + gap)
            marks += " " * indent + item[0] + " " * gap
        return _Start(text, _indent(text, column), kept, opened, marks)

    def _is_underline(self, bare: str) -> bool:
        """Returns whether a text below a paragraph could make that a heading. It is text then, here and elsewhere."""
        return self._in_paragraph and _UNDERLINE.match(bare) is not None

    def _place(self, start: _Start) -> None:
        """Ends the lists and quotes that do not go on, and begins new ones."""
        self._containers = [*self._containers[: start.kept], *start.opened]
        self._is_outside = self._is_outside and not self._containers
        self._in_paragraph = False

    def _open(self, start: _Start, found: re.Match[str]) -> None:
        before = _marks(self._containers[: start.kept])
        self._place(start)
        fence, info = found[1] or found[3], (found[2] or found[4] or "").strip(" \t")
        language = _LANGUAGE.match(info)
        name = language[0] if language and info[language.end() :][:1] in ("", " ", "\t") else ""
        more = info[len(name) :]
        lines = [more.strip(" \t")] if more else []  # nobody would see it behind the fence
        self._fence = _Fence(before + start.marks, _marks(self._containers), fence, start.indent, name, lines)

    def _add_code(self, block: _Fence, text: str, column: int) -> None:
        indent, bare = _indent(text, column), text.strip(" \t")
        if indent < 4 and len(bare) >= len(block.fence) and not bare.strip(block.fence[0]):
            self._close()
        else:
            block.lines.append(_cut(text, column, min(indent, block.indent)))

    def _close(self) -> None:
        """Writes the block of code that is open, if there is one."""
        if self._fence is None:
            return
        first_marks, marks, fence, _, language, lines = self._fence
        bare = [line.lstrip() for line in lines]
        longest = max((len(each) - len(each.lstrip(fence[0])) for each in bare), default=0)
        fence = fence[0] * max(len(fence), longest + 1)
        self._written.append(f"{first_marks}{fence}{language}")
        self._written += (f"{marks}{line}" if line else marks.rstrip() for line in lines)
        self._written.append(f"{marks}{fence}")
        self._fence = None
        self._is_outside = self._is_after_blank = not marks


def _marks(containers: list[int]) -> str:
    return "".join("> " if width == 0 else " " * width for width in containers)


def _after_quote_mark(text: str, column: int) -> tuple[str, int]:
    column += _indent(text, column) + 1
    text = text.lstrip(" \t")[1:]
    gap = min(_indent(text, column), 1)
    return _cut(text, column, gap), column + gap


def _indent(text: str, column: int) -> int:
    """Returns how many columns of white space a text begins with, or enough to tell that it is code.

    Tabs lead to the next multiple of four.
    """
    if text[:1] not in (" ", "\t"):
        return 0
    blanks = _BLANKS.match(text)[0]  # type: ignore[index]  # it matches any text
    start = column % 4
    return len((" " * start + blanks).expandtabs(4)) - start


def _cut(text: str, column: int, columns: int) -> str:
    """Returns a text without that many columns of white space; spaces stand for what is left of a tab."""
    at, end = 0, column + columns
    while column < end and text[at : at + 1] in (" ", "\t"):
        column += 4 - column % 4 if text[at] == "\t" else 1
        at += 1
    return " " * (column - end) + text[at:]


def _text_line(line: str, start: _Start) -> str:
    """Returns a line that is not code, so that it is neither a heading, a fence, nor the definition of a link."""
    is_item = any(start.opened)  # a dash is its mark then
    if not is_item and (underline := _UNDERLINE.match(line)):
        return underline.expand(r"\1\\\2")
    return "".join(map(_text_piece, _SEPARATOR.split(line)))


def _text_piece(line: str) -> str:
    found = _MARKS.match(line)
    marks, text = line[: found.end()], line[found.end() :]  # type: ignore[union-attr]  # it matches any text
    label = _LABEL.match(text)
    if _HEADING_OR_FENCE.match(text) or (label and label[1] is None):
        return f"{marks}\\{text[0]}{_inline(text[1:])}"
    return marks + _inline(text)


def _inline(text: str) -> str:
    """Returns a text within one line without HTML, pictures, and links to anything but pages, files and mail."""
    if _SPECIAL.search(text) is None:
        return text
    spans = _code_spans(text)
    # In a table, the bars cut the line into cells before the code in them is found.
    is_cut = any("|" in text[start:end] for start, end in spans.items())
    written, at, span_end = list[str](), 0, 0
    while found := _SPECIAL.search(text, at):
        start, end = found.span()
        piece = found[0]
        if piece[0] == "`":
            if start in spans:
                span_end = spans[start]
                end = end if is_cut else span_end
            elif start >= span_end:
                piece = "\\`" * len(piece)
        elif link := _LINK.match(text, start) or _AUTOLINK.match(text, start):
            end = link.end()
        else:
            piece = _ESCAPES.get(piece, piece)
            piece = "\\&lt;" if start < span_end and found[0] == "\\<" else piece
        written += (text[at:start], text[start:end] if piece == found[0] else piece)
        at = end
    return "".join([*written, text[at:]])


def _code_spans(text: str) -> dict[int, int]:
    """Returns where code spans begin and end, backticks included."""
    closing: dict[int, list[int]] = {}
    for run in reversed(list(_TICKS.finditer(text))):
        closing.setdefault(len(run[0]), []).append(run.start())
    spans, at, address_end = dict[int, int](), 0, 0
    while found := _SPECIAL.search(text, at):
        at = found.end()
        if found[0][0] == "`":
            places = closing.get(len(found[0]), [])
            while places and places[-1] < at:
                places.pop()
            if places and address_end <= found.start():
                at = spans[found.start()] = places[-1] + len(found[0])
            continue
        if link := _LINK.match(text, found.start()) or _AUTOLINK.match(text, found.start()):
            at = link.end()
        if found[0] in _BEFORE_ADDRESS and at > address_end:
            address_end = _ADDRESS.match(text, at).end()  # type: ignore[union-attr]  # it may be empty
    return spans
