"""Finds secrets in a text: where each is and of which kind. Pure: the same text always gives the same places.

A text is reduced to one byte for each character first. There it takes no time to find the words long enough to hold a
token, and the words that announce a secret. The patterns are searched only near those: of the forms of tokens, of
private keys, and of what stands beside a telling name. Each of them looks a bounded way around what it found, so the
time is linear in the text.
"""

from __future__ import annotations

import re
from base64 import b64decode
from binascii import Error
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator

from convtree._engine import private_keys, secret_contexts, secret_forms, secret_names
from convtree._engine.secret_spans import Span, end_of_lines, merged

#: shorter words have no form of a token
SHORTEST = 15
_WORD = frozenset(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_~.+/=|:%@$!?&#*^-")
_SHAPE = bytes(97 if code in _WORD else 32 for code in range(256))
_RUN = b"a" * SHORTEST
#: what is left of an escape behind its backslash, and of a colour code behind its bracket
_ESCAPE = re.compile(r"[bfnrtv]|u[0-9A-Fa-f]{4}|x[0-9A-Fa-f]{2}|[0-7]{1,3}")
_COLOUR = re.compile(r"[0-9]{0,3}[mK]")
#: the shortest base64 of a token, and how its other alphabet is written
_ENCODED = 28
_BASE64 = re.compile(rb"[A-Za-z0-9+/_-]{28,65536}")
_STANDARD = bytes.maketrans(b"-_", b"+/")
_TEXT = bytes(range(32, 127)) + b"\t\n\r"
#: a name that can stand in front of a value
_NAME = re.compile(r"[A-Za-z0-9_. -]{1,64}")
#: what is not seen on a screen
_UNSEEN = re.compile(r"\x1b\[[0-9;]{0,20}[A-Za-z]|[\u200b-\u200d\u2060\ufeff\u00ad]")


def scan(text: str) -> list[Span]:
    """Returns where the secrets are, in their order. They do not overlap, and none is in a mark."""
    if len(text) < 6:
        return []
    found = list(_found(text))
    if "\x1b" in text or not text.isascii():
        found += _found_unseen(text)
    return merged(found, text) if found else found


def scan_member(name: str, text: str) -> list[Span]:
    """Returns where the secrets are in the value of a member, as if both stood in a text."""
    if not _NAME.fullmatch(name) or not secret_names.is_telling(name):
        return scan(text)
    before = f'"{name}": "'
    found = scan(before + text)
    return [Span(max(0, s.start - len(before)), s.end - len(before), s.kind) for s in found if s.end > len(before)]


def _found(text: str) -> Iterator[Span]:
    plain = text.encode("ascii", "replace")
    lowered = plain.lower()
    words = list(_long_words(plain)) if len(text) >= SHORTEST else []
    if words:
        yield from _forms(text, words)
        yield from _encoded(plain, words)
    yield from private_keys.find(text, lowered)
    yield from secret_contexts.find(text, lowered, words)


def _found_unseen(text: str) -> Iterator[Span]:
    """Yields the secrets that have colour codes or characters without a width in them."""
    gaps = [match.span() for match in _UNSEEN.finditer(text)]
    if not gaps:
        return
    shown = _UNSEEN.sub("", text)
    removed, total = [], 0  # where in what is shown something was removed, and how much until there
    sizes = [0]
    for start, end in gaps:
        removed.append(start - total)
        total += end - start
        sizes.append(total)
    for span in _forms(shown, _long_words(shown.encode("ascii", "replace"))):
        start = span.start + sizes[bisect_right(removed, span.start)]
        end = span.end + sizes[bisect_left(removed, span.end)]
        if end - start > span.end - span.start:
            yield Span(start, end, span.kind)


def _long_words(plain: bytes) -> Iterator[tuple[int, int]]:
    """Yields where words begin and end that are long enough for a token."""
    shape = plain.translate(_SHAPE)
    start = shape.find(_RUN)
    while start >= 0:
        end = shape.find(b" ", start)
        end = len(shape) if end < 0 else end
        yield start, end
        start = shape.find(_RUN, end)


def _forms(text: str, words: Iterable[tuple[int, int]]) -> Iterator[Span]:
    patterns, kinds = secret_forms.searches()
    done = 0
    for word, end in words:
        for start in _beginnings(text, word):
            piece = text[start:end]
            for pattern in patterns:
                for match in pattern.finditer(piece):
                    kind = kinds[int((match.lastgroup or "f0")[1:].partition("_")[0])]
                    found = start + match.end()
                    if found > done:  # it does not end in the lines of an earlier one
                        done = found = end_of_lines(text, found)
                    yield Span(start + match.start(), found, kind)


def _encoded(plain: bytes, words: Iterable[tuple[int, int]]) -> Iterator[Span]:
    """Yields the base64 of texts that have a token in them."""
    for start, end in words:
        if end - start >= _ENCODED:
            for match in _BASE64.finditer(plain, start, end):
                found = _forms_in_base64(match[0])
                if found is not None:
                    yield Span(*match.span(), found)


def _forms_in_base64(word: bytes) -> str | None:
    """Returns the kind of the first token in a text that is encoded; None if there is no token, or no text."""
    if not _is_text(_decoded(word[:16])):
        return None
    text = _decoded(word[: len(word) // 4 * 4]) + _decoded(word[len(word) // 4 * 4 :] + b"==")
    shown = text.decode("ascii", "replace")
    return next((span.kind for span in _forms(shown, _long_words(shown.encode("ascii", "replace")))), None)


def _decoded(word: bytes) -> bytes:
    try:
        return b64decode(word.translate(_STANDARD))
    except Error:  # one character is left over
        return b""


def _is_text(said: bytes) -> bool:
    return bool(said) and not said.translate(None, _TEXT)


def _beginnings(text: str, word: int) -> tuple[int, ...]:
    """Returns where a word may begin: at its first letter, or behind what belongs to an escape or a colour code.

    Behind a backslash, a letter that may belong to an escape does: without it, the text would not be JSON any more.
    """
    before = text[word - 1 : word]
    if before in ("[", ";"):
        match = _COLOUR.match(text, word)
        return (word,) if match is None else (word, match.end())
    if before != "\\":
        return (word,)
    match = _ESCAPE.match(text, word)
    if match is None:
        return (word,)
    before = text[max(0, word - 16) : word]
    slashes = len(before) - len(before.rstrip("\\"))
    return (match.end(),) if slashes % 2 else (word, match.end())
