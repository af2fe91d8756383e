"""What redaction finds: forms of tokens, what stands beside a telling name, and what is left alone."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from functools import partial
from pathlib import Path
from time import process_time
from typing import Any

import pytest
from click.testing import CliRunner
from harness.common import times_as_long
from harness.secret_samples import FORMS, PLACES, token
from hypothesis import given
from hypothesis import strategies as st

from convtree import ExtensionDataEntry, Redactor, SecretPlace, Session, redact
from convtree._cli.app import app
from convtree._engine import secret_names
from convtree._engine.secret_forms import RARE, USUAL
from convtree.repair import SecretFound, redact_log

RANDOM = token("{A40}")
HEX = token("{h32}")
UUID = token("{h8}-{h4}-{h4}-{h4}-{h12}")
WORD = "hunt" + "er2x"
STRONG = "S3cr" + "3t!pass"
PAIR = b64encode(b"user:" + WORD.encode()).decode()
GITHUB = token(FORMS["github classic"])
OPENAI = token(FORMS["openai project"])
BEGIN, END = (f"-----{word} RSA PRIVATE {'KEY'}-----" for word in ("BEGIN", "END"))
LINES = [token("{B64}", seed) for seed in range(3)]


# --- forms ---


@pytest.mark.parametrize("name", FORMS)
def test_each_form_is_found_in_every_place(name: str) -> None:
    """As it stands, behind a name, in JSON, in JSON inside of JSON, and in code. Redacting again changes nothing."""
    for seed in range(5):
        secret = token(FORMS[name], seed)
        tail = re.split("[/:]", secret)[-1] if secret.startswith("https:") else secret
        for place, put in PLACES.items():
            redacted = redact(put(secret))
            assert (place, tail in redacted, secret[-12:] in redacted) == (place, False, False)
            assert redact(redacted) == redacted
        assert json.loads(redact(PLACES["JSON member"](secret)))["id"] == 1
        assert json.loads(json.loads(redact(PLACES["JSON text"](secret)))["arguments"]).keys() == {"run", "n"}


def test_every_kind_has_a_form() -> None:
    """No kind of the table is without a sample."""
    found: set[str] = set()
    for form in FORMS.values():
        redactor = Redactor()
        redactor(token(form))
        found |= redactor.counts.keys()
    assert {kind for kind, _, _ in (*RARE, *USUAL)} - found == set()


@pytest.mark.parametrize(
    "around",
    [
        "x{}",
        "_{}",
        "-{}",
        "-p{}",
        "&quot;{}&quot;",
        "\\x27{}\\x27",
        "\\047{}\\047",
        "\x1b[38;5;196m{}\x1b[0m",
        "%22{}%22",
    ],
)
def test_a_rare_head_is_found_inside_a_word(around: str) -> None:
    """An option, an escape or a colour code may stand directly in front of it."""
    assert redact(around.format(GITHUB)) == around.format("[REDACTED:github_token]")


def test_a_token_behind_an_escape() -> None:
    """The letter of an escape is no part of it; of two backslashes, one is escaped, or both are of two escapes."""
    usual = token(FORMS["aws access key"])
    assert redact(f"\\n{usual}") == "\\n[REDACTED:aws_key_id]"
    assert redact(f"\\\\n{usual}") == "\\\\n[REDACTED:aws_key_id]"
    assert redact(f"\\\\{usual}") == "\\\\[REDACTED:aws_key_id]"
    assert redact(f"\\g{GITHUB[1:]}") == "\\[REDACTED:github_token]"
    assert redact(f"\\npm_{'a' * 36}") == f"\\npm_{'a' * 36}"  # `pm_…` in the next line


@pytest.mark.parametrize("between", ["\n", "\\\n", "\u200b", "\x1b[0m"])
def test_a_token_that_is_wrapped(between: str) -> None:
    """The next line of a token belongs to it, and so does what is not seen on a screen."""
    assert redact(f"{OPENAI[:90]}{between}{OPENAI[90:]} is it") == "[REDACTED:openai_key] is it"
    assert redact(f"{GITHUB}\nand so on") == "[REDACTED:github_token]\nand so on"
    assert redact(f"{GITHUB}\x1b[0m, \u200bword") == "[REDACTED:github_token]\x1b[0m, \u200bword"


def test_a_token_in_base64() -> None:
    """The base64 of a text with a token is one secret; that of other texts and of pictures stays."""
    encoded = b64encode(f"key is {GITHUB}.".encode()).decode()
    assert redact(f"data:text/plain;base64,{encoded}") == "data:text/plain;base64,[REDACTED:github_token]"
    assert redact(encoded.rstrip("=")) == "[REDACTED:github_token]"
    for other in (b64encode(b"a text without any secret in it").decode(), "a" * 29, f"data:image/png;base64,{encoded}"):
        assert redact(other) == other


# --- names and contexts ---

FOUND: dict[str, str] = {
    f"API_KEY={RANDOM}": "api_key",
    f"export MY_SERVICE_KEY='{HEX}'": "api_key",
    f"DB_PASSWORD={WORD}": "password",
    "PGPASSWORD=correcthorse psql": "password",
    f"password: {WORD}": "password",
    f"password: 'ä{WORD}'": "password",
    f'  db_password: "{STRONG}"': "password",
    f"connect(password='{WORD}')": "password",
    f"set_token('{RANDOM}')": "token",
    f"os.environ['MY_TOKEN'] = '{RANDOM}'": "token",
    f"const apiKey: string = '{RANDOM}'": "api_key",
    f'apiKey := "{RANDOM}"': "api_key",
    f"'secret_key' => '{RANDOM}'": "api_key",
    f"spring.datasource.password={WORD}": "password",
    f"ENV API_TOKEN {RANDOM}": "token",
    f"tool --token {RANDOM}": "token",
    f"mysql --password={WORD} x": "password",
    f"tool --password {WORD} x": "password",
    f"docker login -u me -p {STRONG}": "password",
    f"mysql -u root -p{STRONG} db": "password",
    f"sshpass -p {STRONG} ssh x": "password",
    f"redis-cli -a {STRONG}": "password",
    f"<password>{STRONG}</password>": "password",
    f'<add key="ClearTextPassword" value="{STRONG}" />': "password",
    f'("password", "{token("{A12}")}")': "password",
    f"&quot;api_key&quot;:&quot;{RANDOM}&quot;": "api_key",
    f"api_key%3D{RANDOM}": "api_key",
    f"discord = '{HEX}'": "secret",
    f"HEROKU_API_KEY={UUID}": "api_key",
    f"TOKEN_PASSWORD={RANDOM}": "password",
    f"token={token('{A1600}')}": "token",
    f"x-api-key: {RANDOM}": "api_key",
    f"X-Vault-Token: {RANDOM}": "token",
    f"//registry.npmjs.org/:_authToken={UUID}": "token",
    f"private_key: |\n  {RANDOM}\n  {RANDOM}\n": "api_key",
    f"Authorization: Basic {PAIR}": "basic_auth",
    f'-H "Authorization: Basic {PAIR}"': "basic_auth",
    f"_auth={PAIR} # Basic {PAIR}": "basic_auth",
    f"Authorization: token {token('{h40}')}": "authorization",
    f"{{'Authorization': 'Token {token('{h40}')}'}}": "authorization",
    f'"Authorization": f"Bearer {RANDOM}"': "bearer_token",
    f'"Bearer", "{RANDOM}"': "bearer_token",
    f"Authorization: {RANDOM}": "authorization",
    f"https://me:{WORD}@h/x": "url_password",
    "https://:" + RANDOM + "@h/x": "url_password",
    f"https://{RANDOM}@h/x": "url_password",
    f"postgres://u:pa/{WORD}@h/db": "url_password",
    f"postgres://u:p@{WORD}@h/db": "url_password",
    f"postgres://u:p'{WORD}@h/db": "url_password",
    "mysql://u:1234?5678@h/db": "url_password",
    f"https://h/x?access_token={RANDOM}&y=1": "token",
    f"https://h/x?se=1&sig={RANDOM}%3D": "secret",
    f"https://h/x?user=me&password={WORD}&y": "password",
    f"Server=db;User Id=sa;Password={STRONG};Encrypt=yes": "password",
    "Server=db;Uid=sa;Pwd=correcthorse;": "password",
    f"AccountName=x;AccountKey={token('{B86}')}==;EndpointSuffix=core": "api_key",
    f"host=db user=me password={WORD} dbname=x": "password",
    f"curl -u admin:{WORD} https://x": "curl_password",
    f"curl https://x --user='admin:{WORD}'": "curl_password",
    f"curl -uadmin:{WORD} https://x": "curl_password",
    f'["curl", "-u", "admin:{WORD}", "x"]': "curl_password",
    f"curl -b 'session={HEX}' x": "cookie",
    f"Cookie: session={HEX}; theme=dark": "cookie",
    f"Set-Cookie: sid=abc{WORD}; Path=/": "cookie",
    f"machine h login me password {WORD}": "netrc_password",
    f"machine h\n  login me\n  password {WORD}\n": "netrc_password",
    f"AWS Secret Access Key [None]: {RANDOM}": "aws_secret",
    "AKIA" + f"{'A2' * 8},{RANDOM}": "aws_key_id",
    "kind: Secret\nmetadata:\n  name: x\ndata:\n  a.b: aHVudGVyMg==\n---\nx: aHVudGVyMg": "kubernetes_secret",
    '{"kind": "Secret", "data": {"x": "aHVudGVyMg=="}}': "kubernetes_secret",
    f"PuTTY-User-Key-File-3: x\nPrivate-Lines: 1\n{LINES[0]}\nPrivate-MAC: {token('{h40}')}": "private_key",
}


@pytest.mark.parametrize("text", FOUND)
def test_a_secret_is_found_by_what_is_beside_it(text: str) -> None:
    """Also as a text in JSON, and in JSON inside of that. Nothing else of the text goes."""
    redacted = redact(text)
    assert f"[REDACTED:{FOUND[text]}]" in redacted
    for secret in (RANDOM, HEX, UUID, WORD, STRONG, LINES[0], "5678", "correcthorse", "aHVudGVyMg=="):
        assert secret not in redacted
    assert redact(redacted) == redacted
    once, twice = json.dumps({"cmd": text}), json.dumps(json.dumps({"cmd": text}))
    assert json.loads(redact(once))["cmd"].count("[REDACTED:") == redacted.count("[REDACTED:")
    assert json.loads(json.loads(redact(twice)))["cmd"].count("[REDACTED:") == redacted.count("[REDACTED:")


@pytest.mark.parametrize(
    "text",
    [
        *("password=<password>", "password = get_password(1)", "password = kwargs['pw1']", "PASSWORD=${PASSWORD}"),
        *("my password is hunter2", "password: str = ''", "password = os.environ.get('x1')", "passwords=12345678"),
        *(
            "token: str = field(default='x')",
            "token_type=a1b2c3d4e5f6g7h8i9",
            "next_token_url=https://h/a1b2c3d4e5f6g7",
        ),
        *(
            "PASS: ld-x86-64/lea1a",
            "bypass('www.newdomain.com:1234')",
            "password.encode('latin1')",
            "secret agent 007x",
        ),
        *("--password-file /etc/pw1", "tokens: 123456", "key = 'a1b2c3d4e5f6g7h8'", "the token a1b2c3d4e5f6g7h8i9"),
        *("https://user:password@host/", "https://<user>:<password>@host", "https://user:${PASS}@host", "a/b@c"),
        *(
            "Basic authentication",
            "Authorization: required",
            "Authorization: Basic <credentials>",
            "curl -u user:password",
        ),
        *(
            "login form, password required",
            "x -u a:b",
            "Cookie: a=b",
            "machine x login y password <password>",
            "-b a=b",
        ),
        *("PASS: hunter2x", "(password, hunter2x)", "password value=x", "<a href=Password.jtr>sun/Password1.java</a>"),
        *("kind: Secret", "-b session=x curl", "curl -b x", "mysql -p <password>", "https://12345678901234567890@h"),
        *("sha256=" + token("{h64}"), "commit " + token("{h40}"), UUID, "/usr/lib/python3.11/site-packages/x1y2z3"),
        *("google/auth/credentials.py,sha256=" + token("{W43}") + ",1", "PUBLIC KEY", "password = sha1kdf_scheme"),
        *("password:\tp4ss word", "secret_name=a1b2c3", "key-" + "a" * 30, "discord: a1b2"),
    ],
)
def test_text_without_secrets_stays(text: str) -> None:
    """Placeholders, code, words, checksums and ids are no secrets."""
    assert redact(text) == text
    assert json.loads(redact(json.dumps(text))) == text


def test_members_are_found_by_their_names() -> None:
    """An object is redacted like its JSON text. A header may be an object with a name and a value."""
    assert redact({"password": STRONG, "env": {"CLIENT_SECRET": RANDOM}, "token_type": HEX, "a" * 80: HEX}) == {
        "password": "[REDACTED:password]",
        "env": {"CLIENT_SECRET": "[REDACTED:secret]"},
        "token_type": HEX,
        "a" * 80: HEX,
    }
    assert redact([{"name": "x-api-key", "value": RANDOM}, {"name": 1, "value": RANDOM}]) == [
        {"name": "x-api-key", "value": "[REDACTED:api_key]"},
        {"name": 1, "value": RANDOM},
    ]
    assert redact({"Authorization": f"Basic {PAIR}"}) == {"Authorization": "Basic [REDACTED:basic_auth]"}
    assert redact({"Cookie": f"sessionid={HEX}"}) == {"Cookie": "sessionid=[REDACTED:cookie]"}
    assert redact({"auth": PAIR, "password": "none", "tokens": [HEX]}) == {
        "auth": "[REDACTED:secret]",
        "password": "none",
        "tokens": [HEX],
    }


@pytest.mark.parametrize(
    "name", ["session_id", "sessionId", "session-id", "SESSION_ID", "conversation_id", "thread_id"]
)
def test_the_id_of_a_conversation_is_no_secret(name: str) -> None:
    """Tools name a conversation by a UUID."""
    for said in ({name: UUID}, f'{{"{name}":"{UUID}"}}', f"{name}={UUID}"):
        assert redact(said) == said


@pytest.mark.parametrize("name", ["session_token", "sessionid", "JSESSIONID", "auth_session_id", "AUTH_SESSION_ID"])
def test_what_opens_a_session_is_a_secret(name: str) -> None:
    """A cookie or a token is one, even if it is a UUID; an id in another form may be a cookie's."""
    assert [UUID in redact({name: UUID})[name], HEX in redact({"session_id": HEX})["session_id"]] == [False, False]
    assert redact({"Cookie": f"session_id={UUID}"}) == {"Cookie": "session_id=[REDACTED:cookie]"}


