"""What a command takes from standard input or from a file: a message, or a summary."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click
import msgspec

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


def message_of(argument: str | None, role: str | None, is_json: bool) -> dict[str, Any]:
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


@contextmanager
def refusing() -> Iterator[None]:
    """Makes an argument that the library refuses wrong usage: nothing was written."""
    try:
        yield
    except (ValueError, TypeError) as error:
        raise click.UsageError(str(error)) from None
