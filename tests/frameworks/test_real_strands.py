"""Strands' own objects: the result of an agent, and the messages of its sessions."""

from __future__ import annotations

import json
from typing import Any

import pytest
from answers import Json, check_ways

from convtree import Session

results: Any = pytest.importorskip("strands.agent.agent_result")
metrics: Any = pytest.importorskip("strands.telemetry.metrics")
sessions: Any = pytest.importorskip("strands.types.session")
PICTURE = b"\x89PNG\r\n\x1a\n\xff\xfb\x00"
PICTURE_TEXT = "iVBORw0KGgr/+wA="


def test_strands() -> None:
    """A result of an agent, and the messages of its sessions."""
    asked: Json = {
        "role": "user",
        "content": [{"text": "Sky?"}, {"image": {"format": "png", "source": {"bytes": PICTURE}}}],
    }
    said: Json = {
        "role": "assistant",
        "content": [{"text": "I look."}, {"toolUse": {"toolUseId": "t1", "name": "look", "input": {"at": "Rome"}}}],
        "metadata": {"usage": {"inputTokens": 3, "outputTokens": 2, "totalTokens": 5}},
    }
    answered = {"toolResult": {"toolUseId": "t1", "status": "success", "content": [{"text": "sun"}]}}
    last: Json = {"role": "user", "content": [answered], "tracking_id": "u"}
    reply = results.AgentResult(stop_reason="tool_use", message=said, metrics=metrics.EventLoopMetrics(), state={})
    ways = {
        "objects": [
            sessions.SessionMessage.from_message(asked, 0),
            reply,
            sessions.SessionMessage.from_message(last, 2),
        ],
        "messages": [asked, said, last],
        "dicts": [
            sessions.SessionMessage.from_message(asked, 0).to_dict(),
            json.loads(json.dumps(reply.to_dict())),
            sessions.SessionMessage.from_message(last, 2).to_dict(),
        ],
    }
    check_ways(ways, ["Sky?", PICTURE_TEXT, "I look.", "Rome", "sun"])
    assert Session.memory().append(reply).usage == {"inputTokens": 3, "outputTokens": 2, "totalTokens": 5}