def test_keys_of_objects_are_redacted() -> None:
    """Keys that become equal get different numbers, whatever other keys there are."""
    other = token(FORMS["github oauth"])
    mark = "[REDACTED:github_token]"
    assert redact({GITHUB: 1, "x": 2, other: 3, f"{mark} 2": 4}) == {mark: 1, "x": 2, f"{mark} 3": 3, f"{mark} 2": 4}
    assert redact({1: GITHUB}) == {1: mark}


def test_a_secret_that_is_split_over_parts() -> None:
    """Each part of it is replaced, and it counts once. A part that only follows a secret stays."""
    mark = "[REDACTED:openai_key]"
    redactor = Redactor(explain=True)
    pieces = ["a ", OPENAI[:50], OPENAI[50:90], f"{OPENAI[90:]} b"]
    parts: list[Any] = [{"type": "text", "text": piece} for piece in pieces]
    parts.insert(2, {"type": "image"})
    assert redactor({"content": parts})["content"] == [
        {"type": "text", "text": "a "},
        {"type": "text", "text": mark},
        {"type": "image"},
        {"type": "text", "text": mark},
        {"type": "text", "text": f"{mark} b"},
    ]
    assert redactor.counts == {"openai_key": 1}
    assert redactor.places == [SecretPlace("openai_key", "content[1]", 0)]
    assert redact([{"text": f"w1 {OPENAI}"}, {"text": "w2 w"}]) == [{"text": f"w1 {mark}"}, {"text": "w2 w"}]
    assert redact([{"text": "a"}, {"text": f"b {GITHUB}"}])[1] == {"text": "b [REDACTED:github_token]"}


