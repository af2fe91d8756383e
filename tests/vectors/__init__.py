"""Logs in format version 1, good and broken, with what a reader of each must say. See README.md."""
