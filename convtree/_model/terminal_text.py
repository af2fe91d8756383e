"""Makes foreign text safe to print on a terminal. Pure.

Text in a log can be hostile. An escape sequence in a message can change the title of a window, fill the clipboard or
hide the text after it. Invisible and reordering characters can disguise a line. So every such character is shown as an
escape. None is removed: the reader can see that it was there.
"""

from __future__ import annotations

import re

# Unicode's categories Cc, Cf, Cs, Zl and Zp (a test compares), and other characters that are drawn as nothing.
_UNSAFE = (
    r"\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u034f\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u115f\u1160\u17b4\u17b5"
    r"\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ud800-\udfff\ufeff\uffa0\ufff0-\ufffb"
    r"\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
_UNSAFE_CHARACTER = re.compile(f"[{_UNSAFE}]")  # newline and tab are not in it
_BLANKS = re.compile(r"[ \t\r\n]+")


def escape_controls(text: str, *, lines: bool = False) -> str:
    r"""Returns the text with every control, reordering or invisible character written as `\x1b` or `<U+202E>`.

    The result is one line with single spaces. With `lines`, newlines and tabs stay.
    """
    if lines:
        return _UNSAFE_CHARACTER.sub(_escaped, text.replace("\r\n", "\n"))
    return _UNSAFE_CHARACTER.sub(_escaped, _BLANKS.sub(" ", text))


def escape_json_controls(document: str) -> str:
    r"""Returns a JSON document with the same value in which those characters are written as `\u202e`."""
    return _UNSAFE_CHARACTER.sub(_json_escaped, document)


def _escaped(found: re.Match[str]) -> str:
    point = ord(found[0])
    return f"\\x{point:02x}" if point < 0x100 else f"<U+{point:04X}>"


def _json_escaped(found: re.Match[str]) -> str:
    units = found[0].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at] << 8 | units[at + 1]:04x}" for at in range(0, len(units), 2))
