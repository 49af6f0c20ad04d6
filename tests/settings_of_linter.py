"""For `manage.py lintmigrations`, which no deployment has."""

from tests.settings import *  # noqa: F403

INSTALLED_APPS += ["tests.linter.Linter"]  # noqa: F405
