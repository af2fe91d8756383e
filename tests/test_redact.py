"""Redaction: the secrets that are found, the text that stays, and redacting while writing and afterwards."""

import json
import re
from collections.abc import Iterable
from itertools import product
from pathlib import Path
from time import perf_counter
from typing import Any
from urllib.parse import quote

import pytest
from click.testing import CliRunner
from helpers import log_of, mark, node, system, user
from hypothesis import given, settings
from hypothesis import strategies as st
from planted import ANTHROPIC, BARE, FOUND, GITHUB, KEPT, KEY, OPENAI, planted

from convtree import (
    CompactionEntry,
    CorruptLog,
    ExtensionDataEntry,
    IdConflict,
    ReadOnlySession,
    Redactor,
    Session,
    SessionLocked,
    redact,
)
from convtree._cli.app import app
from convtree._formats import WRITERS
from convtree._logs.memory import MemoryLog
from convtree._model.entries import Entry
from convtree._tools.redact_log import RedactedSession, redact_log
from convtree.exchange import export_file, export_lines, read_foreign


@pytest.mark.parametrize("kind", FOUND)
def test_each_kind_is_found_in_any_position(kind: str) -> None:
    """A secret in a text is found once, as its own kind. Redacting again changes nothing."""
    redactor = Redactor()
    expected = KEPT.get(kind, f"[REDACTED:{kind}]")
    text = redactor(f"Take ({FOUND[kind]}) and go")
    assert text == f"Take ({expected}) and go"
    assert redactor.counts == {kind: 1}
    assert redact(text) == text


def test_every_text_of_a_message_is_redacted() -> None:
    """Texts at any depth and in any shape are redacted in a copy of the message."""
    message = {
        "role": "assistant",
        "content": [{"type": "text", "text": f"key {OPENAI}"}],
        "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": json.dumps({"key": GITHUB})}}],
        "n": 1,
        "more": None,
    }
    given_message = json.dumps(message)
    assert redact(message) == {
        "role": "assistant",
        "content": [{"type": "text", "text": "key [REDACTED:openai_key]"}],
        "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": '{"key": "[REDACTED:github_token]"}'}}],
        "n": 1,
        "more": None,
    }
    assert json.dumps(message) == given_message


@pytest.mark.parametrize(
    "text",
    [
        "sk-learn and sk-image",
        "my password is hunter2",
        "https://example.org:8080/a@b",
        "the bearer of bad news",
        "AKIA",
        "task-" + "a" * 30,
        "me@example.org",
        "-----BEGIN PUBLIC KEY-----",
        "http://localhost:8080?mail=me@example.org",
        "the bearer responsibilities",
        "class sk-folding-cube-container",
        "hf_hub_download_with_progress_bar",
    ],
)
def test_text_without_secrets_stays(text: str) -> None:
    """Texts that only resemble secrets are not changed."""
    assert redact(text) == text


def test_email_addresses_are_redacted_on_request() -> None:
    """They are no secrets, so they need an option. Patterns of the caller are added to the usual ones."""
    assert Redactor(email=True)("write to me@example.org.") == "write to [REDACTED:email]."
    own = Redactor(patterns={"ticket": re.compile(r"(?P<kept>T-)\d+")})
    assert own(["T-123"]) == ["T-[REDACTED:ticket]"]
    assert own.counts == {"ticket": 1}


def test_a_truncated_private_key_is_redacted() -> None:
    """The lines of the key are redacted, and the words behind them stay."""
    start = KEY.split("\n", maxsplit=1)[0]
    assert redact(f"{start}\n{'A' * 64}\n{'B' * 64}\nand so on") == "[REDACTED:private_key]and so on"
    assert redact(f"{start}{KEY}") == "[REDACTED:private_key][REDACTED:private_key]"
    numbered = f"     1\t{start}\n     2\t{'A' * 64}\n     3\t{'B' * 64}\n     4\t"
    for text in (numbered, numbered.replace("\t", "→"), numbered.replace("\t", ":"), f"> {start}\n> {'A' * 64}\n"):
        for shown in (text, json.dumps(text), json.dumps(json.dumps(text, ensure_ascii=False))):
            assert "AAAA" not in redact(shown)
            assert "BBBB" not in redact(shown)
    escaped = json.dumps(json.dumps(f"{start}\n{'A' * 64}\n{'B' * 64}\n..."))
    assert json.loads(json.loads(redact(escaped))) == "[REDACTED:private_key]..."


BORDERS = ["{}", "={}", "\n{}", "\t{}\r\n", "'{}'", '"{}"', "\x1b[31m{}\x1b[0m", "\x1b[01;31m\x1b[K{}", "\\{}", "é{}"]


