"""The web service of the examples: two real servers over one store."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from helpers import assistant, user
from postgres import new_database

from convtree import ModelChangeEntry
from convtree.stores._open import open_store

SERVICE = Path(__file__).parents[1] / "examples" / "service.py"


class Server:
    """A server process, and what can be asked of it."""

    script = SERVICE

    def __init__(self, url: str) -> None:
        environ = os.environ | {"CONVTREE_URL": url, "PORT": "0"}
        self.process = subprocess.Popen([sys.executable, self.script], env=environ, stderr=subprocess.PIPE, text=True)
        assert self.process.stderr is not None
        self.log: list[str] = []
        for line in self.process.stderr:
            self.log.append(line)
            if found := re.search(r"running on http://127\.0\.0\.1:(\d+)", line):
                self.port = int(found[1])
                return
        raise AssertionError("".join(self.log))

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Sends a request; returns the status and the answer."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request(method, path, None if body is None else json.dumps(body))
        answer = connection.getresponse()
        said = json.loads(answer.read())
        connection.close()
        return answer.status, said

    def say(self, message: dict[str, Any], **body: Any) -> tuple[int, Any]:
        """Appends a message to the session that the tests talk in."""
        return self.ask("POST", "/sessions/s/messages", {"message": message} | body)

    @contextmanager
    def events(self, last_id: str | None = None) -> Iterator[Iterator[dict[str, Any]]]:
        """Follows the session."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request("GET", "/sessions/s/events", headers={} if last_id is None else {"Last-Event-ID": last_id})
        answer = connection.getresponse()
        assert (answer.status, answer.getheader("content-type")) == (200, "text/event-stream; charset=utf-8")
        yield self._read(answer)
        answer.close()
        connection.close()

    def _read(self, answer: HTTPResponse) -> Iterator[dict[str, Any]]:
        while line := answer.readline():
            if line.startswith(b"data: "):
                yield json.loads(line[6:])

    def stop(self) -> str:
        """Ends the server; returns what it has logged as errors."""
        self.process.send_signal(signal.SIGINT)
        _, rest = self.process.communicate(timeout=30)
        return "".join(line for line in [*self.log, *rest.splitlines()] if "INFO" not in line)


