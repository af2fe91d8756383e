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
    click.option("--context", is_flag=True, help="Show the messages that a model would receive."),
    click.option("--path", is_flag=True, help="Show only the entries from the root to the leaf."),
    click.option("--full", is_flag=True, help="Show every entry with its whole text, as Markdown."),
    click.option("-v", "--verbose", is_flag=True, help="Show every entry on a line, with its size and id."),
    with_gaps,
    with_utc,
    click.option("--no-pager", is_flag=True, help="Print all of it at once, even on a terminal."),
    click.option("--json", is_flag=True, help="Print one JSON document. With --context, the messages are unchanged."),
    click.option("--dot", is_flag=True, help="Print the tree for Graphviz."),
    click.option("--mermaid", is_flag=True, help="Print the tree for Mermaid."),
)


def with_look_options(command: Callable[..., None]) -> Callable[..., None]:
    """Decorates a command with these options. It receives them as the keyword argument `look`."""

    @wraps(command)
    def run(*arguments: Any, **named: Any) -> None:
        chosen = {name: named.pop(name) for name in _NAMES}
        part = _one_of(chosen, ("context", "path"))
        form = _one_of(chosen, ("json", "dot", "mermaid"))
        for graph in ("dot", "mermaid"):
            for other in ("context", "path", "full", "verbose"):
                _one_of(chosen, (graph, other))
        _one_of(chosen, ("full", "verbose"))
        _one_of(chosen, ("context", "verbose"))
        look = LookOptions(
            part=part,
            form=form,
            pager=not chosen["no_pager"],
            **{name: chosen[name] for name in ("leaf_id", "full", "verbose", "utc", "allow_gaps")},
        )
        command(*arguments, look=look, **named)

    for option in reversed(_OPTIONS):
        run = option(run)
    return run


_NAMES = ("leaf_id", "context", "path", "full", "verbose", "allow_gaps", "utc", "no_pager", "json", "dot", "mermaid")


def _one_of(chosen: dict[str, Any], names: tuple[str, ...]) -> str | None:
    """Returns the flag among some that was passed.

    Raises:
        click.UsageError: several were.
    """
    found = [name for name in names if chosen[name]]
    if len(found) > 1:
        raise click.UsageError(f"--{found[0]} cannot be combined with --{found[1]}")
    return found[0] if found else None
