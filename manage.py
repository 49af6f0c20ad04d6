#!/usr/bin/env python
import gc
import os
import sys

from django.core.exceptions import ImproperlyConfigured
from django.core.management import execute_from_command_line
from django.db import ProgrammingError

from sequin_auth import development
from sequin_auth.processes import InChild


def main() -> None:
    gc.disable()  # nothing that is read at the start is garbage; SequinAuthConfig.ready enables it
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "sequin_auth.settings")
    try:
        # nosemgrep: environment-outside-settings - it writes what the settings are read from
        if sys.argv[1:2] == ["run"] and (env_file := development.prepare(os.environ)):
            print(f"New keys are in {env_file}. Keep that file with the data: nothing else opens it.")  # noqa: T201
        run_command()
    except ImproperlyConfigured as exc:
        sys.exit(f"manage.py: {exc}")
    except ProgrammingError:
        from sequin_auth.lib import schema

        if not schema.is_behind():
            raise
        sys.exit("manage.py: The database is not migrated. Run `manage.py migrate` first.")


def run_command() -> None:
    """In processes that `manage.py run` and `manage.py serve` fork, what these are for."""
    try:
        execute_from_command_line(sys.argv)
    except InChild as child:
        work = child.work
    else:
        return
    work()  # here, where nothing of its parent's is around it


if __name__ == "__main__":
    main()