# --- private keys ---


@pytest.mark.parametrize(
    "begin", ["{}", "    {}", "> {}", "# {}", "+{}", "-{}", "id_rsa:2:{}", "     1\t{}", '"{}\\n" +']
)
@pytest.mark.parametrize("whole", [True, False])
def test_a_private_key_in_quotes(begin: str, whole: bool) -> None:
    """Indented, quoted, commented, in a diff, found by grep or put together by a program; whole or cut off."""
    shown = "\n".join(begin.format(line) for line in (BEGIN, *LINES, *([END] if whole else [])))
    for text in (
        shown,
        json.dumps(shown),
        json.dumps({"a": json.dumps(shown)}),
        shown.replace("BEGIN RSA", "begin rsa"),
    ):
        redacted = redact(text)
        assert "[REDACTED:private_key]" in redacted
        assert [line for line in LINES if line in redacted] == []


def test_a_private_key_with_headers() -> None:
    """The headers of an encrypted key belong to it, also when it is cut off."""
    text = f"{BEGIN}\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,0123\n\n{LINES[0]}\n"
    assert redact(f"{text}and more") == "[REDACTED:private_key]and more"
    assert redact("Private-Lines: 2, it says") == "Private-Lines: 2, it says"


# --- laws ---

PIECES = st.sampled_from(
    [
        *(*FOUND, *(token(form) for form in FORMS.values()), BEGIN, END, *LINES),
        *(
            "[REDACTED:x]",
            "[REDACTED:",
            "password=",
            "]",
            "\n",
            " ",
            '"',
            "\\",
            "\\n",
            "=",
            ":",
            "@",
            "/",
            "a",
            "1",
            ";",
            "&",
        ),
        *("\u200b", "\x1b[0m", "é", "token: ", "\u0130", "Authorization: Basic ", "\u017f"),
    ]
)


