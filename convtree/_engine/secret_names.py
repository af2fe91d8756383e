"""Finds secrets beside a name that tells of one, as in `API_KEY=…`, `"password": "…"` or `--token …`. Pure.

A value beside the name of a token has to look generated; one beside the name of a password must not look like a
placeholder, a word or a piece of code. What has a name such as `token_type` or `password_file` is no secret. Nor is a
UUID beside `session_id`: tools name conversations so. Beside `sessionid`, the name of a cookie, it is one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import cache

from convtree._engine.secret_spans import Span, end_of_lines, is_random

#: how far in front of a value its name may begin
_REACH = 80
_LONGEST = 1024
#: how many names are looked at in what may be a value itself, such as the address in `url=https://x?token=…`
_DEPTH = 8
#: the end of a sentence, and what stands behind a value that is not in quotes
_STOPS = ".,:!?"
_BEHIND = frozenset(("", " ", "\n", "\r", "\t", "\\", "&", ";", "'", '"', "`"))
#: what is left of a value that is longer than is looked at
_REST = re.compile(r"[A-Za-z0-9+/_=.%~-]*")

_QUOTE = r"(?:\\{0,8}[\"'`]|%2[27]|\\{0,8}u002[27]|&quot;)"
_Q = f"{_QUOTE}?"
#: between name and value: an assignment, an XML element or attribute, an argument, or a blank behind an option
_BETWEEN = (
    rf"(?P<close>{_Q}\]?)"
    r"(?:\??:[ \t]?[A-Za-z_.|<>]{1,32}(?=[ \t]{1,3}=))?(?:[ \t]{0,3}\[[A-Za-z*]{1,24}\])?"  # a type, a default
    r"(?:(?P<op>[ \t]{0,24}(?:=>|:=|==?|:{1,2}|->|%3[AaDd]|\\{0,8}u003[dD])[ \t]{0,24}"
    r"(?:[|>]?[+-]?(?:\r?\n|\\{1,8}n)[ \t]{1,24})?)"
    r"|(?P<argument>[ \t]{0,3}[,(][ \t]{0,3})|(?P<xml>>|[ \t]{1,4}value=)|(?P<blank>[ \t]{1,4}))"
    rf"(?P<open>(?:[bfru]?{_QUOTE})?)"
)
_QUOTED = r"(?<=[\"'`;27])(?P<quoted>(?:[^\"'`\\\r\n]{1,1024}|\\{1,8}u(?!00[0-7])[0-9A-Fa-f]{4}){1,16})"
_BARE = r"(?P<bare>[^\s\"'`\\,;&<>(){}\[\]]{1,1024})"
_SUFFIX = r"(?P<suffix>[A-Za-z0-9_.-]{0,32})"

_PASSWORD = r"pass(?:word|wd|phrase|code)|(?<![a-z])pass(?![a-z])|pwd|secret"
_KEY_OF = (
    "api|app|application|access|account|admin|auth|client|consumer|customer|deploy|encryption|encrypt|hmac|host|jwt"
    "|ingest|integration|license|licence|master|org|organization|private|project|publish|read|rsa|secret|server|service"
    "|session|shared[_-]?access|shared|signing|sign|ssh|storage|subscription|team|tenant|user|webhook|write|write_only"
)
_TOKEN = (
    rf"(?:{_KEY_OF})[_ .-]?key|token|secret|credentials?"
    r"|(?<=[a-z0-9]_)key|(?:(?<=[?&;])|(?<=amz-)|(?<=goog-))(?:signature|sig)(?![a-z])|(?<![a-z0-9])(?:auth|dsn|pat|jwt|apikey|authkey|_auth)(?![a-z])"
    r"|session[_-]?id|sessid|connection[_-]?string|webhook|otp[_-]?seed|cookie(?!\W{0,4}:)"
)
#: what most of them make: letters of one case and digits
_ALPHANUMERIC = re.compile(r"(?=(?:[a-z]{0,40}[0-9]){3}[0-9]{0,16}[a-z])[a-z0-9]{20,128}")
#: names of providers beside which a random value is a secret, whatever the rest of the name says
_PROVIDERS = (
    "adafruit|adobe|airtable|algolia|alibaba|asana|atlassian|confluence|jira|beamer|bitbucket|bittrex|meraki|cloudflare"
    "|codecov|cohere|coinbase|confluent|contentful|datadog|discord|drone_?ci|dropbox|etsy|facebook|fastly|finicity"
    "|finnhub|flickr|freshbooks|gitter|heroku|hubspot|intercom|jfrog|artifactory|kraken|kucoin|launchdarkly|linear|linked_?in"
    "|looker|mailchimp|mailgun|mattermost|message_?bird|mistral|netlify|new_?relic|nytimes|okta|openai|plaid|private_?ai"
    "|rapidapi|sendbird|sentry|snyk|sonar|squarespace|sumo|telegram|travis|trello|twilio|twitch|twitter|typeform|yandex"
    "|zendesk|softlayer|cloudant|deepgram|assemblyai|stability|together|contribsys__com"
)
#: letters and digits alternate, as in every generated value
_DIGITS = re.compile(rb"(?:[a-z][0-9]|[0-9][a-z]).{0,64}?(?:[a-z][0-9]|[0-9][a-z])", re.DOTALL)
_OPTION = re.compile(r"(?:^|[\s\"'])(?:--?[A-Za-z0-9-]{0,30}|ENV[ \t]{1,8}[A-Z0-9_]{0,24})$")
_HINT = re.compile(rb"pass|pwd|secret")
_AWS_HINT = re.compile(rb"secret|session|aws")
_AWS_ID = re.compile(rb"akia|asia")
_HINT = re.compile(
    rb"token|secret|cred|pass|pwd|auth|sig|dsn|pat|jwt|sess|conn|webhook|otp|cookie|"
    rb"(?:" + _KEY_OF.encode() + rb")[_ .-]?key|key|" + _PROVIDERS.encode()
)
_AWS = r"(?:secret[_ -]?access[_ -]?key|session_?token|aws[_-]?secret(?:[_-]?key)?)"
_AWS_SECRET = r"(?:[A-Za-z0-9/+=]|%2[BbFf]|%3[Dd]){40,}"
_AWS_GAP = r"(?:[\\\"'\s]|%2[02]|u002[27]){0,6}"

#: names that end so are of something else
_OTHER = re.compile(
    r"(?:^|[_.-]|(?<=[a-z])(?=[A-Z]))(?:ids?|urls?|uris?|path|file(?:name)?|dir|names?|types?|size|len(?:gth)?|count"
    r"|expir\w*|ttl|headers?|env|var|prefix|suffix|pattern|regex|format|policy|class|index|limit|fields?|label|version"
    r"|alg\w*|method|bits|usage|budget|provider|manager|endpoint|hint|prompt|info|at|in|on|is|ref|arn|selector|schema"
    r"|generator|validator|factory|status|state|required|enabled|map|list|set|count|kind|error|fn|func|cb|handler)$"
    r"|^s$|^(?:ize|less|izer|is|ing|ed|ary|age|port|ive|enger|word_?s)",
    re.IGNORECASE | re.ASCII,
)
#: what in front of `token` makes it one of a page or of a request
_OTHER_TOKEN = re.compile(
    r"(?:next|page|marker|request|client|lock|change|continuation|sync|pagination|idempotency|cancel|resume|update"
    r"|pre)[_-]?$",
    re.IGNORECASE | re.ASCII,
)
#: what in front of any name makes it one of a resource, as in `arn:aws:secret:name`
_RESOURCE = re.compile(r"::[A-Za-z]{0,24}$|arn:[^\s\"']{0,80}:$")
#: names by which tools refer to a conversation, and the ids that they give it
_SESSION_ID = re.compile(r"(?<![Aa]uth[_-])(?:[Ss]ession[_-][Ii]d|[Ss]essionId|(?<!AUTH_)SESSION_ID)(?![A-Za-z0-9_-])")
_UUID = re.compile(r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
_PLACEHOLDER = re.compile(
    r"[<$%{\[(].*|[*x.•_-]{3,}|.*(?:x{4}|\*{3}|\.{3}|\$\{|\{\{|%\(|:/{1,2}).*|.*[\])>}]"
    r"|.{0,12}(?:example|placeholder|changeme|change_me|redacted|dummy|sample|your|my-?_?secret|foobar).{0,40}"
    r"|(?:pass(?:word|wd|phrase|code)?|pwd|secret|none|null|true|false|undefined|test|string)[0-9]?",
    re.IGNORECASE | re.ASCII | re.DOTALL,
)
_CODE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:[.:][A-Za-z_][A-Za-z0-9_]*)+|.*[(){}\[\]<>].*|/.*|\.{1,2}/.*")
_IDENTIFIER = re.compile(r"[A-Za-z][A-Za-z0-9]*(?:_[A-Za-z0-9]+)+|[A-Za-z_]+[0-9]?")


@cache
def _patterns() -> tuple[re.Pattern[str], ...]:
    """Returns the patterns of tokens, of passwords, and of the secrets of AWS, which have a length."""
    value = f"(?:{_QUOTED}|{_BARE})"
    return (
        re.compile(f"(?:(?P<provider>{_PROVIDERS})|{_TOKEN}){_SUFFIX}{_BETWEEN}{value}", re.IGNORECASE | re.ASCII),
        re.compile(f"(?P<word>{_PASSWORD}){_SUFFIX}{_BETWEEN}{value}", re.IGNORECASE | re.ASCII),
        re.compile(
            rf"{_AWS}{_AWS_GAP}(?:\[[^\]\s]{{1,24}}\] ?)?(?:[:=>,]|%3[AaDd]|u003[dDeE]){_AWS_GAP}"
            rf"(?P<secret>{_AWS_SECRET})",
            re.IGNORECASE | re.ASCII,
        ),
        re.compile(r"(?:AKIA|ASIA)[A-Z0-9]{16}[\s,;:|\"']{1,6}(?P<secret>[A-Za-z0-9/+]{40})(?![A-Za-z0-9/+=])"),
    )


def is_telling(name: str) -> bool:
    """Returns whether the name of a member may tell of a secret."""
    return _HINT.search(name[:256].encode("ascii", "replace").lower()) is not None


def find(text: str, lowered: bytes, words: Iterable[tuple[int, int]]) -> Iterator[Span]:
    """Yields the secrets beside a telling name; `lowered` is the text, one byte for each character."""
    tokens, passwords, aws, csv = _patterns()
    for match in _matches(aws, text, lowered, (b"secret", b"session", b"aws")):
        yield Span(*match.span("secret"), "aws_secret")
    for match in _matches(csv, text, lowered, (b"akia", b"asia")):
        yield Span(*match.span("secret"), "aws_secret")
    end = 0
    rest = _Rest(text)
    for word, word_end in words:
        if _DIGITS.search(lowered, word, word_end):
            begin = max(end, word - _REACH)
            limit = min(word_end + 1, len(text))
            for found in _near(tokens, text, _HINT.finditer(lowered, begin, word_end), limit):
                yield from _token(found, rest)
            end = word_end
    for match in _matches(passwords, text, lowered, (b"pass", b"pwd", b"secret")):
        yield from _password(match)


def _matches(pattern: re.Pattern[str], text: str, lowered: bytes, words: Iterable[bytes]) -> Iterator[re.Match[str]]:
    """Yields the matches of a pattern where one of the words is."""
    for word in words:
        if word in lowered:
            yield from _near(pattern, text, re.finditer(word, lowered), len(text))


def _near(pattern: re.Pattern[str], text: str, hints: Iterable[re.Match[bytes]], limit: int) -> Iterator[re.Match[str]]:
    """Yields the matches of a pattern where a hint is. Of many that are in one another, only the first."""
    end = depth = 0
    for hint in hints:
        depth = depth + 1 if hint.start() < end else 0
        if depth < _DEPTH:
            match = pattern.match(text, hint.start(), limit)
            if match is not None:
                end = max(end, match.end())
                yield match


class _Rest:
    """Finds the end of values that are longer than is looked at.

    Many values in one another end at the same place: it is looked for once.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._end = 0

    def behind(self, end: int) -> int:
        """Returns the end of a value of which the text up to `end` is known. Asked from left to right."""
        if end >= self._end and (match := _REST.match(self._text, end)):
            self._end = match.end()
        return self._end


