"""Redaction: replaces secrets in JSON values by `[REDACTED:kind]`. Pure.

`secret_scan` says what is found: secrets that have a form of their own (keys and tokens of providers), and values
beside what announces one (`password=`, `Authorization:`), also inside JSON text, escaped or not. Not looked for: a
password in prose, a secret that is encrypted or compressed, one in a picture or in encoded bytes, the end of a private
key without its beginning, and what has neither a form nor a name. The same text always becomes the same text, so that a
retry is a retry, and a redacted text stays as it is. Numbers and pictures are left as they are. So are signatures,
unless what they cover was changed, by any function that redacts: then they are removed, see `signatures`. Objects of an
SDK inside a message are redacted as the JSON values that a log has of them.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from itertools import accumulate
from typing import Any, TypeVar

import msgspec
import orjson

from convtree._engine import codec, signatures
from convtree._engine.json_values import jsonable
from convtree._engine.secret_scan import SHORTEST, scan, scan_member
from convtree._engine.secret_spans import Span, is_random, merged
from convtree._model.entries import ENTRY_CLASSES, LABEL_LIMIT, MARK_CLASSES, Header, LabelMark, Record

Redact = Callable[[Any], Any]
R = TypeVar("R", bound=Record | Header)


@cache
def _email() -> re.Pattern[str]:
    return re.compile(
        r"(?:(?<![A-Za-z0-9._%+\\-])|(?<=\\[bfnrtv\\])|(?<=\\)(?![bfnrtu])|(?<=\\u[0-9A-Fa-f]{4})|(?<=[\[0-9][mK]))"
        r"[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,8}"
    )


#: members that hold bytes as text, or a value that only its provider can read
_OPAQUE = frozenset({"data", "file_data"}) | signatures.NAMES
_BASE64 = re.compile(r"[A-Za-z0-9+/_=-]{64,}+")
_DATA_URL = re.compile(r"data:(?!text/)[A-Za-z0-9.+/;=_-]{0,200};base64,[A-Za-z0-9+/_=-]*+")

#: fields that are never redacted: they say where a line is and how it is read
_ENVELOPE = frozenset({"id", "parent_id", "type", "timestamp"})
_FRAME = (
    _ENVELOPE
    | {"target_id", "first_kept_entry_id", "from_id", "replaces", "reply_to", "copied_to"}
    | {"shape", "visible_to", "status", "ext_type", "unknown_type", "line_crc", "dropped_ids"}
    | {"format", "version", "seal", "parent_session", "arrived"}
)
_KNOWN = frozenset({"session"}) | ENTRY_CLASSES.keys() | MARK_CLASSES.keys()
_PLACES = frozenset({"cwd", "git_root", "owner", "key"})  # stores find sessions by these
_TEXTS = (str, dict, list)
_BARE = (int, float, msgspec.UnsetType)

#: how often a text is searched again for what only a mark beside it makes visible
_PASSES = 4
_Path = tuple[Any, Any] | None  # the path of what holds a value, and the value's name or number there


class SecretPlace(msgspec.Struct, frozen=True):
    """Where a secret was, and of which kind; not what it was.

    Attributes:
        kind: the kind of the secret.
        path: the names and numbers of the members that lead to its text, such as `message.content[0].text`.
        start: the number of characters in front of it, in its text without the secrets before it.
    """

    kind: str
    path: str
    start: int


class Redactor:
    """Replaces secrets in JSON values; `counts` has how many of each kind so far.

    `patterns` adds kinds, words in lower case: each match of a pattern is replaced, but for the text up to the end of
    its group `kept`. `email` replaces e-mail addresses, too. With `explain`, `places` says where each secret was.
    """

    def __init__(
        self, *, email: bool = False, patterns: Mapping[str, re.Pattern[str]] | None = None, explain: bool = False
    ) -> None:
        self.counts: Counter[str] = Counter()
        self.places: list[SecretPlace] | None = [] if explain else None
        self._patterns = {**({"email": _email()} if email else {}), **(patterns or {})}

    @property
    def patterns(self) -> Mapping[str, re.Pattern[str]]:
        """The patterns that were added to the built-in ones, by kind."""
        return self._patterns

    def again(self, *, explain: bool = False) -> Redactor:
        """Returns a redactor with the same patterns and no counts."""
        return Redactor(patterns=self._patterns, explain=explain)

    def __call__(self, value: Any) -> Any:
        """Returns a copy of a value without secrets, and without the signatures of what had some."""
        return self.member("", value)

    def member(self, name: str, value: Any) -> Any:
        """Redacts the value of a member. A telling name, such as `password`, makes a secret of more values."""
        earlier = self.counts.total()
        redacted = self._replaced(value, name)
        if self.counts.total() == earlier:
            return redacted
        return signatures.without_broken(signatures.encoded(value), redacted)

    def _replaced(self, value: Any, name: str) -> Any:
        top = [value]
        waiting: list[tuple[Any, Any, str, _Path]] = [(top, 0, name, (None, name) if name else None)]
        while waiting:
            holder, place, name, path = waiting.pop()
            value = holder[place]
            if isinstance(value, str):
                holder[place] = self._text(value, name, path)
            elif isinstance(value, Mapping):
                holder[place] = copied = self._members(value, path)
                named = copied.get("name", copied.get("key"))  # a header or a variable as an object
                names = {"value": named} if isinstance(named, str) else {}
                waiting += [(copied, key, names.get(key) or str(key), (path, key)) for key in reversed(copied)]
            elif isinstance(value, list | tuple):
                holder[place] = listed = self._joined(list(value), path)
                waiting += [(listed, number, name, (path, number)) for number in reversed(range(len(listed)))]
            elif callable(getattr(value, "model_dump", None)) and not isinstance(value, type):  # an SDK's
                holder[place] = jsonable(value)
                waiting.append((holder, place, name, path))
        return top[0]

    def _members(self, value: Mapping[Any, Any], path: _Path) -> dict[Any, Any]:
        """Returns a copy of an object with its keys redacted. Keys that become equal get different numbers."""
        copied: dict[Any, Any] = {}
        numbers: Counter[Any] = Counter()
        for key, item in value.items():
            name = self._text(key, "", path) if isinstance(key, str) and len(key) >= SHORTEST else key
            unique = name
            while unique in copied or (unique != key and unique in value):
                numbers[name] += 1
                unique = f"{name} {numbers[name] + 1}"
            copied[unique] = item
        return copied

    def _text(self, text: str, name: str, path: _Path) -> str:
        if self._is_bytes(text, name):
            return text
        for _ in range(_PASSES):
            found = self._found(text, name)
            if not found:
                break
            text = self._marked(text, found, path)
        return text

    def _found(self, text: str, name: str) -> list[Span]:
        found = scan_member(name, text) if name else scan(text)
        if not self._patterns:
            return found
        found += [
            Span(match.end("kept") if match.groupdict().get("kept") else match.start(), match.end(), kind)
            for kind, pattern in self._patterns.items()
            for match in pattern.finditer(text)
        ]
        return merged([span for span in found if span.start < span.end], text)

    def _marked(self, text: str, found: list[Span], path: _Path) -> str:
        """Returns a text with marks in the places of its secrets, and counts them."""
        pieces, end, length = [], 0, 0
        for span in found:
            mark = f"[REDACTED:{span.kind}]"
            pieces += [text[end : span.start], mark]
            length += span.start - end
            self._count(span.kind, path, length)
            length += len(mark)
            end = span.end
        return "".join([*pieces, text[end:]])

    def _count(self, kind: str, path: _Path, start: int) -> None:
        self.counts[kind] += 1
        if self.places is not None:
            self.places.append(SecretPlace(kind, _shown(path), start))

    def _joined(self, parts: list[Any], path: _Path) -> list[Any]:
        """Returns the parts of a message without the secrets that begin in the text of one and end in another's."""
        numbers = [number for number, part in enumerate(parts) if _text_of(part)]
        if len(numbers) < 2:
            return parts
        texts = [_text_of(parts[number]) for number in numbers]
        begins = list(accumulate(map(len, texts), initial=0))
        for span in reversed(scan("".join(texts))):
            first, last = bisect_right(begins, span.start) - 1, bisect_left(begins, span.end)
            if last - first < 2 or not _goes_on(texts[first : first + 2], span, begins[first]):
                continue
            self._count(span.kind, (path, numbers[first]), span.start - begins[first])
            for each in range(first, last):
                at, text = begins[each], texts[each]
                texts[each] = f"{text[: max(0, span.start - at)]}[REDACTED:{span.kind}]{text[span.end - at :]}"
                parts[numbers[each]] = {**parts[numbers[each]], "text": texts[each]}
        return parts

    def _is_bytes(self, text: str, name: str) -> bool:
        """Returns whether a text is encoded bytes, where a match would be chance. False if all of it is a secret."""
        if name in _OPAQUE and _BASE64.fullmatch(text):
            found = self._found(text, "")
            return not (found and found[0].start == 0 and found[-1].end == len(text))
        return text.startswith("data:") and _DATA_URL.fullmatch(text) is not None


