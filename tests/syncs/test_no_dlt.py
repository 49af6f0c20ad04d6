"""What serves requests, and the worker of everything else, do without dlt."""

import subprocess
import sys

from tests.settings import BASE_DIR


def modules_of(code: str) -> str:
    code = f"import os, sys; os.environ['DJANGO_SETTINGS_MODULE'] = 'tests.settings'\n{code}\n"
    code += "print([name for name in sys.modules if name.partition('.')[0] in {'dlt', 'sqlglot', 'psycopg2'}])"
    ended = subprocess.run([sys.executable, "-c", code], cwd=BASE_DIR, capture_output=True, text=True, check=True)
    return ended.stdout.strip()


def test_a_web_process_does_not_load_it() -> None:
    assert (
        modules_of(
            "import sequin_auth.wsgi\n"
            "from django.urls import get_resolver\n"
            "get_resolver().url_patterns\n"
            "from django.contrib import admin\n"
            "admin.site.urls"
        )
        == "[]"
    )


def test_the_tasks_do_not_load_it() -> None:
    assert modules_of("import django; django.setup(); import syncs.jobs") == "[]"
