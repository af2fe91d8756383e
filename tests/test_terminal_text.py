"""Escaping of foreign text for a terminal."""

import json
import unicodedata

import orjson
import pytest

from convtree._model.terminal_text import escape_controls, escape_json_controls

EVERYTHING = [chr(point) for point in range(0x110000)]
ESCAPED = [
    *map(chr, (*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029, *range(0x202A, 0x202F), *range(0x2066, 0x206A)))
]
SURROGATES = [chr(point) for point in range(0xD800, 0xE000)]


def test_exactly_these_characters_are_escaped() -> None:
    """Controls, bidi controls, line separators and lone surrogates are escaped. All other characters pass."""
    changed = [each for each in EVERYTHING if escape_controls(f"x{each}x") != f"x{each}x"]
    assert sorted([*changed, " "]) == sorted([*ESCAPED, *SURROGATES, " "])
    kept = [each for each in EVERYTHING if escape_controls(f"x{each}x", lines=True) == f"x{each}x"]
    assert sorted([*changed, *kept]) == sorted([*EVERYTHING, "\t", "\n"])


def test_nothing_harmful_is_left() -> None:
    """What is printed has no control and no separator, and no character that reorders a line."""
    shown = escape_controls("".join(EVERYTHING))
    assert {each for each in shown if unicodedata.category(each) in ("Cc", "Cs", "Zl", "Zp")} == set()
    reordering = ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI", "B")
    assert {each for each in shown if unicodedata.bidirectional(each) in reordering} == set()


@pytest.mark.parametrize(
    "text",
    [
        "می\u200cخواهم",  # noqa: RUF001  # Persian, not Latin
        "क्\u200dष",
        "👨\u200d👩\u200d👧",
        "⚠\ufe0f",
        "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
        "葛\U000e0100",
        "Donau\u00addampf",
        "שלום\u200e!\u200f",
        "\u061cعربي",
        "ภาษา\u200bไทย",
        "\ufeffa\u2060b",
    ],
)
def test_text_of_every_script_is_unchanged(text: str) -> None:
    """Joiners, selectors, tags, soft hyphens, directional marks and zero-width spaces are part of what was said."""
    assert escape_controls(text) == text
    assert escape_json_controls(json.dumps(text, ensure_ascii=False)) == json.dumps(text, ensure_ascii=False)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b]0;owned\x07", r"\x1b]0;owned\x07"),
        ("\x9b31m", r"\x9b31m"),
        ("a\u202eb", "a<U+202E>b"),
        ("\u2066a\u2069", "<U+2066>a<U+2069>"),
        ("\ud800", "<U+D800>"),
        ("\u2028\x7f\x00\u2029\x85", r"<U+2028>\x7f\x00<U+2029>\x85"),
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
    assert set(shown) & set(ESCAPED) == {"\n"}
