"""Where a store keeps its sessions: a folder, memory, a database."""
