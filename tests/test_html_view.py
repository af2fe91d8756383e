"""`convtree view` in a real browser: it follows what is appended, refuses requests of others, and writes nothing."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

import pytest
from browser import Opened, browser  # noqa: F401  # a fixture
from click.testing import CliRunner

from convtree import BrokenPath, Session, open_store
from convtree._cli.app import app
from convtree._formats.documents.html.live import News

pytest.importorskip("uvicorn", reason="NOT TESTED: uvicorn is not installed")
anyio = pytest.importorskip("anyio", reason="NOT TESTED: anyio is not installed")

from convtree._tools.followed import RELOAD, Followed  # noqa: E402  # needs the extra
from convtree._tools.view_app import view_app  # noqa: E402


class Server(NamedTuple):
    """A running `convtree view`."""

    process: subprocess.Popen[str]
    address: str

    def get(self, path: str, method: str = "GET", host: str | None = None) -> tuple[int, str]:
        """The status and the text of an answer."""
        place = urlsplit(self.address)
        connection = http.client.HTTPConnection(place.netloc, timeout=10)
        connection.request(method, path, headers={"Host": place.netloc if host is None else host})
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        return answer.status, text

    @property
    def base(self) -> str:
        """The part of the address behind the host."""
        return urlsplit(self.address).path


@contextmanager
def served(*arguments: object) -> Iterator[Server]:
    """Runs the command until the block ends."""
    command = [sys.executable, "-m", "convtree", "view", "--no-open", *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            yield Server(process, process.stdout.readline().strip())
        finally:
            process.send_signal(signal.SIGINT)
            ended = (process.wait(15), process.stderr.read())
        assert ended == (0, "")


def contents(folder: Path) -> dict[str, bytes]:
    """The logs of a folder."""
    return {path.name: path.read_bytes() for path in folder.glob("*.jsonl")}


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A log with a question and an answer."""
    path = tmp_path / "log.jsonl"
    with Session.open(path, durability="process") as session:
        session.append({"role": "user", "content": "Where to?"}, id="q1")
        session.append({"role": "assistant", "content": "Lisbon"}, id="a1")
    return path


