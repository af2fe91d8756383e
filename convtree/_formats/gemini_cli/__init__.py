"""Gemini CLI's session and checkpoint files: read."""
