"""pi's session files: read and written."""
