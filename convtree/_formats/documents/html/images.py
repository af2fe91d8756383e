"""Which images a page shows: raster images in base64, by what their bytes say. Pure.

A type that runs scripts or loads other files, such as SVG, is never shown, whatever its message calls it.
"""

from __future__ import annotations

import binascii
import re

_SHOWN = {
    "image/png": (b"\x89PNG\r\n\x1a\n",),
    "image/jpeg": (b"\xff\xd8\xff",),
    "image/gif": (b"GIF87a", b"GIF89a"),
    "image/webp": (b"RIFF",),
}
_BASE64 = re.compile(r"[A-Za-z0-9+/]+={0,2}")
_BLANKS = re.compile(r"\s+")


def image_source(data: str, kind: str | None) -> str | None:
    """Returns a `data:` URL for an image in base64; None if the page does not show it.

    The type is that of the bytes. `kind` must be one that is shown, or be missing.
    """
    data = _BLANKS.sub("", data).replace("-", "+").replace("_", "/")
    if kind is not None and kind.lower().replace("jpg", "jpeg") not in _SHOWN:
        return None
    if _BASE64.fullmatch(data) is None:
        return None
    try:
        start = binascii.a2b_base64(data[:16] + "=" * (-len(data[:16]) % 4))
    except binascii.Error:
        return None
    found = next((name for name, starts in _SHOWN.items() if start.startswith(starts)), None)
    return None if found is None else f"data:{found};base64,{data}"
