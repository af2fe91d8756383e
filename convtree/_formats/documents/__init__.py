"""Documents for people and programs: Markdown and JSON, written."""
