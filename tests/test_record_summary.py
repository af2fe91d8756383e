"""Summaries of records for the catalogue, and usage arithmetic."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from helpers import assistant, user
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from convtree import (
    CompactionEntry,
    Entry,
    LabelMark,
    LeafMark,
    LostEntry,
    Mark,
    MessageEntry,
    ModelChangeEntry,
    OpaqueEntry,
    OpaqueMark,
    SessionInfoMark,
    VacuumEntry,
    Visibility,
    VisibilityMark,
)
from convtree._catalogue.record_summary import (
    EXCERPT,
    Spent,
    ms_of,
    ms_of_datetime,
    sanitise_text,
    snippet_of,
    summarise_record,
    timestamp_of,
    words_of,
)
from convtree._model.usage import Usage, usage_of
from convtree.testing import PROVIDERS

NUMBERS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3)
NAMES = st.sampled_from(
    [
        *("input", "output", "cacheRead", "cacheWrite", "cost", "total_cost", "input_tokens", "output_tokens"),
        *("prompt_tokens", "completion_tokens", "prompt_tokens_details", "input_tokens_details", "cached_tokens"),
        *("prompt_token_count", "promptTokenCount", "candidates_token_count", "thoughtsTokenCount", "total"),
        *("cache_read_input_tokens", "cache_creation_input_tokens", "cachedContentTokenCount"),
    ]
)
USAGES = st.dictionaries(NAMES, st.recursive(NUMBERS, lambda inner: st.dictionaries(NAMES, inner, max_size=3)))


def message(text: str = "hello", **fields: Any) -> MessageEntry:
    return MessageEntry(**{"id": "a", "parent_id": "p", "message": user(text)} | fields)


# --- records ------------------------------------------------------------------------------------------------------


def test_the_summary_of_a_message() -> None:
    """All fields."""
    entry = message(
        "Hello,\n there",
        timestamp="1970-01-01T00:00:01.5Z",
        provider="p\0",
        model="m",
        usage={"input_tokens": 3},
    )
    assert summarise_record(entry)._asdict() == {
        "id": "a",
        "parent_id": "p",
        "type": "message",
        "role": "user",
        "ms": 1500,
        "excerpt": "Hello, there",
        "words": "hello there",
        "provider": "p\0",
        "model": "m",
        "usage": Usage(input_tokens=3),
        "leaf": "a",
        "name": UNSET,
        "archived": UNSET,
        "cwd": UNSET,
        "git_root": UNSET,
        "held": UNSET,
        "visible_to": "all",
        "target": None,
        "spent": (),
        "keeps_id": True,
        "said": True,
        "metadata": None,
    }


def test_an_excerpt_is_short_and_words_are_many() -> None:
    """Up to the limit of a search."""
    kept = summarise_record(message("\n\0 word " * 5000))
    assert kept.excerpt == ("word " * EXCERPT)[:EXCERPT]
    assert kept.words == " ".join(["word"] * 5000)
    assert len(summarise_record(message("x " * 2**20)).words) <= 2**16


@pytest.mark.parametrize("seen", ["all", "model", "user", "nobody"])
def test_a_message_keeps_its_text_whoever_sees_it(seen: Visibility) -> None:
    """A later mark may show it. Lists and searches judge by `visible_to`."""
    kept = summarise_record(message(visible_to=seen))
    assert (kept.excerpt, kept.words, kept.visible_to) == ("hello", "hello", seen)


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (ModelChangeEntry(id="a", provider=None, model="m"), {"model": "m", "leaf": "a"}),
        (ModelChangeEntry(id="a", provider="p", model="m"), {"provider": "p", "model": "m", "leaf": "a"}),
        (CompactionEntry(id="a", summary="secret", first_kept_entry_id=None), {"leaf": "a"}),
        (OpaqueEntry(id="a", unknown_type="new", fields={"model": "m"}), {"leaf": "a"}),
        (LeafMark(id="a", target_id="b"), {"leaf": "b"}),
        (LeafMark(id="a", target_id=None), {"leaf": None}),
        (LabelMark(id="a", target_id="b", label="x"), {"leaf": UNSET}),
        (OpaqueMark(id="a", unknown_type="new", fields={}), {"leaf": UNSET}),
        (SessionInfoMark(id="a"), {"leaf": UNSET}),
        (SessionInfoMark(id="a", name="n\0"), {"leaf": UNSET, "name": "n\0"}),
        (SessionInfoMark(id="a", name=None, archived=None), {"leaf": UNSET, "name": None, "archived": None}),
        (SessionInfoMark(id="a", archived=True), {"leaf": UNSET, "archived": True}),
        (SessionInfoMark(id="a", hold=True, cwd="/c\0"), {"leaf": UNSET, "held": True, "cwd": "/c\0"}),
        (SessionInfoMark(id="a", hold=None, git_root=None), {"leaf": UNSET, "held": False, "git_root": None}),
        (
            VisibilityMark(id="a", target_id="b", visible_to="user"),
            {"leaf": UNSET, "target": "b", "visible_to": "user"},
        ),
        (VisibilityMark(id="a", target_id="b", pinned=True), {"leaf": UNSET, "target": "b"}),
        (LostEntry(id="a", line_crc="0" * 8), {"leaf": "a"}),
        (VacuumEntry(id="a", provider="p", model="m"), {"provider": "p", "model": "m", "leaf": "a"}),
    ],
)
def test_the_summary_of_other_records(record: Entry | Mark, expected: dict[str, Any]) -> None:
    """No words, and what they change in the session."""
    empty = {"parent_id": None, "role": None, "ms": None, "excerpt": "", "words": "", "usage": None}
    rest = {"id": "a", "type": record.type, "provider": None, "model": None, "name": UNSET, "archived": UNSET}
    more = {"cwd": UNSET, "git_root": UNSET, "held": UNSET, "visible_to": None, "target": None, "spent": ()}
    rare = {"keeps_id": True, "said": False, "metadata": None}
    assert summarise_record(record)._asdict() == empty | rest | more | rare | expected


def test_what_a_vacuum_says_was_spent() -> None:
    """One total for each provider and model, answers included. Absurd numbers and names count as none."""
    totals: list[dict[str, Any]] = [
        {"provider": "p", "model": "m\0", "answers": 3, "input_tokens": 5, "cache_read_tokens": 2**52, "cost": 0.5},
        {"provider": 7, "answers": True, "output_tokens": -1, "cache_write_tokens": 2**53, "cost": "much"},
    ]
    assert summarise_record(VacuumEntry(id="a", usage=totals)).spent == (
        Spent("p", "m\0", 3, Usage(input_tokens=5, cache_read_tokens=2**52, cost=0.5)),
        Spent(None, None, 0, Usage()),
    )


# --- times --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01T00:00:00.000999Z", 0),
        ("1969-12-31T23:59:59.999999Z", -1),
        ("2026-11-21T09:20:54.123456Z", 1795252854123),
        ("2026-11-21T10:20:54.123+01:00", 1795252854123),
        ("2026-11-21T09:20:54.123", 1795252854123),
        ("9999-12-31T23:59:59.999999Z", 253402300799999),
        ("9999-12-31T23:59:59-12:00", None),
        ("0001-01-01T00:00:00+14:00", None),
        ("10000-01-01T00:00:00Z", None),
        ("yesterday", None),
        ("", None),
        (None, None),
    ],
)
def test_times_are_read(text: str | None, expected: int | None) -> None:
    """Anything else is None."""
    assert ms_of(text) == expected


@given(st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=14)), timezone(timedelta(hours=-12))])))
def test_times_come_back_to_the_millisecond(when: datetime) -> None:
    """All times that UTC can express."""
    try:
        ms = ms_of_datetime(when)
    except OverflowError:
        assert ms_of(when.isoformat()) is None
        return
    text = timestamp_of(ms)
    assert text is not None
    assert ms_of(text) == ms_of(when.isoformat()) == ms
    assert timedelta(0) <= when - datetime.fromisoformat(text) < timedelta(milliseconds=1)


def test_times_that_cannot_be_written() -> None:
    """None, and years of more than four digits."""
    assert (timestamp_of(None), timestamp_of(2**62), timestamp_of(-(2**62))) == (None, None, None)
    assert timestamp_of(0) == "1970-01-01T00:00:00.000Z"
    assert timestamp_of(-1) == "1969-12-31T23:59:59.999Z"


# --- words --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        (" \n\0'\"*%_-", []),
        ("Hello, WORLD! hello", ["hello", "world", "hello"]),
        ("snake_case-and/path.py", ["snake", "case", "and", "path", "py"]),
        ("don't 3.14 1e5 x²", ["don", "t", "3", "14", "1e5", "x2"]),
        ("Straße É e\u0301 ﬁn Ёлка", ["strasse", "e", "e", "fin", "елка"]),
        ("東京tower 100円", ["東", "京", "tower", "100", "円"]),
        ("ガ カ\u3099 ｶﾞ", ["ガ", "ガ", "ガ"]),
        ("한국어 \u1112\u1161\u11ab", ["한국어", "한"]),
        ("🦊fox\u200bden", ["fox", "den"]),
        ("x" * 64 + " " + "y" * 65, ["x" * 64]),
        ("a\udc80b", ["a", "b"]),
    ],
)
def test_text_is_split_into_words(text: str, expected: list[str]) -> None:
    """In lower case and without accents. Scripts without spaces are split by character."""
    assert words_of(text) == expected


@given(st.text())
def test_words_are_plain_and_normalised(text: str) -> None:
    """Words contain no operators, and splitting them again changes nothing."""
    words = words_of(text)
    assert all(word == sanitise_text(word) and len(word) <= 64 for word in words)
    assert set("".join(words)).isdisjoint(" \t\n\"'%_*:^()[]{}+-&|!<>\\")
    assert words_of(" ".join(words)) == words


@given(st.lists(st.tuples(st.sampled_from([1, 2, 30, 62, 63, 64, 65, 66, 130]), st.sampled_from([" ", "  ", "-\n"]))))
def test_only_words_of_at_most_64_characters_are_searched(parts: list[tuple[int, str]]) -> None:
    """Wherever a longer one stands."""
    text = "".join("x" * length + separator for length, separator in parts)
    assert words_of(text) == ["x" * length for length, _ in parts if length <= 64]


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_sanitised_text(text: str) -> None:
    """Only NUL is replaced in valid text."""
    assert sanitise_text(text) == text.replace("\0", " ")


def test_sanitised_surrogates() -> None:
    """A lone surrogate becomes a question mark."""
    assert sanitise_text("a\ud800\0") == "a? "


# --- snippets -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words", "expected"),
    [
        ("", ["a"], ""),
        ("a b", ["nothing"], "a b"),
        ("a\n\n b", ["b"], "a b"),
        ("x" * 200, ["y"], "x" * 160 + "…"),
        ("banana " * 100 + "na end", ["na"], "…ana " + "banana " * 7 + "na end"),
        ("ß" * 3 + " " + "İ" * 90 + " Café crème", ["cafe"], "…" + "İ" * 52 + " Café crème"),
    ],
)
def test_a_snippet_is_cut_around_the_first_word(text: str, words: list[str], expected: str) -> None:
    """Whole words only; lengths may change in lower case."""
    assert snippet_of(text, words) == expected


@given(st.text(max_size=400), st.lists(st.text(max_size=5)))
def test_a_snippet_is_a_part_of_the_text(text: str, words: list[str]) -> None:
    """On one line, about as long as asked."""
    snippet = snippet_of(text, words, 50)
    assert len(snippet) <= 52
    assert snippet.strip("…") in " ".join(text.split()) or "…" in text
    assert "\n" not in snippet


# --- usage --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("provider", PROVIDERS)
def test_usage_of_every_provider(provider: str) -> None:
    """The same cases as in the conformance suite."""
    usage, expected = PROVIDERS[provider]
    assert usage_of(usage) == expected


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({}, Usage()),
        ({"cost": 0.5}, Usage(cost=0.5)),
        ({"total_cost": 0.5}, Usage(cost=0.5)),
        ({"cost": {"total": 1}}, Usage(cost=1.0)),
        ({"cost": True, "input": True}, Usage()),
        ({"input_tokens": 3.7, "cost": float("nan")}, Usage(input_tokens=3)),
        ({"prompt_tokens": 5, "prompt_tokens_details": None}, Usage(input_tokens=5)),
        ({"prompt_tokens": 5, "prompt_tokens_details": {"cached_tokens": 9}}, Usage(cache_read_tokens=9)),
    ],
)
def test_usage_of_odd_shapes(usage: dict[str, Any], expected: Usage) -> None:
    """Invalid values count as 0."""
    assert usage_of(usage) == expected


@given(USAGES)
def test_any_usage_can_be_summed(usage: dict[str, Any]) -> None:
    """No number is negative, infinite, or too large for a sum of millions."""
    found = usage_of(usage)
    for name in found.__struct_fields__:
        value = getattr(found, name)
        assert type(value) is (float if name == "cost" else int)
        assert 0 <= value < 2**42
    assert found + Usage() == Usage() + found == found
    assert (found + found).total_tokens == 2 * found.total_tokens


def test_usage_is_added_field_by_field() -> None:
    """The total is the sum of the four kinds of tokens."""
    one = Usage(input_tokens=1, output_tokens=2, cache_read_tokens=3, cache_write_tokens=4, cost=0.5)
    two = Usage(input_tokens=10, output_tokens=20, cache_read_tokens=30, cache_write_tokens=40, cost=0.25)
    assert one + two == Usage(input_tokens=11, output_tokens=22, cache_read_tokens=33, cache_write_tokens=44, cost=0.75)
    assert two.total_tokens == 100
    assert summarise_record(MessageEntry(id="a", message=assistant("x"), usage={})).usage is None
