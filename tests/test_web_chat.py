"""The web chat of the examples: real servers over one store, and clients that do what its page does."""

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from postgres import new_database
from test_service import Server

from convtree.stores._open import open_store

LONG = "word " * 500  # at the pace below, a reply of ten seconds


class Chat(Server):
    """A server of the chat."""

    script = Path(__file__).parents[1] / "examples" / "web_chat.py"

    def begin(self) -> str:
        """Begins a chat as the button does, and returns its id."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request("POST", "/")
        answer = connection.getresponse()
        answer.read()
        connection.close()
        assert answer.status == 303
        return str(answer.getheader("location")).removeprefix("/")

    def html(self, path: str) -> str:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request("GET", path)
        answer = connection.getresponse()
        assert (answer.status, answer.getheader("content-type")) == (200, "text/html; charset=utf-8")
        found = answer.read().decode()
        connection.close()
        return found

    @contextmanager
    def tab(self, id: str) -> Iterator["Tab"]:
        """Opens a chat as a browser's tab does: its events first, then its view."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request("GET", f"/{id}/events")
        answer = connection.getresponse()
        assert (answer.status, answer.getheader("content-type")) == (200, "text/event-stream; charset=utf-8")
        try:
            yield Tab(self, id, answer)
        finally:
            answer.close()
            connection.close()


class Tab:
    """A tab: the events it got, and what it last saw."""

    def __init__(self, server: Chat, id: str, stream: Any) -> None:
        self.server, self.id, self._stream = server, id, stream
        self.said: dict[str, str] = {}
        self.entries: list[dict[str, Any]] = []
        self.seen: str | None = None
        self.next_change()

    def _next(self) -> str:
        """Reads an event, and does what the page does with it."""
        kind = str(self._stream.readline().decode()).removeprefix("event: ").strip()
        data = json.loads(self._stream.readline().decode().removeprefix("data: "))
        assert self._stream.readline() == b"\n"
        if kind == "token":
            said = self.said.get(data["reply_to"], "")
            if data["at"] > len(said):  # the reply has ended meanwhile
                self.load()
            else:
                self.said[data["reply_to"]] = said[: data["at"]] + data["text"]
        return kind

    def next_token(self) -> None:
        while self._next() != "token":
            self.load()

    def next_change(self) -> None:
        while self._next() != "changed":
            pass
        self.load()

    def load(self) -> None:
        status, view = self.server.ask("GET", f"/{self.id}/view")
        assert status == 200
        self.seen, self.entries, self.said = view["leaf_id"], view["entries"], view["said"]

    def until_answered(self) -> None:
        """Waits until nobody speaks and the last entry is a reply."""
        self.load()
        while self.said or not self.entries or self.entries[-1]["role"] != "assistant":
            self.next_change()

    def post(self, call: str, **body: Any) -> tuple[int, Any]:
        return self.server.ask("POST", f"/{self.id}/{call}", body)

    def say(self, text: str, **body: Any) -> tuple[int, Any]:
        return self.post("messages", **{"text": text, "id": uuid4().hex, "leaf_id": self.seen} | body)

    def shown(self) -> list[tuple[str, str, str]]:
        """Returns what the page shows of each message."""
        return [(each["role"], each["text"].strip(), f"{each['number']}/{each['of']}") for each in self.entries]


@pytest.fixture(autouse=True)
def pace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PACE_S", "0.02")


