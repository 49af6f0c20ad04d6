"""The console's pages of the section Syncs, one module a page."""