@pytest.fixture(params=["folder", "sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A store of every kind that several processes can share."""
    if request.param == "postgres":
        with new_database(request.getfixturevalue("postgres_server")) as made:
            yield made
    else:
        yield f"sqlite:///{tmp_path}/store.db" if request.param == "sqlite" else f"{tmp_path}/store"


@pytest.fixture
def servers(url: str) -> Iterator[tuple[Server, Server]]:
    """Two servers over one store; nothing goes wrong inside them."""
    open_store(url, create=True).close()  # makes the tables
    two = Server(url), Server(url)
    try:
        yield two
    finally:
        errors = [server.stop() for server in two]
    assert errors == ["", ""]


def test_what_one_worker_stores_another_serves(servers: tuple[Server, Server]) -> None:
    """Messages, contexts and branches are the same from every worker."""
    one, two = servers
    status, question = one.say(user("Where?"))
    assert (status, question["parent_id"], question["message"]) == (201, None, user("Where?"))
    status, rome = two.say(assistant("Rome"), leaf_id=question["id"])
    assert (status, rome["parent_id"]) == (201, question["id"])
    status, oslo = one.say(assistant("Oslo"), parent_id=question["id"])
    assert status == 201
    for server in servers:
        assert server.ask("GET", "/sessions/s/context") == (
            200,
            {"leaf_id": oslo["id"], "model": None, "messages": [user("Where?"), assistant("Oslo")]},
        )
        assert server.ask("GET", f"/sessions/s/context?leaf={rome['id']}")[1]["messages"][-1] == assistant("Rome")
        status, found = server.ask("GET", "/sessions/s/branches")
        assert (status, found) == (200, {"leaf_id": oslo["id"], "branches": [rome, oslo]})


def test_a_reply_lands_whatever_happened_meanwhile(servers: tuple[Server, Server], url: str) -> None:
    """It continues a note that another program appended, and is a sibling of what another client said."""
    one, two = servers
    one.say(user("Where?"), id="q")
    with open_store(url) as store, store.open("s") as session:
        note = session.append(ModelChangeEntry(provider="p", model="m"))
    status, rome = two.say(assistant("Rome"), reply_to="q", id="a")
    assert (status, rome["parent_id"]) == (201, note.id)
    assert one.say(assistant("Rome"), reply_to="q", id="a") == (201, rome)
    status, oslo = one.say(assistant("Oslo"), reply_to="q")
    assert (status, oslo["parent_id"]) == (201, "q")
    assert one.say(assistant("x"), reply_to="none")[0] == 404
    assert one.say(assistant("x"), reply_to=5)[0] == 422
    assert one.say(assistant("x"), reply_to=None, leaf_id="q")[0] == 409


def test_a_stale_leaf_is_answered_with_409(servers: tuple[Server, Server]) -> None:
    """The answer names the leaf; the same message with its id, sent again, is stored once."""
    one, two = servers
    _, question = one.say(user("Where?"), id="q")
    status, answer = two.say(user("Why?"))
    assert (status, answer["error"], answer["leaf_id"]) == (409, "StaleLeaf", "q")
    assert "expected the leaf None, but it is 'q'" in answer["says"]
    _, first = two.say(assistant("Rome"), leaf_id="q", id="a")
    assert one.say(assistant("Oslo"), leaf_id="q")[0] == 409
    assert one.say(assistant("Rome"), leaf_id="q", id="a") == (201, first)
    assert one.say(assistant("Oslo"), leaf_id="q", id="a")[1]["error"] == "IdConflict"
    assert one.say(user("Where?"), id="q") == (201, question)
    assert len(one.ask("GET", "/sessions/s/context")[1]["messages"]) == 2


def test_of_two_tabs_one_is_refused(servers: tuple[Server, Server]) -> None:
    """Both have seen the same answer and send a message at once, each to another worker: one lands, one gets 409."""
    one, _ = servers
    one.say(user("Where?"), id="q")
    for number in range(5):
        seen = one.ask("GET", "/sessions/s/context")[1]["leaf_id"]
        with ThreadPoolExecutor(2) as tabs:
            asked = [tabs.submit(server.say, user(f"tab {number}"), leaf_id=seen) for server in servers]
        answers = sorted((each.result() for each in asked), key=lambda each: each[0])
        assert [status for status, _ in answers] == [201, 409]
        assert answers[1][1]["leaf_id"] == answers[0][1]["id"]


def test_mistakes_of_the_caller_have_their_status(servers: tuple[Server, Server]) -> None:
    """They are never errors of the server."""
    one, _ = servers
    one.say(user("a"), id="a")
    assert one.ask("GET", "/sessions/none/context")[0] == 404
    assert one.ask("GET", "/sessions/none/branches")[0] == 404
    assert one.ask("GET", "/sessions/none/events")[0] == 404
    assert one.ask("GET", "/sessions/s/context?leaf=none")[0] == 404
    assert one.say(user("b"), parent_id="none")[0] == 404
    assert one.say(user("b"), parent_id=5)[0] == 422
    assert one.say({}, parent_id="a")[0] == 422
    assert one.say(user("b"), parent_id="a", id="../x")[0] == 422
    assert one.say(user("b"), parent_id="a", id=5)[0] == 422
    assert one.say(user("b"), leaf_id=["a"])[0] == 422
    assert one.ask("POST", f"/sessions/{quote('..%2f')}/messages", {"message": user("a")})[0] == 422
    assert one.ask("POST", "/sessions/s/messages", ["x"])[0] == 422
    connection = HTTPConnection("127.0.0.1", one.port, timeout=30)
    connection.request("POST", "/sessions/s/messages", "{")
    assert connection.getresponse().status == 400
    connection.close()


def test_events_come_from_every_worker(servers: tuple[Server, Server]) -> None:
    """A follower sees what any worker stores, once and in order, and continues after a disconnect."""
    one, two = servers
    said = [one.say(user("0"), id="0")[1]]
    with one.events() as news:
        for number in range(1, 6):
            server = servers[number % 2]
            said.append(server.say(user(str(number)), leaf_id=str(number - 1), id=str(number))[1])
        assert [next(news) for _ in range(5)] == said[1:]
    with two.events(last_id="2") as news:
        assert [next(news) for _ in range(3)] == said[3:]
        said.append(one.say(user("6"), leaf_id="5", id="6")[1])
        assert next(news) == said[-1]


def test_many_clients_of_two_workers_lose_nothing(servers: tuple[Server, Server], url: str) -> None:
    """Each continues what it has seen and retries on 409: one chain without gaps."""

    def talk(name: int) -> int:
        leaf, conflicts = None, 0
        for number in range(8):
            while True:
                status, answer = servers[(name + number) % 2].say(user(f"{name}-{number}"), leaf_id=leaf)
                leaf = answer["leaf_id"] if status == 409 else answer["id"]
                if status == 201:
                    break
                assert status == 409
                conflicts += 1
        return conflicts

    with ThreadPoolExecutor(6) as clients:
        list(clients.map(talk, range(6)))
    with open_store(url) as store, store.open("s", read_only=True) as session:
        said = [message["content"] for message in session.build_context().messages]
        assert sorted(said) == sorted(f"{name}-{number}" for name in range(6) for number in range(8))
        assert len(session.leaves()) == 1
        assert session.findings == ()


def test_a_killed_worker_loses_nothing(url: str) -> None:
    """Answered messages are stored; another worker continues."""
    open_store(url, create=True).close()
    one, two = Server(url), Server(url)
    said = [one.say(user(str(number)), parent_id=None)[1]["id"] for number in range(5)]
    one.process.kill()
    one.process.communicate()
    status, found = two.ask("GET", "/sessions/s/branches")
    assert (status, [branch["id"] for branch in found["branches"]]) == (200, said)
    assert two.stop() == ""
