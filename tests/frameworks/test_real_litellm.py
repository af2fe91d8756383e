"""LiteLLM's answers, which have the form of OpenAI's."""

from __future__ import annotations

import os
from typing import Any

import pytest
from answers import ANSWERS, fields, routes

from convtree import Session

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # or it asks the network for prices
litellm: Any = pytest.importorskip("litellm")


def test_every_way_of_an_answer_gives_the_same_entry() -> None:
    """The object itself, every dump of it, and its JSON text parsed again."""
    given = ANSWERS["ModelResponse of LiteLLM"]
    for each in routes(litellm.ModelResponse(**given.answer)):
        assert fields(Session.memory().append(each)) == given[1:]
