"""What the library advises, in the words of the command line: options and commands in place of Python's arguments.

The library's errors name what a program passes. A person at a terminal needs the option or the command instead.
"""

from __future__ import annotations

import re

from convtree._cli.command_lines import command_line

_ADVICE = (
    ("; open it with create=True to begin one", "; `convtree init` creates one"),
    ("; open_store(url, create=True) creates them", "; `convtree init` creates them"),
    ("; open_store(url, create=True) or `convtree upgrade` migrates them", "; `convtree upgrade` migrates them"),
    ("; pass replace=True (or --force) to replace it", "; --force replaces it"),
    ("by='branch' is about the branches of one session; pass its id", "--by branch needs the ID of a session"),
    ("; session_key() makes one of any text, or pass key= instead", ""),
    ("; session_key() makes one of any text", ""),
    ("; Session.open opens it; a store is a folder of logs", "; a store is a folder of logs"),
    ("; open it with Session.open, or copy its store with `convtree copy`", "; `convtree copy` copies its store"),
)
_VERIFY = "; run verify on the log"
_HOLD = re.compile(r"`convtree hold --undo( [^`]+)?`")
_RELEASE = re.compile(r"end the hold with (?:release|hold)\([^()]*\), or ")  # the command follows


def in_options(text: str, name: str | None = None) -> str:
    """Returns the text of an error with its advice about arguments replaced by that about options.

    `name` is the log or the session that the error is about, if the text leaves it out of a command.
    """
    for said, meant in _ADVICE:
        text = text.replace(said, meant)
    if _VERIFY in text:
        words = [] if name is None else [name]
        show, repair = command_line("inspect", *words, "--allow-gaps"), command_line("repair", *words, "--rejoin")
        text = text.replace(_VERIFY, f"; `{show}` shows the rest, and `{repair}` what can be kept")
    text = _HOLD.sub(lambda found: f"`{command_line('hold', '--undo', *(found[1] or '').split())}`", text)
    return _RELEASE.sub("end the hold with ", text)
