"""Vectors of the lines themselves: seals and their chain, ends of lines, torn tails."""

from __future__ import annotations

from typing import Any
from zlib import crc32

from .sealing import (
    HEADER,
    Vector,
    changed,
    context,
    in_file,
    mark,
    plain,
    said,
    seal,
    sealed,
)

A, B, C, D = said("a", None), said("b", "a"), said("c", "b"), said("d", "c")
LINES = sealed(HEADER, A, B, C)
ABC = ["a", "b", "c"]
E = said("e", "a")
MARK = mark("m", "label", target_id="a", label="x")


def _abc(name: str, about: str, data: bytes, *findings: tuple[str, int], **more: Any) -> Vector:
    """A log from which a reader gets the messages a, b and c."""
    return Vector(name=name, about=about, log=data, records="a b c", leaf="c", says=ABC, findings=findings, **more)


def _ab(name: str, about: str, data: bytes, *findings: tuple[str, int], **more: Any) -> Vector:
    """A log from which a reader gets the messages a and b, and no more."""
    more = {"records": "a b", "leaf": "b", "says": ["a", "b"]} | more
    return Vector(name=name, about=about, log=data, findings=findings, **more)


def _not_c(name: str, about: str, line: bytes, code: str = "bad_seal") -> Vector:
    """A log whose fourth and last line is damaged. It may have moved the leaf."""
    return Vector(
        name=name,
        about=about,
        log=in_file([*LINES[:3], line]),
        records="a b",
        leaf="b",
        uncertain=True,
        says="LeafUncertain",
        findings=[(code, 4)],
        contexts=[context("b", ["a", "b"]), context("c", "EntryNotFound")],
    )


SEALS = [
    _abc("seals", "Four lines with their seals.", in_file(LINES)),
    _abc("seals-none", "The header has no key `seal`, and no line is sealed.", plain(A, B, C), ("unsealed", 1)),
    _abc(
        "seals-later",
        "A log without seals that was continued with seals. The first of them names the line before it.",
        plain(A) + in_file(sealed(B, C, prev=crc32(A.encode()))),
        ("unsealed", 1),
    ),
    _not_c("seals-no-more", "A line without a seal is damaged if a valid seal precedes it.", C.encode()),
    Vector(
        name="seals-declared-and-missing",
        about="The header has the key `seal`, so lines without a seal are damaged, the header included.",
        log=plain(A, first=HEADER),
        uncertain=True,
        says="LeafUncertain",
        findings=[("bad_header", 1), ("bad_seal", 2)],
        read_only=True,
    ),
    _not_c("seal-of-a-changed-line", "A letter was changed.", LINES[3].replace(b'"content":"c"', b'"content":"x"')),
    _not_c("seal-with-another-crc", "The checksum was changed.", LINES[3][:-4] + b'00"}'),
    _not_c("seal-in-upper-case", "The digits of a seal are in lower case.", LINES[3][:-10] + LINES[3][-10:].upper()),
    _not_c("seal-with-a-space", "A seal has no white space.", LINES[3].replace(b',"crc":', b', "crc":')),
    _not_c("seal-not-at-the-end", "A seal is the end of its line.", LINES[3] + b" "),
    _not_c("seal-without-prev", "A seal has two members.", LINES[3].replace(LINES[3][-36:-18], b"")),
    _not_c("seal-of-half-a-line", "Two writes were glued together.", LINES[3][:30] + LINES[3]),
    _abc(
        "seal-behind-other-spelling",
        "Order of keys, white space and escapes are free before the seal.",
        in_file(
            sealed(
                '{"format":"convtree","type":"session","seal":"crc32","timestamp":null,"id":"s1","version":1}',
                A,
                ' { "message" : {"content":"b","role":"user"}, "type":"m\\u0065ssage" ,"parent_id":"a","id":"\\u0062"}',
                C,
            )
        ),
    ),
]

CHAIN = [
    Vector(
        name="chain-line-missing",
        about="A line between two others is gone.",
        log=in_file([*LINES[:2], sealed(HEADER, A, B, E)[3]]),
        records="a e",
        leaf="e",
        says=["a", "e"],
        findings=[("prev_mismatch", 3)],
    ),
    Vector(
        name="chain-line-missing-before-a-mark",
        about="The line that is gone may have moved the leaf.",
        log=in_file([*LINES[:2], sealed(HEADER, A, B, MARK)[3]]),
        records="a m",
        leaf="a",
        uncertain=True,
        says="LeafUncertain",
        findings=[("prev_mismatch", 3)],
        contexts=[context("a", ["a"])],
    ),
    Vector(
        name="chain-lines-swapped",
        about="Two lines are out of order.",
        log=in_file([*LINES[:2], sealed(HEADER, A, B, E)[3], LINES[2]]),
        records="a e b",
        leaf="b",
        says=["a", "b"],
        findings=[("prev_mismatch", 3), ("prev_mismatch", 4)],
    ),
    _ab(
        "chain-line-repeated",
        "The last line is there twice, byte for byte.",
        in_file([*LINES[:3], LINES[2]]),
        ("prev_mismatch", 4),
        ("duplicate", 4),
        uncertain=True,
        says="LeafUncertain",
    ),
    Vector(
        name="chain-behind-a-damaged-line",
        about="The `prev` behind a damaged line says nothing.",
        log=in_file(changed(sealed(HEADER, A, B, E), 3, b'"content":"b"', b'"content":"x"')),
        records="a e",
        leaf="e",
        says=["a", "e"],
        findings=[("bad_seal", 3)],
    ),
    _ab(
        "chain-header-with-a-prev",
        "The `prev` of a header is 00000000.",
        in_file(sealed(HEADER, A, B, prev=1)),
        ("prev_mismatch", 1),
    ),
]

