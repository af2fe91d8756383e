"""Sessions of Kimi CLI, and of Kimi Code, which came after it."""
