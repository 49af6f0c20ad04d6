"""Registers the console's pages of this floor; each stands in a module of `console/`."""

from credentials.console import authorizations, credentials

__all__ = ["authorizations", "credentials"]
