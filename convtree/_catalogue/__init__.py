"""What a store knows of its sessions without opening them: the tables and their queries, as SQL text. Pure."""
