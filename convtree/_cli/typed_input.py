"""What a command takes from standard input or from a file: a message, or a summary."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click
import msgspec

from convtree._cli.output import write_stderr
from convtree._model.references import LATEST, steps_above_leaf

STDIN = "-"


def text_of(data: bytes | str, what: str) -> str:
    """Returns a text that was passed or read. The newline at the end of a file is not a part of it.

    Raises:
        click.UsageError: it is no UTF-8, or blank.
    """
    try:
        text = data if isinstance(data, str) else data.decode().removesuffix("\n")
    except UnicodeDecodeError as error:
        raise click.UsageError(f"the {what} is not UTF-8: its byte {error.start} cannot be read") from None
    if not text.strip():
        raise click.UsageError(f"the {what} is empty")
    return text


def piped_input() -> bytes:
    """Returns what standard input has; nothing if it is a terminal or closed."""
    return b"" if sys.stdin is None or sys.stdin.isatty() else sys.stdin.buffer.read()


def message_of(argument: str | bytes | None, role: str | None, is_json: bool) -> dict[str, Any]:
    """Returns the message of a command: a text of a role, or a JSON object.

    Raises:
        click.UsageError: it is empty or no such object, or a role was given for an object.
    """
    if is_json and role is not None:
        raise click.UsageError("--role is for a text; with --json, the role is in the message")
    text = text_of(sys.stdin.buffer.read() if argument in (None, STDIN) else argument, "message")
    if not is_json:
        return {"role": role or "user", "content": text}
    try:
        message = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError, ValueError) as error:
        raise click.UsageError(f"the message is not JSON: {error}") from None
    if not isinstance(message, dict):
        raise click.UsageError(f"the message is a JSON {type(message).__name__}; expected an object")
    return message


def confirmed(question: str, without: str) -> bool:
    """Asks a question on standard error, and returns whether the answer is yes. `without` says how not to be asked.

    Raises:
        click.UsageError: standard input has no answer.
        KeyboardInterrupt: the question was interrupted.
    """
    try:
        return click.confirm(question, err=True)
    except click.Abort as error:  # click makes one error of both
        write_stderr("")
        if isinstance(error.__context__, EOFError):
            raise click.UsageError(f"there is no answer; {without}") from None
        raise KeyboardInterrupt from None


def label_of(text: str | None) -> str | None:
    """Returns a label that was passed.

    Raises:
        click.UsageError: it means something else where an entry is named, or is blank.
    """
    if text is not None and (text == LATEST or steps_above_leaf(text) is not None or not text.strip()):
        raise click.UsageError(f"{text!r} cannot be a label: expected a text other than '@', '@~3' and {LATEST!r}")
    return text


@contextmanager
def refusing() -> Iterator[None]:
    """Makes an argument that the library refuses wrong usage: nothing was written."""
    try:
        yield
    except (ValueError, TypeError) as error:
        raise click.UsageError(str(error)) from None