@pytest.mark.parametrize(
    ("kind", "border"),
    [
        (kind, border)
        for kind, border in product(FOUND, BORDERS)
        if (kind, border) != ("npm_token", "\\{}")  # where it is no JSON, nobody can tell `\n` from a line's end
    ],
)
def test_json_text_is_redacted_and_stays_valid(kind: str, border: str) -> None:
    """Arguments and outputs of tools are JSON in a text, sometimes escaped more than once."""
    said = {"cmd": [border.format(FOUND[kind])]}
    for escaped in (json.dumps(said), json.dumps(said, ensure_ascii=False)):
        assert json.loads(redact(escaped)) == redact(said) != said
        twice = json.loads(redact(json.dumps({"out": escaped})))["out"]
        assert json.loads(twice) == redact(said)


@pytest.mark.parametrize("kind", sorted(FOUND.keys() - {"private_key", "url_password"}))
def test_a_token_in_a_percent_encoded_text(kind: str) -> None:
    """It is found as long as the token itself has no encoded characters."""
    redacted = redact(quote(f"next={FOUND[kind]}&x", safe=""))
    assert redacted == quote(f"next={KEPT.get(kind, '')}", safe="").partition("%5B")[0] + f"[REDACTED:{kind}]%26x"


def test_other_spellings_of_field_names() -> None:
    """The names of a secret are found as the tools of a provider write them."""
    secret = "a/b+" * 10
    for text in ('"SecretAccessKey": "{}"', "<SecretAccessKey>{}</SecretAccessKey>", 'aws_session_token\\": \\"{}\\"'):
        assert redact(text.format(secret)) == text.format("[REDACTED:aws_secret]")
        assert redact({"arguments": text.format(secret)}) == {"arguments": text.format("[REDACTED:aws_secret]")}
    assert redact({"env": {"AWS_SECRET_ACCESS_KEY": secret}}) == {
        "env": {"AWS_SECRET_ACCESS_KEY": "[REDACTED:aws_secret]"}
    }
    assert redact({"sessionToken": "see above"}) == {"sessionToken": "see above"}
    assert redact("postgres:\\/\\/me:hunter2@db") == "postgres:\\/\\/me:[REDACTED:url_password]@db"
    assert redact("Authorization:Bearer%20abcdefgh12345678") == "Authorization:Bearer%20[REDACTED:bearer_token]"


def test_an_escape_before_an_email_address_stays() -> None:
    """Half an escape sequence would make the text invalid JSON."""
    redactor = Redactor(email=True)
    for said in ("a\nme@example.org", "CORP\\me@example.org", "ünne@example.org", "a\u2028me@example.org"):
        assert json.loads(redactor(json.dumps(said))).endswith("[REDACTED:email]")
        assert "example" not in redactor(json.dumps(said))


def test_images_and_signatures_are_not_redacted() -> None:
    """They are encoded bytes, and a chance match would break them."""
    chance = "AI" + "za" + "x" * 35 + "+" + "A" * 100
    picture = {"type": "base64", "media_type": "image/png", "data": chance}
    assert redact(picture) == picture
    assert redact({"signature": chance}) == {"signature": chance}
    assert redact(f"data:image/png;base64,{chance}") == f"data:image/png;base64,{chance}"
    assert redact({"data": f"my key {OPENAI}"}) == {"data": "my key [REDACTED:openai_key]"}
    assert redact({"data": OPENAI * 2}) == {"data": "[REDACTED:openai_key]"}
    assert redact(f"data:image/png;base64,{chance}\n{OPENAI}").endswith("\n[REDACTED:openai_key]")


@pytest.mark.parametrize(
    "piece",
    [
        "a",
        "sk-",
        "-eyJaaaaaaaa",
        "eyJaaaaaaaa.",
        KEY.split("\n", maxsplit=1)[0],
        "-",
        "http://",
        "a://b",
        "bearer ",
        "a@",
        "a.",
        "aws_secret_access_key",
        "eyJaaaaaaaa.eyJaaaaaaaa.",
        "-----BEGIN PRIVATE KEY-----\\\\",
        "%20bearer+a",
        "secret_access_key=",
        "aa:////",
        "%20",
        "\\",
    ],
)
def test_redaction_takes_linear_time(piece: str) -> None:
    """Two hundred thousand characters that almost match are redacted quickly."""
    started = perf_counter()
    Redactor(email=True)((piece * 200_000)[:200_000])
    assert perf_counter() - started < 3


