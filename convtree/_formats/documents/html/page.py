"""The page of a session: a shell, the entries as data, and one script.

The markup of every entry is made here, when the page is written, with everything foreign escaped. The page holds it as
JSON, in blocks, and its script parses a block and puts its markup into the page when the reader comes to it. So a page
of 100,000 entries opens as fast as a small one, the entries are written as they are read, and what can get into the
page is decided by Python alone.

A Content-Security-Policy in the page forbids everything else: other scripts and styles than these, which it names by
their hashes, requests, frames, forms. No text of a session is an `id`, a class, a style or a handler.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Iterator
from functools import lru_cache
from hashlib import sha256
from importlib.metadata import version as library_version
from importlib.resources import files
from typing import Any

from markupsafe import Markup

from convtree import __version__
from convtree._catalogue.titles import title_in
from convtree._formats.common.base import Exported
from convtree._formats.common.gaps import gaps_of
from convtree._formats.documents.html import texts
from convtree._formats.documents.html.entries import EntryMarkup, Shown, asset, environment
from convtree._formats.documents.html.script_data import script_data
from convtree._model.document_text import escape_text
from convtree._model.entries import Entry

SCRIPTS = ("tree.js", "lists.js", "conversation.js", "search.js", "page.js")
LIVE_SCRIPTS = (*SCRIPTS, "live.js")
_LIBRARIES = ("jinja2", "markdown-it-py", "pygments")
_BLOCK = 200  # entries in a block
_BLOCK_SIZE = 400_000  # characters of markup in a block
_TITLE = 100  # characters of a title
_FACT = 300  # of a fact


def page_of(session: Exported, connect: str | None = None, home: str | None = None) -> Iterator[bytes]:
    """Yields the page of a session, piece by piece.

    `connect` is where a live page gets what is appended, `home` where the list of sessions is.
    """
    outline = session.outline()
    render = EntryMarkup(outline, gaps_of(session))
    title = page_title(session)
    scripts = LIVE_SCRIPTS if connect else SCRIPTS
    yield shell("page.html", scripts, title=title, facts=facts_of(session), connect=connect, home=home)
    shown = (render.of(row, record) for row, record in session.records() if isinstance(record, Entry))
    yield from blocks(shown)
    yield element("facts", state_of(session))
    yield ending(scripts)


def shell(template: str, scripts: Iterable[str], connect: str | None = None, **values: Any) -> bytes:
    """Returns the beginning of a page, up to where its data goes."""
    css, program = style(), script(scripts)
    policy = policy_for(css, program, connect)
    return (
        environment()
        .get_template(template)
        .render(policy=policy, style=Markup(css), connect=connect, **values)
        .encode()
    )


def ending(scripts: Iterable[str]) -> bytes:
    """Returns the end of a page: its script."""
    return f"<script>{script(scripts)}</script>\n</body>\n</html>\n".encode()


def policy_for(css: str, program: str, connect: str | None = None) -> str:
    """Returns the Content-Security-Policy of a page with this style sheet and this script."""
    allowed = ["default-src 'none'", f"script-src {_hash(program)}", f"style-src {_hash(css)}", "img-src data:"]
    allowed += ["base-uri 'none'", "form-action 'none'", "require-trusted-types-for 'script'", "trusted-types convtree"]
    return "; ".join(allowed + (["connect-src 'self'"] if connect else []))


@lru_cache(maxsize=1)
def style() -> str:
    """Returns the style sheet."""
    return f"\n{asset('page.css')}\n{texts.style()}\n"


@lru_cache(maxsize=4)
def _script(scripts: tuple[str, ...]) -> str:
    return "\n".join(['\n"use strict";', "(() => {", *map(asset, scripts), "})();\n"])


def script(scripts: Iterable[str]) -> str:
    """Returns the script of a page, of several files."""
    return _script(tuple(scripts))


def element(name: str, value: Any) -> bytes:
    """Returns an element with data for the script."""
    return b'<script type="application/json" class="%s">%s</script>\n' % (name.encode(), script_data(value))


def blocks(shown: Iterable[Shown]) -> Iterator[bytes]:
    """Yields entries as data, many together."""
    rows: list[Any] = []
    markup: list[str] = []
    size = 0
    for each in shown:
        rows.append(each.row)
        markup.append(each.markup)
        size += len(each.markup)
        if len(rows) == _BLOCK or size > _BLOCK_SIZE:
            yield element("rows", rows) + element("markup", markup)
            rows, markup, size = [], [], 0
    if rows:
        yield element("rows", rows) + element("markup", markup)


def state_of(session: Exported) -> dict[str, Any]:
    """Returns what the script needs beside the entries: the leaf, the labels, and what is missing above which rows."""
    outline, gaps = session.outline(), gaps_of(session)
    above = {outline.row(id): gaps.above(id) for id in gaps.orphans}
    rows = {outline.row(id): escape_text(label) for id, label in session.labels.items()}
    labels = {str(row): label for row, label in rows.items() if row is not None}
    leaf = None if session.leaf_id is None else outline.row(session.leaf_id)
    return {
        "leaf": -1 if leaf is None else leaf,
        "certain": outline.certain,
        "labels": labels,
        "gaps": {str(row): words for row, words in above.items() if row is not None},
    }


def facts_of(session: Exported) -> list[tuple[str, str]]:
    """Returns what is known of a session, by name."""
    header = session.header
    parent = header.parent_session
    found = {
        "Session": session.id,
        "Begun": header.timestamp,
        "Directory": header.cwd,
        "Owner": header.owner,
        "From": None if parent is None else f"{parent.id} ({parent.kind})",
    }
    return [(name, texts.one_line(value, _FACT)) for name, value in found.items() if value]


def page_title(session: Exported) -> str:
    """Returns the title of a session, as lists have it; its id if there is none."""
    return texts.one_line(title_in(session.name, (record for _, record in session.records())) or session.id, _TITLE)


@lru_cache(maxsize=1)
def version() -> str:
    """Returns a hash of what makes pages: this package with its assets, the libraries, and the version of convtree."""
    parts = [__version__.encode(), *(f"{name} {library_version(name)}".encode() for name in _LIBRARIES)]
    folder = files("convtree._formats.documents.html")
    for place in (folder, folder.joinpath("assets")):
        found = sorted((each for each in place.iterdir() if each.is_file()), key=lambda each: each.name)
        parts += [each.name.encode() + b"\0" + each.read_bytes() for each in found]
    return sha256(b"\0\0".join(parts)).hexdigest()


def _hash(text: str) -> str:
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"
