"""Registers the console's pages of this floor; each stands in a module of `console/`."""

from syncs.console import destinations, syncs

__all__ = ["destinations", "syncs"]
