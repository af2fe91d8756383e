"""The pages of a store in a folder: which are written, and the list of them in a real browser."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import Opened, address_of, browser  # noqa: F401  # a fixture
from click.testing import CliRunner, Result
from test_html_hostile import ALL

from convtree import open_store
from convtree._catalogue.types import SessionInfo
from convtree._cli.app import app
from convtree._formats.documents.html import page
from convtree._formats.documents.html.index_page import Listed, index_page
from convtree._tools.pages import export_pages
from convtree.stores._session_store import SessionStore

HTML = Path(page.__file__).parent
SECRET = "ghp_" + "a1B2c3D4e5F6" * 3


def fill(store: SessionStore) -> None:
    """Puts three conversations into a store, one of them hostile, and the session of a sub-agent."""
    for id, cwd, said, answer in (
        ("trip", "/home/me/travel", "Where to in June?", "Lisbon is warm"),
        ("code", "/home/me/code", "Rename the function", "Done, با احترام"),
        ("bad", f"/{ALL}", ALL, ALL),
    ):
        with store.create(id=id, cwd=cwd) as session:
            session.append({"role": "user", "content": said})
            session.append(
                {"role": "assistant", "content": answer}, model=f"model-{id}"[:200], usage={"prompt_tokens": 9}
            )
    with store.create_task("code", id="task") as session:
        session.append({"role": "user", "content": "Look for callers"})


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SessionStore]:
    """A store in a folder."""
    place = tmp_path_factory.mktemp("store") / "store"
    with open_store(place) as opened:
        fill(opened)
        yield opened


def export(store: SessionStore, folder: Path, *more: str) -> Result:
    """Runs the command."""
    arguments = ["export", "--store", store.location, "--to", "html", "-o", f"{folder}/", *more]
    return CliRunner(env={"NO_COLOR": "1"}).invoke(app, arguments)


def test_only_what_changed_is_written(tmp_path: Path) -> None:
    """A page again after an append, and after a mark; none of a session that is gone, and all if the file is lost."""
    with open_store(tmp_path / "store") as store:
        fill(store)
        pages = tmp_path / "pages"
        assert (export(store, pages).stderr, export(store, pages).stderr) == (
            "4 pages written, 0 unchanged\n", "0 pages written, 4 unchanged\n",
        )  # fmt: skip
        names = ["bad.html", "code.html", "index.html", "pages.json", "task.html", "trip.html"]
        assert sorted(path.name for path in pages.iterdir()) == names
        with store.open("trip") as session:
            session.append({"role": "user", "content": "And by train?"})
        store.rename("code", "Another name")
        store.delete("bad")
        (pages / "notes.html").write_text("mine")
        assert export(store, pages).stderr == "2 pages written, 1 unchanged, 1 removed\n"
        assert "And by train?" in (pages / "trip.html").read_text()
        assert "Another name" in (pages / "code.html").read_text()
        names = ["code.html", "index.html", "notes.html", "pages.json", "task.html", "trip.html"]
        assert sorted(path.name for path in pages.iterdir()) == names
        for content in ("", "[]", '{"../../notes.html":{"stamp":"x","title":"","words":[]}}', '{"x.html":3}'):
            (pages / "pages.json").write_text(content)
            assert export(store, pages).stderr == "3 pages written, 0 unchanged\n"


def test_every_session_has_a_page_of_its_own(browser: Any, tmp_path: Path) -> None:  # noqa: F811
    """Also if its id is that of the list, that of another but for case, or looks like the beginning of an address."""
    ids = ["index", "Trip", "trip", "javascript:x", "plain"]
    with open_store("memory:") as store:
        for id in ids:
            with store.create(id=id) as session:
                session.append({"role": "user", "content": f"I am {id}"})
        export_pages(store, tmp_path)
    names = [path.name for path in tmp_path.glob("*.html")]
    assert (len({name.lower() for name in names}), {"index.html", "plain.html"} <= {*names}) == (6, True)
    opened = Opened(browser, address_of(tmp_path / "index.html"))
    links = opened.ask("() => [...document.querySelectorAll('.line')].map((each) => [each.innerText, each.href])")
    for text, link in links:
        opened.page.goto(link)
        assert opened.texts("main .text") == [text.partition("\n")[0].strip()]
    assert sorted(text.partition("\n")[0] for text, _ in links) == sorted(f"I am {id}" for id in ids)
    opened.context.close()


def test_a_secret_is_in_no_page(tmp_path: Path) -> None:
    """Nor in the list, with --redact; a change of what is redacted writes all pages again."""
    with open_store(tmp_path / "store") as store:
        with store.create(id="s", name=f"about {SECRET}", cwd=f"/{SECRET}") as session:
            session.label(session.append({"role": "user", "content": SECRET}), SECRET)
            session.append({"role": "assistant", "content": "mail a@example.org"}, model=SECRET)
        assert "1 page written, 0 unchanged\n" in export(store, tmp_path / "pages", "--redact").stderr
        assert b"".join(path.read_bytes() for path in (tmp_path / "pages").iterdir()).count(SECRET.encode()) == 0
        assert "0 pages written, 1 unchanged\n" in export(store, tmp_path / "pages", "--redact").stderr
        assert "1 page written, 0 unchanged\n" in export(store, tmp_path / "pages", "--redact", "--email").stderr
        assert b"example.org" not in (tmp_path / "pages" / "s.html").read_bytes()


def test_a_redacted_folder_stays_redacted(tmp_path: Path) -> None:
    """Without --redact, the same folder is refused, and nothing in it changes. Another one is written."""
    with open_store(tmp_path / "store") as store:
        with store.create(id="trip") as session:
            session.append({"role": "user", "content": SECRET})
        assert export(store, tmp_path / "pages", "--redact").exit_code == 0
        refused = export(store, tmp_path / "pages")
        assert (refused.exit_code, "pass --redact, or choose another" in refused.stderr) == (
            2,
            True,
        )
        assert SECRET not in (tmp_path / "pages" / "trip.html").read_text()
        assert export(store, tmp_path / "others").exit_code == 0


def test_what_is_wrong_in_the_store_is_named(tmp_path: Path) -> None:
    """The page of a session without a readable header is written, too."""
    with open_store(tmp_path / "store") as store:
        fill(store)
        store.list(tasks=True)
        path = tmp_path / "store" / "trip.jsonl"
        path.write_bytes(path.read_bytes().replace(b'"version":1', b'"version":9'))
        done = export(store, tmp_path / "pages")
        first, second = done.stderr.splitlines()
        assert (done.exit_code, first) == (1, "4 pages written, 0 unchanged")
        assert second == "trip: the header is damaged; the page has the rest"


def test_a_damaged_session_keeps_its_page(tmp_path: Path) -> None:
    """It stays in the list, and the command says what is wrong. With --allow-gaps, a page with the gap is written."""
    with open_store(tmp_path / "store", durability="process") as store:
        with store.create(id="s") as session:
            session.append({"role": "user", "content": "first"}, id="one")
            session.append({"role": "assistant", "content": "second"}, id="two")
            session.append({"role": "user", "content": "third"}, id="three")
        pages, log = tmp_path / "pages", tmp_path / "store" / "s.jsonl"
        assert export(store, pages).exit_code == 0
        before = (pages / "s.html").read_bytes()
        log.write_bytes(log.read_bytes().replace(b"second", b"sec!nd"))
        done = export(store, pages)
        assert (done.exit_code, "0 pages written, 0 unchanged\n" in done.stderr) == (1, True)
        where = f"--store {tmp_path / 'store'} s"
        advice = (
            f"`convtree inspect {where} --allow-gaps` shows the rest, and `convtree repair {where} --rejoin` what can"
        )
        assert f"1 entry is missing: line 3; {advice} be kept" in done.stderr
        assert ((pages / "s.html").read_bytes(), b"s.html" in (pages / "index.html").read_bytes()) == (before, True)
        done = export(store, pages, "--allow-gaps")
        assert "1 page written, 0 unchanged\n" in done.stderr
        assert "s: checksum mismatch: the line has changed since it was written; the page has the rest\n" in done.stderr
        assert "[1 message is missing here: line 3]" in (pages / "s.html").read_text()


@pytest.mark.parametrize("name", [*sorted(path.name for path in HTML.iterdir() if path.is_file()), "assets/page.css"])
def test_pages_are_written_again_when_what_makes_them_changes(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every module and every asset counts."""
    copy = tmp_path / "html"
    shutil.copytree(HTML, copy)
    monkeypatch.setattr(page, "files", lambda _: copy)
    with open_store("memory:") as store:
        with store.create(id="s") as session:
            session.append({"role": "user", "content": "x"})
        written = []
        for change in (b"", b"", b"\n"):
            (copy / name).write_bytes((copy / name).read_bytes() + change)
            page.version.cache_clear()
            written.append(export_pages(store, tmp_path / "pages").written)
    page.version.cache_clear()
    assert written == [["s"], [], ["s"]]


