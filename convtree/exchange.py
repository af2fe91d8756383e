"""Import and export: sessions of other tools into logs and stores, and logs into the formats of other tools.

A source is recognised by its content, never by its name, and is never written to. Importing is repeatable: the same
source gives the same ids, so a second import adds nothing and a source that has grown adds only what is new.
"""

from convtree._formats.claude_code.one_line import ClaudeCodeLine, read_claude_code_line
from convtree._formats.google_adk.event import read_google_adk_event
from convtree._tools.discovering import KnownPlace, discover
from convtree._tools.exporting import export_file, export_lines
from convtree._tools.importing import (
    ForeignSession,
    ImportReport,
    import_file,
    import_into,
    list_foreign,
    read_foreign,
)
from convtree._tools.watching import watch

__all__ = [
    "ClaudeCodeLine",
    "ForeignSession",
    "ImportReport",
    "KnownPlace",
    "discover",
    "export_file",
    "export_lines",
    "import_file",
    "import_into",
    "list_foreign",
    "read_claude_code_line",
    "read_foreign",
    "read_google_adk_event",
    "watch",
]
