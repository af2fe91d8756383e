r"""Makes foreign text safe to print on a terminal. Pure. The rule for which characters are shown is here alone.

Text in a log can be hostile. An escape sequence in a message can change the title of a window, fill the clipboard or
hide the text after it. A bidi control can reorder the rest of the line, and a line separator can end it. A character
that is drawn as nothing can hide words, or make two names look the same. So every such character is shown as an escape.
None is removed: the reader can see that it was there.

Escaped are:

* C0, C1 and DEL, and lone surrogates, which cannot be encoded;
* line and paragraph separators;
* bidi controls, directional marks included;
* what Unicode calls format characters or default ignorable: zero-width spaces, soft hyphens, byte order marks,
  invisible operators, fillers, tags, selectors of variants. The number signs of Arabic and its neighbours pass: they
  are drawn.

A joiner, or one of the first selectors, passes directly behind a character that it can change: a letter or a mark of a
script other than Latin, Greek and Cyrillic, or a symbol. Persian, Hindi and emoji need them there. A second one behind
the first is escaped.
"""

from __future__ import annotations

import re
import unicodedata

#: Embeddings, overrides and isolates, and what ends them. They reorder all text up to their end or that of the line.
BIDI_CONTROLS = "\u202a-\u202e\u2066-\u2069"
#: C0, C1 and DEL without tab and newline, and lone surrogates, which cannot be encoded.
CONTROLS = "\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff"

_SEPARATORS = "\u2028\u2029"
#: Format characters and default ignorable ones, without those that are drawn. Both bidi controls and tags are some.
_INVISIBLE = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\u3164\ufeff"
    "\uffa0\ufff0-\ufffb\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
#: Joiners and selectors. They pass where a script or a symbol needs them.
_MODIFIERS = "\u180b-\u180d\u180f\u200c\u200d\ufe00-\ufe0f"
#: What is no symbol, and has a form as an emoji all the same.
_EMOJI_SIGNS = "#*0123456789\u203c\u2049\u3030\u303d"

_UNSAFE_CHARACTER = re.compile(f"[{CONTROLS}{_SEPARATORS}{_INVISIBLE}{_MODIFIERS}]")
_BLANKS = re.compile(r"[ \t\r\n]+")
_PLAIN_SCRIPTS = ("LATIN ", "GREEK ", "CYRILLIC ", "MODIFIER ", "COMBINING ")


def escape_controls(text: str, *, lines: bool = False) -> str:
    r"""Returns the text with every unsafe character written as `\x1b` or `<U+202E>`.

    The result is one line with single spaces. With `lines`, newlines and tabs stay.
    """
    if lines:
        text = text.replace("\r\n", "\n")
    elif "  " in text or not text.isprintable():  # else there are no blanks but single spaces
        text = _BLANKS.sub(" ", text)
    return text if text.isascii() and text.isprintable() else _UNSAFE_CHARACTER.sub(_unless_needed, text)


def escape_json_controls(document: str) -> str:
    r"""Returns a JSON document with the same value in which those characters are written as `\u202e`."""
    return _UNSAFE_CHARACTER.sub(lambda found: found[0] if _is_needed(found) else json_escape(found), document)


def visible_escape(found: re.Match[str]) -> str:
    """Returns a matched character as an escape for people."""
    point = ord(found[0])
    return f"\\x{point:02x}" if point < 0x100 else f"<U+{point:04X}>"


def json_escape(found: re.Match[str]) -> str:
    """Returns a matched character as an escape of a JSON string; one beyond the basic plane as a pair."""
    point = ord(found[0])
    if point < 0x10000:
        return f"\\u{point:04x}"
    return f"\\u{0xD7C0 + (point >> 10):04x}\\u{0xDC00 + (point & 0x3FF):04x}"


def _unless_needed(found: re.Match[str]) -> str:
    return found[0] if _is_needed(found) else visible_escape(found)


def _is_needed(found: re.Match[str]) -> bool:
    """Returns whether a joiner or a selector stands behind a character that it can change."""
    at = found.start()
    if at == 0 or re.match(f"[{_MODIFIERS}]", found[0]) is None:
        return False
    before = found.string[at - 1]
    if found[0] == "\u200d" and before == "\ufe0f":  # an emoji may have both
        return at > 1 and _takes_modifier(found.string[at - 2])
    return (found[0] == "\ufe0f" and before in _EMOJI_SIGNS) or _takes_modifier(before)


def _takes_modifier(character: str) -> bool:
    """Returns whether a joiner or a selector can change how a character is drawn."""
    category = unicodedata.category(character)
    if category[0] in "LM":
        is_modifier = re.match(f"[{_MODIFIERS}{_INVISIBLE}]", character) is not None
        return not is_modifier and not unicodedata.name(character, "LATIN ").startswith(_PLAIN_SCRIPTS)
    return category in ("So", "Sk", "Sm") and not character.isascii()
