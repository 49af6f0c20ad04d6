#!/usr/bin/env python
import os
import sys

from django.core.exceptions import ImproperlyConfigured
from django.core.management import execute_from_command_line

from sequin_auth import development


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "sequin_auth.settings")
    try:
        if sys.argv[1:2] == ["run"] and (env_file := development.prepare(os.environ)):
            print(f"New keys are in {env_file}. Keep that file with the data: nothing else opens it.")  # noqa: T201
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as exc:
        sys.exit(f"manage.py: {exc}")


if __name__ == "__main__":
    main()