@given(st.recursive(st.none() | st.integers() | st.text(), lambda v: st.lists(v) | st.dictionaries(st.text(), v)))
def test_a_value_without_secrets_is_unchanged(value: Any) -> None:
    """Any JSON value without a secret is returned equal."""
    assert redact(value) == value


@given(st.lists(st.sampled_from([*FOUND.values(), "\n", "x", "-", "@", '"'])).map(" ".join))
def test_redaction_is_idempotent(text: str) -> None:
    """A redacted text has no secret left, so redacting it again changes nothing."""
    once = redact(text)
    assert redact(once) == once
    assert not any(secret in once for secret in (OPENAI, ANTHROPIC, GITHUB))


# --- while writing ---


def test_a_session_redacts_before_writing(log_path: Path) -> None:
    """This holds for messages, summaries, data and names. A retry with the same id is still a retry."""
    with Session.open(log_path, redact=redact, name=GITHUB, metadata={"key": OPENAI}) as session:
        stored = session.append(user(f"my key is {OPENAI}"), id="m")
        assert stored.message == user("my key is [REDACTED:openai_key]")
        assert session.append(user(f"my key is {OPENAI}"), id="m") == stored
        with pytest.raises(IdConflict):
            session.append(user("another"), id="m")
        session.append(ExtensionDataEntry(ext_type="a.b", data={"token": [GITHUB]}))
        session.append(CompactionEntry(summary=OPENAI, first_kept_entry_id=None))
        session.label("m", GITHUB)
        session.rename(OPENAI)
        session.update_metadata(key=OPENAI)
        assert session.branch("m", summary=OPENAI) is not None
        session.append_many([user(OPENAI), user("plain")])
    assert OPENAI.encode() not in log_path.read_bytes()
    assert GITHUB.encode() not in log_path.read_bytes()
    with Session.memory(redact=lambda _: {"role": "user", "content": "-"}) as session:
        assert session.append(user("a")).message == user("-")


# --- exports ---


def plain(pieces: Iterable[bytes]) -> str:
    """Returns written text without the backslashes that Markdown and JSON need."""
    return b"".join(pieces).decode().replace("\\", "")


#: how often the secret is in an export, if it has less than all records
LEAST = {"openai-jsonl": 4, "picoclaw": 7}
_SPANS = re.compile('u003c/?span(?: class="h-[a-z0-9]+")?u003e')  # highlighted code in an HTML page


@pytest.mark.no_cover
@pytest.mark.parametrize("format", WRITERS)
@pytest.mark.parametrize("kind", FOUND)
def test_no_writer_exports_a_secret(format: str, kind: str, tmp_path: Path) -> None:
    """Every occurrence of a secret is replaced in every export format."""
    with planted(FOUND[kind]) as session:
        would_be = plain(export_lines(session, format, redact=False))
        redacted = plain(export_lines(session, format, redact=redact))
        would_be, redacted = (_SPANS.sub("", text) if format == "html" else text for text in (would_be, redacted))
        found, replaced = would_be.count(BARE[kind]), redacted.count(f"[REDACTED:{kind}]")
        assert found == replaced or format == "html"  # a page cuts long titles
        assert replaced >= LEAST.get(format, 11)
        assert BARE[kind] not in redacted
        assert "[REDACTED" not in would_be
        assert session.path("f1")[0].message == {"role": "system", "content": f"({FOUND[kind]})"}  # type: ignore[attr-defined]
        export_file(session, tmp_path / "out", format, redact=redact)
    written = plain([(tmp_path / "out").read_bytes()])
    assert (_SPANS.sub("", written) if format == "html" else written) == redacted


@pytest.mark.parametrize("format", WRITERS)
def test_an_export_without_secrets_is_unchanged(format: str) -> None:
    """With and without redaction, the bytes are the same."""
    with planted("hush") as session:
        assert list(export_lines(session, format, redact=redact)) == list(export_lines(session, format))


def test_a_redacted_export_can_be_read(tmp_path: Path) -> None:
    """Its path and its open calls are those of the full export."""
    with planted(OPENAI) as session:
        for format in ("pi", "kit"):
            export_file(session, tmp_path / format, format, redact=redact)
            export_file(session, tmp_path / f"{format}-full", format)
            ours, _ = read_foreign(tmp_path / format)
            theirs, _ = read_foreign(tmp_path / f"{format}-full")
            assert [entry.id for entry in ours.path()] == [entry.id for entry in theirs.path()]
            assert ours.build_context().open_calls == theirs.build_context().open_calls


