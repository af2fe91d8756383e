"""The calls that use a database, each with what it needs, for harnesses that disturb the connection."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from convtree import (
    BranchSummaryEntry,
    CompactionEntry,
    ModelChangeEntry,
    ParentSession,
    Session,
    SessionStore,
    open_store,
)
from convtree.exchange import export_file, import_into

from .samples import message


class Case(NamedTuple):
    """A session with a history, which an operation is called with."""

    store: SessionStore
    session: Session
    id: str
    folder: Path


class Operation(NamedTuple):
    """A call. `done` are the errors that a second call may raise because the first has taken effect."""

    name: str
    call: Callable[[Case], Any]
    done: tuple[str, ...] = ()
    ends_session: bool = False
    prepare: Callable[[str, Path], None] | None = None  # called with the id of a case and its folder


def begin(store: SessionStore, id: str) -> None:
    """Stores a session with two branches, a compaction, a label, a sub-agent's session, and one that was deleted."""
    with store.create(id=id, owner=id, name="first", cwd="/somewhere", metadata={"a": 1}) as session:
        session.append({"role": "system", "content": "be kind"}, id="e0")
        session.append_many([message(f"e{number}") for number in range(1, 6)])
        session.append(message("e6"), parent_id="e2", move_leaf=False, label="aside")
        session.append(CompactionEntry(id="e7", summary="short", first_kept_entry_id="e4"))
        session.append(message("e8"))
    with store.create(id=f"{id}.t", parent_session=ParentSession(id=id, kind="task")) as task:
        task.append(message("e9"))
    with store.create(id=f"{id}.gone", owner=id) as gone:
        gone.append(message("e10"))
    store.delete(f"{id}.gone")


def _another_store(id: str, folder: Path) -> None:
    """Stores a session in a folder, and exports it as that of another tool."""
    with open_store(str(folder / id)) as other, other.create(id=f"{id}.import", owner=id) as foreign:
        foreign.append_many([message(f"e{number}") for number in range(30, 34)])
        (folder / id / "pi").mkdir()
        export_file(foreign, folder / id / "pi" / f"{id}.import.jsonl", "pi")


def _created(case: Case) -> None:
    with case.store.create(id=f"{case.id}.new", owner=case.id, metadata={"b": 2}) as session:
        session.append(message("e20"))


def _task(case: Case) -> None:
    with case.store.create_task(case.id, id=f"{case.id}.u") as session:
        session.append(message("e20"))


def _below(case: Case) -> None:
    parent = ParentSession(id=case.id, kind="task")
    with case.store.create(id=f"{case.id}.u", parent_session=parent) as session:
        session.append(message("e20"))


def _imported(case: Case) -> None:
    reports = import_into(case.folder / case.id / "pi", case.store.scoped(owner=case.id))
    failed = [each.reason for each in reports if each.status == "failed"]
    if failed:
        raise OSError(failed[0])  # the report says what the call met


def _copied_in(case: Case) -> None:
    with open_store(str(case.folder / case.id)) as other:
        _all_copied(other.copy_to(case.store))


def _copied_out(case: Case) -> None:
    with TemporaryDirectory(dir=case.folder) as place, open_store(place) as other:
        _all_copied(case.store.copy_to(other, [case.id]))


def _all_copied(copied: Any) -> None:
    for each in copied:
        if each.status == "refused":
            raise OSError(each.reason)  # the report says what the call met


def _extended(case: Case) -> None:
    case.session.extend([message("e20"), message("e21")])


def _compacted(case: Case) -> None:
    case.session.append(CompactionEntry(id="e20", summary="shorter", first_kept_entry_id="e8"))


def _closed(case: Case) -> None:
    case.session.append(message("e20"))
    case.session._journal._save()
    case.session.close()


def _read(case: Case) -> None:
    session = case.session
    session.refresh()
    found = [each.id for each in session.path()]
    if found != [f"e{number}" for number in (0, 1, 2, 3, 4, 5, 7, 8)]:
        raise AssertionError(f"a path is {found}")
    if (len(list(session.records())), session.build_context().entries[-1].id) != (12, "e8"):
        raise AssertionError("records or the context are not whole")
    session.outline()
    with case.store.session(case.id) as shared:
        shared.view()
    with case.store.open(case.id, read_only=True) as other:
        other.entry("e3")


def _asked(case: Case) -> None:
    store, id = case.store, case.id
    found = (
        [each.id for each in store.list(owner=id)],
        [each.entry_id for each in store.search("kind", owner=id)],
        [each.usage.output_tokens for each in store.usage(owner=id)],
        store.count(owner=id, tasks=True),
        [each.id for each in store.children(id)],
        store.info(id).name,
        id in store.sessions_with("e3"),
        [each.usage.output_tokens for each in store.ledger(owner=id)],
    )
    if found != ([id], ["e0"], [8], 2, [f"{id}.t"], "first", True, [1]):
        raise AssertionError(f"queries say {found}")