@given(st.lists(PIECES, max_size=8).map("".join))
def test_redaction_is_a_function_and_idempotent(text: str) -> None:
    """The same text gives the same text, and what is redacted stays as it is."""
    once = redact(text)
    assert redact(text) == once
    assert redact(once) == once


@given(st.dictionaries(st.sampled_from(["password", "x", "token", GITHUB]), st.lists(PIECES, max_size=3).map("".join)))
def test_objects_stay_redacted(value: dict[str, str]) -> None:
    """This holds for members with telling names, too."""
    once = redact(value)
    assert redact(once) == once


@pytest.mark.parametrize(
    "piece",
    [
        *("token=a1", "discord=a1", "password='a", "curl -u a:b ", "://a:b@", "redis://a@a@", "secret-live-", "pcsk_a"),
        *(
            "kind: Secret\ndata:\n a: ",
            "login a password ",
            "Cookie: a=b; ",
            "Basic dXNlcjpwYXNz",
            "Private-Lines: 1\n",
        ),
        *(
            "mysql -p",
            f"{GITHUB}\nA1b2C3d4",
            "\x1b[0m",
            "a\u200b",
            "[REDACTED:a]",
            "c2stYW50",
            "AGE-SECRET-KEY-1",
            "\\n",
        ),
    ],
)
def test_adversarial_texts_take_linear_time(piece: str) -> None:
    """Four times the text takes about four times as long; a square would be sixteen times."""

    def taken(length: int) -> float:
        text = (piece * length)[:length]
        started = process_time()
        Redactor(email=True)(text)
        return process_time() - started

    redact(piece)
    assert times_as_long(partial(taken, 10_000), partial(taken, 40_000), 10) <= 10


