"""Foreign text made harmless for a terminal, in one function. Pure.

Text from a log is hostile: an escape sequence in a message can retitle a window, fill a clipboard or hide what
follows, and an invisible or reordering character can make a line read as what it is not. So everything that is not
plainly visible is shown as an escape. Nothing is removed: what was there can be seen.
"""

from __future__ import annotations

import re

# All of Unicode's Cc, Cf, Cs, Zl and Zp (a test compares), and what else is drawn as nothing at all.
_UNSAFE = (
    r"\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u034f\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u115f\u1160\u17b4\u17b5"
    r"\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ud800-\udfff\ufeff\uffa0\ufff0-\ufffb"
    r"\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
_HARM = re.compile(f"[{_UNSAFE}]")  # newline and tab are let through
_BLANKS = re.compile(r"[ \t\r\n]+")


def escape_controls(text: str, *, lines: bool = False) -> str:
    r"""Returns the text with every control, reordering or invisible character shown as `\x1b` or `<U+202E>`.

    The result is one line, runs of white space being one space; with `lines`, newlines and tabs stay.
    """
    if lines:
        return _HARM.sub(_escaped, text.replace("\r\n", "\n"))
    return _HARM.sub(_escaped, _BLANKS.sub(" ", text))


def harmless_json(document: str) -> str:
    r"""Returns a JSON document of equal value in which such characters are written as `\u202e`."""
    return _HARM.sub(_json_escaped, document)


def _escaped(found: re.Match[str]) -> str:
    point = ord(found[0])
    return f"\\x{point:02x}" if point < 0x100 else f"<U+{point:04X}>"


def _json_escaped(found: re.Match[str]) -> str:
    units = found[0].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at] << 8 | units[at + 1]:04x}" for at in range(0, len(units), 2))
