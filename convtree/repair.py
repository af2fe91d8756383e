"""Checks, repairs and redacts a log as a whole.

`verify` reports every finding and changes nothing. `repair` rebuilds a damaged log and keeps the old one. `redact_log`
and `redact_session` remove secrets from what is stored already; to keep them out, give `redact=` to a session or store.
"""

from convtree._tools.redact_log import Redaction, SecretFound, redact_log, redact_session
from convtree._tools.repair import Repair, Report, repair, verify

__all__ = ["Redaction", "Repair", "Report", "SecretFound", "redact_log", "redact_session", "repair", "verify"]