def test_contexts_for_writers_are_redacted() -> None:
    """`RedactedSession` redacts the context of every entry, though no writer reads all of them today."""
    with planted(GITHUB) as session:
        reader = RedactedSession(session, redact)
        for _, record in session.records():
            if isinstance(record, Entry):
                context = reader.build_context(leaf=record.id)
                shown = f"{context.messages} {context.settings} {[str(entry.id) for entry in context.entries]}"
                assert "[REDACTED:github_token]" in shown
                assert BARE["github_token"] not in shown


def test_a_redacted_label_stays_within_its_limit() -> None:
    """The replacement can be longer than the secret, so the label is truncated."""
    with Session.memory(redact=redact) as session:
        entry = session.append(user("a"))
        session.label(entry.id, "a://b:c@ " * 28)
        assert session.labels[entry.id] == ("a://b:[REDACTED:url_password]@ " * 28)[:256]


def test_a_secret_is_counted_once_per_export() -> None:
    """The count does not depend on how often a writer reads the record."""
    with Session.memory(name=GITHUB) as session:
        first = session.append(system(OPENAI))
        session.append(CompactionEntry(summary=OPENAI, first_kept_entry_id=None))
        session.label(first.id, GITHUB)
        for format in WRITERS:
            redactor = Redactor()
            list(export_lines(session, format, redact=redactor))
            assert redactor.counts == {"openai_key": 2, "github_token": 2}


# --- laws ---

SAID = st.lists(st.sampled_from([*FOUND.values(), "word", "\n", "é", "", '"', "\\", "sk-", "a@b.de"])).map("\n".join)
CALLS = st.lists(st.tuples(st.sampled_from(["call", "result"]), st.sampled_from(["call_1", "call_2", "toolu_3"]), SAID))


@given(st.text(), st.sampled_from(sorted(FOUND)), st.text())
def test_only_the_secret_is_replaced(before: str, kind: str, after: str) -> None:
    """The text around it stays, whatever it is."""
    text = f"{before} {FOUND[kind]} {after}"
    assert redact(text) == f"{before} {KEPT.get(kind, f'[REDACTED:{kind}]')} {after}"


@pytest.mark.no_cover
@settings(max_examples=10)  # each writes every format twice
@given(CALLS)
def test_redaction_keeps_open_calls(traffic: list[tuple[str, str, str]]) -> None:
    """Each call keeps its results. Redacting while writing and redacting on export give the same files."""
    with Session.memory() as said_all:
        for kind, id, said in traffic:
            call = {"id": id, "type": "function", "function": {"name": "f", "arguments": json.dumps({"k": said})}}
            message: dict[str, Any] = {"role": "assistant", "content": said, "tool_calls": [call]}
            if kind == "result":
                message = {"role": "tool", "tool_call_id": id, "content": said}
            said_all.append(message)
        with Session(MemoryLog(), said_all.header, redact=redact) as redacted:
            redacted.extend(record for _, record in said_all.records())
            assert redacted.build_context().open_calls == said_all.build_context().open_calls
            for format in WRITERS:
                after = list(export_lines(said_all, format, redact=redact))
                assert list(export_lines(redacted, format)) == after


@given(st.dictionaries(st.sampled_from(["text", "data", "signature", "k"]), SAID), st.booleans())
def test_redacted_json_is_still_json(said: dict[str, str], is_ascii: bool) -> None:
    """Redacting the text of a JSON document gives a document without secrets. Redacting again changes nothing."""
    text = redact(json.dumps(said, ensure_ascii=is_ascii))
    assert json.loads(text).keys() == said.keys()
    assert not any(secret in text for secret in (ANTHROPIC, GITHUB, BARE["private_key"]))
    assert redact(text) == text
    assert redact(redact(said)) == redact(said)


# --- afterwards ---


@pytest.fixture
def log(log_path: Path) -> Path:
    with Session.open(log_path, durability="process", name=f"about {GITHUB}") as session:
        session.append(user(f"my key is {OPENAI}"), id="m")
        session.append(user("nothing here"), id="n")
        session.append(ExtensionDataEntry(ext_type="a.b", data={"big": 2**64 - 1, "key": OPENAI}), id="x")
        session.label("m", "start")
        session.branch("n")
    return log_path


def facts_of(path: Path) -> list[Any]:
    """Returns the facts about a log that redaction must not change."""
    with Session.open(path, mode="r", strict=True) as session:
        frame = [(r.id, r.timestamp, getattr(r, "parent_id", None)) for _, r in session.records()]
        return [session.id, session.leaf_id, session.labels, session.header.timestamp, frame]


