"""Measures redaction: the forms of tokens that it finds, its alarms in texts without secrets, its speed and its growth.

Alarms are counted in the text files of a folder; in those of the standard library, most are example credentials.
"""

from __future__ import annotations

import gzip
import re
import sysconfig
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from time import process_time

from convtree import Redactor, redact

from . import sabotage
from .common import arguments, finish, times_as_long
from .secret_samples import FORMS, PLACES, token

_SEEDS = 10
_SIZES = (200, 1_000, 10_000, 100_000)
_GROWTH = 10.0  # of the time, for four times the text; that of a square would be sixteen
_PIECES = (
    *(
        "a",
        "sk-",
        "token=a1",
        "password='a",
        "curl -u a:b ",
        "://a:b@",
        "redis://a@a@",
        "Cookie: a=b; ",
        "\\",
        "\x1b[0m",
    ),
    *(
        "secret",
        "kind: Secret\ndata:\n a: ",
        "A1b2C3d4\n",
        "-----BEGIN PRIVATE KEY-----\\\\",
        "eyJaaaaaaaa.",
        "%20bearer+a",
    ),
)


def main() -> None:
    """Prints the figures. Fails if a form is not found in some place, or if the time grows like a square."""
    options = arguments(__doc__ or "", folder="")
    sabotage.apply(options.sabotage)
    missed = sorted({name for name in FORMS for number in range(_SEEDS) if _is_missed(name, options.seed + number)})
    alarms: Counter[str] = Counter()
    texts: list[str] = []
    size, seconds = 0, 0.0
    for text in _texts(Path(options.folder or sysconfig.get_paths()["stdlib"]), with_packages=bool(options.folder)):
        redactor = Redactor()
        started = process_time()
        redactor(text)
        seconds += process_time() - started
        size += len(text)
        alarms += redactor.counts
        if len(texts) < 100 and len(text) >= min(_SIZES):
            texts.append(text)
    growth = {piece: _growth(piece) for piece in _PIECES}
    result = {
        "forms": len(FORMS),
        "found": len(FORMS) - len(missed),
        "alarms": alarms.total(),
        "megabytes": round(size / 1e6, 1),
        "alarms_per_mb": round(alarms.total() / size * 1e6, 2),
        "mb_per_second": round(size / seconds / 1e6, 1),
        "microseconds": {str(length): round(_message(texts, length) * 1e6) for length in _SIZES},
        "growth": round(max(growth.values()), 1),
    }
    broken = [f"{name} is not found in every place" for name in missed]
    broken += [
        f"four times {piece!r} takes {times:.0f} times as long" for piece, times in growth.items() if times > _GROWTH
    ]
    finish(options, result, broken)


def _is_missed(name: str, seed: int) -> bool:
    secret = token(FORMS[name], seed)
    tail = re.split("[/:]", secret)[-1] if secret.startswith("https:") else secret
    return any(tail in redact(put(secret)) for put in PLACES.values())


def _texts(folder: Path, *, with_packages: bool) -> Iterator[str]:
    """Yields the texts of all files that have some, compressed or not."""
    for path in sorted(folder.rglob("*")):
        is_package = "site-packages" in path.relative_to(folder).parts
        if path.is_symlink() or not path.is_file() or (is_package and not with_packages):
            continue
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        if b"\0" not in data[:65536]:
            yield data.decode(errors="replace")


def _message(texts: list[str], length: int) -> float:
    """Returns the seconds that a message of this length takes."""
    cut = [(text * (length // len(text) + 1))[:length] for text in texts]
    messages = [{"role": "user", "content": [{"type": "text", "text": text}]} for text in cut]
    taken = []
    for _ in range(3):
        started = process_time()
        for message in messages:
            redact(message)
        taken.append(process_time() - started)
    return min(taken) / max(1, len(messages))


def _growth(piece: str) -> float:
    """Returns how many times as long a text of four times the length takes."""
    short, long = (partial(_seconds, (piece * length)[:length]) for length in (50_000, 200_000))
    return times_as_long(short, long, _GROWTH)


def _seconds(text: str) -> float:
    """Returns the processor time of a redaction."""
    started = process_time()
    Redactor(email=True)(text)
    return process_time() - started


if __name__ == "__main__":
    main()
