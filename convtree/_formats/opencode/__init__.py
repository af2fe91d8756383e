"""opencode's database and folders: read."""
