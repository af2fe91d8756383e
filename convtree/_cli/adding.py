"""The commands that begin a conversation and add to it, for scripts: `new`, `append`. They print an id."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from convtree._cli.choosing import default_url, with_store_for_log
from convtree._cli.completing import complete_entry, complete_log
from convtree._cli.gap_advice import writing_to
from convtree._cli.output import write
from convtree._cli.typed_input import label_of, message_of, piped_input, refusing
from convtree._logs.directories import find_git_root
from convtree._model.terminal_text import escape_controls
from convtree._session.session import Session
from convtree.stores._open import open_store
from convtree.stores._session_store import SessionStore

_MESSAGE = (
    click.option("--role", metavar="ROLE", help="The role of the message.  [default: user]"),
    click.option("--json", "is_json", is_flag=True, help="MESSAGE is a JSON object, in the shape of a provider."),
    click.option("--model", metavar="NAME", help="The model that made the message."),
    click.option("--provider", metavar="NAME", help="The provider that made the message."),
)


def _with_message(command: Callable[..., None]) -> Callable[..., None]:
    for option in reversed(_MESSAGE):
        command = option(command)
    return command


@click.command("new")
@click.argument("message", required=False)
@click.option("-s", "--store", "url", metavar="URL", help="The store, which is made if it is a folder or a file.")
@click.option("-o", "--output", type=click.Path(), metavar="LOG", help="Begin a log at this path, not in a store.")
@click.option("--id", "id", metavar="ID", help="The id of the session.  [default: a new one]")
@click.option("--name", metavar="NAME", help="The name of the session.")
@click.option("--cwd", metavar="DIR", help="The directory that it is about.  [default: the current one]")
@click.option("--owner", metavar="NAME", help="The owner of the session.")
@_with_message
def new_command(
    message: str | None,
    url: str | None,
    output: str | None,
    id: str | None,
    name: str | None,
    cwd: str | None,
    owner: str | None,
    role: str | None,
    is_json: bool,
    model: str | None,
    provider: str | None,
) -> None:
    """Begin a session with a message and print its id.

    MESSAGE is a text, or `-` for standard input, which is also read if MESSAGE is left out. With --name, a session may
    begin without a message: if MESSAGE is left out, and standard input is a terminal or empty. Without --store, it is
    in the store of CONVTREE_URL, else in the folder of sessions in your data directory.
    """
    if url is not None and output is not None:
        raise click.UsageError("--store and --output exclude each other")
    options = {"role": role, "model": model, "provider": provider}
    given: str | bytes | None = message
    if name is not None and message is None and not is_json:
        given = piped_input()
    is_bare = given == b""
    if is_bare and any(value is not None for value in options.values()):
        raise click.UsageError("--role, --model and --provider are about a message; give MESSAGE, or `-`")
    said = None if is_bare else message_of(given, role, is_json)
    here = cwd or os.getcwd()
    described = {"id": id, "name": name, "cwd": here, "git_root": find_git_root(here), "owner": owner}
    with refusing(), _begin(url, output, described) as session:
        if said is None:
            session.rename(name)
        else:
            session.append(said, model=model, provider=provider)
        write([escape_controls(session.id)])


def _begin(url: str | None, output: str | None, described: dict[str, Any]) -> Session:
    """Begins a log or a session of a store. Nothing is stored before its first record."""
    if output is not None:
        return Session.open(Path(output), mode="x", **described)
    store = open_store(default_url() if url is None else url)
    click.get_current_context().call_on_close(store.close)
    return store.create(**described)


@click.command("append")
@click.argument("log", shell_complete=complete_log)
@click.argument("message", required=False)
@with_store_for_log
@click.option(
    "--at", metavar="ENTRY", shell_complete=complete_entry, help="Append below this entry.  [default: the leaf]"
)
@click.option("--label", metavar="TEXT", help="Set a label on the new entry.")
@_with_message
def append_command(
    log: str,
    message: str | None,
    store: SessionStore | None,
    at: str | None,
    label: str | None,
    role: str | None,
    is_json: bool,
    model: str | None,
    provider: str | None,
) -> None:
    """Append a message and print the id of its entry.

    MESSAGE is a text, or `-` for standard input, which is also read if MESSAGE is left out. With --json, it is a
    message or an answer of a provider, of which the message is stored. With --at, it begins a new branch below ENTRY.
    """
    said = message_of(message, role, is_json)
    with writing_to(log, store) as session:
        place: dict[str, Any] = {} if at is None else {"parent_id": session.resolve(at)}
        with refusing():
            entry = session.append(said, model=model, provider=provider, label=label_of(label), **place)
        write([escape_controls(entry.id)])
