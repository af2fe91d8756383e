"""Hostile content in an HTML page: in every field, in a real browser. It is shown, and does nothing."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from browser import Opened, address_of, browser  # noqa: F401  # a fixture
from exported import PIXEL
from hypothesis import given, settings
from hypothesis import strategies as st
from markupsafe import Markup

from convtree import BranchSummaryEntry, CompactionEntry, ExtensionDataEntry, ModelChangeEntry, Session
from convtree._formats.documents.html.entries import EntryMarkup
from convtree._formats.documents.html.images import image_source
from convtree._formats.documents.html.script_data import script_data
from convtree._formats.documents.html.texts import code, is_safe, markdown
from convtree._model.entries import MessageEntry, OpaqueEntry
from convtree.exchange import export_file

SVG = base64.b64encode(
    b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"><script>alert(2)</script></svg>'
).decode()
HOSTILE = [
    "<script>alert(1)</script>",
    "</script><script>alert(2)</script>",
    "<!--<script>",
    "<img src=x onerror=alert(3)>",
    "\"><svg onload=alert(4)>",
    "' onmouseover='alert(5)",
    "[a](javascript:alert(6)) [b](JaVaScRiPt&#58;alert(7)) <javascript:alert(8)>",
    "[c](data:text/html,<script>alert(9)</script>)",
    "[d](vbscript:x) [e](file:///etc/passwd) [f](//evil.example/x) [g](blob:x) [h](\\x01javascript:alert(1))",
    "![i](https://evil.example/pixel.png) ![j](javascript:alert(10)) ![k](data:image/svg+xml;base64," + SVG + ")",
    "![l](data:image/png;base64," + SVG + ") ![m](https://evil.example/\"onerror=\"alert(11))",
    "<style>*{display:none}</style><link rel=stylesheet href=//evil.example/x.css>",
    "<iframe src='javascript:alert(12)'></iframe><object data=x></object><embed src=x><base href=//evil.example>",
    "<form action=//evil.example><input name=x></form><meta http-equiv=refresh content='0;url=//evil.example'>",
    "```html\n<script>alert(13)</script>\n```\n~~~\"onclick=alert(14)\n<b>\n~~~",
    "{{ 7 * 7 }} {% raw %} ${7*7} \u2028\u2029 &lt;script&gt; &#60;script&#62;",
    "\u202egnp.exe \u2066x \u202b \x1b]0;title\x07 \x00 \x9b31m \ufeff",
    "a" * 3000 + "<b>",
]  # fmt: skip
ALL = "\n\n".join(HOSTILE)
#: everything that foreign content may become in a page
ELEMENTS = set("a b blockquote br code del details div em figcaption figure hr img li ol p pre s span strong".split())  # noqa: SIM905
ELEMENTS |= set("summary table tbody td th thead tr ul h1 h2 h3 h4 h5 h6".split())  # noqa: SIM905
ATTRIBUTES = set("alt class data-call data-result dir href loading open rel src start tabindex title".split())  # noqa: SIM905


class Elements(HTMLParser):
    """What markup consists of."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.other: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keeps an element."""
        self.found.append((tag, dict(attrs)))

    def handle_comment(self, data: str) -> None:
        """Keeps a comment."""
        self.other.append(data)

    def handle_decl(self, decl: str) -> None:
        """Keeps a declaration."""
        self.other.append(decl)

    def handle_pi(self, data: str) -> None:
        """Keeps a processing instruction."""
        self.other.append(data)


def wrong_with(markup: str) -> list[object]:
    """The elements of a markup that are not on the list of those that foreign content may become."""
    parser = Elements()
    parser.feed(markup)
    parser.close()
    wrong: list[object] = list(parser.other)
    for name, attributes in parser.found:
        link, source, style = attributes.get("href"), attributes.get("src"), attributes.get("style")
        is_good = name in ELEMENTS and attributes.keys() <= ATTRIBUTES
        is_good &= link is None or (name == "a" and link.lower().startswith(("http://", "https://", "mailto:")))
        is_good &= link is None or attributes.get("rel") == "noopener noreferrer"
        is_good &= source is None or (name == "img" and source.startswith("data:image/") and "svg" not in source)
        is_good &= style is None
        if not is_good:
            wrong.append((name, attributes))
    return wrong


