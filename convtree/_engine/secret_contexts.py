"""Finds secrets by what stands beside them: addresses, headers, commands, and files with passwords. Pure.

What is plainly a placeholder, such as `<password>`, is left. Values beside a telling name: see `secret_names`.
"""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Iterable, Iterator
from functools import cache

from convtree._engine import secret_names
from convtree._engine.secret_spans import Span, is_random

#: between a name and its value, with the backslashes of any number of escapes
_Q = r"(?:\\{0,8}[\"'`]|%2[27]|\\{0,8}u002[27])?"
_GAP = r"(?:\\{1,8}[nrt]|[ \t\r\n,:=+]|%20|\\{0,8}[\"'`]|u002[027]|%2[027]){1,8}"
_BEGIN = r"(?:(?<![a-z_])|(?<=\\[bfnrt]))"
_VALUE = r"[A-Za-z0-9._~+/=:-]"


@cache
def _patterns() -> dict[str, re.Pattern[str]]:
    """Returns the patterns by what they are about; each is matched at its word. The group `secret` is replaced."""
    user, start = r"[^\s/:@\"'<>]{0,256}:", r"(?:\\{0,8}[\"'])?"
    more = r"(?:@(?=[^\s/@\"'\\<>]{1,256}@)[^\s/@\"'\\<>]{1,256}){0,8}"
    cookies = r"[^\s\"'\\=;,]{1,128}=[^\s\"'\\;,]{1,4096}(?:; ?[^\s\"'\\=;,]{1,128}=[^\s\"'\\;,]{0,4096})*"
    scheme = "basic|bearer|token|apikey|api-key|key|ssws|genie-?key|splunk|negotiate|ntlm|bot|oauth|pat"
    patterns = {
        # the password has no `/`, or a file behind a port would be one
        "address": rf"{user}(?![0-9]{{1,5}}[?#/])(?P<secret>[^\s/@\"'\\<>]{{1,4096}}{more}|[^\s/@\"\\<>,;]{{1,256}}"
        r"|<[a-z_-]{1,32}>)(?=@)",
        "address_token": r"(?P<secret>[A-Za-z0-9_.~+=-]{20,512})(?::(?:x-oauth-basic)?)?@",
        # that of a database has a `/` or `?`, too
        "database": rf"{user}(?P<secret>[^\s@\"\\<>,;]{{1,512}}(?:@(?=[^\s@\"'\\<>,;]{{1,256}}@)"
        r"[^\s@\"'\\<>,;]{1,256}){0,8})(?=@[a-z0-9\[])",
        "bearer": rf"{_BEGIN}bearer{_GAP}"
        rf"(?P<secret>(?=[a-z._~+/=-]{{0,64}}[0-9]){_VALUE}{{15,}}|[a-z._~+/=-]{{32,}})",
        "basic": rf"{_BEGIN}basic{_GAP}(?P<secret>[a-z0-9+/_-]{{4,}}={{0,2}})",
        "authorization": rf"authorization{_Q}\]?[ \t]{{0,3}}{_GAP}(?:(?:{scheme}){_GAP}(?:token=)?{_Q})?"
        rf"(?P<secret>{_VALUE}{{4,}})",
        "curl": rf"(?:-u|--user|--proxy-user)(?:[ =]{{1,3}}|{_GAP})?[^\s:\"'\\]{{0,256}}:"
        r"(?P<secret>[^\s\"'\\]{1,256})",
        "netrc": r"login[ \t\r\n]{1,8}[^\s]{1,256}(?:[ \t\r\n]|\\{1,8}[nrt]){1,8}"
        r"(?:account[ \t]{1,8}[^\s]{1,256}[ \t\r\n]{1,8})?password[ \t\r\n]{1,8}(?P<secret>[^\s\"'\\]{1,256})",
        "cookie": rf"cookie{_Q}[ \t]{{0,3}}{_GAP}(?P<secret>{cookies})",
        "jar": rf"-b[ =]{start}(?P<secret>{cookies})",
        "cookies": r"(?P<name>[^\s\"'\\=;,]{1,128})=(?P<secret>[^\s\"'\\;,]{8,4096})",
        "command": rf"[a-z -]{{4,32}}(?:[^\n|;&]{{0,200}}?[ \t])?-(?:p|a|w)[ \t]?{start}"
        r"(?P<secret>[^\s\"'\\]{1,256})",
        "member": rf"(?:[\r\n{{,]|\\{{1,8}}n)[ \t]{{0,20}}{start}[A-Za-z0-9_.-]{{1,100}}{start}:[ \t]{{0,4}}{start}"
        r"(?P<secret>[A-Za-z0-9+/]{10,}={0,2})(?![^\s\"'\\,}])",
    }
    return {name: re.compile(pattern, re.IGNORECASE | re.ASCII) for name, pattern in patterns.items()}


