"""An embedded storage engine for conversations that branch.

>>> import convtree
>>> session = convtree.Session.memory()
>>> question = session.append({"role": "user", "content": "Where shall we go?"})
>>> answer = session.append({"role": "assistant", "content": "Rome?"})
>>> other = session.append({"role": "assistant", "content": "Oslo?"}, parent_id=question.id)
>>> [message["content"] for message in session.build_context().messages]
['Where shall we go?', 'Oslo?']
>>> [entry.text for entry in session.siblings(other.id)]
['Rome?', 'Oslo?']
"""

from importlib import import_module
from typing import TYPE_CHECKING

from convtree._engine.leaf import OnStale
from convtree._engine.rendering import Render, default_render
from convtree._model.entries import (
    BranchSummaryEntry,
    CompactionEntry,
    Entry,
    ExtensionDataEntry,
    Finding,
    Header,
    LabelMark,
    LeafMark,
    LostEntry,
    Mark,
    MessageEntry,
    ModelChangeEntry,
    OpaqueEntry,
    OpaqueMark,
    ParentSession,
    Record,
    SeenBy,
    SessionInfoMark,
    VacuumEntry,
    Visibility,
    VisibilityMark,
)
from convtree._model.errors import (
    AmbiguousId,
    AmbiguousLabel,
    BrokenPath,
    ConvtreeError,
    CorruptLog,
    EntryNotFound,
    IdConflict,
    InvalidCompaction,
    InvalidMessage,
    LeafUncertain,
    NotALog,
    OpenCalls,
    OutcomeUnknown,
    ReadOnlySession,
    SessionChanged,
    SessionClosed,
    SessionExists,
    SessionFailed,
    SessionHeld,
    SessionLocked,
    SessionNotFound,
    SeveralSessions,
    StaleLeaf,
    SummaryTooLong,
    UnknownEntry,
    UnknownMessage,
)
from convtree._model.sources import Clock, IdSource
from convtree._session.session import Session

if TYPE_CHECKING:
    from convtree._catalogue.types import LedgerRow, SessionInfo
    from convtree._engine.context import Context
    from convtree._engine.diff import Diff
    from convtree._engine.path_rows import Gap
    from convtree._engine.redact import Redact, Redactor, SecretPlace, redact
    from convtree._logs.copy import Copied
    from convtree._messages.left_out import LeftOut
    from convtree._messages.matching import OpenCall
    from convtree._model.session_key import is_session_id, session_key
    from convtree._model.usage import Usage
    from convtree._providers import Request, Shape
    from convtree._session.branches import Branch
    from convtree._session.compaction import (
        BranchPlan,
        CompactionPlan,
        Summarize,
        SummarizeBranch,
        plan_branch,
        plan_compaction,
    )
    from convtree._session.vacuuming import DroppedBranch
    from convtree._session.viewing import View, ViewEntry
    from convtree.stores._edit_data import EditedData
    from convtree.stores._open import open_store
    from convtree.stores._redact import Redacted
    from convtree.stores._results import Erased, Hit, Judged, Page, Pruned, UsageRow
    from convtree.stores._session_store import SessionStore
    from convtree.stores._vacuum import Vacuumed

__version__ = "0.1.0"


#: public names that not every program needs, and where they are imported from when somebody asks for them
_LAZY = {
    "Branch": "_session.branches",
    "BranchPlan": "_session.compaction",
    "CompactionPlan": "_session.compaction",
    "Context": "_engine.context",
    "Copied": "_logs.copy",
    "Diff": "_engine.diff",
    "DroppedBranch": "_session.vacuuming",
    "EditedData": "stores._edit_data",
    "Erased": "stores._results",
    "Gap": "_engine.path_rows",
    "Hit": "stores._results",
    "Judged": "stores._results",
    "LedgerRow": "_catalogue.types",
    "LeftOut": "_messages.left_out",
    "OpenCall": "_messages.matching",
    "Page": "stores._results",
    "Pruned": "stores._results",
    "Redact": "_engine.redact",
    "Redacted": "stores._redact",
    "Redactor": "_engine.redact",
    "Request": "_providers",
    "SecretPlace": "_engine.redact",
    "SessionInfo": "_catalogue.types",
    "SessionStore": "stores._session_store",
    "Shape": "_providers",
    "Summarize": "_session.compaction",
    "SummarizeBranch": "_session.compaction",
    "Usage": "_model.usage",
    "UsageRow": "stores._results",
    "Vacuumed": "stores._vacuum",
    "View": "_session.viewing",
    "ViewEntry": "_session.viewing",
    "open_store": "stores._open",
    "plan_branch": "_session.compaction",
    "plan_compaction": "_session.compaction",
    "redact": "_engine.redact",
    "is_session_id": "_model.session_key",
    "session_key": "_model.session_key",
}


def __getattr__(name: str) -> object:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found: object = getattr(import_module(f"convtree.{_LAZY[name]}"), name)
    globals()[name] = found  # looked up once; and tools that read the module's dict, as pdoc does, find it there
    return found


def __dir__() -> list[str]:
    return __all__


__all__ = [
    "AmbiguousId",
    "AmbiguousLabel",
    "Branch",
    "BranchPlan",
    "BranchSummaryEntry",
    "BrokenPath",
    "Clock",
    "CompactionEntry",
    "CompactionPlan",
    "Context",
    "ConvtreeError",
    "Copied",
    "CorruptLog",
    "Diff",
    "DroppedBranch",
    "EditedData",
    "Entry",
    "EntryNotFound",
    "Erased",
    "ExtensionDataEntry",
    "Finding",
    "Gap",
    "Header",
    "Hit",
    "IdConflict",
    "IdSource",
    "InvalidCompaction",
    "InvalidMessage",
    "Judged",
    "LabelMark",
    "LeafMark",
    "LeafUncertain",
    "LedgerRow",
    "LeftOut",
    "LostEntry",
    "Mark",
    "MessageEntry",
    "ModelChangeEntry",
    "NotALog",
    "OnStale",
    "OpaqueEntry",
    "OpaqueMark",
    "OpenCall",
    "OpenCalls",
    "OutcomeUnknown",
    "Page",
    "ParentSession",
    "Pruned",
    "ReadOnlySession",
    "Record",
    "Redact",
    "Redacted",
    "Redactor",
    "Render",
    "Request",
    "SecretPlace",
    "SeenBy",
    "Session",
    "SessionChanged",
    "SessionClosed",
    "SessionExists",
    "SessionFailed",
    "SessionHeld",
    "SessionInfo",
    "SessionInfoMark",
    "SessionLocked",
    "SessionNotFound",
    "SessionStore",
    "SeveralSessions",
    "Shape",
    "StaleLeaf",
    "Summarize",
    "SummarizeBranch",
    "SummaryTooLong",
    "UnknownEntry",
    "UnknownMessage",
    "Usage",
    "UsageRow",
    "VacuumEntry",
    "Vacuumed",
    "View",
    "ViewEntry",
    "Visibility",
    "VisibilityMark",
    "default_render",
    "is_session_id",
    "open_store",
    "plan_branch",
    "plan_compaction",
    "redact",
    "session_key",
]
