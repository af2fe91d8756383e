"""The same calls for asyncio programs: `Session`, `SessionStore` and `open_store`, with the names of the sync ones."""

from convtree.aio._facade import AwaitableContext, Outline, Session, SessionStore, open_store

__all__ = ["AwaitableContext", "Outline", "Session", "SessionStore", "open_store"]