@pytest.fixture(params=["folder", "sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "postgres":
        with new_database(request.getfixturevalue("postgres_server")) as made:
            yield made
    else:
        yield f"sqlite:///{tmp_path}/store.db" if request.param == "sqlite" else f"{tmp_path}/store"


@contextmanager
def served(url: str) -> Iterator[Chat]:
    """A server in which nothing goes wrong."""
    open_store(url, create=True).close()  # makes the tables
    server = Chat(url)
    try:
        yield server
    finally:
        errors = server.stop()
    assert errors == ""


def test_two_tabs_of_two_servers(url: str) -> None:
    """Both see a reply when it is stored, the tab of the same server word by word. A tab that is behind gets 409."""
    with served(url) as one, served(url) as two:
        id = one.begin()
        with one.tab(id) as first, one.tab(id) as second, two.tab(id) as third:
            assert first.entries == []
            begun = first.seen
            status, question = first.say("Where?")
            assert status == 201
            second.next_token()
            assert second.said.keys() == {question["id"]}
            assert "You said: Where? ".startswith(second.said[question["id"]])
            assert second.say("Why?", leaf_id=begun)[0] == 409  # as a tab that has not seen the question
            for tab in (first, second, third):
                tab.until_answered()
                assert tab.shown() == [("user", "Where?", "1/1"), ("assistant", "You said: Where?", "1/1")]
            assert third.say("Why?")[0] == 201
            first.until_answered()
            assert [text for _, text, _ in first.shown()][2:] == ["Why?", "You said: Why?"]


@pytest.mark.parametrize("url", ["folder"], indirect=True)
def test_regenerate_and_switch(url: str) -> None:
    """A second reply is 2/2. Switching leads back to the first and to what followed it; the other tab follows."""
    with served(url) as server, server.tab(server.begin()) as tab, server.tab(tab.id) as other:
        _, question = tab.say("Where?")
        tab.until_answered()
        tab.say("Why?")
        tab.until_answered()
        assert tab.post("replies", reply_to=question["id"]) == (202, question)
        tab.until_answered()
        assert tab.shown() == [("user", "Where?", "1/1"), ("assistant", "You said: Where?", "2/2")]
        assert (tab.entries[1]["number"], tab.entries[1]["next"]) == (2, None)
        while other.shown() != tab.shown():
            other.next_change()
        stale = tab.seen
        status, moved = other.post("switch", entry_id=other.entries[1]["previous"], leaf_id=other.seen)
        assert (status, tab.post("switch", entry_id=stale, leaf_id=stale)[0]) == (200, 409)
        while tab.seen == stale:
            tab.next_change()
        assert tab.seen == moved["leaf_id"]
        assert [shown[2] for shown in tab.shown()] == ["1/1", "1/2", "1/1", "1/1"]
        assert [shown[1] for shown in tab.shown()][2:] == ["Why?", "You said: Why?"]


@pytest.mark.parametrize("url", ["folder"], indirect=True)
def test_stop_keeps_what_was_said(url: str) -> None:
    """It is stored as interrupted when `stop` returns, and the chat goes on. So it is when the server ends."""
    with served(url) as server, server.tab(server.begin()) as tab:
        _, question = tab.say(LONG)
        for _ in range(3):
            tab.next_token()
        said = tab.said[question["id"]]
        assert tab.post("stop", reply_to=question["id"]) == (200, {"stopped": True})
        tab.load()
        reply = tab.entries[-1]
        assert (reply["role"], reply["status"], reply["text"][: len(said)]) == ("assistant", "interrupted", said)
        assert len(reply["text"]) < len(LONG)
        assert tab.post("stop", reply_to=question["id"]) == (200, {"stopped": False})
        assert tab.say("And?")[0] == 201
        tab.until_answered()
        assert tab.shown()[-1] == ("assistant", "You said: And?", "1/1")
        tab.say(LONG)
        tab.next_token()
    with open_store(url) as store, store.open(tab.id, read_only=True) as session:
        last = session.path()[-1]
        assert (last.status, last.text[:10]) == ("interrupted", "You said: ")  # type: ignore[attr-defined]


@pytest.mark.parametrize("url", ["folder"], indirect=True)
def test_the_work_of_a_sub_agent_is_shown(url: str) -> None:
    """It is listed at the message with the call, and has a page like any chat."""
    with served(url) as server, server.tab(server.begin()) as tab:
        tab.say("research owls")
        while len(tab.entries) < 3:
            tab.next_change()
        tab.until_answered()
        found = "You said: What is known about owls?"
        assert [shown[:2] for shown in tab.shown()] == [
            ("user", "research owls"),
            ("assistant", "I ask a sub-agent."),
            ("assistant", f"You said: {found}"),
        ]
        assert [[task["name"] for task in each["tasks"]] for each in tab.entries] == [[], ["owls"], []]
        with server.tab(tab.entries[1]["tasks"][0]["id"]) as task:
            assert [shown[:2] for shown in task.shown()] == [
                ("user", "What is known about owls?"),
                ("assistant", found),
            ]
        assert "owls?" not in server.html("/")  # the list is about chats


def test_a_killed_server_loses_nothing_that_it_acknowledged(url: str) -> None:
    """Another process continues. The question that it was answering is asked again. There is one system message."""
    open_store(url, create=True).close()
    killed = Chat(url)
    id = killed.begin()
    with killed.tab(id) as tab:
        for text in ("1", "2"):
            assert tab.say(text, id=f"id-{text}")[0] == 201
            tab.until_answered()
        shown = tab.shown()
        assert tab.say(LONG, id="id-3")[0] == 201
        tab.next_token()
        killed.process.send_signal(signal.SIGKILL)
        killed.process.communicate()
    with served(url) as server, server.tab(id) as tab:
        assert tab.shown() == [*shown, ("user", LONG.strip(), "1/1")]
        assert [each["id"] for each in tab.entries[::2]] == ["id-1", "id-2", "id-3"]
        assert tab.say("2", id="id-2", leaf_id=None) == (201, {"id": "id-2"})  # a retry stores and asks nothing
        assert tab.say("3", id="id-2", leaf_id=None)[1]["error"] == "IdConflict"
        assert tab.post("replies", reply_to="id-3")[0] == 202
        tab.next_token()
        tab.post("stop", reply_to="id-3")
        tab.load()
        assert [each["status"] for each in tab.entries] == [None] * 5 + ["interrupted"]
        assert tab.say("4")[0] == 201
        tab.until_answered()
    with open_store(url) as store, store.open(id, read_only=True) as session:
        roles = [message["role"] for message in session.build_context().messages]
        assert roles == ["system", *["user", "assistant"] * 4]
        assert session.findings == ()


@pytest.mark.parametrize("url", ["folder"], indirect=True)
def test_mistakes_and_hostile_text(url: str) -> None:
    """A mistake of the client has its status. What was said is never HTML."""
    with served(url) as server, server.tab(server.begin()) as tab:
        for path in ("/none", "/none/view", "/none/events"):
            assert server.ask("GET", path)[0] == 404
        assert server.ask("POST", "/none/messages", {"text": "x", "id": "x"})[0] == 404
        assert tab.post("replies", reply_to="none")[0] == 404
        assert tab.post("switch", entry_id="none", leaf_id=tab.seen)[0] == 404
        assert tab.say("x", id="../x")[0] == 422
        assert server.ask("POST", f"/{tab.id}/messages", ["x"])[0] == 422
        assert tab.post("messages", text=5, id="x")[0] == 422
        assert tab.say("<script>alert(1)</script>")[0] == 201
        tab.until_answered()
        assert "<script>alert(1)" not in server.html("/")
        assert "&lt;script&gt;alert(1)" in server.html("/")
        assert "alert(1)" not in server.html(f"/{tab.id}")
        assert tab.shown()[0][1] == "<script>alert(1)</script>"