def _token(match: re.Match[str], rest: _Rest) -> Iterator[Span]:
    start, value = _value(match)
    if _is_other(match) or not _is_joined(match, value):
        return
    stripped = value.partition("&quot;")[0].rstrip(_STOPS)
    if _SESSION_ID.match(match.string, match.start()) and _UUID.fullmatch(stripped):
        return
    if is_random(stripped, 14) or (match["provider"] is not None and _ALPHANUMERIC.fullmatch(stripped)):
        end = start + len(stripped)
        if len(value) >= _LONGEST:
            end = rest.behind(end)
        yield Span(start, end_of_lines(match.string, end), _kind(match))


def _password(match: re.Match[str]) -> Iterator[Span]:
    start, value = _value(match)
    if _is_other(match) or not _is_joined(match, value):
        return
    behind = match.string[match.end() : match.end() + 1]
    if match["quoted"] is None:
        if _is_code(match, value, behind):
            return
        value = value.rstrip(_STOPS)
    is_upper = match["word"].isupper() and match["suffix"].isupper() == bool(match["suffix"])
    if is_password(value, may_be_word=match["op"] == "=" and (is_upper or behind == ";")):
        yield Span(start, start + len(value), "password")


def _value(match: re.Match[str]) -> tuple[int, str]:
    """Returns where the value beside a name begins, and the value."""
    group = "bare" if match["quoted"] is None else "quoted"
    return match.start(group), match[group]


