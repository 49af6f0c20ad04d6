"""`manage.py lintmigrations`, as `make lint` runs it: what would stop a gateway that is at work does not get in."""

import os
import re
import subprocess
import sys
import tomllib

import pytest
from django.db.migrations.loader import MigrationLoader

from tests import linter
from tests.real.machine import BASE_DIR

MODELS = """
from django.db import models

class Thing(models.Model):
    name = models.TextField(default="")
    short = models.CharField(max_length=5, default="")
"""
FIRST = """
from django.db import migrations, models

class Migration(migrations.Migration):
    initial = True
    operations = [migrations.CreateModel("Thing", [
        ("id", models.BigAutoField(primary_key=True)), ("name", models.TextField(default="")),
        ("short", models.CharField(max_length=5, default="")),
    ])]
"""
NEXT = """
from django.contrib.postgres.operations import AddConstraintNotValid, AddIndexConcurrently
from django.db import migrations, models

class Migration(migrations.Migration):
    atomic = {atomic}
    dependencies = [("{app}", "0001_first")]
    operations = [{operation}]
"""
SETTINGS = """
from tests.settings_of_linter import *

INSTALLED_APPS += {apps}
"""
MAY_BE_NULL = 'migrations.AddField("thing", "more", models.TextField(null=True))'
CHECK = "models.CheckConstraint(condition=~models.Q(name=''), name='named')"


def run(statement: str) -> str:
    """`{thing}`: the name of the table."""
    return f"migrations.RunSQL({statement!r}.replace('{{thing}}', __name__.partition('.')[0] + '_thing'), '')"


REFUSED = {
    "a column without a default": 'migrations.AddField("thing", "more", models.TextField(default=""))',
    "a column away": 'migrations.RemoveField("thing", "name")',
    "a column's name": 'migrations.RenameField("thing", "name", "title")',
    "a table's name": 'migrations.RenameModel("thing", "matter")',
    "a table away": 'migrations.DeleteModel("thing")',
    "a column's type": 'migrations.AlterField("thing", "name", models.CharField(max_length=5))',
    "a longer column": 'migrations.AlterField("thing", "short", models.CharField(max_length=9))',
    "code beside a table": "migrations.RunPython(migrations.RunPython.noop, migrations.RunPython.noop), " + MAY_BE_NULL,
    "a check that looks at all rows": f"migrations.AddConstraint('thing', {CHECK})",
    "a constraint by hand": run("ALTER TABLE {thing} ADD CONSTRAINT named CHECK (name <> '')"),
    "a unique constraint by hand": run("ALTER TABLE {thing} ADD CONSTRAINT once UNIQUE (name)"),
    "all rows changed": run("UPDATE {thing} SET name = 'x'"),
    "rows changed behind something": run("SELECT 1; update {thing} SET name = 'x'"),
    "rows away": run("DELETE FROM {thing}"),
    "all rows away": run("TRUNCATE {thing}"),
    "a lock": run("LOCK TABLE {thing}"),
    "a type by hand": run("ALTER TABLE {thing} ALTER name TYPE varchar(9)"),
    "a block that hides it": run("DO $$ BEGIN UPDATE {thing} SET name = 'x'; END $$"),
    "an index under lock": 'migrations.AddIndex("thing", models.Index(fields=["name"], name="by_name"))',
}
LET_IN = {
    "a column that may be NULL": MAY_BE_NULL,
    "code alone": "migrations.RunPython(migrations.RunPython.noop, migrations.RunPython.noop)",
    "a check of new rows": f"AddConstraintNotValid('thing', {CHECK})",
    "a function that changes rows when it is called": run(
        "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN\nUPDATE {thing} SET name = 'x';\nEND $$"
    ),
    "a column with the database's default": 'migrations.AddField("thing", "more", models.TextField(db_default=""))',
    "an index beside the rest": 'AddIndexConcurrently("thing", models.Index(fields=["name"], name="beside"))',
}


def app_of(what: str) -> str:
    return re.sub(r"\W", "_", what)


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """By the app whose second migration it is about: OK or ERR."""
    directory = tmp_path_factory.mktemp("apps")
    operations = REFUSED | LET_IN
    for what, operation in operations.items():
        app = directory / app_of(what)
        (app / "migrations").mkdir(parents=True)
        (app / "__init__.py").touch()
        (app / "migrations" / "__init__.py").touch()
        (app / "models.py").write_text(MODELS)
        (app / "migrations" / "0001_first.py").write_text(FIRST)
        text = NEXT.format(app=app.name, operation=operation, atomic="CONCURRENTLY" not in operation.upper())
        (app / "migrations" / "0002_next.py").write_text(text)
    apps = [app_of(what) for what in operations]
    (directory / "settings_with_apps.py").write_text(SETTINGS.format(apps=apps))
    lint = [sys.executable, str(BASE_DIR / "manage.py"), "lintmigrations", "--settings", "settings_with_apps"]
    finished = subprocess.run(
        [*lint, "--project-root-path", str(directory), "--include-apps", *apps],
        cwd=BASE_DIR,
        env=os.environ | {"PYTHONPATH": f"{directory}:{BASE_DIR}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 1, finished.stderr
    return dict(re.findall(r"^\((\w+), 0002_next\)\.\.\. (\w+)", finished.stdout, re.MULTILINE))


@pytest.mark.parametrize("what", REFUSED)
def test_what_stops_those_who_are_at_work_is_refused(verdicts: dict[str, str], what: str) -> None:
    assert verdicts[app_of(what)] == "ERR"


@pytest.mark.parametrize("what", LET_IN)
def test_what_both_versions_can_live_with_is_let_in(verdicts: dict[str, str], what: str) -> None:
    assert verdicts[app_of(what)] == "OK"


def test_what_is_excused_is_so_by_app_and_name() -> None:
    """A migration of such a name in another app is looked at, and one that is gone needs no excuse."""
    settings = tomllib.loads((BASE_DIR / "pyproject.toml").read_text())["tool"]["django_migration_linter"]
    there = MigrationLoader(None, ignore_no_migrations=True).disk_migrations

    assert not {name for name in settings if "ignore" in name or "exclude" in name}
    assert there is not None
    assert linter.EXCUSED.keys() <= there.keys()
