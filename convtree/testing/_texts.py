"""Texts that are hard to store, in every field that has one. All stores take and refuse the same ones."""

from __future__ import annotations

import re
import string
from random import Random
from typing import Any

import pytest

from convtree._engine import codec
from convtree._engine.codec import LINE_LIMIT
from convtree._engine.json_values import DEPTH_LIMIT, dump
from convtree._engine.write_batch import reseal
from convtree._model.entries import (
    BranchSummaryEntry,
    CompactionEntry,
    ExtensionDataEntry,
    Header,
    LabelMark,
    MessageEntry,
    ModelChangeEntry,
    ParentSession,
    SessionInfoMark,
)
from convtree._model.errors import EntryNotFound, InvalidMessage, SessionNotFound
from convtree.stores._memory import MemoryBackend
from convtree.stores._session_store import SessionStore
from convtree.testing._base import StoreTests, asked, assistant, begin, ids, user

_LETTERS = string.ascii_letters + string.digits
_RANDOM = "".join(Random(1).choices(_LETTERS, k=6000))

#: texts that every field takes, by what is hard about them
TEXTS: dict[str, str] = {
    "empty": "",
    "one space": " ",
    "longer than an index entry": _RANDOM,
    "much longer": _RANDOM * 17,
    "long, of 4 bytes each": "".join(map(chr, Random(2).choices(range(0x20000, 0x2A000), k=3000))),
    "NUL": "a\0b",
    "only NUL": "\0",
    "the escape of NUL": "a\x1a0b\x1a1\x1a",
    "a noncharacter": "a\uffffb\U0010ffff",
    "line separators": "a\u2028b\u2029c\x85d",
    "newlines": "a\nb\r\nc\r",
    "combining": "e\u0301\u0300\u0327" * 50,
    "composed": "\u00e9\u212b",
    "decomposed": "e\u0301A\u030a",
    "right to left": "\u202eabc\u202c \u05d0\u0628 \u2066x\u2069",
    "emoji": "👩\u200d👩\u200d👧 🏳\ufe0f\u200d🌈",
    "a byte order mark": "\ufeffa",
    "control characters": "".join(map(chr, range(1, 32))) + "\x7f\x9b31m",
    "LIKE": "100%_\\%",
    "a wildcard": "%",
    "an underscore": "_",
    "quotes": "'\"`''\"\"",
    "backslashes": "\\\\x41\\u0000\\",
    "SQL": "'); DROP TABLE ct_sessions; --",
    "a parameter": ":owner ?1 $1 %s %(id)s {marks}",
    "a path": "../../etc/./passwd",
    "spaces at the end": "a  ",
    "upper case": "STRASSE",
    "lower case": "strasse",
    "digits": "0012",
    "null": "null",
    "hexadecimal": "\\x00ff",
}
#: no text of Unicode: refused everywhere
SURROGATES = ("\ud800", "a\udcffb", "\udc00\ud800")


def near(text: str) -> str:
    """Returns another text that begins like this one for as long as possible."""
    return f"{text[:-1]}~" if text else "~"