_MANIFEST = re.compile(rb"kind(?:\\{0,8}[\"'])?: ?(?:\\{0,8}[\"'])?secret(?![a-z])")
#: how addresses of databases and the like begin, in which a `/` is no rare character of a password
_DATABASE = re.compile(
    rb"(?:postgres(?:ql)?|mysql|mariadb|mongodb|rediss?|amqps?|mssql|sqlserver|oracle|clickhouse|ldaps?|smtps?|imaps?"
    rb"|sftp|ssh|mqtts?|nats|neo4j|bolt|cockroachdb|couchdb|cassandra|snowflake|kafka)(?:\+[a-z0-9+]{1,32})?$"
)
_ADDRESS = re.compile(rb":(?:\\{0,8}/){1,2}")
_USER = re.compile(rb"(?<![a-z0-9-])-(?:u|-user(?![a-z-])|-proxy-user(?![a-z-]))")
_COOKIE_OPTION = re.compile(rb"(?<![a-z0-9-])-b[ =]")
#: commands that take a password behind a short option
_LOGINS = (b"sshpass", b" login", b"mysql", b"redis-cli", b"mongo", b"ldap")
_COMMAND = re.compile(
    rb"sshpass|(?:docker|podman|nerdctl|oras|helm registry) login|mysql[a-z]*|redis-cli|mongo[a-z]*|ldap[a-z]+"
)
_SIGN = re.compile(
    r"<[^<>]*>|\$\{?[A-Za-z_][A-Za-z0-9_]*\}?|\$\(.*|\{\{?.*|%\(?[a-z].*|[*x.…•]{3,}|\\x.*",
    re.IGNORECASE | re.ASCII | re.DOTALL,
)
_WORD = re.compile(r"(?:your|my)?[_-]?(?:pass(?:word|wd|phrase)?|pwd)[0-9]?", re.IGNORECASE | re.ASCII)
_SESSION = re.compile(r"sess|sid|auth|token|jwt|login|secret|csrf|remember", re.IGNORECASE | re.ASCII)


def find(text: str, lowered: bytes, words: Iterable[tuple[int, int]]) -> Iterator[Span]:
    """Yields secrets of a text; `lowered` is it in lower case, one byte for each character, `words` its long words."""
    if b"@" in lowered:
        yield from _in_addresses(text, lowered)
    for match in _matches("bearer", text, lowered):
        yield Span(*match.span("secret"), "bearer_token")
    for match in _matches("basic", text, lowered):
        if is_basic(match["secret"]):
            yield Span(*match.span("secret"), "basic_auth")
    for match in _matches("authorization", text, lowered):
        yield from _in_header(match)
    if b"curl" in lowered:
        yield from _in_commands(text, lowered)
    if any(word in lowered for word in _LOGINS):
        yield from _in_logins(text, lowered)
    for match in _matches("netrc", text, lowered, b"login"):
        begin = max(0, match.start() - 512)
        if any(
            lowered.rfind(word, begin, match.start()) >= 0 for word in (b"machine", b"default")
        ) and not is_placeholder(match["secret"]):
            yield Span(*match.span("secret"), "netrc_password")
    for match in _matches("cookie", text, lowered):
        yield from _in_cookies(match)
    if b"kind" in lowered and b"secret" in lowered:
        yield from _in_manifests(text, lowered)
    yield from secret_names.find(text, lowered, words)


