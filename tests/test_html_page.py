"""The HTML page of a session in a real browser: branches, contents, map, search, keys, what the model saw."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import Opened, address_of, browser  # noqa: F401  # a fixture
from exported import PIXEL, call

from convtree import BranchSummaryEntry, BrokenPath, CompactionEntry, ModelChangeEntry, Session
from convtree._model.entries import MessageEntry
from convtree.exchange import export_file


def trip() -> Session:
    """A conversation with a fork of three, tools, a label, a compaction and what no reader knows."""
    session = Session.memory(name="A trip <b>", cwd="/home/me", id="trip")
    time = "2026-01-31T20:00:00Z"
    add = session.append
    add({"role": "system", "content": "Be brief"}, id="s1")
    add({"role": "user", "content": "Where to in *June*? می‌خواهم 👩‍💻"}, id="q1")
    add(
        {"role": "assistant", "content": "Lisbon"},
        id="a1",
        model="gpt-5",
        usage={"prompt_tokens": 1500, "completion_tokens": 7, "cost": 0.25},
    )
    add({"role": "user", "content": "And food?"}, id="q2")
    add(
        {"role": "assistant", "content": "I look", "tool_calls": [call("c1"), call("c2", "pwd")]},
        id="a2",
        model="gpt-5",
    )
    add({"role": "tool", "tool_call_id": "c1", "content": "a.txt"}, id="r1")
    add({"role": "tool", "tool_call_id": "c2", "content": "/home"}, id="r2")
    add({"role": "assistant", "content": "Fish"}, id="a3", model="gpt-5")
    add({"role": "user", "content": "Rather music?"}, id="q3", parent_id="a1")
    add({"role": "assistant", "content": "Fado"}, id="a4", model="gpt-5")
    add({"role": "user", "content": "Or walks?"}, id="q4", parent_id="a1")
    add({"role": "assistant", "content": "Hills"}, id="a5", model="gpt-5")
    session.branch("a3")
    session.label("a3", "the <i>best</i> one")
    picture = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}}
    add({"role": "user", "content": [{"type": "text", "text": "What is it?"}, picture]}, id="q5")
    add(
        {
            "role": "assistant",
            "content": [{"type": "thinking", "thinking": "A dot, I guess"}, {"type": "text", "text": "A pixel"}],
        },
        id="a6",
        model="other",
    )
    session.extend(
        [
            CompactionEntry(
                id="c", parent_id="a6", summary="Food was *discussed*.", first_kept_entry_id="q5", timestamp=time
            )
        ]
    )
    session.extend([BranchSummaryEntry(id="b", parent_id="c", summary="Music was left.", from_id="a4")])
    session.extend([ModelChangeEntry(id="m", parent_id="b", provider="x", model="new-model")])
    session.branch("m")
    add({"strange": {"a": [1, 2]}}, id="u")
    return session


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of that conversation."""
    path = tmp_path_factory.mktemp("page") / "trip.html"
    with trip() as session:
        assert export_file(session, path, "html") == ()
    return path


@pytest.fixture(scope="module")
def window(browser: Any, page: Path) -> Iterator[Opened]:  # noqa: F811
    """The page in the browser."""
    shown = Opened(browser, address_of(page))
    yield shown
    shown.context.close()


@pytest.fixture
def opened(window: Opened, page: Path) -> Iterator[Opened]:
    """The page, loaded anew."""
    window.load(address_of(page))
    yield window
    assert window.complaints() == []


def branch_in_view(opened: Opened) -> list[str]:
    """The ids of the entries in view, by their links."""
    opened.show_all()
    links = opened.ask(
        "() => [...document.querySelectorAll('main article:not([hidden]) .permalink')].map((each) => each.hash)"
    )
    return [link.removeprefix("#") for link in links]