@pytest.fixture
def server(log: Path) -> Iterator[Server]:
    """That log, shown."""
    with served(log) as running:
        yield running


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with two sessions."""
    place = tmp_path_factory.mktemp("view") / "store"
    with open_store(place) as opened:
        for id, said in (("trip", "Where to go?"), ("code", "Rename the function")):
            with opened.create(id=id) as session:
                session.append({"role": "user", "content": said}, id=f"{id}-q")
                session.append({"role": "assistant", "content": f"{id} answer"}, id=f"{id}-a")
    return place


@pytest.fixture(scope="module")
def shop(store: Path) -> Iterator[Server]:
    """That store, shown."""
    with served("--store", store) as running:
        yield running


def test_an_entry_of_another_process_appears_within_a_second(browser: Any, server: Server, log: Path) -> None:  # noqa: F811
    """In the conversation, in the contents, and in the sums. What is unfolded stays so."""
    opened = Opened(browser, server.address)
    opened.wait_for(".live", "live")
    with Session.open(log, durability="process") as session:
        session.append({"role": "user", "content": "By train?"}, id="q2")
        begun = time.monotonic()
        opened.wait_for('article[data-row="2"] .text', "By train?", timeout_ms=1000)
        assert time.monotonic() - begun < 1
        call = {"id": "c", "type": "function", "function": {"name": "look", "arguments": "{}"}}
        session.append({"role": "assistant", "content": None, "tool_calls": [call]}, id="a2")
        opened.page.click("details.call > summary", timeout=1000)
        session.append({"role": "tool", "tool_call_id": "c", "content": "at noon"}, id="r2")
        opened.wait_for("details.call[open] > details.result pre", "at noon", timeout_ms=1000)
    assert opened.texts("[data-list=prompts] .words") == ["Where to?", "By train?"]
    assert opened.texts(".sums span")[0] == "5 entries on this branch, 2 prompts"
    assert opened.complaints() == []
    opened.context.close()


def test_a_new_branch_appears_in_the_map(browser: Any, server: Server, log: Path) -> None:  # noqa: F811
    """The branch in view stays, gets a switch, and offers the new one. A label appears, and what a mark hides."""
    opened = Opened(browser, server.address)
    opened.wait_for(".live", "live")
    opened.page.keyboard.press("m")
    with Session.open(log, durability="process") as session:
        session.append({"role": "user", "content": "By train?"}, id="q2")
        opened.wait_for("article.user:last-child .text", "By train?", timeout_ms=1000)
        session.append({"role": "user", "content": "By ship?"}, id="q3", parent_id="a1")
        opened.wait_for(".news", "New on another branch", timeout_ms=1000)
        opened.wait_for("article .switch span", "1/2")
        words = opened.texts("[data-list=map] .words")
        assert sorted(words) == ["By ship?", "By train?", "Where to?"]
        session.label("a1", "here")
        opened.wait_for("article .label", "here", timeout_ms=1000)
        opened.wait_for("[data-list=map] .line:first-child .words", "★ here · Where to?")
        session.rename("Holidays")
        opened.wait_for("h1", "Holidays", timeout_ms=1000)
        assert opened.page.title() == "Holidays"
        session.hide("q1", visible_to="user")
        opened.wait_for("article .state", "not for the model", timeout_ms=1000)
        opened.page.click(".news")
        assert opened.texts("article.user .text") == ["Where to?", "By ship?"]
        session.append({"role": "assistant", "content": "Slow"}, id="a3")
        opened.wait_for("article.assistant:last-child .text", "Slow", timeout_ms=1000)
    assert opened.complaints() == []
    opened.context.close()


def test_a_log_that_was_replaced_is_shown_anew(browser: Any, server: Server, log: Path) -> None:  # noqa: F811
    """A vacuum drops the other branches, and leaves other rows."""
    with Session.open(log, durability="process") as session:
        session.append({"role": "user", "content": "By bus?"}, id="q4", parent_id="a1")
        session.append({"role": "user", "content": "On foot?"}, id="q5", parent_id="a1", move_leaf=False)
    opened = Opened(browser, server.address)
    opened.wait_for(".live", "live")
    done = CliRunner().invoke(app, ["vacuum", str(log), "--yes"])
    assert done.exit_code == 0, done.output
    opened.page.wait_for_selector("article.data", timeout=3000)
    assert ("By bus?" in opened.ask("() => document.body.textContent"), opened.texts("article .switch")) == (True, [])
    opened.context.close()


def test_the_store_is_listed_and_searched(browser: Any, shop: Server, store: Path) -> None:  # noqa: F811
    """A session of the list is live, too. Nothing is written to a log."""
    before = contents(store)
    opened = Opened(browser, shop.address)
    assert sorted(opened.texts(".line .words")) == ["Rename the function", "Where to go?"]
    opened.page.fill(".query", "rename")
    opened.wait_for(".line .words", "Rename the function")
    opened.page.click(".line")
    opened.page.wait_for_selector("[data-list=hits] .line")
    opened.wait_for(".live", "live")
    assert contents(store) == before
    with open_store(store) as other, other.open("code") as session:
        session.append({"role": "user", "content": "And the tests?"})
        opened.wait_for("article.user:last-child .text", "And the tests?", timeout_ms=1000)
    opened.page.click(".home")
    opened.page.wait_for_selector(".sessions .line")
    assert (opened.complaints(), len(opened.texts(".line"))) == ([], 2)
    opened.context.close()


@pytest.mark.parametrize("path", ["", "events", "all/", "all/search?q=x", "all/s/trip/", "all/s/trip/events"])
def test_others_are_refused(shop: Server, path: str) -> None:
    """Without the token, with a wrong token, with another host, and with a method that writes."""
    place = urlsplit(shop.address)
    answers = [shop.get(f"/{path}"), shop.get(f"/{'x' * 32}/{path}"), shop.get(f"{shop.base[:-2]}/{path}")]
    assert answers == [(404, "not found")] * 3
    hosts = ["evil.example", f"evil.example:{place.port}", "127.0.0.1", "", f"127.0.0.1:{place.port}.evil.example"]
    assert [shop.get(shop.base + path, host=host) for host in hosts] == [(421, "unknown host")] * len(hosts)
    methods = ["POST", "PUT", "DELETE", "PATCH"]
    assert [shop.get(shop.base + path, method) for method in methods] == [(405, "only GET is answered")] * len(methods)


def test_what_is_not_there(shop: Server) -> None:
    """A session that the store does not have, and paths without a route."""
    status, text = shop.get(f"{shop.base}all/s/nothing/")
    assert (status, "nothing" in text) == (404, True)
    assert [shop.get(shop.base + path)[0] for path in ("nothing", "all/s/..%2f..%2fx/", "all/s/a/b/")] == [404] * 3
    assert shop.get(f"{shop.base}all/s/%2e%2e/")[0] == 404  # no id at all
    assert shop.get(f"{shop.base}all/s/trip/")[0] == 200


def test_requests_that_no_page_makes(shop: Server) -> None:
    """A path without a slash, a row that is no number, and a request for the head of what never ends."""
    events = f"{shop.base}all/s/trip/events"
    assert shop.get("elsewhere") == (404, "not found")
    assert shop.get(events, "HEAD") == (200, "")
    for row in ("--5", "9" * 5000):
        connection = http.client.HTTPConnection(urlsplit(shop.address).netloc, timeout=10)
        connection.request("GET", f"{events}?after={row}&id=x")
        assert connection.getresponse().read(12) == b": following\n"
        connection.close()


def test_streams_that_are_open_at_the_end(log: Path) -> None:
    """Ctrl-C cuts them off, and says nothing. One of them was never read."""
    with served(log) as running, socket.socket() as listening:
        place = urlsplit(running.address)
        listening.connect((place.hostname, place.port))
        listening.sendall(f"GET {place.path}events HTTP/1.1\r\nHost: {place.netloc}\r\n\r\n".encode())
        assert listening.recv(12) == b"HTTP/1.1 200"
        time.sleep(0.3)
        running.process.send_signal(signal.SIGINT)
        assert running.process.wait(5) == 0


def test_news_of_many_large_entries_are_several_messages() -> None:
    """Each ends after about a megabyte, so that a stream which is not read holds little. None is left out."""
    with Session.memory() as session:
        for number in range(5):
            session.append({"role": "user", "content": f"{number} " + "x" * 600_000}, id=f"e{number}")
        session.label("e0", "here")
        news, ids = News(session, 0), []
        while (found := news.since()) is not None:
            ids.append([row[2] for row in json.loads(found)["rows"]])
    assert ids == [["e0", "e1"], ["e2", "e3"], ["e4"]]


def answer_of(app: Any, path: str) -> tuple[int, str]:
    """The status and the text of an answer of the application."""
    path, _, query = path.partition("?")
    scope = {"type": "http", "method": "GET", "path": f"/token/{path}", "raw_path": path.encode(), "headers": []}
    scope |= {"query_string": query.encode(), "headers": [(b"host", b"here")], "root_path": ""}
    sent: list[Any] = []

    async def receive() -> Any:
        await anyio.sleep_forever()

    async def send(message: Any) -> None:
        sent.append(message)

    with ThreadPoolExecutor(1) as thread:  # the browser has an event loop in this one
        thread.submit(anyio.run, app, scope, receive, send).result()
    return sent[0]["status"], b"".join(each["body"] for each in sent[1:]).decode()


@pytest.mark.parametrize("count", [3, 500, 1201])
def test_the_search_of_the_store_has_pages(count: int) -> None:
    """Each has 500 sessions at most. Together they have every session with the words, archived and sub-agents' too."""
    with open_store("memory:") as store:
        for number in range(count):
            with store.create(id=f"s{number}", name=None if number else "by name: bananas") as session:
                session.append({"role": "user", "content": f"bananas {number}" if number else "x"})
        with store.create(id="other") as session:
            session.append({"role": "user", "content": "apples"})
        app, found, cursor, sizes = view_app("token", ("here",), None, store), set(), "", []
        while cursor is not None:
            status, text = answer_of(app, f"all/search?q=bananas{cursor and '&cursor=' + quote(cursor)}")
            answer = json.loads(text)
            found |= {*answer["found"]}
            sizes.append(len(answer["found"]))
            cursor = answer["cursor"]
        assert (status, found) == (200, {f"s/s{number}/" for number in range(count)})
        assert sizes == {3: [3], 500: [500], 1201: [500, 500, 201]}[count]
        assert answer_of(app, "all/search?q=+")[1] == '{"found":[],"cursor":null}'
        assert answer_of(app, "all/search?q=x&cursor=y")[0] == 400


