"""The options that `inspect` and `show` share: which part of a session to print, and in which form."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, NamedTuple

import click

from convtree._cli.completing import complete_entry
from convtree._cli.time_options import with_utc


class LookOptions(NamedTuple):
    """The choices of the user.

    Attributes:
        leaf_id: the leaf; None is the session's own.
        part: "context" or "path"; None is the tree.
        full: whether every entry is shown with its whole text.
        form: "json", "dot" or "mermaid"; None is text.
        verbose: whether every entry has a line of its own.
        utc: whether times are in UTC.
        pager: whether long output goes through a pager, on a terminal.
        allow_gaps: whether a damaged session is shown as far as it can be read.
    """

    leaf_id: str | None = None
    part: str | None = None
    full: bool = False
    form: str | None = None
    verbose: bool = False
    utc: bool = False
    pager: bool = True
    allow_gaps: bool = False

    @property
    def is_default_text(self) -> bool:
        """Whether nothing was chosen about what is shown, `--json` aside."""
        return self.form in (None, "json") and (self.leaf_id, self.part, self.full) == (None, None, False)


with_gaps = click.option(
    "--allow-gaps", is_flag=True, help="Read a damaged conversation, with its gaps in their places."
)
_OPTIONS = (
    click.option(
        "--leaf",
        "leaf_id",
        metavar="ENTRY",
        shell_complete=complete_entry,
        help="Use this entry instead of the session's leaf.",
    ),
    click.option("--context", "part", flag_value="context", help="Show the messages that a model would receive."),
    click.option("--path", "part", flag_value="path", help="Show only the entries from the root to the leaf."),
    click.option("--full", is_flag=True, help="Show every entry with its whole text, as Markdown."),
    click.option("-v", "--verbose", is_flag=True, help="Show every entry on a line, with its size and id."),
    with_gaps,
    with_utc,
    click.option("--no-pager", is_flag=True, help="Print all of it at once, even on a terminal."),
    click.option(
        "--json",
        "form",
        flag_value="json",
        help="Print one JSON document. With --context it holds the messages unchanged.",
    ),
    click.option("--dot", "form", flag_value="dot", help="Print the tree for Graphviz."),
    click.option("--mermaid", "form", flag_value="mermaid", help="Print the tree for Mermaid."),
)


def with_look_options(command: Callable[..., None]) -> Callable[..., None]:
    """Decorates a command with these options. It receives them as the keyword argument `look`."""

    @wraps(command)
    def run(*arguments: Any, no_pager: bool, **named: Any) -> None:
        chosen = {name: named.pop(name) for name in LookOptions._fields if name in named}
        look = LookOptions(**chosen, pager=not no_pager)
        if look.form in ("dot", "mermaid") and (look.part or look.full or look.verbose):
            raise click.UsageError(
                f"--{look.form} prints the whole tree and cannot be combined with --context, --path, --full or -v"
            )
        if look.verbose and (look.full or look.part == "context"):
            raise click.UsageError("-v is for the lines of a tree or a path, and not for --full or --context")
        command(*arguments, look=look, **named)

    for option in reversed(_OPTIONS):
        run = option(run)
    return run
