"""Claude Code's session files: read."""
