"""The law for every framework: however a message comes, the request is the same, and nothing of it is missing."""

import json
import os
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from convtree import Session

SHAPES = ("openai-chat", "openai-responses", "anthropic", "gemini")
SAMPLES = Path(__file__).parent / "samples"
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg=="


def request_of(messages: list[Any], shape: Any) -> str:
    """Returns the request for messages that were appended one after the other, as JSON text."""
    with Session.memory() as session:
        for message in messages:
            session.append(message)
        context = session.build_context()
        assert context.open_calls == ()
        return json.dumps(context.to(shape), ensure_ascii=False, sort_keys=True)


def made(module: Any, name: str, *args: Any, **fields: Any) -> list[Any]:
    """Returns an object of a class in a list; an empty list if the installed version has no such class."""
    kind = getattr(module, name, None)
    return [] if kind is None else [kind(*args, **fields)]


def known(module: Any, texts: Mapping[str, str]) -> list[str]:
    """Returns the texts of the classes that the installed version has."""
    return [text for name, text in texts.items() if hasattr(module, name)]


def check(
    name: str, distribution: str, objects: list[Any], routes: Mapping[str, Callable[[Any], Any]], texts: list[str]
) -> None:
    """Checks the law for a conversation, and records it as a sample if CONVTREE_RECORD is set.

    `routes` are the ways to JSON that the framework has; the first one is recorded.
    """
    ways = {"object": objects} | {route: [dump(each) for each in objects] for route, dump in routes.items()}
    plain = ways[next(iter(routes))]
    ways["JSON"] = json.loads(json.dumps(plain))
    if os.environ.get("CONVTREE_RECORD"):
        sample = {"made_with": f"{distribution} {version(distribution)}", "texts": texts, "messages": ways["JSON"]}
        (SAMPLES / f"{name}.json").write_text(json.dumps(sample, indent=1, ensure_ascii=False) + "\n", "utf-8")
    for shape in SHAPES:
        requests = {way: request_of(messages, shape) for way, messages in ways.items()}
        missing = [text for text in texts if json.dumps(text, ensure_ascii=False)[1:-1] not in requests["JSON"]]
        assert missing == []
        assert requests == dict.fromkeys(ways, requests["JSON"])