def _matches(name: str, text: str, lowered: bytes, word: bytes = b"") -> Iterator[re.Match[str]]:
    """Yields the matches of a pattern where its word is; nothing inside an earlier match."""
    word = word or name.encode()
    at = lowered.find(word)
    while at >= 0:
        match = _patterns()[name].match(text, at)
        if match is not None:
            yield match
        at = lowered.find(word, at + len(word) if match is None else match.end())


def is_basic(value: str) -> bool:
    """Returns whether a value is the base64 of a name and a password."""
    value = value.rstrip("=")
    try:
        said = b64decode(value + "=" * (-len(value) % 4), altchars=b"-_" if "_" in value or "-" in value else None)
        said.decode()
    except ValueError:  # no base64, or no text
        return False
    return b":" in said and all(byte >= 32 for byte in said)


def _in_addresses(text: str, lowered: bytes) -> Iterator[Span]:
    patterns = _patterns()
    done = 0
    for sign in _ADDRESS.finditer(lowered):
        start, end = sign.span()
        if start < done or not lowered[start - 1 : start].isalnum():
            continue
        is_database = _DATABASE.search(lowered, max(0, start - 40), start) is not None
        match = patterns["database" if is_database else "address"].match(text, end)
        if match is not None:
            user = text[end : match.start("secret") - 1].lower().lstrip("[")
            if not is_placeholder(match["secret"], is_word=user in ("", "user", "username")):
                yield Span(*match.span("secret"), "url_password")
        elif (match := patterns["address_token"].match(text, end)) and is_random(match["secret"]):
            yield Span(*match.span("secret"), "url_password")
        done = end if match is None else match.end()


def _in_header(match: re.Match[str]) -> Iterator[Span]:
    value = match["secret"].rstrip(".,:")
    start = match.start("secret")
    if is_basic(value):
        yield Span(start, start + len(value), "basic_auth")
    elif is_random(value, 12):
        yield Span(start, start + len(value), "authorization")


def _in_commands(text: str, lowered: bytes) -> Iterator[Span]:
    """Yields the passwords that are given to curl, at most 2,000 characters in front of them."""
    for option in _USER.finditer(lowered):
        match = _patterns()["curl"].match(text, option.start())
        if match is None or lowered.rfind(b"curl", max(0, option.start() - 2000), option.start()) < 0:
            continue
        if not is_placeholder(match["secret"]):
            yield Span(*match.span("secret"), "curl_password")
    for option in _COOKIE_OPTION.finditer(lowered):
        match = _patterns()["jar"].match(text, option.start())
        if match is not None:
            yield from _in_cookies(match)


def _in_logins(text: str, lowered: bytes) -> Iterator[Span]:
    for command in _COMMAND.finditer(lowered):
        match = _patterns()["command"].match(text, command.start())
        if match is not None and secret_names.is_password(match["secret"]):
            yield Span(*match.span("secret"), "password")


def _in_cookies(header: re.Match[str]) -> Iterator[Span]:
    for match in _patterns()["cookies"].finditer(header.string, *header.span("secret")):
        value = match["secret"]
        if is_random(value) or (_SESSION.search(match["name"]) and any(map(str.isdigit, value))):
            yield Span(*match.span("secret"), "cookie")


def _in_manifests(text: str, lowered: bytes) -> Iterator[Span]:
    """Yields the data of secrets of Kubernetes, at most 4,096 characters around their kind."""
    done = 0
    for kind in _MANIFEST.finditer(lowered):
        if kind.start() < done:
            continue
        begin = max(done, lowered.rfind(b"---", max(0, kind.start() - 4096), kind.start()), kind.start() - 4096)
        done = lowered.find(b"---", kind.end(), kind.end() + 8192)
        done = min(len(text), kind.end() + 8192) if done < 0 else done
        data = lowered.find(b"data", begin, done)
        if data >= 0:
            yield from (
                Span(*each.span("secret"), "kubernetes_secret")
                for each in _patterns()["member"].finditer(text, data, done)
            )


def is_placeholder(value: str, *, is_word: bool = True) -> bool:
    """Returns whether a password is plainly none: a variable, a sign for one, or the word for it, if `is_word`."""
    return _SIGN.fullmatch(value) is not None or (is_word and _WORD.fullmatch(value) is not None)
