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

from typing import TYPE_CHECKING

from convtree.compaction import BranchPlan, CompactionPlan, plan_branch, plan_compaction
from convtree.context import Context, Gap, default_render
from convtree.entries import (
    BranchSummaryEntry,
    CompactionEntry,
    Entry,
    ExtensionDataEntry,
    Finding,
    Header,
    LabelMark,
    LeafMark,
    Mark,
    MessageEntry,
    ModelChangeEntry,
    OpaqueEntry,
    OpaqueMark,
    ParentSession,
    SessionInfoMark,
)
from convtree.errors import (
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
    ReadOnlySession,
    SessionClosed,
    SessionExists,
    SessionFailed,
    SessionLocked,
    SessionNotFound,
    SeveralSessions,
    StaleLeaf,
    UnknownEntry,
)
from convtree.messages import OpenCall
from convtree.redaction import Redactor, redact
from convtree.session import Session

if TYPE_CHECKING:
    from convtree.store import SessionStore, open_store

__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    """Imports the store when somebody asks for it: most programs have one session, and a database takes its time."""
    if name in ("SessionStore", "open_store"):
        from convtree import store

        return getattr(store, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "BranchPlan",
    "BranchSummaryEntry",
    "BrokenPath",
    "CompactionEntry",
    "CompactionPlan",
    "Context",
    "ConvtreeError",
    "CorruptLog",
    "Entry",
    "EntryNotFound",
    "ExtensionDataEntry",
    "Finding",
    "Gap",
    "Header",
    "IdConflict",
    "InvalidCompaction",
    "InvalidMessage",
    "LabelMark",
    "LeafMark",
    "LeafUncertain",
    "Mark",
    "MessageEntry",
    "ModelChangeEntry",
    "NotALog",
    "OpaqueEntry",
    "OpaqueMark",
    "OpenCall",
    "OpenCalls",
    "ParentSession",
    "ReadOnlySession",
    "Redactor",
    "Session",
    "SessionClosed",
    "SessionExists",
    "SessionFailed",
    "SessionInfoMark",
    "SessionLocked",
    "SessionNotFound",
    "SessionStore",
    "SeveralSessions",
    "StaleLeaf",
    "UnknownEntry",
    "default_render",
    "open_store",
    "plan_branch",
    "plan_compaction",
    "redact",
]
