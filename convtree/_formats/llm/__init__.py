"""llm's log database: read."""
