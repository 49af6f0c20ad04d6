"""
What keeps credentials alive.

`lease` is where one refresh begins, and what its callers get: one of them gets the lease and is the `leaseholder`, who
asks the provider and keeps the answer; `waiting` lets the others wait for it, and `together` commits many at once.
`prospects` says what is to be had of tokens as they stand; `failures`, `lifetimes` and `introspection` judge what came
of a refresh; `spool` keeps what the database could not take, and `unreadable` notes a seal that does not open.

By schedule `sweep` refreshes what falls due and `watch` looks after what comes to its end; `uses` knows what is in use,
and so goes first. `daily_outcomes` adds up how it went; `overdue` tells what ought to have been refreshed by now.
"""

from credentials.refresh.lease import refreshed, refreshed_meanwhile
from credentials.refresh.unreadable import note_readable, note_unreadable

__all__ = ["note_readable", "note_unreadable", "refreshed", "refreshed_meanwhile"]
