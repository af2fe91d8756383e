"""What a message says, as tuples that a test can state by hand."""

from typing import Any

from convtree._messages.parts import Call, Hosted, Media, Part, Result, Source, Text, Thinking, Unknown
from convtree._messages.reading import read_parts

Message = dict[str, Any]


def source_of(message: Message, *, trusted: bool = False) -> Source:
    """Returns a message with its parts read."""
    source = Source(message=message, trusted=trusted)
    source.parts = tuple(read_parts(source))
    return source


def parts(message: Message, *, trusted: bool = False) -> list[tuple[Any, ...]]:
    """Returns what a message says, a tuple for each part: its kind, role and content, without its raw block."""
    return [told(part) for part in source_of(message, trusted=trusted).parts]


def told(part: Part) -> tuple[Any, ...]:
    match part:
        case Text():
            return "text", part.role, part.text
        case Thinking():
            return "thinking", part.role, part.text, part.sealed
        case Media():
            return "media", part.role, part.kind, part.mime, part.data, part.url, part.name
        case Call():
            return "call", part.id, part.name, part.arguments
        case Result():
            return "result", part.id, part.name, [told(each)[2:] for each in part.content], part.is_error
        case Hosted():
            return "hosted", part.role, part.text
        case Unknown():
            return "unknown", part.role, part.value, part.why
    raise AssertionError(part)


def places(message: Message) -> list[tuple[Any, ...]]:
    return [part.place for part in source_of(message).parts]


def raws(message: Message, *, trusted: bool = True) -> list[Any]:
    return [(part.shape, part.raw) for part in source_of(message, trusted=trusted).parts]


def value_at(message: Any, place: tuple[Any, ...]) -> Any:
    for key in place:
        message = message[key]
    return message