def test_the_page_shows_the_branch_of_the_leaf(opened: Opened) -> None:
    """Every entry of it; results are in their calls. Texts stay as they are."""
    assert branch_in_view(opened) == ["s1", "q1", "a1", "q2", "a2", "a3", "q5", "a6", "c", "b", "m", "u"]
    assert opened.texts("article.user .text") == ["Where to in June? می‌خواهم 👩‍💻", "And food?", "What is it?"]
    assert opened.texts("h1") == ["A trip <b>"]
    assert opened.texts("details.call > details.result pre") == ["a.txt", "/home"]
    assert opened.texts(".entry.user .label, .entry.assistant .label") == ["the <i>best</i> one"]
    assert opened.ask("() => document.querySelector('main img').naturalWidth") == 1
    assert opened.texts("details.unknown summary") == [
        "Not understood: a message without a content that is known, but with 'strange'"
    ]


def test_tools_and_thinking_are_folded(opened: Opened) -> None:
    """Until a button or a key unfolds them."""
    count = "() => document.querySelectorAll('main :is(details.call, details.thought)[open]').length"
    assert opened.ask(count) == 0
    opened.page.keyboard.press("t")
    assert opened.ask(count) == 2
    opened.page.click("[data-do=thoughts]")
    assert opened.ask(count) == 3


def test_where_the_conversation_forks_there_is_a_switch(opened: Opened) -> None:
    """It leads to the end of the next branch. The keys [ and ] do the same from any entry below."""
    assert opened.texts("article .switch span") == ["1/3"]
    opened.page.click("article .switch [aria-label='Next branch']")
    assert branch_in_view(opened) == ["s1", "q1", "a1", "q3", "a4"]
    opened.page.keyboard.press("]")
    assert branch_in_view(opened) == ["s1", "q1", "a1", "q4", "a5"]
    opened.page.keyboard.press("]")
    assert opened.texts("article .switch span") == ["3/3"]
    opened.page.keyboard.press("[")
    assert branch_in_view(opened) == ["s1", "q1", "a1", "q3", "a4"]


def test_brackets_behind_alt_gr(opened: Opened) -> None:
    """Keyboards send them with Ctrl and Alt, or with Alt alone. Ctrl with a key stays the browser's."""
    press = "(keys) => document.body.dispatchEvent(new KeyboardEvent('keydown', { bubbles: true, ...keys }))"
    opened.page.click("article .switch [aria-label='Next branch']")
    opened.page.evaluate(press, {"key": "]", "ctrlKey": True})
    assert branch_in_view(opened)[3] == "q3"
    opened.page.evaluate(press, {"key": "]", "ctrlKey": True, "altKey": True, "modifierAltGraph": True})
    assert branch_in_view(opened)[3] == "q4"
    opened.page.evaluate(press, {"key": "[", "altKey": True})
    assert branch_in_view(opened)[3] == "q3"


def test_the_contents_have_prompts_labels_and_summaries(opened: Opened) -> None:
    """Those of the branch in view, in its order."""
    assert opened.texts("[data-list=prompts] .words") == [
        "Where to in *June*? می‌خواهم 👩‍💻", "And food?", "★ the <i>best</i> one", "What is it?",
        "Summary: Food was *discussed*.", "Branch summary: Music was left.",
    ]  # fmt: skip


def test_the_map_has_all_branches(opened: Opened) -> None:
    """A line for each stretch without a fork; a click leads there."""
    opened.page.keyboard.press("m")
    assert opened.texts("[data-list=map] .line") == [
        "Where to in *June*? می‌خواهم 👩‍💻\n3", "Rather music?\n2", "Or walks?\n2",
        "★ the <i>best</i> one · And food?\n11",
    ]  # fmt: skip
    opened.page.click("[data-list=map] .line >> nth=2")
    assert branch_in_view(opened) == ["s1", "q1", "a1", "q4", "a5"]


def test_labels_on_other_branches_are_below_the_contents(opened: Opened) -> None:
    """They are not counted among the lines of the branch, and a click leads there."""
    opened.page.goto(opened.page.url.partition("#")[0] + "#a5")
    opened.wait_for("[data-list=prompts] .line:last-child .day", "other branch")
    assert opened.texts("[data-list=prompts] .words") == [
        "Where to in *June*? می‌خواهم 👩‍💻", "Or walks?", "★ the <i>best</i> one",
    ]  # fmt: skip
    assert opened.texts(".about") == ["2 lines for this branch"]
    opened.page.click("[data-list=prompts] .line >> nth=2")
    assert branch_in_view(opened)[-1] == "u"