def damaged(path: Path) -> Path:
    """A log whose second entry is damaged."""
    with Session.open(path, durability="process") as session:
        for number in range(3):
            session.append({"role": "user", "content": f"said {number}"}, id=f"e{number}")
    path.write_bytes(path.read_bytes().replace(b"said 1", b"said !"))
    return path


def test_a_damaged_log_is_shown_with_its_gaps(tmp_path: Path) -> None:
    """Without `allow_gaps`, the answer says what is damaged, and what shows the rest."""
    path = damaged(tmp_path / "log.jsonl")
    shown = {}
    for allow_gaps in (False, True):
        app = view_app("token", ("here",), lambda: Session.open(path, mode="r"), None, allow_gaps=allow_gaps)
        shown[allow_gaps] = answer_of(app, "")
    advice = "`convtree view --allow-gaps` shows the rest, with the gaps in their places"
    assert shown[False] == (500, f"{path}: 1 entry is missing: line 3; {advice}")
    assert (shown[True][0], "[1 message is missing here: line 3]" in shown[True][1]) == (200, True)


def rows_of(news: bytes | None) -> list[str] | None:
    """The ids of the entries in a message."""
    return None if news is None else [row[2] for row in json.loads(news)["rows"]]


def test_a_damaged_log_is_followed(tmp_path: Path) -> None:
    """From the row that the page ends with, where the gap counts as well."""
    path = damaged(tmp_path / "log.jsonl")
    with Session.open(path, mode="r") as reader, Session.open(path, durability="process") as writer:
        followed = Followed(reader, 2, "e2", allow_gaps=True)
        assert [rows_of(followed.look()) for _ in range(2)] == [[], None]
        writer.append({"role": "user", "content": "said 3"}, id="e3")
        assert [rows_of(followed.look()) for _ in range(2)] == [["e3"], None]
        writer.label("e3", "here")
        assert json.loads(followed.look() or b"")["labels"] == {"3": "here"}
        assert Followed(reader, 1, "e2", allow_gaps=True).look() == RELOAD
        with pytest.raises(BrokenPath):
            Followed(reader, 2, "e2")