def test_the_end_of_many_long_values_is_looked_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are in one another, and end at the same place: each character is looked at once for that."""
    pattern, looked_at = secret_names._REST, list[int]()

    class Counted:
        def match(self, text: str, start: int) -> re.Match[str] | None:
            found = pattern.match(text, start)
            looked_at.append(0 if found is None else found.end() - start)
            return found

    monkeypatch.setattr(secret_names, "_REST", Counted())
    text = "token=a1" * 25_000
    assert redact(text) == "token=[REDACTED:token]"
    assert 0 < sum(looked_at) <= len(text)


# --- of the caller, and the command line ---


def test_the_caller_adds_kinds() -> None:
    """Their matches are replaced but for the group `kept`; inside of a mark, nothing is."""
    own = Redactor(patterns={"ticket": re.compile(r"(?P<kept>T-)?\d{3}"), "empty": re.compile(r"x*")})
    assert own("T-123, 456") == "T-[REDACTED:ticket], [REDACTED:ticket]"
    assert own(own("T-123, 456")) == "T-[REDACTED:ticket], [REDACTED:ticket]"
    assert own.counts == {"ticket": 4}
    endless = Redactor(patterns={"b": re.compile(r"^b|(?<=\])b")})
    assert endless("b" * 9) == "[REDACTED:b]" * 4 + "b" * 5  # a text is searched a few times, not for ever


def run(*arguments: object) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, [str(each) for each in arguments])
    return done.exit_code, done.stdout, done.stderr


def test_redaction_explains_itself(tmp_path: Path) -> None:
    """It says where each secret is and of which kind; a secret in a name on the way is not shown."""
    path = tmp_path / "log"
    with Session.open(path, durability="process", name="s") as session:
        first = session.append({"role": "user", "content": [{"type": "text", "text": f"a {GITHUB}"}]}, id="m")
        session.append(ExtensionDataEntry(ext_type="a.b", data={GITHUB: [f"T-1 password={WORD}"]}), id="n")
    places = redact_log(path, redactor=Redactor(explain=True)).places
    assert places == (
        SecretFound(record=1, id=first.id, kind="github_token", path="message.content[0].text", start=2),
        SecretFound(record=2, id="n", kind="github_token", path="data", start=0),
        SecretFound(record=2, id="n", kind="password", path="data.[REDACTED:github_token][0]", start=13),
    )
    assert redact_log(path).places == ()
    code, said, _ = run("redact", path, "--explain", "--pattern", r"ticket=T-\d")
    assert code == 0
    assert "  record 1 (m): message.content[0].text, character 2: github_token\n" in said
    assert "  record 2 (n): data.[REDACTED:github_token][0], character 0: ticket\n" in said
    assert GITHUB not in said
    assert WORD not in said
    assert json.loads(run("redact", path, "--explain", "--json")[1])["places"][0]["kind"] == "github_token"


def test_patterns_on_the_command_line(tmp_path: Path) -> None:
    """Each is a kind and a regular expression; what is none is refused with a reason."""
    path = tmp_path / "log"
    with Session.open(path, durability="process") as session:
        session.append({"role": "user", "content": "T-123"})
    code, said, errors = run("export", path, "--to", "markdown", "--redact", "--pattern", r"ticket=T-\d+")
    assert (code, errors) == (0, "2 secrets redacted\n  ticket: 2\n")  # the first message is the title, too
    assert "T-123" not in said
    assert "--pattern needs --redact" in run("export", path, "--to", "markdown", "--pattern", "a=b")[2]
    assert "expected KIND=REGEX" in run("redact", path, "--pattern", "T-1")[2]
    assert "not a regular expression" in run("redact", path, "--pattern", "a=(")[2]
