"""Escaping of foreign text for a terminal."""

import json
import unicodedata
from itertools import chain

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from convtree._model.terminal_text import escape_controls, escape_json_controls

EVERYTHING = [chr(point) for point in range(0x110000)]
CONTROLS = [*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029, *range(0xD800, 0xE000)]
BIDI = [0x61C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)]
FILLERS = [0x34F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x3164, 0xFFA0]
INVISIBLE = [0xAD, 0x180E, 0x200B, *range(0x2060, 0x2066), *range(0x206A, 0x2070), 0xFEFF, *range(0xFFF0, 0xFFFC)]
NOTATION = [*range(0x13430, 0x13440), *range(0x1BCA0, 0x1BCA4), *range(0x1D173, 0x1D17B)]
TAGS = range(0xE0000, 0xE1000)  # with the selectors of ideographs
MODIFIERS = [*range(0x180B, 0x180E), 0x180F, 0x200C, 0x200D, *range(0xFE00, 0xFE10)]
ESCAPED = {*map(chr, chain(CONTROLS, BIDI, FILLERS, INVISIBLE, NOTATION, TAGS, MODIFIERS))}
DRAWN = {*map(chr, (*range(0x600, 0x606), 0x6DD, 0x70F, 0x890, 0x891, 0x8E2, 0x110BD, 0x110CD))}


def test_exactly_these_characters_are_escaped() -> None:
    """Between letters that need none of them, exactly the listed characters are escaped."""
    changed = {each for each in EVERYTHING if escape_controls(f"x{each}x") != f"x{each}x"}
    assert sorted(changed | {" "}) == sorted(ESCAPED | {" "})
    kept = {each for each in EVERYTHING if escape_controls(f"x{each}x", lines=True) == f"x{each}x"}
    assert sorted(kept & changed) == ["\t", "\n"]
    assert kept | changed == {*EVERYTHING}


def test_nothing_harmful_is_left() -> None:
    """What is printed has no control, no separator and no bidi control, and of the format characters the drawn ones."""
    shown = {*escape_controls("x".join(EVERYTHING))}
    assert {each for each in shown if unicodedata.category(each) in ("Cc", "Cs", "Zl", "Zp")} == set()
    assert {each for each in shown if unicodedata.category(each) == "Cf"} == DRAWN
    reordering = ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI", "B")
    assert {each for each in shown if unicodedata.bidirectional(each) in reordering} == set()


@pytest.mark.parametrize(
    "text",
    [
        "می\u200cخواهم",  # noqa: RUF001  # Persian, not Latin
        "क्\u200dष",
        "র\u200d্যাব এবং উৎ\u200dসব",
        "க்\u200cஷ",
        "ᠠ\u180bᠨ",
        "👨\u200d👩\u200d👧",
        "👩🏽\u200d💻",
        "🏳\ufe0f\u200d🌈",
        "⚠\ufe0f ❤\ufe0e",
        "1\ufe0f\u20e3 ‼\ufe0f",
        "שלום! عربي ภาษาไทย Ünï 東京",
        "\u0600ب",
    ],
)
def test_text_of_every_script_is_unchanged(text: str) -> None:
    """Joiners and selectors stay where a script or an emoji needs them."""
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
        ("pay\u200bpal \u200e\ufeff", "pay<U+200B>pal <U+200E><U+FEFF>"),
        ("co\u00adop", r"co\xadop"),
        ("🏴\U000e0067\U000e007f", "🏴<U+E0067><U+E007F>"),
        ("葛\U000e0100", "葛<U+E0100>"),
        ("a\u200db б\u200cв é\ufe0f", "a<U+200D>b б<U+200C>в é<U+FE0F>"),  # noqa: RUF001  # Cyrillic is meant
        ("\u200d", "<U+200D>"),
        ("\ufe0f\u200d", "<U+FE0F><U+200D>"),
        ("م\u200c\u200c", "م\u200c<U+200C>"),
        ("👨\u200d\u200d👩", "👨\u200d<U+200D>👩"),
        ("❤\ufe0f\ufe0f", "❤\ufe0f<U+FE0F>"),
        ("1\u200d2\ufe0e", "1<U+200D>2<U+FE0E>"),
        ("ᄀ\u1160\u115f\u200d", "ᄀ<U+1160><U+115F><U+200D>"),
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
    value = {"\u202e\x9b\U000e0041": "x".join(EVERYTHING[:0xD800] + EVERYTHING[0xE000:])}
    shown = escape_json_controls(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode())
    assert json.loads(shown) == value
    assert {*shown} & ESCAPED == {"\n"}


@given(st.text(st.sampled_from([*ESCAPED, "\n", "a", "م", "👩", "1", "葛"])))
def test_escaped_text_is_escaped_once(text: str) -> None:
    """What was escaped passes unchanged, so that escaping a line again, at its output, does no harm."""
    once = escape_controls(text, lines=True)
    assert escape_controls(once, lines=True) == once