def test_damage_while_a_log_is_followed(tmp_path: Path) -> None:
    """A line that is damaged when it is first read: with gaps the page goes on, without them there is an error."""
    path = tmp_path / "log.jsonl"
    with Session.open(path, durability="process") as writer:
        writer.append({"role": "user", "content": "said 0"}, id="e0")
        with Session.open(path, mode="r") as reader, Session.open(path, mode="r") as other:
            strict, lenient = Followed(reader, 0, "e0"), Followed(other, 0, "e0", allow_gaps=True)
            assert [rows_of(each.look()) for each in (strict, lenient)] == [[], []]
            writer.append({"role": "user", "content": "said 1"}, id="e1")
            writer.append({"role": "user", "content": "said 2"}, id="e2")
            path.write_bytes(path.read_bytes().replace(b"said 1", b"said !"))
            assert rows_of(lenient.look()) == ["e1", "e2"]
            with pytest.raises(BrokenPath, match="line 3"):
                strict.look()


def test_a_session_of_the_default_store(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is found once, when the command begins; the list of the store is one step away."""
    monkeypatch.setenv("CONVTREE_URL", str(store))
    for name in ("trip", "code"):
        with served(name) as running:
            status, page = running.get(running.base)
            assert (status, "<title>" in page) == (200, True)
            assert ("Where to go?" in page) == (name == "trip")
            assert running.get(f"{running.base}all/")[0] == 200


def test_what_the_command_refuses(tmp_path: Path) -> None:
    """Before there is a server."""
    run = CliRunner(env={"CONVTREE_URL": None}).invoke
    done = run(app, ["view", "--no-open"])
    assert (done.exit_code, "no sessions in " in done.output) == (3, True)
    assert run(app, ["view", str(tmp_path / "none.jsonl"), "--no-open"]).exit_code == 3
    assert os.environ.get("CONVTREE_URL") is None
