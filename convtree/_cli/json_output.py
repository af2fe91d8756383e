"""The documents that `--json` prints. Each names its schema and version.

Within a version, fields may be added; none is removed or changes its meaning.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from convtree._cli.describe import to_json
from convtree._cli.leaf_view import LeafView
from convtree._engine import tree
from convtree._engine.context import Context
from convtree._engine.diff import Diff
from convtree._engine.outline import changed_fields
from convtree._model.entries import Finding
from convtree._model.terminal_text import escape_json_controls, json_escape
from convtree._tools.redact_log import Redaction
from convtree.exchange import ImportReport, KnownPlace
from convtree.repair import Repair, Report

_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


def session_document(view: LeafView) -> dict[str, Any]:
    """Returns the document of a session, without its entries."""
    session = view.session
    provider, model = view.model
    return _versioned("convtree.inspect") | {
        "location": view.location,
        "note": view.note,
        "header": msgspec.to_builtins(session.header),
        "id": session.id,
        "name": session.name,
        "archived": session.archived,
        "held": session.held,
        "cwd": session.cwd,
        "git_root": session.git_root,
        "metadata": session.metadata,
        "leaf_id": view.leaf_id,
        "leaf_is_certain": view.is_certain,
        "provider": provider,
        "model": model,
        "counts": view.counts,
        "size_bytes": view.size_bytes,
        "labels": session.labels,
        "tasks": None if view.tasks is None else [each._asdict() for each in view.tasks],
        "findings": findings(view.findings),
    }


def runs(view: LeafView) -> list[dict[str, Any]]:
    """Returns the runs of the tree, each with the number of the run it continues."""
    listed = []
    for number, run in enumerate(view.outline.runs):
        first, last = view.entries([run.rows[0], run.rows[-1]])
        listed.append(
            {
                "run": number,
                "parent": run.parent if run.parent >= 0 else None,
                "is_orphan": run.parent == tree.MISSING,
                "is_active": run.rows[0] in view.active,
                "entries": len(run.rows),
                "first_id": first.id if first else None,
                "last_id": last.id if last else None,
            }
        )
    return listed


def entries(view: LeafView, rows: Iterable[int]) -> list[dict[str, Any] | None]:
    """Returns entries with all their fields. None stands for one that cannot be read.

    The fields are those in the log. Where marks changed who sees an entry or whether it is pinned, `visibility` has
    what they changed.
    """
    listed = list(rows)
    found: list[dict[str, Any] | None] = []
    for row, entry in zip(listed, view.entries(listed), strict=True):
        now = changed_fields(view.outline, row)
        found.append(None if entry is None else entry.to_dict() | ({"visibility": now} if now else {}))
    return found


def context_document(context: Context) -> dict[str, Any]:
    """Returns the fields of a context. The messages are those of the log, with a placeholder for a hidden result."""
    return {
        "messages": context.messages,
        "entry_ids": [entry.id for entry in context.entries],
        "provider": context.provider,
        "model": context.model,
        "settings": context.settings,
        "open_calls": [call._asdict() for call in context.open_calls],
        "unknown": [part._asdict() for part in context.unknown],
        "gaps": [gap._asdict() for gap in context.gaps],
    }


def redacted(done: Redaction) -> dict[str, Any]:
    """Returns the document of a redaction."""
    fields: dict[str, Any] = msgspec.to_builtins(done)
    return _versioned("convtree.redact") | fields


def compared(found: Diff) -> dict[str, Any]:
    """Returns the document of a comparison of two branches."""
    branches = {
        name: {
            "leaf_id": branch.leaf_id,
            "entries": [entry.to_dict() for entry in branch.entries],
            "models": msgspec.to_builtins(branch.models),
            "usage": msgspec.to_builtins(branch.usage),
        }
        for name, branch in (("a", found.a), ("b", found.b))
    }
    return _versioned("convtree.diff") | {"ancestor_id": found.ancestor_id} | branches


def imported(report: ImportReport) -> dict[str, Any]:
    """Returns the document of an import into a log."""
    return _versioned("convtree.import") | _of_session(report)


def imported_into(reports: Sequence[ImportReport], places: Sequence[KnownPlace] | None = None) -> dict[str, Any]:
    """Returns the document of an import into a store, source by source; with the places that were discovered."""
    discovered = {} if places is None else {"places": msgspec.to_builtins(places)}
    reported = [
        {"source": report.source, "status": report.status, "reason": report.reason} | _of_session(report)
        for report in reports
    ]
    return _versioned("convtree.imports") | discovered | {"imports": reported}


def _of_session(report: ImportReport) -> dict[str, Any]:
    return {
        "format": report.format,
        "session_id": report.session_id,
        "written": report.written,
        "already_there": report.already_there,
        "leaf_kept": report.leaf_kept,
        "findings": findings(report.findings),
    }


def findings(found: Sequence[Finding]) -> list[dict[str, Any]]:
    """Returns findings as plain values."""
    return [msgspec.to_builtins(finding) for finding in found]


def to_text(document: dict[str, Any]) -> str:
    r"""Returns a document as JSON text that is safe to print on a terminal.

    A byte in the name of a file that is no UTF-8 becomes the text `\udcff`, for JSON cannot hold it.
    """
    try:
        text = to_json(document).decode()
    except UnicodeEncodeError:
        text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
        text = _LONE_SURROGATE.sub(lambda found: "\\" + json_escape(found), text)
    return escape_json_controls(text)


def store_document(schema: str, **parts: Any) -> dict[str, Any]:
    """Returns a document with these parts."""
    return _versioned(f"convtree.{schema}") | {name: msgspec.to_builtins(part) for name, part in parts.items()}


def _versioned(schema: str) -> dict[str, Any]:
    return {"schema": schema, "schema_version": 1}


def verified(reports: Sequence[Report], failed: Mapping[str, str]) -> dict[str, Any]:
    """Returns the document of a check. `failed` has the logs that could not be read, path to reason."""
    return _versioned("convtree.verify") | {
        "logs": [
            {
                "path": report.path,
                "damaged": report.damaged,
                "size_bytes": report.size_bytes,
                "entries": report.entries,
                "marks": report.marks,
                "findings": findings(report.findings),
                "rows": msgspec.to_builtins(report.rows),
            }
            for report in reports
        ],
        "failed": [{"path": path, "reason": reason} for path, reason in failed.items()],
    }


def repaired(done: Repair) -> dict[str, Any]:
    """Returns the document of a repair, done or planned."""
    return _versioned("convtree.repair") | _repair_values(done)


def repaired_in(done: Sequence[Repair], failed: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Returns the document of several repairs, done or planned, and of the logs that could not be read."""
    repairs = [_repair_values(each) | {"error": each.error} for each in done]
    repairs += [{"path": path, "error": error} for path, error in (failed or {}).items()]
    return _versioned("convtree.repairs") | {"repairs": repairs}


def _repair_values(done: Repair) -> dict[str, Any]:
    return {
        "path": done.path,
        "needed": done.needed,
        "done": done.done,
        "kept": done.kept,
        "removed": findings(done.removed),
        "rejoinable": done.rejoinable,
        "rejoined": findings(done.rejoined),
        "recovered": findings(done.recovered),
        "restored": done.restored,
        "remaining": findings(done.remaining),
        "leaf_uncertain": done.leaf_uncertain,
        "original": done.original,
        "quarantine": done.quarantine,
        "rows": msgspec.to_builtins(done.rows),
    }
