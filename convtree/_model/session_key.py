"""Session ids made from ids that people have. Pure."""

from __future__ import annotations

from base64 import b32encode
from collections.abc import Sequence
from hashlib import sha256
from typing import Any

from convtree._model.entries import ID

_PREFIX = "k-"
_BYTES = 20  # of the digest: 160 bits, 32 letters
_INT_MIN, _INT_MAX = -(2**63), 2**64 - 1  # what a log may hold


def session_key(*parts: str | int | Sequence[Any]) -> str:
    """Returns the session id for an id of your own: an address, a phone number, a tuple, a text of any length.

    Equal parts give the same id, in every version and on every machine. Different parts give different ids: 1 is not
    "1", and ("a", "b") is not "a", "b". Texts are compared by their code points. The id is "k-" and 32 lower-case
    letters and digits of a SHA-256, so every store and every file system takes it, and nobody can read the parts in a
    file name or a message. `SessionStore.create(key=…)` keeps the parts in the header. It is no secret: who can guess
    the parts knows the id.

    >>> session_key("user@example.com", "chat")
    'k-6nhaptjhptvmkiojbkeeytwyospp6npj'

    Args:
        parts: texts and integers, and tuples or lists of these. At least one.

    Raises:
        TypeError: there is none, or one is something else.
        ValueError: a text has a lone surrogate, or an integer does not fit a log.
    """
    if not parts:
        raise TypeError("session_key takes at least one part: a text, an integer, or a tuple of these")
    hasher = sha256()
    waiting: list[Any] = [parts]
    while waiting:
        part = waiting.pop()
        hasher.update(_token(part))
        if isinstance(part, tuple | list):
            waiting.extend(reversed(part))
    return _PREFIX + b32encode(hasher.digest()[:_BYTES]).decode().lower()


def is_session_id(text: str) -> bool:
    """Returns whether a text can be the id of a session as it is, and is none that `session_key` may have made.

    So either the text or `session_key(text)` is the id of a session for any text, and no two texts share one:

    >>> [text if is_session_id(text) else session_key(text) for text in ("user-42", "user@example.com")]
    ['user-42', 'k-yzkptwthkozg6qo5rkiq4mvu7bjokxgw']
    """
    return ID.fullmatch(text) is not None and not text.startswith(_PREFIX)


def _token(part: Any) -> bytes:
    """Returns a part without what is inside it. No token begins another one."""
    if isinstance(part, str):
        try:
            text = part.encode()
        except UnicodeEncodeError:
            raise ValueError(f"session_key: {part[:64]!r} has a lone surrogate; it is no text of Unicode") from None
        return b"s%d:%b" % (len(text), text)
    if isinstance(part, int) and not isinstance(part, bool):
        if not _INT_MIN <= part <= _INT_MAX:
            raise ValueError("session_key: an integer is outside -2**63 to 2**64 - 1; pass it as a text")
        return b"i%d:" % part
    if isinstance(part, tuple | list):
        return b"(%d:" % len(part)
    raise TypeError(
        f"session_key takes texts, integers, and tuples of these, not {type(part).__name__}; pass str(…) of it"
    )
