"""What is done to whole logs and files: verify, repair, redact, import, export."""
