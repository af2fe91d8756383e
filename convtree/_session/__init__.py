"""A conversation: one leaf on a tree, the calls of `Session`, and compaction."""
