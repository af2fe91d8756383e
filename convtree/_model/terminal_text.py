"""Makes foreign text safe to print on a terminal. Pure.

Text in a log can be hostile. An escape sequence in a message can change the title of a window, fill the clipboard or
hide the text after it. A bidi control can reorder the rest of the line, and a line separator can end it. So every such
character is shown as an escape. None is removed: the reader can see that it was there.

All other characters pass, because they are part of what was said: joiners of Persian and Hindi, zero-width spaces of
Thai, soft hyphens, directional marks, the selectors and tags of emoji, number signs of Arabic, a byte order mark. Some
of them are drawn as nothing, but none acts on the terminal, and none orders text beyond its neighbours, as any Hebrew
letter does.
"""

from __future__ import annotations

import re

#: Embeddings, overrides and isolates, and what ends them. They reorder all text up to their end or that of the line.
BIDI_CONTROLS = "\u202a-\u202e\u2066-\u2069"
#: C0, C1 and DEL without tab and newline, and lone surrogates, which cannot be encoded.
CONTROLS = "\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff"

_UNSAFE_CHARACTER = re.compile(f"[{CONTROLS}{BIDI_CONTROLS}\u2028\u2029]")
_BLANKS = re.compile(r"[ \t\r\n]+")


def escape_controls(text: str, *, lines: bool = False) -> str:
    r"""Returns the text with every control, bidi control and line separator written as `\x1b` or `<U+202E>`.

    The result is one line with single spaces. With `lines`, newlines and tabs stay.
    """
    text = text.replace("\r\n", "\n") if lines else _BLANKS.sub(" ", text)
    return _UNSAFE_CHARACTER.sub(visible_escape, text)


def escape_json_controls(document: str) -> str:
    r"""Returns a JSON document with the same value in which those characters are written as `\u202e`."""
    return _UNSAFE_CHARACTER.sub(json_escape, document)


def visible_escape(found: re.Match[str]) -> str:
    """Returns a matched character as an escape for people."""
    point = ord(found[0])
    return f"\\x{point:02x}" if point < 0x100 else f"<U+{point:04X}>"


def json_escape(found: re.Match[str]) -> str:
    """Returns a matched character of the basic plane as an escape of a JSON string."""
    return f"\\u{ord(found[0]):04x}"