def test_the_search_looks_on_all_branches(opened: Opened) -> None:
    """A hit on another branch leads there. All words must be in an entry; markup is not searched."""
    opened.page.keyboard.press("/")
    opened.page.keyboard.type("MUSIC")
    opened.wait_for(".about", "2 entries found")
    assert opened.texts("[data-list=hits] .words") == ["Rather music?", "Music was left."]
    opened.page.keyboard.press("Enter")
    assert branch_in_view(opened) == ["s1", "q1", "a1", "q3", "a4"]
    for query, found in (("fish class", 0), ("in june", 1), ("best", 1), ("strange", 1)):
        opened.page.fill(".query", query)
        opened.wait_for(".about", "1 entry found" if found else "0 entries found")


def test_a_compaction_shows_what_the_model_saw(opened: Opened) -> None:
    """The pinned messages, the summary, then what was kept; and the originals again."""
    opened.show_all()
    opened.page.click("article.compaction .fold")
    with trip() as session:
        seen = [entry.id for entry in session.build_context(leaf="c").entries]
    assert seen == ["s1", "c", "q5", "a6"]
    assert branch_in_view(opened) == [*seen, "b", "m", "u"]
    assert opened.texts(".gap") == ["7 entries that the summary stands for. Show the originals"]
    opened.page.click(".gap button")
    assert branch_in_view(opened)[:4] == ["s1", "q1", "a1", "q2"]


def test_what_the_model_saw_is_its_context(opened: Opened, tmp_path: Path) -> None:
    """Without messages that are hidden from it or replaced, also where nothing is kept, and over two compactions."""
    with Session.memory() as session:
        for number in range(70):
            session.append(
                {"role": "user", "content": f"said {number}"}, id=f"e{number}", pinned=number in (3, 66) or None
            )
        session.append({"role": "user", "content": "better"}, id="new", replaces="e64")
        session.hide("e65", visible_to="user")
        session.extend([CompactionEntry(id="c1", parent_id="new", summary="first", first_kept_entry_id="e60")])
        session.append({"role": "user", "content": "after"}, id="after", parent_id="c1")
        session.extend([CompactionEntry(id="c2", parent_id="after", summary="second", first_kept_entry_id=None)])
        session.branch("c2")
        seen = {at: [entry.id for entry in session.build_context(leaf=at).entries] for at in ("c1", "c2")}
        export_file(session, tmp_path / "seen.html", "html")
    assert seen["c1"] == ["e3", "c1", "e60", "e61", "e62", "e63", "e66", "e67", "e68", "e69", "new"]
    opened.load(address_of(tmp_path / "seen.html"))
    opened.show_all()
    opened.page.click("article.compaction >> nth=0 >> .fold")
    assert branch_in_view(opened) == [*seen["c1"], "after", "c2"]
    opened.page.click("article.compaction >> nth=1 >> .fold")
    assert branch_in_view(opened) == seen["c2"]


def test_a_branch_summary_leads_to_its_branch(opened: Opened) -> None:
    """To the end of the branch that was left."""
    opened.show_all()
    opened.page.click("article.summary button")
    assert branch_in_view(opened) == ["s1", "q1", "a1", "q3", "a4"]


def test_an_address_leads_to_an_entry(opened: Opened, page: Path) -> None:
    """On any branch, also in a result; and to a search."""
    for id, branch, place in (("a4", ["q3", "a4"], "article"), ("r2", ["q2", "a2"], "details.result")):
        opened.load(f"{address_of(page)}#{id}")
        assert branch_in_view(opened)[3:5] == branch
        assert opened.page.locator(place).first.is_visible()
    opened.load(f"{address_of(page)}#search=fado")
    opened.wait_for("[data-list=hits] .words", "Fado")


