"""What the library advises, in the words of the command line: options and commands in place of Python's arguments.

The library's errors name what a program passes. A person at a terminal needs the option or the command instead.
"""

from __future__ import annotations

_ADVICE = (
    ("; open it with create=True to begin one", "; `convtree init` creates one"),
    ("; open_store(url, create=True) creates them", "; `convtree init` creates them"),
    ("; open_store(url, create=True) or `convtree upgrade` migrates them", "; `convtree upgrade` migrates them"),
    ("; pass replace=True (or --force) to replace it", "; --force replaces it"),
    ("by='branch' is about the branches of one session; pass its id", "--by branch needs the ID of a session"),
    ("; session_key() makes one of any text, or pass key= instead", ""),
    ("; session_key() makes one of any text", ""),
    ("; Session.open opens it; a store is a folder of logs", "; a store is a folder of logs"),
    (
        "; run verify on the log",
        "; `convtree inspect --allow-gaps` shows the rest, and `convtree repair --rejoin` what can be kept",
    ),
)


def in_options(text: str) -> str:
    """Returns the text of an error with its advice about arguments replaced by that about options."""
    for said, meant in _ADVICE:
        text = text.replace(said, meant)
    return text