def _text_of(part: Any) -> str:
    """Returns the text of a part of a message; empty if it has none."""
    text = part.get("text") if isinstance(part, Mapping) else None
    return text if isinstance(text, str) else ""


def _goes_on(texts: list[str], span: Span, begin: int) -> bool:
    """Returns whether a secret that begins in the first text goes on in the second, and is not whole before that."""
    left, right = texts
    return is_random(right[: span.end - begin - len(left)], 8) or all(
        begin + known.start != span.start for known in scan(left)
    )


def _shown(path: _Path) -> str:
    """Returns a path as text, without the secrets in its names."""
    names: list[str] = []
    while path is not None:
        path, name = path
        names.append(f"[{name}]" if isinstance(name, int) else f".{Redactor()(str(name))}")
    return "".join(reversed(names)).removeprefix(".")


def redact(value: Any) -> Any:
    """Returns a copy of a JSON value without the secrets that the usual patterns find."""
    return Redactor()(value)


_USUAL = redact


def redact_value(value: Any, redact: Redact) -> Any:
    """Returns what `redact` makes of a value, without the signatures of what it changed.

    `redact` gets a copy, in which objects of an SDK are JSON values. A value that is not JSON is passed as it is.
    """
    before = signatures.encoded(value)
    return signatures.without_broken(before, redact(value if before is None else orjson.loads(before)))


