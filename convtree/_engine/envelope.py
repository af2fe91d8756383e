"""The part of a line that the index needs: id, parent, type, and what says who sees it. Pure.

A line may have `needs`: names of what its reader must know. If this version does not know one of them, the line is
opaque and critical, whatever its type.
"""

from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import UNSET

#: names in `needs` that this version knows: none so far
KNOWN_NEEDS: frozenset[str] = frozenset()


class Envelope(msgspec.Struct, gc=False):
    """The part of a line that the index needs. The rest stays unparsed."""

    id: str
    type: str
    parent_id: str | msgspec.UnsetType | None = UNSET
    provider: str | None = None
    model: str | None = None
    settings: dict[str, msgspec.Raw] | None = None
    visible_to: str | None = None
    pinned: bool | None = None
    replaces: str | None = None
    needs: Any = None

    known: ClassVar[bool] = True
    critical: ClassVar[bool] = False


class EntryEnvelope(Envelope, kw_only=True, gc=False):
    """The envelope of nearly every line: an entry of a known type, without needs, whose id may be one of our own.

    The decoder checks that, which is faster than to look at each.
    """

    id: Annotated[str, msgspec.Meta(min_length=16, max_length=16)]
    type: Literal[
        "message", "compaction", "branch_summary", "model_change", "extension_data", "lost", "vacuum"
    ]  # fmt: skip
    parent_id: str | None
    needs: None = None


class OpaqueEnvelope(msgspec.Struct):
    """The envelope of a line whose type, or one of whose needs, this version does not know."""

    id: str
    type: str
    parent_id: str | msgspec.UnsetType | None = UNSET
    marked: Any = msgspec.field(default=None, name="critical")
    needs: Any = None

    known: ClassVar[bool] = False

    @property
    def critical(self) -> bool:
        """Whether a reader that does not know the type must refuse what depends on it."""
        return self.marked is True or has_unknown_needs(self.needs)


def has_unknown_needs(needs: Any) -> bool:
    """Tells whether a line needs a reader that knows more than this version. What is not a list of names is unknown."""
    if needs is None:
        return False
    return not isinstance(needs, list) or not all(isinstance(each, str) and each in KNOWN_NEEDS for each in needs)


decode_entry_envelope = msgspec.json.Decoder(EntryEnvelope).decode


def decode_envelope(line: bytes) -> Envelope:
    """Decodes the envelope of a line of a known type."""
    return msgspec.json.decode(line, type=Envelope)


def decode_opaque_envelope(line: bytes) -> OpaqueEnvelope:
    """Decodes the envelope of a line that this version may not know."""
    return msgspec.json.decode(line, type=OpaqueEnvelope)
