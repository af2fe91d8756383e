"""The last look at a record before an import takes it: what is not understood in it, and whether it fits into a log."""

from __future__ import annotations

from convtree._formats.common.base import Findings, SourceSpan
from convtree._formats.common.truncate import truncate_to_limit
from convtree._model.entries import Entry
from convtree._model.usage import has_unknown_usage, usage_stored_in


def checked(entry: Entry, span: SourceSpan, findings: Findings) -> Entry:
    """Returns an entry as it can be stored. Reports a spelling of usage that is unknown, at its first entry only."""
    if has_unknown_usage(entry):
        spelling = " ".join(sorted(usage_stored_in(entry) or ()))
        findings.add_once(spelling, "source_usage_unknown", span, entry.id)
    return truncate_to_limit(entry, span, findings)