def planted(text: str) -> Session:
    """A session with a text in every field that can hold one."""
    session = Session.memory(name=text, cwd=f"/{text}", owner=text, id="hostile")
    image = {"type": "image", "source": {"type": "base64", "media_type": text, "data": SVG}}
    svg = {"type": "image", "source": {"type": "base64", "media_type": "image/svg+xml", "data": SVG}}
    url = {"type": "image_url", "image_url": {"url": f"https://evil.example/{text}"}}
    script = {"type": "image_url", "image_url": {"url": f"javascript:{text}"}}
    add = session.append
    add({"role": "system", "content": text})
    first = add({"role": "user", "content": text})
    session.label(first, text[:200].strip() or "x")
    add({"role": "user", "content": [{"type": "text", "text": text}, image, svg, url, script]})
    arguments = dict.fromkeys([text, "command", "path", "content"], text)
    edit = {"oldText": "a", "newText": text, "path": "x.c"}
    blocks = [
        {"type": "thinking", "thinking": text, "signature": text},
        {"type": "text", "text": text},
        {"type": "tool_use", "id": text, "name": text, "input": arguments},
        {"type": "tool_use", "id": f"2{text}", "name": "edit", "input": edit},
        {"type": text, text: text},
    ]  # fmt: skip
    add(
        {"role": "assistant", "content": blocks},
        model=text,
        provider=text,
        usage={"input_tokens": 1, "output_tokens": 2, text: 3},
    )
    add({"role": "user", "content": [{"type": "tool_result", "tool_use_id": text, "content": text, "is_error": True}]})
    add({"role": text, "content": text})
    add({text: {text: text}})
    session.append({"role": "user", "content": "other"}, parent_id=first.id)
    session.branch(session.path()[-1].id)
    leaf = session.path()[-1].id
    session.extend([
        CompactionEntry(id="c", parent_id=leaf, summary=text, first_kept_entry_id=leaf, details={text: text}),
        BranchSummaryEntry(id="b", parent_id="c", from_id=leaf, summary=text, details=text),
        ModelChangeEntry(id="m", parent_id="b", provider=text, model=text, settings={text: text}),
        ExtensionDataEntry(id="x", parent_id="m", ext_type=text, data={text: [text]}),
        OpaqueEntry(id="o", parent_id="x", unknown_type="tool.novel", fields={text: text}),
    ])  # fmt: skip
    session.branch("o")
    return session


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a page of all hostile texts at once."""
    folder = tmp_path_factory.mktemp("hostile")
    with planted(ALL) as session:
        export_file(session, folder / "all.html", "html")
    return folder


@pytest.fixture(scope="module")
def window(browser: Any, pages: Path) -> Iterator[Opened]:  # noqa: F811
    """That page in the browser."""
    shown = Opened(browser, address_of(pages / "all.html"))
    yield shown
    shown.context.close()


@pytest.fixture
def opened(window: Opened, pages: Path) -> Opened:
    """That page, loaded anew, with all entries shown and unfolded."""
    window.load(address_of(pages / "all.html"))
    window.show_all()
    return window


def test_hostile_content_does_nothing(opened: Opened, pages: Path) -> None:
    """No dialog, no request, nothing that the policy had to stop, no error; after using all of the page."""
    for key in "jkjnp[]mctedGg??":
        opened.page.keyboard.press(key)
    opened.page.fill(".query", "<script>")
    opened.page.wait_for_selector("[data-list=hits] .line")
    opened.page.click("[data-list=hits] .line >> nth=0")
    opened.page.hover("main article >> nth=1")
    opened.show_all()
    opened.page.wait_for_timeout(200)
    mine = [url for url in opened.requests if not url.startswith("data:image/png;base64,")]
    assert (opened.complaints(), mine) == ([], [address_of(pages / "all.html")])


def test_hostile_content_becomes_no_element(opened: Opened) -> None:
    """Every element and attribute in the conversation is one that the page itself makes. No script has run."""
    ours = ELEMENTS | {"article", "button", "header", "section", "time", "mark", "bdi", "svg", "path", "circle"}
    names = set(
        opened.ask("() => [...document.querySelectorAll('main *, .side .list *')].map((each) => each.localName)")
    )
    assert names - ours == set()
    attributes = set(opened.ask(
        "() => [...document.querySelectorAll('main section *')].flatMap((each) => each.getAttributeNames())"
    ))  # fmt: skip
    ours = ATTRIBUTES | {"data-row", "tabindex", "type", "aria-label", "role", "disabled", "datetime", "hidden"}
    assert attributes - ours == set()
    links = opened.ask("() => [...document.querySelectorAll('main a')].map((each) => each.protocol)")
    assert set(links) == {"file:", "https:"}  # links to entries of the page, and the address of an image
    foreign = opened.ask("() => [...document.querySelectorAll('main a[rel]')].map((each) => each.href)")
    assert {each.partition("/pixel")[0].partition("/%3C")[0][:20] for each in foreign} == {"https://evil.example"}
    forbidden = "main article [style], main [id], main [name], main img[src^=http]"
    assert opened.ask(f"() => document.querySelectorAll('{forbidden}').length") == 0
    assert opened.ask("() => document.title") != ""


def test_hostile_content_is_shown(opened: Opened) -> None:
    """As the text that it is, in each place."""
    text = opened.ask("() => document.querySelector('main').textContent")
    for shown in ("<script>alert(1)</script>", "{{ 7 * 7 }}", "<iframe src='javascript:alert(12)'>"):
        assert text.count(shown) > 10, shown
    assert text.count("\\x1b]0;title\\x07") > 3
    assert "\x1b" not in text
    title = opened.ask("() => document.title")
    assert title.startswith("<script>alert(1)</script> </script><script>")


def test_the_page_meets_the_rules_of_accessibility(opened: Opened) -> None:
    """No serious violation in the light and in the dark page, by axe."""
    axe = pytest.importorskip(
        "axe_playwright_python.sync_playwright", reason="NOT TESTED with axe: it is not installed"
    )
    found = {}
    for theme in ("light", "dark"):
        opened.ask(f"() => {{ document.documentElement.dataset.theme = '{theme}'; scrollTo(0, 0); }}")
        for each in axe.Axe().run(opened.page).response["violations"]:
            if each["impact"] in ("serious", "critical"):
                found[theme, each["id"]] = [node["html"][:200] for node in each["nodes"][:3]]
    assert found == {}, json.dumps(list(found.items()), indent=1)


def test_a_line_of_ten_megabytes(opened: Opened, tmp_path: Path) -> None:
    """The page opens, shows its beginning, and folds the rest."""
    with Session.memory() as session:
        session.append({"role": "user", "content": "x" * 10_000_000})
        session.append({"role": "assistant", "content": "[" * 100_000 + "*a_ " * 50_000})
        session.append({"role": "tool", "tool_call_id": "c", "content": "<" * 100_000})
        export_file(session, tmp_path / "long.html", "html")
    opened.load(address_of(tmp_path / "long.html"))
    opened.page.wait_for_selector("article.user details.more")
    assert opened.texts("article.user details.more > summary") == ["9,980,000 more characters"]
    assert len(opened.ask("() => document.querySelector('article.user .text').textContent")) == 10_000_000 + 25
    assert opened.complaints() == []


PIECES = [*"<>&\"'`*_[]()!|~\n\\#-", "javascript:", "http://a", "data:image/png;base64,"]
PIECES += ["<script", "&#x3c;", "\u202e", "x "]
texts = st.text(max_size=60) | st.sampled_from(HOSTILE) | st.lists(st.sampled_from(PIECES), max_size=25).map("".join)


@given(texts)
@settings(max_examples=25)
def test_any_text_becomes_safe_markup(text: str) -> None:
    """In any field of any entry, whatever it is."""
    with planted(text or "x") as session:
        render = EntryMarkup(session.outline())
        for row, record in session.records():
            if hasattr(record, "parent_id"):
                assert wrong_with(render.of(row, record).markup) == []  # type: ignore[arg-type]  # an entry


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("csharp", "a\n" * 4000),
        ("csharp", "a[]\n" * 2500),
        ("css", ('\\"' * 990 + "\n") * 15),
        ("go", ('\\"' * 990 + "\n") * 15),
    ],
    ids=["words", "types", "css", "go"],
)
def test_code_that_takes_long_to_highlight(language: str, text: str) -> None:
    """It is shown as it is. Pygments would need many seconds."""
    assert code(text, language) == Markup('<pre class="code" dir="ltr" tabindex="0">%s</pre>') % text
    assert 'class="h-' in code("a { b: 1 }" if language == "css" else 'var a = "b"; // c', language)


def test_which_links_lead_away() -> None:
    """Whole addresses of pages and of mail. `http:x` would be relative to the page, whose address may be a secret."""
    good = ["http://a", "HTTPS://b/c", "mailto:me@example.org"]
    bad = ["http:x", "http:/x", "https:", "//a", "x", "http://[", "javascript:x", "ftp://a", "data:image/png;base64,x"]
    assert ([each for each in [*good, *bad] if is_safe(each)], 'href="http:x"' in markdown("[a](http:x)")) == (
        good,
        False,
    )


def test_a_style_is_no_attribute_of_a_table() -> None:
    """markdown-it-py would align cells by a style, which the policy stops."""
    with Session.memory() as session:
        session.append({"role": "user", "content": "|a|b|\n|:-:|-:|\n|1|2|\n"})
        row, record = next(iter(session.records()))
        assert isinstance(record, MessageEntry)
        markup = EntryMarkup(session.outline()).of(row, record).markup
    assert ('<th class="center">a</th>' in markup, '<td class="right">2</td>' in markup, wrong_with(markup)) == (
        True,
        True,
        [],
    )


@given(st.recursive(st.none() | st.text() | st.sampled_from(HOSTILE) | st.integers(), st.lists))
def test_data_in_a_script_keeps_its_value(value: Any) -> None:
    """And has no character that ends a script or begins a comment."""
    written = script_data(value).decode()
    assert (json.loads(written), set("<>&\u2028\u2029") & set(written)) == (value, set())


@pytest.mark.parametrize(
    ("data", "kind", "shown"),
    [
        (PIXEL, "image/png", "image/png"),
        (PIXEL, None, "image/png"),
        (PIXEL, "image/jpg", "image/png"),  # by its bytes
        (PIXEL, "image/svg+xml", None),
        (PIXEL, 'image/png" onerror="x', None),
        (SVG, "image/png", None),
        (SVG, "image/svg+xml", None),
        (PIXEL + '" onerror="alert(1)', "image/png", None),
        ("", "image/png", None),
        ("R0lGODlhAQABAAAAACw=", "image/gif", "image/gif"),
        ("/9j/4AAQSkZJRg==", "image/jpeg", "image/jpeg"),
    ],
)
def test_which_images_are_shown(data: str, kind: str | None, shown: str | None) -> None:
    """Raster images in base64, by their bytes."""
    source = image_source(data, kind)
    assert (source and source.partition(";")[0]) == (shown and f"data:{shown}")