def test_another_entry_is_the_leaf(opened: Opened, tmp_path: Path) -> None:
    """The page opens there. All branches are in it."""
    with trip() as session:
        export_file(session, tmp_path / "leaf.html", "html", leaf="q3")
    opened.load(address_of(tmp_path / "leaf.html"))
    assert branch_in_view(opened) == ["s1", "q1", "a1", "q3"]
    assert opened.texts("article .switch span") == ["2/3"]


def test_j_and_k_go_from_entry_to_entry(opened: Opened) -> None:
    """And n and p from prompt to prompt. The address follows."""
    opened.page.keyboard.press("g")
    visited = []
    for key in "jjjnkpG":
        opened.page.keyboard.press(key)
        visited.append(opened.ask("() => location.hash"))
    assert visited == ["#q1", "#a1", "#q2", "#q5", "#a3", "#q2", "#u"]
    opened.page.keyboard.press("?")
    assert opened.page.locator("dialog.help").is_visible()


def test_times_are_those_of_the_reader(opened: Opened) -> None:
    """20:00 in UTC is 5:00 on the next day in Tokyo."""
    opened.show_all()
    assert opened.texts("article.compaction time") == ["1 Feb 2026, 05:00"]


def test_usage_is_summed_by_turn_and_in_all(opened: Opened) -> None:
    """A turn is what a prompt started."""
    opened.show_all()
    assert opened.texts("article.user .usage")[0].startswith("1.5k in · 7 out · cost 0.25")
    assert opened.texts(".sums span") == [
        "14 entries on this branch, 3 prompts", "3 branches, 18 entries in all", "1.5k in · 7 out · cost 0.25",
    ]  # fmt: skip
    assert opened.texts("article.user .usage")[1].startswith("2 tool results")
    assert opened.texts("article.assistant .model") == ["gpt-5", "other"]


def test_a_page_of_a_conversation_without_entries(opened: Opened, tmp_path: Path) -> None:
    """It says so."""
    with Session.memory() as session:
        export_file(session, tmp_path / "empty.html", "html")
    opened.load(address_of(tmp_path / "empty.html"))
    assert opened.texts("main") == ["This conversation has no entries."]


def test_a_long_conversation_is_put_into_the_page_as_it_is_read(opened: Opened, tmp_path: Path) -> None:
    """Of 5,000 entries, few are elements; an address far below, a search and the end of the contents are found."""
    with Session.memory() as session:
        session.extend(
            MessageEntry(
                id=f"e{i}", parent_id=f"e{i - 1}" if i else None, message={"role": "user", "content": f"word{i}"}
            )
            for i in range(5000)
        )
        export_file(session, tmp_path / "long.html", "html")
    opened.load(f"{address_of(tmp_path / 'long.html')}#e4000")
    opened.page.wait_for_selector('article[data-row="4000"].current')
    assert opened.ask("() => document.querySelectorAll('main article').length") < 400
    assert opened.ask("() => document.querySelectorAll('.side .line').length") < 100
    assert opened.ask("() => Math.abs(document.querySelector('.current').getBoundingClientRect().top) < innerHeight")
    opened.page.fill(".query", "word1234")
    opened.wait_for(".about", "1 entry found")
    opened.page.keyboard.press("Enter")
    opened.page.wait_for_selector('article[data-row="1234"].current')


def test_a_damaged_line_is_a_gap_in_its_place(opened: Opened, tmp_path: Path) -> None:
    """The conversation goes on above it. Without `allow_gaps` there is no page, wherever the damage is."""
    path = tmp_path / "log.jsonl"
    with Session.open(path, durability="process") as session:
        for number in range(4):
            session.append({"role": "user", "content": f"said {number}"}, id=f"e{number}")
        session.append({"role": "user", "content": "other"}, id="o", parent_id="e2")
        session.branch("e3")
    path.write_bytes(path.read_bytes().replace(b"said 1", b"said !"))
    with Session.open(path, mode="r") as session:
        with pytest.raises(BrokenPath, match="1 entry is missing: line 3"):
            export_file(session, tmp_path / "damaged.html", "html")
        export_file(session, tmp_path / "damaged.html", "html", allow_gaps=True)
    opened.load(address_of(tmp_path / "damaged.html"))
    assert branch_in_view(opened) == ["e0", "e1", "e2", "e3"]
    assert opened.texts("article.lost .note") == ["[1 message is missing here: line 3]"]
    opened.page.keyboard.press("m")
    assert opened.texts("[data-list=map] .words") == ["said 0", "other", "said 3"]


