"""Families: a session and the sessions of its sub-agents, at any depth. They are pruned as one. Pure.

A sub-agent whose parent is gone is a family of its own. The latest time of a member is that of the family.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import NamedTuple

from convtree._catalogue.record_summary import ms_of
from convtree._catalogue.types import ListedSession, SessionInfo
from convtree.stores._arguments import SKEW_MS, age_ms
from convtree.stores._judging import Verdict


class Rules(NamedTuple):
    """Which families to prune: those before `oldest_ms`, and all but the last `keep`. None is no rule."""

    oldest_ms: int | None
    keep: int | None


class Family(NamedTuple):
    """A session and its sub-agents'.

    Attributes:
        members: as a catalogue lists them, parents before children.
        time_ms: when the last of them was active or arrived; None if that is unknown.
        active_ms: when the last of them was active, by the catalogue; None if that is unknown.
        is_held: one of them is on hold.
        is_certain: their logs confirm that they are a family, and can be read whole.
    """

    members: list[ListedSession]
    time_ms: int | None
    active_ms: int | None = None
    is_held: bool = False
    is_certain: bool = True

    @property
    def root(self) -> SessionInfo:
        """The session that is no sub-agent's of the others."""
        return self.members[0].info


def rules_of(max_age: timedelta | float | None, keep: int | None, now_ms: int) -> Rules:
    """Returns the rules.

    Raises:
        ValueError: there is none, or one that leaves doubt.
    """
    if max_age is None and keep is None:
        raise ValueError("prune needs max_age, keep, or both")
    if max_age is not None and age_ms(max_age) <= 0:
        raise ValueError("max_age must be above 0; pass keep=0 to delete all sessions")
    return Rules(None if max_age is None else now_ms - age_ms(max_age), keep)


def families_of(listed: Sequence[ListedSession], now_ms: int) -> list[Family]:
    """Groups the sessions of a whole store, by what its catalogue says."""
    by_id = {each.info.id: each for each in listed}
    below: dict[str, list[str]] = {}
    roots = []
    for id, each in by_id.items():
        parent = each.info.parent_session
        if parent is not None and parent.kind == "task" and parent.id in by_id:
            below.setdefault(parent.id, []).append(id)
        else:
            roots.append(id)
    found, known = [], set[str]()
    for root in (*roots, *sorted(by_id)):  # the second time for parents in a ring: the first id stands for the root
        if root in known:
            continue
        known.add(root)
        ids = [root]
        for id in ids:
            children = [child for child in below.get(id, ()) if child not in known]
            known.update(children)
            ids.extend(children)
        members = [by_id[id] for id in ids]
        active_ms = _latest((each.info.last_activity for each in members), now_ms)
        arrived_ms = _latest((each.info.arrived for each in members), now_ms)
        time_ms = max((time for time in (active_ms, arrived_ms) if time is not None), default=None)
        found.append(Family(members, time_ms, active_ms))
    return found


def _latest(timestamps: Iterable[str | None], now_ms: int) -> int | None:
    times = map(ms_of, timestamps)
    return max((time for time in times if time and time <= now_ms + SKEW_MS), default=None)


def tasks_below(root: str, ids: Sequence[str], verdicts: Mapping[str, Verdict]) -> list[str]:
    """Returns `root` and those of `ids` (parents before children) that are its sub-agents' by what their logs say."""
    family = [root]
    for id in ids:
        if id in verdicts and verdicts[id].task_of in family:
            family.append(id)
    return family


def confirmed(families: Sequence[Family], verdicts: Mapping[str, Verdict], owner: str | None) -> list[Family]:
    """Returns families with what the logs of their members say.

    One is not certain if the log of a member cannot be read whole or says that it belongs elsewhere, if the log of
    another session says that it belongs here, or if the root has another owner.
    """
    home = {member.info.id: family.root.id for family in families for member in family.members}
    astray = set[str]()  # roots of families with a member too few or too many
    for id, verdict in verdicts.items():
        parents_home = home.get(verdict.task_of or "", home[id])
        if parents_home != home[id]:
            astray |= {parents_home, home[id]}
    return [_confirmed(each, verdicts, owner, astray) for each in families]


def _confirmed(family: Family, verdicts: Mapping[str, Verdict], owner: str | None, astray: Collection[str]) -> Family:
    ids = [each.info.id for each in family.members]
    found = [verdicts[id] for id in ids if id in verdicts]
    is_whole = len(found) == len(ids) and not any(each.is_damaged for each in found)
    return family._replace(
        time_ms=max((each.time_ms for each in found if each.time_ms is not None), default=None),
        is_held=any(each.judged.held for each in found),
        is_certain=is_whole
        and ids[0] not in astray
        and tasks_below(ids[0], ids[1:], verdicts) == ids
        and (owner is None or found[0].owner == owner),
    )


def may_be_doomed(families: Sequence[Family], rules: Rules) -> list[Family]:
    """Returns the families to look at: all if they are counted, and those that are too old otherwise."""
    return [each for each in families if rules.keep is not None or _is_too_old(each, rules)]


def doomed(families: Collection[Family], rules: Rules) -> list[Family]:
    """Returns the families that a rule condemns, last active first.

    One whose time is unknown is not too old, and none of the first or last ones: it goes with `keep=0` only.
    """
    ranked = sorted((each for each in families if each.time_ms is not None), key=_rank, reverse=True)
    unknown = sorted((each for each in families if each.time_ms is None), key=_rank, reverse=True)
    found = [
        each
        for number, each in enumerate(ranked)
        if (rules.keep is not None and number >= rules.keep) or _is_too_old(each, rules)
    ]
    return found + (unknown if rules.keep == 0 else [])


def spared_by_arrival(families: Collection[Family], rules: Rules) -> list[Family]:
    """Returns the families that stay for their arrival only, last active first: by activity, a rule condemns them."""
    going = {each.root.id for each in doomed(families, rules)}
    by_activity = doomed([each._replace(time_ms=each.active_ms) for each in families], rules)
    return [each for each in by_activity if each.root.id not in going]


def _is_too_old(family: Family, rules: Rules) -> bool:
    return rules.oldest_ms is not None and family.time_ms is not None and family.time_ms < rules.oldest_ms


def _rank(family: Family) -> tuple[int, str]:
    return family.time_ms or 0, family.root.id
