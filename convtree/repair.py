"""Checking, repairing and redacting a whole log."""

from convtree._tools.redact_log import Redaction, redact_log, redact_session
from convtree._tools.repair import Repair, Report, repair, verify

__all__ = ["Redaction", "Repair", "Report", "redact_log", "redact_session", "repair", "verify"]
