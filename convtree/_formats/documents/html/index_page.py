"""The page that lists the sessions of a store, with filters and a search over all their words. Pure.

It holds a row for each session, and the words of each as numbers into one vocabulary. So the search needs nothing but
this page, and finds parts of words in any script.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from convtree._catalogue.types import SessionInfo
from convtree._formats.documents.html import texts
from convtree._formats.documents.html.page import element, ending, shell
from convtree._model.document_text import escape_text

SCRIPTS = ("tree.js", "lists.js", "index.js")
_BLOCK = 500  # sessions in a block
_TITLE = 160


class Listed(NamedTuple):
    """A session in the list.

    Attributes:
        address: where its page is, as seen from the list.
        title: its name, or its first question.
        info: what the catalogue says of it, redacted if the pages are.
        words: the words said in it; None if the list is not searched by words.
    """

    address: str
    title: str
    info: SessionInfo
    words: list[str] | None = None


def index_page(title: str, listed: Iterable[Listed], connect: str | None = None) -> Iterator[bytes]:
    """Yields the page, piece by piece. `connect` is where a live page searches; None: it searches its own words."""
    yield shell("index.html", SCRIPTS, title=escape_text(title), connect=connect)
    numbers: dict[str, int] = {}
    rows: list[Any] = []
    for each in listed:
        words = [numbers.setdefault(word, len(numbers)) for word in each.words or ()]
        rows.append([*_row(each), words])
        if len(rows) == _BLOCK:
            yield element("rows", rows)
            rows = []
    yield element("rows", rows)
    yield element("words", list(numbers))
    yield ending(SCRIPTS)


def _row(each: Listed) -> list[Any]:
    info = each.info
    usage = info.usage
    return [
        each.address,
        texts.one_line(each.title, _TITLE) or info.id,
        escape_text(info.cwd or ""),
        [escape_text(model) for model in info.models],
        info.last_activity or info.created,
        info.messages,
        [usage.input_tokens + usage.cache_read_tokens + usage.cache_write_tokens, usage.output_tokens, usage.cost],
        int(info.archived),
        int(info.parent_session is not None and info.parent_session.kind == "task"),
    ]
