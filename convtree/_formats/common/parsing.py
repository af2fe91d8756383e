"""Tolerant JSON parser: complete objects are returned, everything else is reported. Pure.

Valid text takes one pass of a fast parser. Text that it refuses is parsed again by a slow one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from itertools import zip_longest
from math import isinf
from typing import Any, NamedTuple

import orjson

from convtree._engine import json_values
from convtree._engine.signatures import drop_broken
from convtree._formats.common.base import Findings, SourceSpan
from convtree._formats.common.comments import without_extras

DEPTH_LIMIT = json_values.DEPTH_LIMIT - 8  # levels of a foreign object; its place in a record takes a few more

_ZEROS = bytes.maketrans(b"123456789", b"000000000")
_LONG_NUMBER = b"0" * 19  # with every digit a zero; may be outside of what the fast parser keeps exact
_START = re.compile(r'\{\s*"')
_SURROGATE = re.compile("[\ud800-\udfff]")
_SPACE = " \t\r\n"


class Object(NamedTuple):
    """A JSON object of the source, and its position."""

    fields: dict[str, Any]
    span: SourceSpan


def _is_nothing(_: dict[str, Any]) -> bool:
    return False


def parse(
    text: bytes,
    span: SourceSpan,
    findings: Findings,
    is_record: Callable[[dict[str, Any]], bool] = _is_nothing,
    *,
    several: bool = False,
    list_key: str | None = None,
) -> list[dict[str, Any]]:
    """Returns the objects of a text. Values that a log cannot hold are replaced, zero bytes removed, both reported.

    Args:
        text: the text, of any number of lines.
        span: its position in the source.
        findings: takes what is wrong with it.
        is_record: tells a complete record from a fragment. Behind damage, one that runs to the end is searched for.
        several: searches for all records behind damage.
        list_key: makes a list an object with the list under this key; None reports it as no object.
    """
    if b"\0" in text:
        findings.add("source_nul_bytes", span)
        text = text.replace(b"\0", b"")
    if not text.strip():
        return []
    if _LONG_NUMBER not in text.translate(_ZEROS):  # ten times as fast as a pattern
        try:
            value = orjson.loads(text)
        except orjson.JSONDecodeError:
            pass
        else:
            values = _keyed([value], list_key)
            return _objects(values, text, False, span, findings, lambda: _keyed([orjson.loads(text)], list_key))
    if (plain := without_extras(text)) is not None and is_json(plain):
        return parse(plain, span, findings, is_record, several=several, list_key=list_key)
    slow = _Slow(text)
    values = _keyed(slow.read(is_record, several), list_key)
    if len(values) > 1 and not several:
        findings.add("source_glued", span)
    if slow.is_damaged:
        findings.add("source_bad_line" if text.endswith(b"\n") else "source_torn_tail", span)

    def read_again() -> list[Any]:
        return _keyed(_Slow(text, exact=True).read(is_record, several), list_key)

    return _objects(values, text, slow.has_replaced, span, findings, read_again)


def is_json(text: bytes) -> bool:
    """Returns whether a text is JSON."""
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return True


def _keyed(values: list[Any], list_key: str | None) -> list[Any]:
    """Returns values with each list as an object that has it under a key."""
    return [{list_key: value} if list_key is not None and isinstance(value, list) else value for value in values]


def decode_replacing(data: bytes) -> str:
    """Decodes a text with invalid UTF-8. If it is JSON, the signatures of what was replaced are removed from it."""
    text = data.decode(errors="replace")
    try:
        value = json.loads(text, strict=False)
        original = json.loads(data.decode(errors="surrogateescape"), strict=False)
        return json.dumps(value) if drop_broken(original, value) else text
    except (ValueError, RecursionError):
        return text


def _objects(
    values: list[Any],
    text: bytes,
    replaced: bool,
    span: SourceSpan,
    findings: Findings,
    read_again: Callable[[], list[Any]],
) -> list[dict[str, Any]]:
    """Returns the objects of values. `read_again` returns the values with nothing replaced, for comparison."""
    objects = []
    may_be_deep = text.count(b"{") + text.count(b"[") > DEPTH_LIMIT
    for value in values:
        if not isinstance(value, dict):
            findings.add("source_bad_line", span)
            continue
        if may_be_deep:
            replaced = _flatten(value) or replaced
        objects.append(value)
    if replaced:
        findings.add("value_replaced", span)
        originals = [value for value in read_again() if isinstance(value, dict)]
        for value, original in zip_longest(objects, originals[: len(objects)]):
            drop_broken(original, value)
    return objects


class _Slow:
    """Parses what the fast parser refuses: several values, incomplete ones, unusual numbers, invalid Unicode.

    `exact` replaces nothing, so that the values can be compared with those that a log can hold.
    """

    def __init__(self, data: bytes, *, exact: bool = False) -> None:
        self.has_replaced = False
        self.is_damaged = False
        if exact:
            self._text = data.decode(errors="surrogateescape")
            self._decoder = json.JSONDecoder(strict=False, parse_int=_exact_int)
            return
        try:
            self._text = data.decode()
        except UnicodeDecodeError:
            self.has_replaced = True
            self._text = data.decode(errors="replace")
        if "\\u" in self._text:
            self._decoder = self._make_decoder(object_pairs_hook=self._clean)
        else:
            self._decoder = self._make_decoder()

    def _make_decoder(self, **more: Any) -> json.JSONDecoder:
        return json.JSONDecoder(
            strict=False, parse_int=self._int, parse_float=self._float, parse_constant=self._constant, **more
        )

    def read(self, is_record: Callable[[dict[str, Any]], bool], several: bool) -> list[Any]:
        """Returns the values of the text. Behind damage only records count; a single one must run to the end."""
        values: list[Any] = []
        at = self._skip_space(0)
        while at < len(self._text):
            try:
                value, at = self._decoder.raw_decode(self._text, at)
            except (json.JSONDecodeError, RecursionError):
                self.is_damaged = True
                values.extend(self._behind_stub(at, is_record, several))
                break
            values.append(value)
            at = self._skip_space(at)
        return values

    def _behind_stub(self, start: int, is_record: Callable[[dict[str, Any]], bool], several: bool) -> list[Any]:
        found: list[Any] = []
        effort = (16 if several else 4) * len(
            self._text
        )  # characters to look at: a hostile line must not cost its square
        for match in _START.finditer(self._text, start + 1):
            if match.start() < start:  # inside of what was found
                continue
            try:
                value, end = self._decoder.raw_decode(self._text, match.start())
            except json.JSONDecodeError as error:
                end = error.pos
            except RecursionError:
                break
            else:
                if (several or self._skip_space(end) == len(self._text)) and is_record(value):
                    found.append(value)
                    start = end
            effort -= end - match.start() + end // 32  # the decoder counts lines up to the place of an error
            if effort < 0:
                break
        return found

    def _skip_space(self, at: int) -> int:
        while at < len(self._text) and self._text[at] in _SPACE:
            at += 1
        return at

    def _int(self, digits: str) -> int | float | str:
        if len(digits) <= 20 and json_values.INT_MIN <= (value := int(digits)) <= json_values.INT_MAX:
            return value
        self.has_replaced = True
        return self._float(digits)

    def _float(self, digits: str) -> float | str:
        value = float(digits)
        return self._constant(digits) if isinf(value) else value

    def _constant(self, name: str) -> str:
        self.has_replaced = True
        return name

    def _clean(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        """Makes an object of pairs; replaces lone surrogates in keys, texts and lists."""
        fields = {self._unicode(key): self._unicode(value) for key, value in pairs}
        lists = [value for value in fields.values() if isinstance(value, list)]
        while lists:
            inside = lists.pop()
            for at, value in enumerate(inside):
                inside[at] = self._unicode(value)
                if isinstance(value, list):
                    lists.append(value)
        return fields

    def _unicode(self, value: Any) -> Any:
        if isinstance(value, str) and _SURROGATE.search(value):
            self.has_replaced = True
            return _SURROGATE.sub("\ufffd", value)
        return value


def _exact_int(digits: str) -> int | tuple[str]:
    """Returns a whole number; one too long for the slow parser as a value that equals nothing it returns."""
    return int(digits) if len(digits) <= 20 else (digits,)


def _flatten(value: dict[str, Any]) -> bool:
    """Replaces values nested too deeply for a log by their JSON text, in place; returns whether there were any."""
    found = False
    stack: list[tuple[Any, int]] = [(value, 1)]
    while stack:
        inside, depth = stack.pop()
        for key, item in inside.items() if isinstance(inside, dict) else enumerate(inside):
            if not isinstance(item, dict | list):
                continue
            if depth < DEPTH_LIMIT:
                stack.append((item, depth + 1))
            else:
                inside[key], found = _as_text(item), True
    return found


def _as_text(value: Any) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    except RecursionError:
        return "… [nested too deeply]"
