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
from convtree.session import Session

if TYPE_CHECKING:
    from convtree.compaction import BranchPlan, CompactionPlan, plan_branch, plan_compaction
    from convtree.redaction import Redactor, redact
    from convtree.store import SessionStore, open_store

__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    """Imports what not every program needs when somebody asks for it."""
    home = _LATER.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(home), name)


_LATER = dict.fromkeys(("SessionStore", "open_store"), "convtree.store")
_LATER |= dict.fromkeys(("BranchPlan", "CompactionPlan", "plan_branch", "plan_compaction"), "convtree.compaction")
_LATER |= dict.fromkeys(("Redactor", "redact"), "convtree.redaction")


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