CR = ("carriage_return", 1)

ENDS = [
    _abc("lines-empty", "Empty lines are ignored.", in_file([LINES[0], b"", LINES[1], b"", b"", *LINES[2:]])),
    _abc("lines-empty-first", "An empty line before the header.", b"\n" + in_file(LINES)),
    _abc("lines-end-in-crlf", "One final \\r is not part of a line.", in_file(LINES).replace(b"\n", b"\r\n"), CR),
    _abc(
        "lines-one-ends-in-crlf",
        "The third line alone.",
        in_file([*LINES[:2], LINES[2] + b"\r", LINES[3]]),
        ("carriage_return", 3),
    ),
    _abc(
        "lines-behind-a-byte-order-mark",
        "At offset 0 it is ignored.",
        b"\xef\xbb\xbf" + in_file(LINES),
        ("byte_order_mark", 1),
    ),
    _abc(
        "lines-as-windows-text",
        "A byte order mark, and CRLF.",
        b"\xef\xbb\xbf" + in_file(LINES).replace(b"\n", b"\r\n"),
        CR,
        ("byte_order_mark", 1),
    ),
    _not_c("line-behind-a-byte-order-mark", "Elsewhere a byte order mark is damage.", b"\xef\xbb\xbf" + LINES[3]),
    _abc(
        "line-behind-zeros",
        "Zeros that a crash left in front of a line that verifies.",
        in_file([*LINES[:3], bytes(100) + LINES[3]]),
        ("nul_bytes", 4),
    ),
    _not_c("line-of-zeros", "A line of zeros.", bytes(100), "nul_bytes"),
    _not_c("line-not-an-object", "The line is no JSON.", b"<<<<<<< HEAD"),
    _not_c(
        "line-not-utf-8",
        "The line verifies and is not UTF-8.",
        seal(C.encode().replace(b'"id":"c"', b'"id":"\xff"'), crc32(LINES[2])),
        "bad_line",
    ),
    _not_c(
        "line-without-id",
        "The line verifies and is no record.",
        seal('{"type":"message"}', crc32(LINES[2])),
        "bad_line",
    ),
]

TAILS = [
    _ab("tail-torn", "Half of a line.", in_file(LINES[:3]) + LINES[3][:40], ("torn_tail", 4), keeps=in_file(LINES[:3])),
    _ab(
        "tail-newline-missing",
        "The last line verifies and lacks only its newline: not in the log for a reader, completed by a writer.",
        in_file(LINES)[:-1],
        ("torn_tail", 4),
        keeps=in_file(LINES),
        after="a b c",
    ),
    _ab(
        "tail-newline-missing-crlf",
        "The last line verifies, and only half of its CRLF is there.",
        in_file(LINES)[:-1] + b"\r",
        ("torn_tail", 4),
        keeps=in_file(LINES)[:-1] + b"\r\n",
        after="a b c",
    ),
    _ab(
        "tail-newline-missing-damaged",
        "The last line lacks its newline and does not verify.",
        in_file(LINES[:3]) + LINES[3].replace(b'"content":"c"', b'"content":"x"'),
        ("torn_tail", 4),
        keeps=in_file(LINES[:3]),
    ),
    _ab(
        "tail-newline-missing-without-seals",
        "Nothing proves that the last line is whole.",
        plain(A, B, C)[:-1],
        ("unsealed", 1),
        ("torn_tail", 4),
        keeps=plain(A, B),
    ),
    _ab(
        "tail-of-zeros",
        "Zeros without a newline.",
        in_file(LINES[:3]) + bytes(500),
        ("torn_tail", 4),
        keeps=in_file(LINES[:3]),
    ),
    Vector(name="tail-empty-file", about="An empty file is a log without lines.", log=b"", says=[]),
    Vector(
        name="tail-half-a-header",
        about="A write that did not finish.",
        log=LINES[0][:50],
        says=[],
        findings=[("torn_tail", 1)],
        keeps=b"",
    ),
    Vector(
        name="tail-zeros-only",
        about="Nothing but zeros.",
        log=bytes(4096),
        says=[],
        findings=[("torn_tail", 1)],
        keeps=b"",
    ),
    Vector(
        name="tail-header-without-newline",
        about="A whole header that lacks only its newline.",
        log=LINES[0],
        says=[],
        findings=[("torn_tail", 1)],
        keeps=LINES[0] + b"\n",
    ),
]

VECTORS = [*SEALS, *CHAIN, *ENDS, *TAILS]
