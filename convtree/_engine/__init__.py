"""A log as a tree: lines and seals, the index over them, contexts, and what is written next. Pure but for `journal`."""