def test_what_hangs_from_nothing(opened: Opened, tmp_path: Path) -> None:
    """A damaged line that does not say which entry it was leaves a gap above its child."""
    path = tmp_path / "log.jsonl"
    with Session.open(path, durability="process") as session:
        for number in range(4):
            session.append({"role": "user", "content": f"said {number}"}, id=f"e{number}")
    path.write_bytes(path.read_bytes().replace(b'{"id":"e1"', b"0123456789"))
    with Session.open(path, mode="r") as session:
        export_file(session, tmp_path / "damaged.html", "html", allow_gaps=True)
    opened.load(address_of(tmp_path / "damaged.html"))
    assert branch_in_view(opened) == ["e1", "e2", "e3"]
    assert opened.texts("article.lost .note") == [
        "[messages are missing here: line 3; 1 entry before it stands in the log and cannot be joined to this branch]"
    ]


def test_kinds_are_counted_and_hidden(opened: Opened) -> None:
    """A reader chooses them by mouse or by key; a link to a hidden entry shows all again."""
    counts = {"user": 3, "answer": 5, "call": 2, "thought": 1, "note": 4}
    assert opened.texts(".kinds .count") == [""] * 5  # folded
    opened.page.keyboard.press("f")
    assert dict(zip(counts, map(int, opened.texts(".kinds .count")), strict=True)) == counts
    for kind in ("answer", "call", "note"):
        opened.page.click(f"[data-show={kind}]")
    assert opened.texts(".kinds summary") == ["Show 2 of 5"]
    assert branch_in_view(opened) == ["q1", "q2", "q5", "a6"]
    assert opened.texts("main .text:visible")[1:] == ["And food?", "What is it?", "A dot, I guess"]
    opened.page.click("[data-show=thought]")
    assert branch_in_view(opened) == ["q1", "q2", "q5"]
    opened.page.keyboard.press("Escape")
    opened.page.click("[data-list=prompts] .line >> nth=2")
    assert (opened.texts(".kinds summary"), opened.ask("() => location.hash")) == (["Show"], "#a3")
    assert len(branch_in_view(opened)) == 12


def test_the_contents_say_when_a_day_begins(opened: Opened, tmp_path: Path) -> None:
    """In local time: 15:00 in UTC is midnight in Tokyo."""
    times = ["2026-03-10T14:00:00Z", "2026-03-10T14:59:00Z", "2026-03-10T15:00:00Z"]
    with Session.memory() as session:
        for at, time in enumerate(times):
            parent, message = f"e{at - 1}" if at else None, {"role": "user", "content": "x"}
            session.extend([MessageEntry(id=f"e{at}", parent_id=parent, timestamp=time, message=message)])
        export_file(session, tmp_path / "days.html", "html")
    opened.load(address_of(tmp_path / "days.html"))
    assert opened.texts("[data-list=prompts] .line") == ["x\n10 Mar 2026", "x", "x\n11 Mar 2026"]


def test_the_contents_on_a_narrow_screen(opened: Opened) -> None:
    """They lie above the page. A button, a key and a click beside them put them away."""
    opened.page.set_viewport_size({"width": 390, "height": 800})
    shown = []
    for close in ("button", "key", "page"):
        opened.page.click(".menu")
        shown.append(opened.page.locator(".side").is_visible())
        if close == "button":
            opened.page.click(".close")
        elif close == "key":
            opened.page.keyboard.press("Escape")
        else:
            opened.page.mouse.click(380, 400)
        shown.append(opened.page.locator(".side").is_visible())
    opened.page.set_viewport_size({"width": 1280, "height": 720})
    assert shown == [True, False] * 3
