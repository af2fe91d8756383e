"""Full text search."""

from __future__ import annotations

from typing import Any

import pytest

from convtree._model.entries import Entry, MessageEntry, ParentSession, Visibility, VisibilityMark
from convtree.stores._results import Hit
from convtree.stores._session_store import SessionStore
from convtree.testing._base import Clock, StoreTests, asked, assistant, begin, ids, user


class SearchTests(StoreTests):
    """Full text search."""

    def test_search_finds_messages_with_all_words(self, store: SessionStore) -> None:
        """In any order and case. Punctuation is ignored, and parts of words are not found."""
        with store.create(id="a") as session:
            one = session.append(user("Where shall we go: Rome, or Oslo?")).id
            two = session.append(assistant("To ROME!")).id
        begin(store, "b", "nothing of the kind")
        expected = {
            "rome": [one, two],
            "ROME oslo": [one],
            "oslo, rome.": [one],
            '"rome" -oslo': [one],
            "rome paris": [],
            "rom": [],
            "": [],
            "?!": [],
        }
        for text, found in expected.items():
            assert asked(store, text) == sorted(("a", id) for id in found)

    @pytest.mark.parametrize(
        ("text", "finds", "not_found"),
        [
            ("Größe und STRASSE", ["größe", "GRÖSSE", "straße", "grosse"], ["groß"]),
            ("le caf\u00e9 cre\u0300me", ["café", "cafe\u0301", "CAFE", "crème"], ["caf"]),
            ("東京に行きたい", ["東京", "行き", "京に"], ["大阪"]),
            ("ガイドを見た", ["ガイド", "カ\u3099イト\u3099"], ["ハイト"]),
            ("한국어 문장", ["한국어", "문장"], ["국어"]),
            ("ภาษาไทย", ["ภาษา"], ["ฟ"]),
            ("Привет, мир", ["привет", "МИР"], ["ми"]),
            ("fox 🦊 and 🐺 wolf", ["🦊 fox", "fox wolf"], ["🐈 cat"]),
            ("a AND b OR NOT c NEAR(d) e*", ["and or not near", "NEAR(d)", "e*", "OR"], ["zebra OR a"]),
            ('say "hello" {x: 1} ^start col:umn', ['"hello', "^start", "col:umn", "{x:"], ['"bye"', "x:2"]),
            ("Robert'); DROP TABLE ct_lines;--", ["Robert');", "drop table"], ["' OR '1'='1", "--"]),
            ("100% of snake_case", ["100%", "snake", "snake_case", "_case"], ["%", "1%"]),
            ("x \U0001e900 ᦰ y", ["\U0001e900", "ᦰ"], ["ᦱ"]),
            ("\0nul\0", ["nul", "\0nul"], ["\0x"]),
        ],
    )
    def test_text_is_never_a_query_language(
        self, store: SessionStore, text: str, finds: list[str], not_found: list[str]
    ) -> None:
        """In any script and Unicode form. Operators of query languages are plain text."""
        begin(store, "a", text)
        begin(store, "b", "something else altogether")
        assert [query for query in finds if [hit.session_id for hit in store.search(query)] != ["a"]] == []
        assert [query for query in not_found if store.search(query)] == []

    def test_the_fields_of_a_hit(self, store: SessionStore, clock: Clock) -> None:
        """All fields of a hit. The snippet surrounds the first word that was found."""
        with store.create(id="a", name="N") as session:
            entry = session.append(assistant("so " * 200 + "here is the\nneedle, " + "and " * 200))
        (hit,) = store.search("NEEDLE")
        assert hit == Hit(
            session_id="a",
            session_name="N",
            session_title="N",
            entry_id=entry.id,
            role="assistant",
            timestamp=entry.timestamp,
            snippet=hit.snippet,
            on_path=True,
            score=hit.score,
        )
        assert "here is the needle, and" in hit.snippet
        assert hit.snippet[0] == hit.snippet[-1] == "…"
        assert len(hit.snippet) <= 200
        assert clock.text()[:19] in (hit.timestamp or "")

    def test_a_hit_has_the_title_of_its_session(self, store: SessionStore) -> None:
        """The first question of a session without a name, sessions of sub-agents too."""
        begin(store, "a", "where to?", "needle")
        begin(store, "t", "find a needle", parent_session=ParentSession(id="a", kind="task"))
        assert {hit.session_id: hit.session_title for hit in store.search("needle", tasks=True)} == {
            "a": "where to?",
            "t": "find a needle",
        }

    def test_hits_on_side_branches_are_marked(self, store: SessionStore) -> None:
        """`on_path` follows the leaf."""
        with store.create(id="a") as session:
            root = session.append(user("needle root")).id
            side = session.append(user("needle side")).id
            main = session.append(user("needle main"), parent_id=root).id
        assert {hit.entry_id: hit.on_path for hit in store.search("needle")} == {root: True, side: False, main: True}
        with store.open("a") as session:
            session.branch(None)
        assert {hit.on_path for hit in store.search("needle")} == {False}

    def test_messages_for_nobody_are_not_found(self, store: SessionStore) -> None:
        """Whether they were appended so or hidden later. A message that is shown again is found again."""
        with store.create(id="a") as session:
            seen_by: list[Visibility] = ["all", "model", "user", "nobody"]
            names = [session.append(user("needle"), visible_to=seen).id for seen in seen_by]
            found = dict(zip(names, "amun", strict=True))

            def asked_for() -> str:
                hits = "".join(sorted(found[hit.entry_id] for hit in store.search("needle")))
                assert ids(store.list(text="needle")) == (["a"] if hits else [])
                return hits

            assert asked_for() == "amu"
            for number, id in enumerate(names):
                session.extend([VisibilityMark(id=f"h{number}", target_id=id, visible_to="nobody")])
            assert asked_for() == ""
            session.extend([VisibilityMark(id="p", target_id=names[0], pinned=True)])
            assert asked_for() == ""
            for id, seen in zip(names, seen_by[:3] + seen_by[:1], strict=True):
                session.extend([VisibilityMark(id=f"s-{id}", target_id=id, visible_to=seen)])
            assert asked_for() == "amnu"
        store.delete("a")
        assert store.search("needle") == []

    def test_a_replaced_message_is_still_found(self, store: SessionStore) -> None:
        """It is on other paths, and what was said before an edit can be looked up."""
        with store.create(id="a") as session:
            first = session.append(user("needle one")).id
            second = session.append(MessageEntry(message=user("needle two"), replaces=first)).id
        assert asked(store, "needle") == sorted([("a", first), ("a", second)])
        assert store.info("a").first_user_message == "needle one"

    def test_better_hits_come_first(self, store: SessionStore) -> None:
        """Scores do not increase, and `limit` keeps the best."""
        begin(store, "much", "needle needle needle")
        begin(store, "less", "needle " + "hay " * 300)
        begin(store, "none", "hay")
        hits = store.search("needle")
        assert [hit.session_id for hit in hits] == ["much", "less"]
        assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
        assert store.search("needle", limit=1) == hits[:1]

    def test_search_filters(self, store: SessionStore) -> None:
        """By directory, owner and archived flag. Archived sessions are included by default."""
        begin(store, "a", "needle", cwd="/x", owner="ann")
        begin(store, "b", "needle", cwd="/y", owner="bob")
        store.archive("b")
        everywhere: list[tuple[dict[str, Any], list[str]]] = [
            ({}, ["a", "b"]),
            ({"cwd": "/x"}, ["a"]),
            ({"owner": "bob"}, ["b"]),
            ({"archived": False}, ["a"]),
            ({"archived": True, "owner": "ann"}, []),
        ]
        for narrowed, found in everywhere:
            assert sorted(hit.session_id for hit in store.search("needle", **narrowed)) == found

    def test_a_search_in_a_range_of_time(self, store: SessionStore, clock: Clock) -> None:
        """The time of the message counts, not that of the session's activity; the end is not in the range."""
        found: list[Entry] = []
        with store.create(id="a") as session:
            for text in ("needle", "needle", "hay"):
                found.append(session.append(user(text)))
                clock.pass_by(seconds=60)
        one, two = (entry.timestamp for entry in found[:2])
        made = [entry.id for entry in found]
        ranges: list[tuple[dict[str, Any], list[str]]] = [
            ({"since": two}, made[1:2]),
            ({"until": two}, made[:1]),
            ({"since": one, "until": two}, made[:1]),
            ({"since": one}, made[:2]),
            ({"until": one}, []),
            ({"since": found[2].timestamp}, []),
        ]
        for narrowed, expected in ranges:
            hits = store.search("needle", **narrowed)
            assert sorted(hit.entry_id for hit in hits) == sorted(expected)
        with pytest.raises(ValueError, match="until: not a time: 'noon'"):
            store.search("needle", until="noon")

    def test_long_queries_and_long_messages(self, store: SessionStore) -> None:
        """A message of a megabyte is found by its first words. A query of thousands of words is answered."""
        text = "needle " + " ".join(f"w{number}" for number in range(150_000))
        begin(store, "a", text)
        assert asked(store, "needle w1")[0][0] == "a"
        assert asked(store, " ".join(f"w{number}" for number in range(5000)))[0][0] == "a"
        assert asked(store, "needle " * 5000)[0][0] == "a"
        assert store.search(" ".join(f"x{number}" for number in range(5000))) == []