def _owner_erased(case: Case) -> None:
    if case.store.erase(owner=case.id).skipped:
        raise OSError("the result says that a session was skipped")


def _pruned(case: Case) -> None:
    pruned = case.store.prune(keep=0, owner=case.id, dry_run=False)
    if pruned.skipped:
        raise OSError("the result says that a session was skipped")


MUTATIONS: tuple[Operation, ...] = (
    Operation("append", lambda case: case.session.append(message("e20"))),
    Operation("append_many", lambda case: case.session.append_many([message(f"e{n}") for n in range(20, 25)])),
    Operation("append_aside", lambda case: case.session.append(message("e20"), parent_id="e2", move_leaf=False)),
    Operation("append_labelled", lambda case: case.session.append(message("e20"), label="here")),
    Operation("reply", lambda case: case.session.append(message("e20"), reply_to="e8")),
    Operation("model_change", lambda case: case.session.append(ModelChangeEntry(id="e20", provider="p", model="n"))),
    Operation(
        "branch_summary",
        lambda case: case.session.append(BranchSummaryEntry(id="e20", summary="left", from_id="e6"), parent_id="e2"),
    ),
    Operation("compact", _compacted),
    Operation("branch", lambda case: case.session.branch("e6", id="e20")),
    Operation("checkout", lambda case: case.session.checkout("aside", id="e20")),
    Operation("label", lambda case: case.session.label("e3", "here", id="e20")),
    Operation("rename", lambda case: case.session.rename("second", id="e20")),
    Operation("metadata", lambda case: case.session.update_metadata(b=2)),
    Operation("hide", lambda case: case.session.hide("e8")),
    Operation("pin", lambda case: case.session.pin("e1")),
    Operation("archive", lambda case: case.store.archive(case.id)),
    Operation("hold", lambda case: case.store.hold(case.id)),
    Operation("move_directory", lambda case: case.store.move_directory("/somewhere", f"/{case.id}")),
    Operation("create", _created, ("SessionExists",)),
    Operation("task", _task, ("SessionExists",)),
    Operation("below", _below, ("SessionExists",)),
    Operation("fork", lambda case: case.store.fork(case.id, new_id=f"{case.id}.f").close(), ("SessionExists",)),
    Operation("copy", lambda case: case.store.copy(case.id, f"{case.id}.c").close(), ("SessionExists",)),
    Operation("extend", _extended),
    Operation("import", _imported, prepare=_another_store),
    Operation("copy_in", _copied_in, prepare=_another_store),
    Operation("close", _closed, ("SessionClosed",), True),
    Operation("vacuum", lambda case: case.store.vacuum(case.id, dry_run=False)),
    Operation("delete", lambda case: case.store.delete(case.id), ("SessionNotFound",), True),
    Operation("prune", _pruned, (), True),
    Operation("erase", lambda case: case.store.erase(case.id), (), True),
    Operation("erase_owner", _owner_erased, (), True),
)

READS: tuple[Operation, ...] = (
    Operation("read", _read),
    Operation("ask", _asked),
    Operation("copy_out", _copied_out),
)


def state(store: SessionStore, id: str) -> dict[str, Any]:
    """Returns all that a store says about the sessions of a case, the same for the same history."""
    found: dict[str, Any] = {}
    for info in store.list(owner=id, archived=None, tasks=True, limit=None):
        with store.open(info.id, read_only=True) as session:
            records = [_shown(record) for _, record in session.records()]
            found[info.id] = {
                "records": records,
                "findings": [finding.code for finding in session.findings],
                "leaf": re.sub(r"^[0-9a-f]{16}$", "*", str(session.leaf_id)),
                "context": session.build_context().messages,
                "labels": session.labels,
                "metadata": session.metadata,
                "info": [info.name, info.archived, info.held, info.messages, info.usage.output_tokens, str(info.cwd)],
            }
    found["usage"] = sum(row.usage.output_tokens for row in store.usage(owner=id))
    found["ledger"] = sum(row.usage.output_tokens for row in store.ledger(owner=id))
    text = re.sub(r'"timestamp": \d+', '"timestamp": 0', json.dumps(found, default=str).replace(id, "ID"))
    answer: dict[str, Any] = json.loads(text)
    return answer


def _shown(record: Any) -> list[Any]:
    names = ("message", "summary", "target_id", "label", "name", "model", "visible_to", "pinned", "archived", "hold")
    shown = [record.type, record.id if re.fullmatch(r"e\d{1,2}", record.id) else "*"]
    return shown + [getattr(record, name) for name in names if hasattr(record, name)]


def without_repeats(found: dict[str, Any]) -> dict[str, Any]:
    """Returns a state in which marks that say the same again count once: a call without an id that was repeated."""
    kept = json.loads(json.dumps(found))
    for each in kept.values():
        if isinstance(each, dict):
            records = each["records"]
            each["records"] = [
                record for number, record in enumerate(records) if record[1] != "*" or record not in records[:number]
            ]
    answer: dict[str, Any] = kept
    return answer
