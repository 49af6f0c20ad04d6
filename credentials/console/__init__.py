"""The console's pages of the section Connections, one module a page."""