def _is_code(match: re.Match[str], value: str, behind: str) -> bool:
    """Returns whether a value without quotes is a piece of code, or the name of a test, as in `PASS: test_1`."""
    if match["xml"] is None and behind not in _BEHIND:
        return True
    op = match["op"] or ""
    if "=" not in op:
        return match["word"].lower() == "pass"
    return op != op.strip() and _IDENTIFIER.fullmatch(value.rstrip(_STOPS)) is not None


def _is_joined(match: re.Match[str], value: str) -> bool:
    """Returns whether what is between name and value makes it its value: what is no assignment has more to it."""
    if match["blank"] is not None:
        return _is_option(match)
    if match["xml"] == ">":
        before = match.string[max(0, match.start() - 64) : match.start()]
        return before.endswith("<") or before.rpartition("<")[2].isalnum()
    if match["argument"] is None:
        return True
    is_call = "(" in match["argument"] and "." not in match["suffix"]
    return match["quoted"] is not None and (is_call or (bool(match["close"]) and is_random(value, 8)))


def is_password(value: str, *, may_be_word: bool = False) -> bool:
    """Returns whether a value beside the name of a password can be one: no placeholder, word, or piece of code."""
    if not 6 <= len(value) <= 256 or any(map(str.isspace, value)):
        return False
    if _PLACEHOLDER.fullmatch(value) or _CODE.fullmatch(value):
        return False
    has_letter, has_digit = any(map(str.isalpha, value)), any(map(str.isdigit, value))
    is_mixed = not value.islower() and not value.isupper() and any(char in "!@#$%^&*?+~=" for char in value)
    return has_letter and (has_digit or is_mixed or may_be_word)


def _is_other(match: re.Match[str]) -> bool:
    """Returns whether the name is of something else than the secret: of its type, its file or its length."""
    if _OTHER.search(match["suffix"]) is not None:
        return True
    before = match.string[max(0, match.start() - 96) : match.start()]
    is_token = match.string.startswith(("token", "Token", "TOKEN"), match.start())
    return _RESOURCE.search(before) is not None or (is_token and _OTHER_TOKEN.search(before) is not None)


def _is_option(match: re.Match[str]) -> bool:
    """Returns whether the name is that of an option of a command, behind which a blank comes before the value."""
    before = match.string[max(0, match.start() - 32) : match.start()]
    return _OPTION.search(before) is not None and not match["close"]


def _kind(match: re.Match[str]) -> str:
    said = match.group(0)[: match.start("close") - match.start()].lower()
    if "pass" in said or "pwd" in said:
        return "password"
    return "api_key" if "key" in said else "token" if "token" in said else "secret"
