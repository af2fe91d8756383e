"""Other tools' files: one module each, records out, and for some of them a way back. `known` is the table of them."""

#: the names of what can be written, for who asks before anything is imported
WRITTEN = ("pi", "kit", "json", "markdown")
