"""Other tools' files: one module each, records out."""
