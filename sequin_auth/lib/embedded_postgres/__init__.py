"""Django's PostgreSQL backend, with a PostgreSQL of its own that starts when a connection is first needed."""
