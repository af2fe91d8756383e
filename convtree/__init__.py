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

from convtree._engine.context import Context, Gap, default_render
from convtree._model.entries import (
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
from convtree._model.errors import (
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
from convtree._model.messages import OpenCall
from convtree._session.session import Session

if TYPE_CHECKING:
    from convtree._engine.redact import Redactor, redact
    from convtree._session.compaction import BranchPlan, CompactionPlan, plan_branch, plan_compaction
    from convtree.stores._open import open_store
    from convtree.stores._session_store import SessionStore

__version__ = "0.1.0"


#: public names that not every program needs, and where they are imported from when somebody asks for them
_LAZY = {
    "BranchPlan": "_session.compaction",
    "CompactionPlan": "_session.compaction",
    "Redactor": "_engine.redact",
    "SessionStore": "stores._session_store",
    "open_store": "stores._open",
    "plan_branch": "_session.compaction",
    "plan_compaction": "_session.compaction",
    "redact": "_engine.redact",
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
