"""Django's PostgreSQL backend, with a connection pool that gets over a restart of the server at once."""