def test_redact_writes_a_copy_next_to_the_log(log: Path) -> None:
    """Ids, parents and times are the same, and lines without a secret are equal. The log is unchanged."""
    before = log.read_bytes()
    done = redact_log(log)
    assert (done.kinds, done.lines, done.original, done.beside) == ({"github_token": 1, "openai_key": 2}, 3, None, ())
    assert log.read_bytes() == before
    assert done.copy == f"{log}.redacted"
    copy = Path(done.copy)
    assert facts_of(copy) == facts_of(log)
    assert OPENAI.encode() not in copy.read_bytes()
    assert GITHUB.encode() not in copy.read_bytes()
    assert copy.read_bytes().split(b"\n")[2][:-36] == before.split(b"\n")[2][:-36]
    with Session.open(copy, mode="r") as session:
        assert session.name == "about [REDACTED:github_token]"
        assert session.path("x")[-1].data == {"big": 2**64 - 1, "key": "[REDACTED:openai_key]"}  # type: ignore[attr-defined]  # it has
    assert redact_log(log).copy == f"{log}.redacted-2"


def test_redact_in_place(log: Path) -> None:
    """The original is kept or removed, and other files that may hold the secrets are named."""
    facts, before = facts_of(log), log.read_bytes()
    log.with_name(f"{log.name}.torn").write_bytes(b"x")
    done = redact_log(log, in_place=True)
    assert (done.copy, done.original) == (None, f"{log}.original")
    assert Path(f"{log}.original").read_bytes() == before
    assert done.beside == (f"{log.name}.original", f"{log.name}.torn")
    assert facts_of(log) == facts
    assert redact_log(log, in_place=True).lines == 0
    log.write_bytes(before)
    done = redact_log(log, in_place=True, remove_original=True)
    assert done.original is None
    assert sorted(each.name for each in log.parent.iterdir() if OPENAI.encode() in each.read_bytes()) == [
        f"{log.name}.original"  # that of the first time
    ]


def test_redact_refuses_damaged_or_used_logs(log: Path) -> None:
    """A log that is damaged, of a newer version or in use is not changed."""
    with Session.open(log, exclusive=True), pytest.raises(SessionLocked):
        redact_log(log, in_place=True, lock_timeout_s=0.01)
    whole = log.read_bytes()
    for damaged in (whole.replace(b"nothing", b"NOTHING"), whole[:-3], whole.split(b"\n", 1)[1]):
        log.write_bytes(damaged)
        with pytest.raises(CorruptLog, match="repair it first"):
            redact_log(log)
    log.write_bytes(log_of(node("a", None), mark("b", "future.kind", critical=True)))
    with pytest.raises(ReadOnlySession):
        redact_log(log)
    assert [each.name for each in log.parent.iterdir()] == [log.name]


def run(*arguments: object) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, [str(each) for each in arguments])
    return done.exit_code, done.stdout, done.stderr


def test_the_command_reports_its_work(log: Path) -> None:
    """It prints the number of secrets by kind, and the paths of the copy and of the original."""
    counts = "  github_token: 1\n  openai_key: 2\n"
    assert run("redact", log) == (
        0,
        f"{log}: 3 lines redacted in {log}.redacted; add --yes to replace the log\n{counts}",
        "",
    )
    out = f"{log}: 3 lines redacted; the log with the secrets: kept as {log}.original\n{counts}"
    code, said, _ = run("redact", log, "--yes")
    assert (code, said) == (0, f"{out}  may still contain secrets: {log.name}.original\n")
    code, said, _ = run("redact", log, "--json")
    assert (code, json.loads(said)["schema"], json.loads(said)["lines"]) == (0, "convtree.redact", 0)
    assert run("redact", log)[1].startswith(f"{log}: nothing to redact\n")
    assert run("redact", log, "--remove-original")[0] == 2
    assert run("redact", log.with_name("none"))[0] == 3
    with Session.open(log, durability="process") as session:
        session.append(user("me@example.org"))
    assert "deleted" in run("redact", log, "--email", "--yes", "--remove-original")[1]


def test_an_export_reports_redactions(log: Path, tmp_path: Path) -> None:
    """The number of secrets by kind goes to stderr, whether the export goes to a file or to stdout."""
    report = "3 secrets redacted\n  github_token: 1\n  openai_key: 2\n"
    code, said, errors = run("export", log, "--to", "json", "--redact")
    assert (code, errors) == (0, report)
    assert said.count("[REDACTED:openai_key]") == 2
    assert run("export", log, "--to", "pi", "--redact", "-o", tmp_path / "out") == (0, "", report)
    assert OPENAI not in (tmp_path / "out").read_text()
    assert OPENAI in run("export", log, "--to", "pi")[1]
    assert run("export", log, "--to", "pi", "--email")[0] == 2
