"""Escaping of foreign text for a terminal."""

import json
import unicodedata

import orjson
import pytest

from convtree._model.terminal_text import escape_controls, escape_json_controls

EVERYTHING = [chr(point) for point in range(0x110000)]


def test_every_unsafe_code_point_is_escaped() -> None:
    """Of all code points, no control, format, line separator or surrogate is left."""
    unsafe = [each for each in EVERYTHING if unicodedata.category(each) in ("Cc", "Cf", "Cs", "Zl", "Zp")]
    shown = escape_controls("".join(unsafe))
    assert {unicodedata.category(each) for each in set(shown)} <= {"Ll", "Lu", "Nd", "Po", "Sm", "Zs"}
    assert [each for each in unsafe if each not in "\t\n\r" and escape_controls(each) == each] == []


def test_visible_text_is_unchanged() -> None:
    """Letters, numbers, punctuation, symbols and ordinary spaces of every script stay."""
    kept = [each for each in EVERYTHING if unicodedata.category(each) in ("Lu", "Ll", "Nd", "Sc", "Sm", "Po", "Zs")]
    assert escape_controls("".join(f"x{each}" for each in kept)) == "".join(f"x{each}" for each in kept)
    assert escape_controls("Zoë 日本語 😀 naïve €5 ⚠\ufe0f") == "Zoë 日本語 😀 naïve €5 ⚠\ufe0f"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b]0;owned\x07", r"\x1b]0;owned\x07"),
        ("\x9b31m", r"\x9b31m"),
        ("a\u202eb", "a<U+202E>b"),
        ("\u200b\ufeff\U000e0041", "<U+200B><U+FEFF><U+E0041>"),
        ("\ud800", "<U+D800>"),
        ("\u2028\x7f\x00", r"<U+2028>\x7f\x00"),
        ("\u3164\U000e0100", "<U+3164><U+E0100>"),
        ("one\r\n\ttwo   three", "one two three"),
    ],
)
def test_escapes(text: str, shown: str) -> None:
    """An unsafe character becomes a visible escape. White space becomes one space."""
    assert escape_controls(text) == shown


def test_lines_keep_their_newlines_and_tabs() -> None:
    """With `lines`, newlines and tabs stay. A carriage return, which could overwrite a line, is escaped."""
    assert escape_controls("a\r\n\tb\rc\x1b\n", lines=True) == "a\n\tb\\x0dc\\x1b\n"


def test_escaped_json_has_the_same_value() -> None:
    """Any JSON document keeps its value, and contains no unsafe character."""
    value = {"\u202e\x9b": "".join(EVERYTHING[:0xD800] + EVERYTHING[0xE000:])}
    shown = escape_json_controls(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode())
    assert json.loads(shown) == value
    assert {unicodedata.category(each) for each in set(shown) - {"\n"}}.isdisjoint({"Cc", "Cf", "Cs", "Zl", "Zp"})
