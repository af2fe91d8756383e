"""Objects of frameworks become plain values: pydantic models, dataclasses, objects with `to_dict`."""

import dataclasses
from datetime import UTC, date, datetime
from enum import Enum
from typing import Any, Literal

import pydantic
import pytest
from pydantic.dataclasses import dataclass as pydantic_dataclass

from convtree import InvalidMessage, Session
from convtree._engine.plain_objects import is_convertible, plain


class Color(Enum):
    RED = "red"


class Inner(pydantic.BaseModel):
    kind: Literal["text"] = "text"
    text: str
    note: str | None = None


class Model(pydantic.BaseModel):
    parts: list[Inner]
    left: str | None = None
    given: str | None = None
    values: dict[str, Any] = {}


@dataclasses.dataclass
class Block:
    data: Any


class Framework:
    def __init__(self, value: Any) -> None:
        self.value = value

    def to_dict(self) -> Any:
        return self.value


@pydantic_dataclass
class Link:
    url: str

    @pydantic.computed_field  # type: ignore[prop-decorator]  # as pydantic's documentation says
    @property
    def media_type(self) -> str:
        return "image/png"


def test_an_entry_is_no_message(session: Session) -> None:
    """An entry inside a message is refused, as any other object is."""
    entry = session.append({"role": "user", "content": "a"})
    with pytest.raises(InvalidMessage, match="content"):
        session.append({"role": "user", "content": entry})
    assert session.path() == [entry]


def test_a_model_keeps_what_tells_its_kind_and_what_was_set() -> None:
    """Defaults that say something are kept, and null where it was set; other nulls are not."""
    model = Model(parts=[Inner(text="Hi"), Inner(text="Ho", note=None)], given=None, values={"a": None})
    assert plain(model) == {
        "parts": [{"kind": "text", "text": "Hi"}, {"kind": "text", "text": "Ho", "note": None}],
        "given": None,
        "values": {"a": None},
    }


def test_a_dataclass_and_what_is_in_it() -> None:
    """Objects inside objects, bytes, times, enums, sets and tuples become JSON."""
    inside = [
        *(Block(1), Inner(text="Hi"), Framework({"a": (1, 2)}), Color.RED, {3}, (4,)),
        *(b"\xff\xfe", bytearray(b"a"), datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), date(2026, 1, 2), None, 1.5),
    ]
    assert plain(Block(inside)) == {
        "data": [
            *({"data": 1}, {"kind": "text", "text": "Hi"}, {"a": [1, 2]}, "red", [3], [4]),
            *("//4=", "YQ==", "2026-01-02T03:04:05Z", "2026-01-02", None, 1.5),
        ]
    }


def test_a_dataclass_of_pydantic_tells_what_it_computes() -> None:
    """Its own JSON has more than its fields, such as the type behind a link."""
    assert plain(Block(Link("https://a.b/c.png"))) == {"data": {"url": "https://a.b/c.png", "media_type": "image/png"}}


def test_models_of_google_get_standard_base64() -> None:
    """Their own is URL-safe."""
    types = pytest.importorskip("google.genai.types")
    blob = types.Blob(data=b"\xff\xfe", mime_type="image/png")
    content = types.Content(role="user", parts=[types.Part(inline_data=blob)])
    assert plain(content) == {
        "role": "user",
        "parts": [{"inlineData": {"data": "//4=", "mimeType": "image/png"}}],
    }


def test_of_a_mapping_nothing_is_converted() -> None:
    """What is in it is judged by whoever writes the line."""
    when = datetime(2026, 1, 2)
    assert plain({"when": when}) == {"when": when}


def test_what_is_no_json_value_stays() -> None:
    """Its place is named when the line is written."""
    odd = object()
    assert plain(Block([odd, complex(1)])) == {"data": [odd, complex(1)]}


def test_an_object_that_leads_back_to_itself_is_left_at_the_limit() -> None:
    """Its conversion ends where a line has no more room."""
    block = Block(None)
    block.data = block
    found, depth = plain(block), 0
    while isinstance(found, dict):
        found, depth = found["data"], depth + 1
    assert (found, depth) == (block, 128)


@pytest.mark.parametrize("value", ["text", 1, None, [Block(1)], object(), Block, Model, Framework])
def test_what_is_no_object_of_a_framework(value: Any) -> None:
    """Scalars, lists, classes and objects that say nothing of themselves are refused."""
    assert not is_convertible(value)
    with pytest.raises(TypeError, match="is not a JSON value"):
        plain(value)


def test_an_object_must_become_an_object() -> None:
    """A message is a JSON object."""
    with pytest.raises(TypeError, match="Framework is not a JSON object: it became a list"):
        plain(Framework([1]))
