"""What a request is written for: the shape, the provider, the choices of the caller, and the report."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from convtree._messages.left_out import LeftOut
from convtree._messages.matching import Matches, OpenCall
from convtree._messages.parts import Part, Unknown
from convtree._model.errors import UnknownMessage

Shape = Literal["openai-chat", "openai-responses", "anthropic", "gemini"]
OnOpenCalls = Literal["answer", "raise"]
OnUnknown = Literal["raise", "text", "drop"]


class Request(dict[str, Any]):
    """The conversation part of a request: a dictionary that also says what it does not hold.

    Attributes:
        left_out: what the request does not hold of the conversation.
        answered: the calls without a result, which a note answers.
    """

    left_out: tuple[LeftOut, ...] = ()
    answered: tuple[OpenCall, ...] = ()


class Target(msgspec.Struct, kw_only=True):
    """What a request is written for, and what happened on the way.

    `matches` are the calls and results of the whole conversation, also of the parts that the request does not hold:
    which result answers which call does not depend on the shape.
    """

    shape: Shape
    matches: Matches
    provider: str | None = None
    open_calls: OnOpenCalls = "answer"
    unknown: OnUnknown = "raise"
    left_out: list[LeftOut] = []
    answered: list[OpenCall] = []

    def leave_out(self, part: Part, what: Literal["reasoning", "media", "sealed", "unknown"], why: str) -> None:
        """Records that a part is not in the request."""
        self.left_out.append(LeftOut(part.source.entry_id, what, why, part.place))

    def check_unknown(self, part: Unknown) -> None:
        """Raises for a part that no reader knows, unless the caller chose otherwise.

        Raises:
            UnknownMessage: the caller did not choose.
        """
        if self.unknown == "raise":
            id = part.source.entry_id
            where = f"entry {id!r}" + "".join(f", {step!r}" for step in part.place)
            raise UnknownMessage(
                f'{where}: {part.why} cannot be expressed; pass unknown="text" or unknown="drop", or register a reader',
                entry_id=id,
                place=part.place,
                why=part.why,
            )
