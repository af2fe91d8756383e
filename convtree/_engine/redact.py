"""Redaction: replaces secrets in JSON values by `[REDACTED:kind]`. Pure.

Patterns find secrets that have a form of their own (keys and tokens of providers), also inside JSON text, escaped or
not, and behind a colour code or a `%20`. They do not find a password in prose, a secret in another encoding (base64, a
URL that is percent-encoded as a whole), one that continues in another text, or the end of a private key without its
beginning. The same text always becomes the same text, so that a retry is a retry. Keys of objects, numbers and pictures
are left as they are. So are signatures, unless what they cover was changed, by any function that redacts: then they are
removed, see `signatures`. Objects of an SDK inside a message are redacted as the JSON values that a log has of them.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from typing import Any, TypeVar

import msgspec
import orjson

from convtree._engine import codec, signatures
from convtree._engine.json_values import jsonable
from convtree._model.entries import ENTRY_CLASSES, LABEL_LIMIT, MARK_CLASSES, Header, LabelMark, Record

Redact = Callable[[Any], Any]
R = TypeVar("R", bound=Record | Header)

#: a word may begin directly behind these: an escape, `%20`, a colour code; each pattern has one width
_BEHIND = (
    *(r"\\[bfnrtv\\]", r"\\u[0-9A-Fa-f]{4}", r"\\x[0-9A-Fa-f]{2}"),
    *("%[0-9A-Fa-f]{2}", r"[\[0-9][mK]"),
)


def _begin(*words: str) -> str:
    """Returns a pattern of words at positions where a token can begin: not inside another word. Each has one width.

    It looks back once a word is found, because searching a word is much faster. No token begins with the letter of an
    escape: without that letter the text would not be JSON any more.
    """
    each = []
    for word in words:
        behind = [rf"(?<![A-Za-z0-9_\\-]{word})", *(f"(?<={before}{word})" for before in _BEHIND)]
        if word[0] not in "bfnrtu":
            behind.append(rf"(?<=\\{word})")
        each.append(f"{word}(?:{'|'.join(behind)})")
    return f"(?:{'|'.join(each)})"


_END = r"(?![A-Za-z0-9_-])"
_QUOTES = r"(?:[\\\"'\s]|%2[02]|u002[27]){0,6}"
_AWS_NAME, _AWS_SECRET = r"(?:secret_?access_?key|session_?token)", r"(?:[A-Z0-9/+=]|%2[BF]|%3D){40,}"


@cache
def usual_patterns() -> Mapping[str, re.Pattern[str]]:
    """Returns a pattern for each kind of secret. The text of its group `kept`, before the secret, is not replaced.

    No pattern looks far ahead or back, so a text is read once. Compiled by the first redaction.
    """
    return {
        "private_key": re.compile(
            r"-----BEGIN [A-Z0-9 ]{0,30}PRIVATE KEY(?: BLOCK)?-----"
            r"(?:(?:[^-]|-(?!----))*+-----END [A-Z0-9 ]{0,30}PRIVATE KEY(?: BLOCK)?-----"
            # cut off: to the end of its lines, in front of which a tool may have put numbers or quotation signs
            r"|(?:\s|\\++(?:[nrt]|u2192)|[A-Za-z0-9+/=]{16,}+|[0-9]{1,6}(?=[\t:|→\\])|[:|→>])*+)"
        ),
        "anthropic_key": re.compile(rf"{_begin('sk-ant-')}[A-Za-z0-9_-]{{16,}}"),
        "openai_key": re.compile(rf"{_begin('sk-')}(?!ant-)(?=[a-z_-]*+[A-Z0-9])[A-Za-z0-9_-]{{20,}}"),
        "google_key": re.compile(rf"{_begin('AIza')}[A-Za-z0-9_-]{{35}}{_END}"),
        "provider_key": re.compile(
            rf"{_begin('gsk_', 'xai-', 'hf_', 'r8_', 'pplx-')}[A-Za-z0-9]{{20,}}"
            rf"|{_begin('nvapi-', 'tgp_v1_')}[A-Za-z0-9_-]{{20,}}"
        ),
        "stripe_key": re.compile(rf"{_begin('sk_(?:live|test)_', 'rk_(?:live|test)_')}[A-Za-z0-9]{{16,}}"),
        "aws_key_id": re.compile(rf"{_begin('A[KS]IA')}[A-Z0-9]{{16}}{_END}"),
        "aws_secret": re.compile(
            rf"(?P<kept>{_AWS_NAME}{_QUOTES}(?:[:=>]|%3[AD]|u003[DE]){_QUOTES}){_AWS_SECRET}", re.IGNORECASE
        ),
        "github_token": re.compile(
            rf"{_begin('gh[pousr]_')}[A-Za-z0-9]{{36,}}|{_begin('github_pat_')}[A-Za-z0-9_]{{22,}}"
        ),
        "gitlab_token": re.compile(rf"{_begin('glpat-')}[A-Za-z0-9_-]{{20,}}"),
        "slack_token": re.compile(rf"{_begin('xox[abeoprs]-', 'xapp-')}[A-Za-z0-9-]{{10,}}"),
        "npm_token": re.compile(rf"{_begin('npm_')}[A-Za-z0-9]{{36}}{_END}"),
        "jwt": re.compile(rf"{_begin('eyJ')}[A-Za-z0-9_-]{{8,}}\.eyJ[A-Za-z0-9_-]{{8,}}\.[A-Za-z0-9_-]{{8,}}"),
        "bearer_token": re.compile(
            rf"(?P<kept>{_begin('bearer')}(?:\s|%20|\+){{1,4}})"
            r"(?:(?=[a-z._~+/=-]*+[0-9])[a-z0-9._~+/=-]{16,}|[a-z._~+/=-]{32,})",
            re.IGNORECASE,
        ),
        "url_password": re.compile(
            r"(?P<kept>[a-z0-9]:(?:\\{0,4}/){1,2}[^\s/:@\"']{0,128}:)"
            r"(?!\[REDACTED|[0-9]{1,5}[?#])[^\s/@\"']{1,256}(?=@)",
            re.IGNORECASE,
        ),
    }


@cache
def _email() -> re.Pattern[str]:
    return re.compile(
        r"(?:(?<![A-Za-z0-9._%+\\-])|(?<=\\[bfnrtv\\])|(?<=\\)(?![bfnrtu])|(?<=\\u[0-9A-Fa-f]{4})|(?<=[\[0-9][mK]))"
        r"[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,8}"
    )


#: kind -> patterns of the members' names that hold such a secret, and of the secret there
NAMED: dict[str, tuple[re.Pattern[str], re.Pattern[str]]] = {
    "aws_secret": (re.compile(_AWS_NAME, re.IGNORECASE), re.compile(_AWS_SECRET, re.IGNORECASE))
}

#: members that hold bytes as text, or a value that only its provider can read
_OPAQUE = frozenset({"data", "file_data"}) | signatures.NAMES
_BASE64 = re.compile(r"[A-Za-z0-9+/_=-]{64,}+")
_DATA_URL = re.compile(r"data:[A-Za-z0-9.+/;=_-]{0,200};base64,[A-Za-z0-9+/_=-]*+")

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


class Redactor:
    """Replaces secrets in JSON values; `counts` has how many of each kind so far.

    `patterns` adds kinds; the text of a pattern's group `kept` is not replaced. `email` replaces e-mail addresses, too.
    """

    def __init__(self, *, email: bool = False, patterns: Mapping[str, re.Pattern[str]] | None = None) -> None:
        self.counts: Counter[str] = Counter()
        self._patterns = {**usual_patterns(), **({"email": _email()} if email else {}), **(patterns or {})}

    def again(self) -> Redactor:
        """Returns a redactor with the same patterns and no counts."""
        return Redactor(patterns=self._patterns)

    def __call__(self, value: Any) -> Any:
        """Returns a copy of a value without secrets, and without the signatures of what had some."""
        earlier = self.counts.total()
        redacted = self._replaced(value)
        if self.counts.total() == earlier:
            return redacted
        return signatures.without_broken(signatures.encoded(value), redacted)

    def _replaced(self, value: Any) -> Any:
        top = [value]
        waiting: list[tuple[Any, Any, str]] = [(top, 0, "")]
        while waiting:
            holder, place, name = waiting.pop()
            value = holder[place]
            if isinstance(value, str):
                holder[place] = self._text(value, name)
            elif isinstance(value, Mapping):
                holder[place] = copied = dict(value)
                waiting += [(copied, key, str(key)) for key in copied]
            elif isinstance(value, list | tuple):
                holder[place] = listed = list(value)
                waiting += [(listed, number, name) for number in range(len(listed))]
            elif callable(getattr(value, "model_dump", None)) and not isinstance(value, type):  # an SDK's
                holder[place] = jsonable(value)
                waiting.append((holder, place, name))
        return top[0]

    def _text(self, text: str, name: str) -> str:
        if self._is_bytes(text, name):
            return text
        for kind, (named, secret) in NAMED.items():
            if named.search(name) and secret.fullmatch(text):
                self.counts[kind] += 1
                return f"[REDACTED:{kind}]"
        for kind, pattern in self._patterns.items():
            text, found = pattern.subn(lambda match, kind=kind: _mark(match, kind), text)  # type: ignore[misc]
            if found:
                self.counts[kind] += found
        return text

    def _is_bytes(self, text: str, name: str) -> bool:
        """Returns whether a text is encoded bytes, where a match would be chance. False if all of it is a secret."""
        if name in _OPAQUE and _BASE64.fullmatch(text):
            return not any(pattern.fullmatch(text) for pattern in self._patterns.values())
        return text.startswith("data:") and _DATA_URL.fullmatch(text) is not None


def redact(value: Any) -> Any:
    """Returns a copy of a JSON value without the secrets that the usual patterns find."""
    return Redactor()(value)


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
    return {name: redact(value) for name, value in said.items() if isinstance(value, _TEXTS)}


def _mark(match: re.Match[str], kind: str) -> str:
    return f"{match.groupdict().get('kept') or ''}[REDACTED:{kind}]"
