"""From one PostgreSQL to another: `manage.py move_database`."""
