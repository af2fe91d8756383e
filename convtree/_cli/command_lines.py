"""The commands that a message advises, ready to be typed: quoted for a shell, about the same store."""

from __future__ import annotations

import shlex

import click

_META = f"{__name__}.store"


def remember_store(ctx: click.Context, url: str) -> None:
    """Keeps the URL that `--store` was given, for `command_line`."""
    ctx.meta[_META] = url


def given_store() -> str | None:
    """Returns the URL that `--store` was given; None without the option."""
    ctx = click.get_current_context(silent=True)
    return None if ctx is None else ctx.meta.get(_META)


def command_line(command: str, *words: str, store: str | None = None) -> str:
    """Returns a command with these words after the store. `store` is the default for the one that was given."""
    url = given_store() or store
    options = [] if url is None else ["--store", url]
    return shlex.join(["convtree", command, *options, *words])
