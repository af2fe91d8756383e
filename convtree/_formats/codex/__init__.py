"""Rollouts of the Codex CLI."""
