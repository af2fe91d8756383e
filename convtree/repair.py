"""Checks, repairs, redacts and vacuums a log as a whole.

`verify` reports every finding and changes nothing. `repair` rebuilds a damaged log and keeps the old one. `redact_log`
and `redact_session` remove secrets from what is stored already; to keep them out, give `redact=` to a session or store.
`vacuum` drops the part of a log that its contexts no longer need.
"""

from convtree._catalogue.types import RowFinding
from convtree._session.checking import Report
from convtree._session.redacting import SecretFound
from convtree._session.repairing import Repair
from convtree._tools.redact_log import Redaction, redact_log, redact_session
from convtree._tools.repair import repair, verify
from convtree._tools.vacuum_log import vacuum
from convtree.stores._vacuum import Vacuumed

__all__ = [
    "Redaction",
    "Repair",
    "Report",
    "RowFinding",
    "SecretFound",
    "Vacuumed",
    "redact_log",
    "redact_session",
    "repair",
    "vacuum",
    "verify",
]
