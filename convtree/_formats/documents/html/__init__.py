"""Writes a session as one HTML page for people: every branch, offline, and safe with hostile content. See `page`.

Jinja2, markdown-it-py and Pygments are an extra. They are imported when a page is written.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec

from convtree._formats.common.base import Exported, Findings

NAME = "html"

_NEEDS = ("jinja2", "markdown_it", "pygments")


def write(session: Exported, _findings: Findings) -> Iterator[bytes]:
    """Yields the page, piece by piece.

    Raises:
        ImportError: the extra is not installed.
    """
    check_installed()
    from convtree._formats.documents.html.page import page_of

    return page_of(session)


def check_installed() -> None:
    """Checks that the libraries of the extra are installed.

    Raises:
        ImportError: one of them is missing.
    """
    if missing := [name for name in _NEEDS if find_spec(name) is None]:
        raise ImportError(f"HTML pages need {', '.join(missing)}: pip install 'convtree[html]'")
