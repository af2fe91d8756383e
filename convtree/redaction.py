"""Secrets taken out of what is said: `[REDACTED:kind]` in the place of each. Pure.

Patterns find what providers give out in a form of its own; a password in prose nobody can know. The same text always
becomes the same text, so that a retry is a retry. Keys, numbers, pictures and signatures stay as they are: a signature
that was changed is worth nothing.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import msgspec

from convtree.entries import Header, Record

Redact = Callable[[Any], Any]
R = TypeVar("R", bound=Record | Header)

_END = r"(?![A-Za-z0-9_-])"
_START = r"(?<![A-Za-z0-9_-])"

#: kind -> pattern; a group `kept` before the secret stays. Each reads on from where it stands, so a text is read once.
PATTERNS: dict[str, re.Pattern[str]] = {
    "private_key": re.compile(
        r"-----BEGIN [A-Z0-9 ]{0,30}PRIVATE KEY(?: BLOCK)?-----"
        r"(?:(?:[^-]|-(?!----))*+-----END [A-Z0-9 ]{0,30}PRIVATE KEY(?: BLOCK)?-----"
        r"|(?:\s|\\[nr]|[A-Za-z0-9+/=]{16,}+)*+)"
    ),
    "anthropic_key": re.compile(rf"{_START}sk-ant-[A-Za-z0-9_-]{{16,}}"),
    "openai_key": re.compile(rf"{_START}sk-(?!ant-)[A-Za-z0-9_-]{{20,}}"),
    "google_key": re.compile(rf"{_START}AIza[A-Za-z0-9_-]{{35}}{_END}"),
    "provider_key": re.compile(rf"{_START}(?:gsk_|xai-|hf_|r8_|pplx-|nvapi-|tgp_v1_)[A-Za-z0-9_-]{{20,}}"),
    "stripe_key": re.compile(rf"{_START}(?:sk|rk)_(?:live|test)_[A-Za-z0-9]{{16,}}"),
    "aws_key_id": re.compile(rf"{_START}(?:AKIA|ASIA)[A-Z0-9]{{16}}{_END}"),
    "aws_secret": re.compile(
        r"(?P<kept>aws_?(?:secret_?access_?key|session_?token)[\"'\s]{0,3}[:=][\"'\s]{0,3})[A-Za-z0-9/+=]{40,}",
        re.IGNORECASE,
    ),
    "github_token": re.compile(rf"{_START}(?:gh[pousr]_[A-Za-z0-9]{{36,}}|github_pat_[A-Za-z0-9_]{{22,}})"),
    "gitlab_token": re.compile(rf"{_START}glpat-[A-Za-z0-9_-]{{20,}}"),
    "slack_token": re.compile(rf"{_START}(?:xox[abeoprs]|xapp)-[A-Za-z0-9-]{{10,}}"),
    "npm_token": re.compile(rf"{_START}npm_[A-Za-z0-9]{{36}}{_END}"),
    "jwt": re.compile(rf"{_START}eyJ[A-Za-z0-9_-]{{8,}}\.eyJ[A-Za-z0-9_-]{{8,}}\.[A-Za-z0-9_-]{{8,}}"),
    "bearer_token": re.compile(r"(?P<kept>\bbearer\s{1,4})(?!\[REDACTED)[A-Za-z0-9._~+/=-]{16,}", re.IGNORECASE),
    "url_password": re.compile(
        r"(?P<kept>\b[a-z][a-z0-9+.-]{1,20}://[^\s/:@\"']{0,128}:)(?!\[REDACTED)[^\s/@\"']{1,256}(?=@)", re.IGNORECASE
    ),
}
EMAIL = re.compile(r"(?<![A-Za-z0-9._%+-])[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,8}")

#: members that hold bytes as text, or what only their maker understands
_BYTES = frozenset({"data", "file_data", "signature", "thinkingSignature", "thoughtSignature", "thought_signature"})
_OPAQUE = frozenset({"encrypted_content"}) | _BYTES
_BASE64 = re.compile(r"[A-Za-z0-9+/_=-]{64,}+")
#: the fields of records in which somebody says something
_SAID = ("message", "summary", "details", "data", "settings", "label", "name", "metadata", "fields")


class Redactor:
    """Takes secrets out of any JSON value; `counts` says how many of which kind so far.

    `patterns` are more kinds; a pattern's group `kept` stays. `email` takes e-mail addresses out, too.
    """

    def __init__(self, *, email: bool = False, patterns: Mapping[str, re.Pattern[str]] | None = None) -> None:
        self.counts: Counter[str] = Counter()
        self._patterns = {**PATTERNS, **({"email": EMAIL} if email else {}), **(patterns or {})}

    def again(self) -> Redactor:
        """Returns a redactor with the same patterns that has counted nothing yet."""
        return Redactor(patterns=self._patterns)

    def __call__(self, value: Any) -> Any:
        """Returns a copy of a value without secrets; the value itself is not changed."""
        top = [value]
        waiting: list[tuple[Any, Any, str]] = [(top, 0, "")]
        while waiting:
            holder, place, name = waiting.pop()
            value = holder[place]
            if isinstance(value, str):
                holder[place] = self._text(value, name)
            elif isinstance(value, Mapping):
                holder[place] = copied = dict(value)
                waiting += [(copied, key, key) for key in copied]
            elif isinstance(value, list | tuple):
                holder[place] = listed = list(value)
                waiting += [(listed, number, name) for number in range(len(listed))]
        return top[0]

    def _text(self, text: str, name: str) -> str:
        if (name in _OPAQUE and _BASE64.fullmatch(text)) or (text.startswith("data:") and ";base64," in text[:200]):
            return text
        for kind, pattern in self._patterns.items():
            text, found = pattern.subn(lambda match, kind=kind: _mark(match, kind), text)  # type: ignore[misc]
            if found:
                self.counts[kind] += found
        return text


def redact(value: Any) -> Any:
    """Returns a copy of a JSON value without the secrets that the usual patterns find."""
    return Redactor()(value)


def redact_record(record: R, redact: Redact) -> R:
    """Returns a record or a header in which everything that somebody said is redacted."""
    said = {name: value for name in _SAID if isinstance(value := getattr(record, name, None), str | dict | list)}
    return msgspec.structs.replace(record, **{name: redact(value) for name, value in said.items()})


def _mark(match: re.Match[str], kind: str) -> str:
    return f"{match.groupdict().get('kept') or ''}[REDACTED:{kind}]"
