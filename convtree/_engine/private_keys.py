"""Finds private keys in a text: PEM, OpenSSH, PGP and PuTTY, however they are quoted, prefixed or cut off. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

from convtree._engine.secret_spans import Span

_NAME = r"[A-Z0-9 ]{0,30}PRIVATE KEY(?: BLOCK)?"
_BASE64 = r"(?=[A-Za-z0-9+/=]{16})"
#: what a cut-off key goes on with. In front of its lines may be numbers, names of files, and signs of quotes and diffs
_LINES = (
    r"(?:\s|\\++(?:[nrt]|u2192)|[A-Za-z0-9+/=]{16,}+|[0-9]{1,6}(?=[\t:|→\\])|[:|→>]"
    rf"|[-+#*;\"',]{{1,4}}[ \t]{{0,8}}{_BASE64}|(?<=\n)[-+#*;]{{1,3}}[ \t]{{0,8}}(?=\r?\n)"
    rf"|\\{{0,8}}[\"'`][ \t]{{0,4}}[+,.\\]?[ \t]{{0,4}}(?:\r?\n|\\{{1,8}}n)[ \t]{{0,40}}\\{{0,8}}[\"'`]{_BASE64}"
    rf"|(?:(?<=\n)|(?<=\\n))[A-Za-z0-9_./-]{{1,100}}:(?:[0-9]{{1,6}}[:-])?[ \t]?{_BASE64}"
    r"|(?:Proc-Type|DEK-Info|Version|Comment|Hash|Charset): ?[^\n\\]{0,100})*+"
)


@cache
def _patterns() -> tuple[re.Pattern[str], re.Pattern[str]]:
    """Returns the patterns of a PEM key and of the secret lines of a PuTTY key."""
    pem = (
        rf"-----BEGIN {_NAME}-----"
        rf"(?:(?:[^-]|-(?!----))*+(?:-(?=-----END))?-----END {_NAME}-----|{_LINES})"
    )
    putty = rf"(?P<kept>Private-Lines: ?[0-9]{{1,6}}){_LINES}(?:Private-(?:MAC|Hash): ?[0-9a-f]{{20,}})?"
    return re.compile(pem, re.IGNORECASE | re.ASCII), re.compile(putty, re.IGNORECASE | re.ASCII)


def find(text: str, lowered: bytes) -> Iterator[Span]:
    """Yields the private keys of a text; `lowered` is the text in lower case, one byte for each character."""
    pem, putty = (b"private key" in lowered and b"begin " in lowered, b"private-lines" in lowered)
    if pem:
        yield from (Span(*match.span(), "private_key") for match in _patterns()[0].finditer(text))
    if putty:
        found = (Span(match.end("kept"), match.end(), "private_key") for match in _patterns()[1].finditer(text))
        yield from (span for span in found if span.start < span.end)
