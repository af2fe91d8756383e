"""Foreign text in documents: unchanged, but for controls, and without an effect on the order of other text."""

from __future__ import annotations

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convtree._model.document_text import escape_json, escape_text

LRE, RLE, PDF, LRO, RLO, LRI, RLI, FSI, PDI = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
BIDI = LRE + RLE + PDF + LRO + RLO + LRI + RLI + FSI + PDI
CONTROLS = [chr(point) for point in (*range(0x20), *range(0x7F, 0xA0))]
EVERYTHING = [chr(point) for point in range(0x110000) if not 0xD800 <= point < 0xE000]


def levels(paragraph: str) -> list[tuple[int, bool]]:
    """The level of every character, and whether an override is in effect: rules X1 to X8 of UAX 9, at level 0."""
    stack: list[tuple[int, bool, bool]] = [(0, False, False)]  # level, override, isolate
    found, isolates_over, embeddings_over, valid = [], 0, 0, 0
    for each in paragraph:
        level, override, is_isolate = stack[-1]
        found.append((level, override))
        is_rtl = each in RLE + RLO + RLI  # FSI counts as LRI: the level is that of an isolate in both cases
        new = (level + 1) | 1 if is_rtl else (level + 2) & ~1
        if each in LRI + RLI + FSI:
            if new <= 125 and not isolates_over and not embeddings_over:
                valid += 1
                stack.append((new, False, True))
            else:
                isolates_over += 1
        elif each in LRE + RLE + LRO + RLO:
            if new <= 125 and not isolates_over and not embeddings_over:
                stack.append((new, each in LRO + RLO, False))
            elif not isolates_over:
                embeddings_over += 1
        elif each == PDI:
            if isolates_over:
                isolates_over -= 1
            elif valid:
                embeddings_over = 0
                while not stack[-1][2]:
                    stack.pop()
                stack.pop()
                valid -= 1
                found[-1] = stack[-1][:2]
        elif each == PDF and not isolates_over:
            if embeddings_over:
                embeddings_over -= 1
            elif not is_isolate and len(stack) > 1:
                stack.pop()
    return found


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        (f"a{RLO}b", f"a{FSI}{RLO}b{PDI}"),
        (f"a{RLO}b{PDF}c", f"a{FSI}{RLO}b{PDF}{PDI}c"),
        (f"a{RLE}b{LRE}c{PDF}d{PDF}e", f"a{FSI}{RLE}b{LRE}c{PDF}d{PDF}{PDI}e"),
        (f"a{RLI}b{PDI}c", f"a{RLI}b{PDI}c"),
        (f"a{FSI}b{RLO}c{PDI}d", f"a{FSI}b{RLO}c{PDI}d"),
        (f"a{FSI}b{RLO}c{PDF}{PDI}d", f"a{FSI}b{RLO}c{PDF}{PDI}d"),
        (f"a{RLI}b", f"a{RLI}b{PDI}"),
        (f"{PDI}a{RLO}b{PDI}c", f"{PDI}a{FSI}{RLO}b{PDI}c"),
        (f"{PDF}a{LRI}b{PDF}", f"{PDF}a{LRI}b{PDF}{PDI}"),
        (f"{RLO}a\nb\u2029{LRI}c", f"{FSI}{RLO}a{PDI}\nb\u2029{LRI}c{PDI}"),
    ],
)
def test_bidi_controls_are_isolated(text: str, shown: str) -> None:
    """Each line closes what it opens. Embeddings and overrides are put into isolates, and isolates stay."""
    assert escape_text(text, lines=True) == shown


@given(st.text(alphabet=BIDI + "aא1 \n", max_size=40) | st.text(alphabet=BIDI, min_size=100, max_size=300))
def test_text_around_is_not_reordered(text: str) -> None:
    """In a paragraph that puts the lines together, whatever is between and behind them is at the level of it."""
    shown = escape_text(text, lines=True)
    around = "".join(f"x{line}" for line in shown.split("\n")) + "x"
    assert {level for each, level in zip(around, levels(around), strict=True) if each == "x"} == {(0, False)}
    assert [each for each in shown if each not in BIDI] == [each for each in text if each not in BIDI]


@given(st.text(alphabet=BIDI + "a\n", max_size=40))
def test_isolated_text_is_isolated(text: str) -> None:
    """Doing it again changes nothing."""
    shown = escape_text(text, lines=True)
    assert escape_text(shown, lines=True) == shown


@pytest.mark.no_cover
def test_everything_else_is_unchanged() -> None:
    """Of all code points, only controls, bidi controls and surrogates change."""
    changed = {each for each in EVERYTHING if escape_text(f"x{each}x", lines=True) != f"x{each}x"}
    assert changed == {*CONTROLS, *BIDI} - {"\t", "\n", PDF, PDI}
    assert escape_text("a\x1b\x85\x7f\ud800\r\n\tb\rc", lines=True) == "a\\x1b\\x85\\x7f<U+D800>\n\tb\\x0dc"
    assert escape_text(f"a\r\n\t b{RLO}\nc") == f"a b{FSI}{RLO} c{PDI}"


@pytest.mark.no_cover
def test_escaped_json_has_the_same_value() -> None:
    """Controls and bidi controls are escapes of JSON; all other characters stay."""
    value = {"\u202e": "".join(EVERYTHING)}
    shown = escape_json(json.dumps(value, ensure_ascii=False, indent=2))
    assert json.loads(shown) == value
    assert set(shown) & {*CONTROLS, *BIDI} == {"\n"}
    assert set(EVERYTHING) - set(shown) == {*CONTROLS, *BIDI} - {"\n"}
    assert {unicodedata.category(each) for each in shown} >= {"Cf", "Zl", "Zp"}