def redact_record(record: R, redact: Redact, *, places: bool = False) -> R:
    """Returns a record or a header with its content redacted, without the signatures of what was changed.

    Ids and types are left as they are. Directories, owner and key in a header or a mark, by which stores find a
    session, are redacted only with `places`.
    """
    kept = _FRAME if places else _FRAME | _PLACES
    fields = {name: getattr(record, name) for name in record.__struct_fields__ if name not in kept}
    said = {name: value for name, value in fields.items() if value is not None and not isinstance(value, _BARE)}
    changed = redact_value(said, lambda said: _redacted(said, redact))
    if isinstance(record, LabelMark) and isinstance(label := changed.get("label"), str):
        changed["label"] = label[:LABEL_LIMIT]  # the replacement may be longer than the secret
    return msgspec.structs.replace(record, **changed)


def redact_payload(payload: bytes, redact: Redact, *, places: bool = False) -> bytes:
    """Returns the payload of a line without secrets, whatever its type; the same bytes if there are none.

    Directories, owner and key of a session are redacted only with `places`.

    Raises:
        msgspec.DecodeError: the payload is not JSON.
    """
    fields: dict[str, Any] = msgspec.json.decode(payload + b"}")  # keeps whole numbers of any size
    kept = _FRAME if fields.get("type") in _KNOWN else _ENVELOPE
    if fields.get("type") in ("session", "session_info") and not places:
        kept |= _PLACES
    said = {name: value for name, value in fields.items() if name not in kept and isinstance(value, _TEXTS)}
    before = msgspec.json.encode(said)
    after = msgspec.json.encode(_redacted(said, redact))
    if before == after:
        return payload
    was, changed = msgspec.json.decode(before), msgspec.json.decode(after)
    if was == changed:
        return payload
    signatures.drop_broken(was, changed)
    return msgspec.json.encode(fields | changed)[:-1]


def redact_lines(lines: Iterable[bytes], redact: Redact) -> Iterator[bytes]:
    """Yields the lines of a whole log without secrets, sealed anew."""
    prev = 0
    for line in lines:
        sealed, prev = codec.seal_line(redact_payload(codec.payload_of(line), redact), prev)
        yield sealed


def _redacted(said: Mapping[str, Any], redact: Redact) -> dict[str, Any]:
    if redact is _USUAL:
        redact = Redactor()
    if isinstance(redact, Redactor):
        return {name: redact.member(name, value) for name, value in said.items() if isinstance(value, _TEXTS)}
    return {name: redact(value) for name, value in said.items() if isinstance(value, _TEXTS)}