class TextTests(StoreTests):
    """Every text is stored as it is, and found by itself only."""

    def test_headers(self, store: SessionStore) -> None:
        """Owner, directories, name, metadata, key and parent; and the filters for them."""
        for number, (what, text) in enumerate(TEXTS.items()):
            for id, value in ((f"s{number}", text), (f"n{number}", near(text))):
                parent = ParentSession(id=value, entry_id=value)
                described: dict[str, Any] = {"owner": value, "name": value, "parent_session": parent}
                described |= {"cwd": f"/c/{value}~", "git_root": f"/g/{value}~", "metadata": {value: value}}
                begin(store, id, **described)
                info = store.info(id)
                with store.open(id, read_only=True) as session:
                    header = session.header
                    assert (what, header.owner, header.name, header.parent_session) == (what, value, value, parent)
                    assert (header.metadata, session.metadata, session.name) == ({value: value}, {value: value}, value)
                    assert (info.cwd, info.git_root) == (header.cwd, header.git_root) == (session.cwd, session.git_root)
                assert (what, info.owner, info.name, info.parent_session) == (what, value, value, parent)
        for number, (what, text) in enumerate(TEXTS.items()):
            for id, value in ((f"s{number}", text), (f"n{number}", near(text))):
                found = {
                    "owner": ids(store.list(owner=value)),
                    "cwd": ids(store.list(cwd=f"/c/{value}~")),
                    "git_root": ids(store.list(git_root=f"/g/{value}~")),
                    "metadata": ids(store.list(metadata={value: value})),
                    "parent": ids(store.list(parent=value)),
                    "children": ids(store.children(value)),
                }
                expected = [each for each in sorted_ids() if value_of(each) == value]
                assert (what, {name: sorted(each) for name, each in found.items()}) == (
                    what,
                    dict.fromkeys(found, expected),
                ), id

    def test_a_change_of_the_description(self, store: SessionStore) -> None:
        """Names, directories and metadata that are changed later."""
        for number, (what, text) in enumerate(TEXTS.items()):
            id = begin(store, f"s{number}")
            with store.open(id) as session:
                session.rename(text)
                session.set_directories(cwd=f"/c/{text}~", git_root=f"/g/{text}~")
                session.update_metadata({text: text})
                shown = (session.name, session.cwd, session.git_root)
            info = store.info(id)
            assert (what, info.name, info.cwd, info.git_root) == (what, *shown)
            assert (what, info.name, ids(store.list(metadata={text: text}))) == (what, text, [id])
            assert id in ids(store.list(cwd=f"/c/{text}~", limit=None))
        for number, text in enumerate(TEXTS.values()):
            assert ids(store.list(git_root=f"/g/{near(text)}~", text="nothing")) == []
            assert store.info(f"s{number}").name == text

    def test_deep_metadata(self, store: SessionStore) -> None:
        """A value as deep as a line may be is stored and found. One level more is refused by its name."""
        deep: Any = "x"
        for _ in range(DEPTH_LIMIT - 2):  # the line is a level, and so is the metadata
            deep = [deep]
        begin(store, "s", metadata={"k": deep})
        assert ids(store.list(metadata={"k": deep})) == ["s"]
        assert ids(store.list(metadata={"k": deep[0]})) == []
        refused("metadata", lambda: store.create(metadata={"k": [deep]}))
        refused("metadata", lambda: store.list(metadata={"k": [deep]}))

    def test_keys(self, store: SessionStore) -> None:
        """A session is found by the text that its id was made from, and by no other."""
        for text in TEXTS.values():
            with store.open(key=(text, [text]), create=True) as session:
                session.append(user("hello"))
            with store.open(key=(text, [text])) as session:
                assert (session.header.key, store.info(session.id).key) == ([text, [text]], [text, [text]])
            with pytest.raises(SessionNotFound):
                store.open(key=(near(text), [text]))

    def test_entries(self, store: SessionStore) -> None:
        """All texts of entries and marks are read back as they were, also by another handle."""
        for number, (what, text) in enumerate(TEXTS.items()):
            id, odd = f"s{number}", {text: text}
            with store.create(id=id) as session:
                first = session.append(user(text), extra=odd)
                message = {"role": text, "content": text}
                second = session.append(message, provider=text, model=text, usage={text: 1, "input_tokens": 2})
                session.extend(
                    [
                        ExtensionDataEntry(id="x", parent_id=second.id, ext_type=text, data=odd, source_id=text),
                        BranchSummaryEntry(id="b", parent_id="x", from_id=first.id, summary=text, details=odd),
                        CompactionEntry(id="c", parent_id="b", summary=text, first_kept_entry_id=None, model=text),
                        ModelChangeEntry(id="m", parent_id="c", provider=text, model=text or "~", settings=odd),
                        LabelMark(id="l", target_id=first.id, label=text[:128]),
                        SessionInfoMark(id="i", name=text, metadata=odd),
                    ]
                )
                written = [record for _, record in session.records()]
            with store.open(id, read_only=True) as session:
                assert (what, [record for _, record in session.records()]) == (what, written)
                assert (what, session.labels) == (what, {first.id: text[:128]})
                assert session.findings == ()
            info = store.info(id)
            models = tuple(each for each in dict.fromkeys((text, text or "~")) if each)
            assert (what, info.name, sorted(info.models)) == (what, text, sorted(models))
            assert (info.usage.input_tokens, info.entries, info.leaf_id) == (2, 6, "m")

    def test_sums(self, store: SessionStore) -> None:
        """Models and owners are told apart, however late they differ. An empty text is as good as none."""
        expected: dict[str | None, int] = {}
        for number, text in enumerate(TEXTS.values()):
            for id, value in ((f"s{number}", text), (f"n{number}", near(text))):
                expected[value or None] = expected.get(value or None, 0) + 1
                with store.create(id=id, owner=value) as session:
                    usage = {"input_tokens": 1}
                    session.append(assistant("x"), provider=value, model=value, usage=usage)
        found = {(row.provider, row.model): row.usage.input_tokens for row in store.usage(by="model")}
        assert found == {(each, each): count for each, count in expected.items()}
        for number, text in enumerate(TEXTS.values()):
            assert store.usage(f"s{number}", by="model", owner=text)[0].model == (text or None)
            store.fork(f"s{number}", new_id=f"f{number}").close()
            assert sorted(store.delete(f"s{number}").copies) == [f"f{number}"]
            store.delete(f"f{number}")
            store.delete(f"n{number}")
        assert {(row.owner, row.model): row.usage.input_tokens for row in store.ledger()} == {
            (each, each): count for each, count in expected.items()
        }
        for text in filter(None, TEXTS.values()):
            assert [row.provider for row in store.ledger(owner=text)] == [text]

    def test_scopes(self, store: SessionStore) -> None:
        """A handle of one owner never shows what is another's."""
        for number, text in enumerate(TEXTS.values()):
            begin(store, f"s{number}", owner=text)
            begin(store, f"n{number}", owner=near(text))
        for text in filter(None, TEXTS.values()):
            expected = [each for each in sorted_ids() if value_of(each) == text]
            handle = store.scoped(owner=text)
            assert sorted(ids(handle.list())) == expected
            assert sorted(info.id for info in handle.prune(keep=0)) == expected
            assert sorted(store.erase(owner=text)) == expected
        assert sorted(ids(store.list(limit=None))) == [
            each for each in sorted_ids() if value_of(each) not in [*filter(None, TEXTS.values())]
        ]

    def test_what_other_programs_wrote(self, store: SessionStore) -> None:
        """Logs may name parents, targets and ids that no writer of convtree takes. They are copied as they are."""
        backend = MemoryBackend()
        with SessionStore(backend) as source:
            for number, text in enumerate(TEXTS.values()):
                backend.write_new(f"s{number}", foreign_lines(f"s{number}", text))
            copied = source.copy_to(store)
            assert {(each.status, each.reason) for each in copied} == {("copied", None)}
            assert len(copied) == len(TEXTS)
            for number, text in enumerate(TEXTS.values()):
                found, expected = (ids(each.list(limit=None, tasks=True)) for each in (store, source))
                assert sorted(found) == sorted(expected)
                assert (store.info(f"s{number}"), text) == (source.info(f"s{number}"), text)
                assert store.sessions_with("e1") == sorted(found)
                store.delete(f"s{number}")
                source.delete(f"s{number}")
            assert store.ledger() == source.ledger() == []

    def test_words(self, store: SessionStore) -> None:
        """A search finds the words of every text, and none by wildcards."""
        for number, text in enumerate(TEXTS.values()):
            begin(store, f"s{number}", f"needle{number} {text}", name=text)
        for number in range(len(TEXTS)):
            assert [found for found, _ in asked(store, f"Needle{number}")] == [f"s{number}"]
        assert [found for found, _ in asked(store, "STRASSE")] == asked_ids("upper case", "lower case")
        assert [found for found, _ in asked(store, "100%")] == asked_ids("LIKE")
        for text in TEXTS.values():
            store.search(text)
            store.list(text=text)

    def test_more_words_than_an_index_takes(self, store: SessionStore) -> None:
        """Only the beginning of a message is searched, which fits everywhere."""
        distinct = " ".join(f"\ufdf2{number:x}\ufdf4" for number in range(20_000))
        wide = " ".join("\ufdf4" * 15 + f"{number:x}" for number in range(5_000))
        begin(store, "s", f"needle {distinct}", f"needle {wide}", "needle " + "x" * 2_000_000)
        assert [found for found, _ in asked(store, "needle")] == ["s"] * 3

    def test_the_longest_line(self, store: SessionStore) -> None:
        """A message may fill a line. One byte more is refused, and nothing is written."""
        with store.create(id="s") as session:
            session.append(user(""))
            ((_, entry),) = session.records()
            used = len(codec.encode(entry)) + codec.SEAL_LENGTH + 1 + len(f'"{entry.id}"') - len("null")
            longest = _RANDOM * (LINE_LIMIT // 6000 + 1)
            session.append(user(longest[: LINE_LIMIT - used]))
            with pytest.raises(InvalidMessage, match="limit"):
                session.append(user(longest[: LINE_LIMIT - used + 1]))
        with store.open("s", read_only=True) as session:
            assert [len(entry.text) for entry in session.path() if isinstance(entry, MessageEntry)] == [
                0,
                LINE_LIMIT - used,
            ]

    def test_a_lone_surrogate_is_refused_when_it_is_written(self, store: SessionStore) -> None:
        """The error names the place, and nothing is stored."""
        with store.create(id="s") as session:
            session.append(user("hello"))
            for text in SURROGATES:
                for name in ("owner", "name", "cwd", "git_root"):
                    refused(name, lambda name=name, text=text: store.create(**{name: text}))
                refused("metadata.k", lambda text=text: store.create(metadata={"k": text}))
                refused("metadata", lambda text=text: store.create(metadata={text: 1}))
                refused("parent_session", lambda text=text: store.create(parent_session=ParentSession(id=text)))
                refused("message.content", lambda text=text: session.append(user(text)))
                for name in ("provider", "model"):
                    refused(name, lambda name=name, text=text: session.append(user("x"), **{name: text}))
                refused("usage", lambda text=text: session.append(user("x"), usage={text: 1}))
                refused("name", lambda text=text: session.rename(text))
                refused("label", lambda text=text: session.label(session.leaf_id or "", text))
                refused("metadata", lambda text=text: session.update_metadata({"k": text}))
                refused("cwd", lambda text=text: session.set_directories(cwd=text))
                refused("ext_type", lambda text=text: session.append(ExtensionDataEntry(ext_type=text, data={})))
                with pytest.raises(ValueError, match="surrogate"):
                    store.create(key=text)
        assert (ids(store.list()), store.info("s").entries) == (["s"], 1)

    def test_arguments_that_no_session_can_have(self, store: SessionStore) -> None:
        """A lone surrogate is refused by filters, too. An id or a cursor that is none is refused by its name."""
        begin(store, "s", owner="?", cwd="/?")
        for text in SURROGATES:
            refused("owner", lambda text=text: store.list(owner=text))
            refused("owner", lambda text=text: store.count(owner=text))
            refused("owner", lambda text=text: store.search("hello", owner=text))
            refused("owner", lambda text=text: store.usage(owner=text))
            refused("owner", lambda text=text: store.latest(owner=text))
            refused("owner", lambda text=text: store.resumable(cwd=None, owner=text))
            refused("owner", lambda text=text: store.prune(keep=0, owner=text))
            refused("owner", lambda text=text: store.ledger(owner=text))
            refused("owner", lambda text=text: store.erase(owner=text))
            refused("owner", lambda text=text: store.scoped(owner=text))
            refused("cwd", lambda text=text: store.list(cwd=f"/{text}"))
            refused("cwd", lambda text=text: store.resumable(cwd=f"/{text}"))
            refused("git_root", lambda text=text: store.list(git_root=f"/{text}"))
            refused("parent", lambda text=text: store.list(parent=text))
            refused("metadata.k", lambda text=text: store.list(metadata={"k": text}))
        assert store.search("hello \ud800") == store.search("hello") != []
        with store.open("s", read_only=True) as session:
            for text in (*TEXTS.values(), *SURROGATES):
                if text != "0012" and text not in ("STRASSE", "strasse", "null"):
                    refused("id", lambda text=text: store.info(text))
                    refused("entry_id", lambda text=text: store.sessions_with(text))
                with pytest.raises(ValueError, match="cursor"):
                    store.list(cursor=text)
                with pytest.raises(EntryNotFound):
                    session.entry(text)
        assert ids(store.list()) == ["s"]


def sorted_ids() -> list[str]:
    """Returns the ids of the sessions that tests make for the texts."""
    return sorted(f"{letter}{number}" for letter in "sn" for number in range(len(TEXTS)))


def value_of(id: str) -> str:
    """Returns the text that such a session was made with."""
    text = list(TEXTS.values())[int(id[1:])]
    return text if id[0] == "s" else near(text)


def asked_ids(*what: str) -> list[str]:
    """Returns the ids of the sessions of some texts."""
    return sorted(f"s{list(TEXTS).index(each)}" for each in what)


def refused(place: str, call: Any) -> None:
    """Checks that a call raises InvalidMessage, and that this names the place."""
    with pytest.raises(InvalidMessage) as caught:
        call()
    top = place.partition(".")[0]
    assert re.split(r"[.\[]", caught.value.place)[0] in (top, f"a key of {top}"), caught.value


def foreign_lines(id: str, text: str) -> list[bytes]:
    """Returns the lines of a log with a text where convtree has ids."""
    header = Header(id=id, parent_session=ParentSession(id=text, entry_id=text, kind="task"), copied_to=text)
    as_json = dump({"": text})[4:-1]
    bodies = [
        b'{"id":"e1","parent_id":null,"type":"message","timestamp":null,"message":{"role":"user","content":"one"}',
        b'{"id":"e2","parent_id":%b,"type":"message","timestamp":%b,"message":{"role":%b,"content":"x"}'
        % (as_json, as_json, as_json),
        b'{"id":"e3","type":"visibility","timestamp":null,"target_id":%b,"visible_to":"model"' % as_json,
        b'{"id":"e4","type":"label","timestamp":null,"target_id":%b,"label":%b' % (as_json, as_json),
        b'{"id":"e5","type":"leaf","timestamp":null,"target_id":%b' % as_json,
    ]
    return list(reseal(codec.encode_header(header), bodies))
