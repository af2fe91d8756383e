"""The title of a session in lists: its name, or what a person asked. Pure, but for the query.

A conversation often begins with a command of the tool ("/model"), with one word ("continue"), or with what the tool put
in front of the question. These say nothing about it, so the next message counts. Only the first messages near the
beginning are looked at: a list does not read whole sessions.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import islice

from convtree._catalogue.record_summary import HIDDEN_FROM_USER, excerpt_of, words_of
from convtree._catalogue.tables import Execute
from convtree._catalogue.texts import one_of
from convtree._model.batches import batched
from convtree._model.entries import Entry, Mark, MessageEntry

MESSAGES_READ = 10  # of the user, at most
_RECORDS_READ = 500
_BEGINNING = 2**18  # of a log, in the units of its positions: bytes, or lines in memory
_TWO_WORDS = re.compile(r"\w\W+\w")
_COMMAND = re.compile(r"/[\w:.-]+(\s|$)")  # but no path, which has another slash
#: what tools put before the first question: a tag such as <environment_context>, or the project's instructions
_BY_A_TOOL = re.compile(r"<[a-z]+([-_][a-z]+)+>|# AGENTS\.md\b", re.IGNORECASE)
_FIRST_MESSAGES = f"""
SELECT session_id, excerpt FROM ct_lines WHERE session_id IN ({{marks}}) AND position < {_BEGINNING} AND excerpt <> ''
  AND visible_to NOT IN ({", ".join(map(repr, HIDDEN_FROM_USER))}) ORDER BY session_id, position
"""


def title_of(name: str | None, user_messages: Iterable[str]) -> str | None:
    """Returns the title of a session: its name, else the first message that is a request, else the first message.

    No request is a slash command, a single word, or what a tool put before the question. `user_messages` are the
    beginnings of the first messages that the user sees, on one line each.
    """
    if name:
        return name
    first = None
    for text in user_messages:
        if is_request(text):
            return text
        first = text if first is None else first
    return first


def title_in(name: str | None, records: Iterable[Entry | Mark]) -> str | None:
    """Returns the title of a session with these records, of which only the first ones are looked at."""
    said = filter(None, map(excerpt_shown, islice(records, _RECORDS_READ)))
    return title_of(name, islice(said, MESSAGES_READ))


def excerpt_shown(record: Entry | Mark) -> str | None:
    """Returns the beginning of a message of the user that the user sees; None for any other record."""
    if not isinstance(record, MessageEntry) or record.role != "user" or record.visible_to in HIDDEN_FROM_USER:
        return None
    return excerpt_of(record.text) or None


def is_request(text: str) -> bool:
    """Returns whether a message of the user says what the conversation is about. Scripts without spaces count too."""
    if text[:1] in ("/", "<", "#") and (_COMMAND.match(text) or _BY_A_TOOL.match(text)):
        return False
    return _TWO_WORDS.search(text) is not None or len(words_of(text)) > 1


def first_messages(execute: Execute, ids: Sequence[str]) -> dict[str, list[str]]:
    """Returns the beginnings of the first messages that the user sees, of each of these sessions."""
    found: dict[str, list[str]] = {id: [] for id in ids}
    for chunk in batched(ids):
        marks, values = one_of(chunk)
        for id, excerpt in execute(_FIRST_MESSAGES.format(marks=marks), values):
            if len(found[id]) < MESSAGES_READ:
                found[id].append(excerpt)
    return found
