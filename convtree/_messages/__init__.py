"""What a stored message says: one reader for the messages of every provider, tool and framework. The lowest layer."""
