"""The options that `inspect` and `show` share: which part of a session to print, and in which form."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, NamedTuple

import click

from convtree._cli.completing import complete_entry


class LookOptions(NamedTuple):
    """The choices of the user: the leaf (None is the session's own), the part, and the form."""

    leaf_id: str | None
    part: str | None
    full: bool
    form: str | None

    @property
    def is_default_text(self) -> bool:
        """Whether nothing was chosen, `--json` aside."""
        return self._replace(form=None) == LookOptions(None, None, False, None) and self.form in (None, "json")


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
    click.option("--full", is_flag=True, help="Show every entry with its whole text."),
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
    def run(*arguments: Any, leaf_id: str | None, part: str | None, full: bool, form: str | None, **named: Any) -> None:
        if form in ("dot", "mermaid") and (part or full):
            raise click.UsageError(
                f"--{form} prints the whole tree and cannot be combined with --context, --path or --full"
            )
        command(*arguments, look=LookOptions(leaf_id, part, full, form), **named)

    for option in reversed(_OPTIONS):
        run = option(run)
    return run
