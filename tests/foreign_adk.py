"""A database of Google's ADK, as `SqliteSessionService` of version 2.13 writes it; columns may be null."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from foreign_stores import write_database

ADK = """
create table app_states (app_name TEXT PRIMARY KEY, state TEXT, update_time REAL);
create table user_states (app_name TEXT, user_id TEXT, state TEXT, update_time REAL,
    PRIMARY KEY (app_name, user_id));
create table sessions (app_name TEXT, user_id TEXT, id TEXT, state TEXT,
    create_time REAL, update_time REAL, PRIMARY KEY (app_name, user_id, id));
create table events (id TEXT, app_name TEXT, user_id TEXT, session_id TEXT,
    invocation_id TEXT, timestamp REAL, event_data TEXT,
    PRIMARY KEY (app_name, user_id, session_id, id));
"""
BEGUN = 1795993179.25
WHOSE = {"app_name": "trips", "user_id": "ada"}


def event_row(number: int, invocation: str, author: str, **fields: Any) -> dict[str, Any]:
    """A row of events. `say` is a text, `actions` are added to the empty ones."""
    said, actions = fields.pop("say", None), fields.pop("actions", {})
    data = {"invocation_id": invocation, "author": author, "id": f"e{number}", "timestamp": BEGUN + number}
    data["actions"] = {"state_delta": {}, "artifact_delta": {}} | actions
    if said is not None:
        data["content"] = {"role": "user" if author == "user" else "model", "parts": [{"text": said}]}
    row = {"id": f"e{number}", **WHOSE, "session_id": "s1", "invocation_id": invocation, "timestamp": BEGUN + number}
    return row | {"event_data": json.dumps(data | fields)}


CALL = {"role": "model", "parts": [{"functionCall": {"id": "c1", "name": "look", "args": {"where": "sea"}}}]}
RESULT = {"role": "user", "parts": [{"functionResponse": {"id": "c1", "name": "look", "response": {"found": "alpha"}}}]}
PAID = {"prompt_token_count": 111, "candidates_token_count": 222, "cached_content_token_count": 11}

EVENTS = [
    event_row(1, "i1", "user", say="Where?"),
    event_row(2, "i1", "guide", content=CALL, model_version="gemini-2.5-pro", usage_metadata=PAID),
    event_row(3, "i1", "guide", content=RESULT),
    event_row(4, "i1", "guide", say="Rome", actions={"state_delta": {"city": "Rome"}}),
    event_row(5, "i2", "user", say="How long?"),
    event_row(6, "i3", "user", actions={"rewind_before_invocation_id": "i2"}),
    event_row(7, "i4", "user", say="By train?"),
]
SESSION = {**WHOSE, "id": "s1", "state": '{"city": "Rome"}', "create_time": BEGUN, "update_time": BEGUN + 7}
SHARED = {
    "app_states": [{"app_name": "trips", "state": '{"x": 1}', "update_time": BEGUN}],
    "user_states": [{**WHOSE, "state": '{"name": "Ada"}', "update_time": BEGUN}],
}


def adk_database(path: Path, **tables: list[dict[str, Any]]) -> Path:
    """Writes a database with these tables in the place of the usual ones."""
    return write_database(path, ADK, **({"sessions": [SESSION], "events": EVENTS} | SHARED | tables))