def test_what_the_command_refuses(store: SessionStore) -> None:
    """A store is written as pages only, into a folder."""
    for arguments, message in (
        (["--to", "html"], "the pages of a store need a folder: -o FOLDER/"),
        (["--to", "json", "--store", store.location], "missing LOG; without it, --to html writes a page for each"),
        (["--to", "html", "--store", store.location], "the pages of a store need a folder: -o FOLDER/"),
    ):
        done = CliRunner().invoke(app, ["export", *arguments])
        assert (done.exit_code, message in done.stderr) == (2, True), done.stderr


@pytest.fixture(scope="module")
def pages(store: SessionStore, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pages of the store."""
    folder = tmp_path_factory.mktemp("pages")
    assert export(store, folder).exit_code == 0
    return folder


@pytest.fixture(scope="module")
def window(browser: Any, pages: Path) -> Iterator[Opened]:  # noqa: F811
    """The list of the store, in the browser."""
    shown = Opened(browser, address_of(pages / "index.html"))
    yield shown
    shown.context.close()


@pytest.fixture
def opened(window: Opened, pages: Path) -> Opened:
    """The list, loaded anew."""
    window.load(address_of(pages / "index.html"))
    return window


def titles(opened: Opened) -> list[str]:
    """The titles that are listed, without the hostile one, which is long."""
    return [text if len(text) < 50 else "bad" for text in opened.texts(".line .words")]


def test_the_list_of_sessions(opened: Opened) -> None:
    """It is filtered by directory, model and kind, and searched by words in any message; parts of words are enough."""
    assert sorted(titles(opened)) == ["Rename the function", "Where to in June?", "bad"]
    opened.page.select_option("[data-filter=directory]", "/home/me/travel")
    assert titles(opened) == ["Where to in June?"]
    opened.page.select_option("[data-filter=directory]", "")
    opened.page.select_option("[data-filter=model]", "model-code")
    assert titles(opened) == ["Rename the function"]
    opened.page.select_option("[data-filter=model]", "")
    opened.page.select_option("[data-filter=kind]", "all")
    assert "Look for callers" in titles(opened)
    opened.page.select_option("[data-filter=kind]", "")
    for query, found in {"LISB warm": "Where to in June?", "احترام": "Rename the function"}.items():
        opened.page.fill(".query", query)
        opened.wait_for(".line .words", found)
    opened.page.fill(".query", "lisbon احترام")
    opened.wait_for(".about", "0 sessions")
    assert opened.complaints() == []


NOW = "2026-03-11T12:00:00Z"  # a Wednesday


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("", "today yesterday Monday Sunday 1st February December 2024"),
        ("today", "today"),
        ("yesterday", "yesterday"),
        ("this week", "today yesterday Monday"),
        ("last week", "Sunday"),
        ("this month", "today yesterday Monday Sunday 1st"),
        ("last month", "February"),
        ("this year", "today yesterday Monday Sunday 1st February"),
        ("last year", "December"),
        ("between", "Sunday 1st February"),
    ],
)
def test_sessions_of_a_time(browser: Any, tmp_path: Path, name: str, found: str) -> None:  # noqa: F811
    """Days begin at midnight in Tokyo, 15:00 in UTC; weeks on Monday."""
    times = {
        "today": "2026-03-10T15:00:00Z",
        "yesterday": "2026-03-10T14:59:59Z",
        "Monday": "2026-03-08T15:00:00Z",
        "Sunday": "2026-03-08T14:59:59Z",
        "1st": "2026-02-28T15:00:00Z",
        "February": "2026-02-28T14:59:59Z",
        "December": "2025-12-31T14:59:59Z",
        "2024": "2024-06-01T00:00:00Z",
    }
    listed = [
        Listed(f"./{name}", name, SessionInfo(id=name, created=time, last_activity=time, messages=1), [])
        for name, time in times.items()
    ]
    (tmp_path / "index.html").write_bytes(b"".join(index_page("Sessions", listed)))
    opened = Opened(browser, address_of(tmp_path / "index.html"))
    opened.page.clock.set_fixed_time(NOW)
    opened.page.select_option("[data-filter=time]", name)
    if name == "between":
        opened.page.fill("[data-filter=from]", "2026-02-28")
        opened.page.fill("[data-filter=to]", "2026-03-08")
    assert opened.texts(".line .words") == found.split()
    opened.context.close()


def test_the_list_meets_the_rules_of_accessibility(opened: Opened) -> None:
    """No serious violation, by axe."""
    axe = pytest.importorskip(
        "axe_playwright_python.sync_playwright", reason="NOT TESTED with axe: it is not installed"
    )
    found = axe.Axe().run(opened.page).response["violations"]
    assert [each["id"] for each in found if each["impact"] in ("serious", "critical")] == []


def test_a_hit_opens_the_page_with_its_search(opened: Opened) -> None:
    """And the page leads back to the list. No hostile text does anything in the list."""
    opened.page.fill(".query", "lisbon")
    opened.wait_for(".about", "1 session · 9 tokens")
    opened.page.click(".line")
    opened.page.wait_for_selector("[data-list=hits] .line")
    assert opened.texts("[data-list=hits] .words") == ["Lisbon is warm"]
    opened.page.click(".home")
    opened.page.wait_for_selector(".sessions .line")
    assert (opened.complaints(), {url.partition(":")[0] for url in opened.requests}) == ([], {"file"})
    assert opened.ask("() => document.querySelectorAll('.list script, .list img, .list [style*=none]').length") == 0
