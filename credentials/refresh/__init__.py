"""
What keeps credentials alive.

`lease` is the journey of one refresh, and what its callers get; `failures`, `lifetimes` and `introspection` judge what
came of it; `spool` keeps what the database could not take. By schedule `sweep` refreshes what falls due and `watch`
looks after what comes to its end; `uses` knows what is in use, and so goes first. `counts` adds up how it went, day by
day; `writer` writes what those two have collected.
"""

from credentials.refresh.lease import note_readable, note_unreadable, refreshed

__all__ = ["note_readable", "note_unreadable", "refreshed"]
