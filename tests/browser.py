"""A real browser for the tests of HTML pages: headless Chromium, and what it reports of a page."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

#: collects what the policy of a page has stopped, before any script of the page runs
_WATCH = """
window.violations = [];
document.addEventListener("securitypolicyviolation", (event) => {
  window.violations.push(`${event.violatedDirective} ${event.blockedURI} ${event.sample}`);
});
"""


class Opened:
    """A page in the browser, and all that it tried to do."""

    def __init__(self, browser: Any, address: str, **options: Any) -> None:
        self.context = browser.new_context(timezone_id="Asia/Tokyo", locale="en-GB", **options)
        self.page = self.context.new_page()
        self.requests: list[str] = []
        self.messages: list[str] = []
        self.dialogs: list[str] = []
        self.page.add_init_script(_WATCH)
        self.page.on("request", lambda request: self.requests.append(request.url.partition("#")[0]))
        self.page.on("console", lambda message: self.messages.append(message.text))
        self.page.on("pageerror", lambda error: self.messages.append(str(error)))
        self.page.on("dialog", self._dismiss)
        self.load(address)

    def load(self, address: str) -> None:
        """Loads a page, from its beginning also if it is the same one."""
        self.page.goto("about:blank")
        for noted in (self.requests, self.messages, self.dialogs):
            noted.clear()
        self.page.goto(address)
        self.page.wait_for_selector("html[data-ready]", state="attached")

    def _dismiss(self, dialog: Any) -> None:
        self.dialogs.append(dialog.message)
        dialog.dismiss()

    def ask(self, expression: str) -> Any:
        """Returns what an expression gives in the page."""
        return self.page.evaluate(expression)

    def texts(self, selector: str) -> list[str]:
        """Returns the texts of elements, without blanks around them."""
        return [text.strip() for text in self.page.locator(selector).all_inner_texts()]

    def wait_for(self, selector: str, text: str, timeout_ms: int = 5000) -> None:
        """Waits until there is one such element with this text. It runs no script, which the policy would stop."""
        from playwright.sync_api import expect

        expect(self.page.locator(selector)).to_have_text([text], timeout=timeout_ms)

    def show_all(self) -> None:
        """Puts every entry of the branch into the page, as for printing, and unfolds all of it."""
        self.ask("() => dispatchEvent(new Event('beforeprint'))")
        self.ask("() => document.querySelectorAll('main details').forEach((each) => { each.open = true; })")

    def complaints(self) -> list[str]:
        """Returns what the policy has stopped, what went wrong, and dialogs: nothing, for a good page."""
        return [*self.ask("() => window.violations"), *self.messages, *self.dialogs]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A browser for the tests of a module."""
    place = shutil.which("chromium") or shutil.which("chromium-browser")
    if find_spec("playwright") is None or place is None:
        missing = "there is no chromium (apt-get install chromium)" if place is None else "playwright is not installed"
        if os.environ.get("CONVTREE_REQUIRE_CHROMIUM"):
            pytest.fail(f"CONVTREE_REQUIRE_CHROMIUM is set, and {missing}")
        pytest.skip(f"NOT TESTED in a browser: {missing}")
    playwright = import_module("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=place, args=["--no-sandbox"])
        yield started
        started.close()


def address_of(path: Path) -> str:
    """Returns the address of a file."""
    return path.resolve().as_uri()
