"""kit's session files: read and written."""
