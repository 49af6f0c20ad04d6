"""
What surrounds a slice has no say in it, and it leaves nothing there: no variable, no file at home or in the working
directory, no packet but to the API and the database, no word of a row or a secret in any log or note.
"""

import json
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core import serializers
from django.db import connection

from syncs import starting
from syncs.destinations import builtin
from syncs.models import Sync, SyncDatabase, SyncMeasure, SyncRun
from tests.settings import BASE_DIR
from tests.syncs.api import answering, rows
from tests.syncs.machine import Machine

TOML = """
[runtime]
dlthub_telemetry = true
log_level = "DEBUG"
[schema]
naming = "direct"
[normalize]
workers = 7
[destination.postgres]
create_indexes = true
[destination.postgres.credentials]
host = "127.0.0.1"
port = 1
password = "poison"
[credentials]
password = "poison"
"""
POISON = {
    "CREDENTIALS": "postgresql://poison:poison@127.0.0.1:1/poison",
    "CREDENTIALS__PASSWORD": "poison",
    "CREDENTIALS__HOST": "127.0.0.1",
    "DESTINATION__POSTGRES__CREDENTIALS": "postgresql://poison:poison@127.0.0.1:1/poison",
    "DESTINATION__POSTGRES__CREDENTIALS__PORT": "1",
    "DESTINATION__CREDENTIALS__DATABASE": "poison",
    "DESTINATION__DATASET_NAME": "poison",
    "DATASET_NAME": "poison",
    "SOURCES__MAX_TABLE_NESTING": "5",
    "SOURCES__SCHEMA_CONTRACT": "freeze",
    "RUNTIME__DLTHUB_TELEMETRY": "true",
    "RUNTIME__DLTHUB_TELEMETRY_ENDPOINT": "http://127.0.0.1:1/poison",
    "RUNTIME__SENTRY_DSN": "http://poison@127.0.0.1:1/1",
    "RUNTIME__SLACK_INCOMING_HOOK": "http://127.0.0.1:1/poison",
    "RUNTIME__LOG_LEVEL": "DEBUG",
    "RUNTIME__REQUEST_TIMEOUT": "0.0001",
    "NORMALIZE__WORKERS": "7",
    "NORMALIZE__LOADER_FILE_FORMAT": "parquet",
    "SCHEMA__NAMING": "direct",
    "LOAD__WORKERS": "20",
    "LOAD__DELETE_COMPLETED_JOBS": "true",
    "LOAD__TRUNCATE_STAGING_DATASET": "false",
    "EXTRACT__WORKERS": "9",
    "RESTORE_FROM_DESTINATION": "false",
    "PIPELINE_NAME": "poison",
    "PROGRESS": "log",
    "DEV_MODE": "true",
    "DLT_CONFIG_FOLDER": ".dlt",
    "DATA_WRITER__DISABLE_COMPRESSION": "false",
    "HTTP_PROXY": "http://127.0.0.1:1",
    "ALL_PROXY": "http://127.0.0.1:1",
}
# What libpq would take for a destination; the product's own connections go by the environment, and have a clean one
PG = {
    "PGSSLMODE": "verify-full",
    "PGPASSWORD": "poison",
    "PGOPTIONS": "-c default_transaction_read_only=on",
    "PGCLIENTENCODING": "LATIN1",
    "PGAPPNAME": "poison",
    "PGSERVICE": "poison",
    "PGTARGETSESSIONATTRS": "read-only",
    "PGREQUIREAUTH": "md5",
    "PGHOSTADDR": "127.0.0.9",
}
CHILD = """
import json, os, sys
told = json.loads(sys.stdin.read())
import django
from django.conf import settings
settings.DATABASES["default"]["NAME"] = told["database"]
settings.SYNC_DATABASE_NAME, settings.PROVIDERS_DIR = told["sync_database"], told["providers"]
settings.EGRESS_ALLOW = told["allow"]
django.setup()
from syncs import slices
from syncs.destinations import builtin
builtin.target()
from sequin_auth.lib.postgres import locks
to_ours = locks.own_connection

def to_ours_without_poison(database):
    for name in told["libpq"]:
        del os.environ[name]
    try:
        return to_ours(database)
    finally:
        os.environ |= told["libpq"]

locks.own_connection = to_ours_without_poison
os.environ |= told["libpq"]
for sync_id in told["syncs"]:
    slices.run_slice(sync_id)
"""


def listing(*folders: Path) -> set[str]:
    return {str(path) for folder in folders for path in folder.rglob("*")}


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    made = tmp_path / "home"
    for folder in (made / ".dlt", made / "cwd" / ".dlt"):
        folder.mkdir(parents=True)
        (folder / "config.toml").write_text(TOML)
        (folder / "secrets.toml").write_text(TOML)
    (made / "services").write_text("[poison]\nhost=127.0.0.1\nport=1\ndbname=poison\nuser=poison\nsslmode=require\n")
    yield made
    for folder in (made / ".dlt", made / "cwd" / ".dlt"):
        assert sorted(path.name for path in folder.iterdir()) == ["config.toml", "secrets.toml"]


@pytest.mark.django_db(transaction=True)
def test_poisoned_surroundings_change_nothing(machine: Machine, home: Path) -> None:
    machine.api.all_rows = [row | {"CamelCase": {"a": [{"b": 1}]}, "list": [{"c": 1}]} for row in rows(25)]
    clean, poisoned = (machine.sync("by_cursor", "changing") for _ in range(2))
    machine.slice(clean)
    before = listing(home)
    data = home / "data"
    told = {
        "database": connection.settings_dict["NAME"],
        "sync_database": settings.SYNC_DATABASE_NAME,
        "providers": settings.PROVIDERS_DIR,
        "allow": settings.EGRESS_ALLOW,
        "libpq": PG | {"PGSERVICEFILE": str(home / "services")},
        "syncs": [str(poisoned.pk)],
    }
    environment = {
        **os.environ,
        **POISON,
        "HOME": str(home),
        "DLT_DATA_DIR": str(data),
        "DLT_PROJECT_DIR": str(home / "cwd"),
        "PYTHONPATH": str(BASE_DIR),
        "DJANGO_SETTINGS_MODULE": "tests.settings",
    }

    ended = subprocess.run(
        [sys.executable, "-c", CHILD],
        cwd=home / "cwd",
        env=environment,
        input=json.dumps(told),
        capture_output=True,
        text=True,
        check=False,
    )

    assert ended.returncode == 0, ended.stderr
    run = SyncRun.objects.get(sync=poisoned)
    assert (run.stop, run.rows) == ("done", {"by_cursor": 25, "changing": 25}), run.note
    assert shape(machine, poisoned) == shape(machine, clean)
    assert listing(home) == before
    assert not data.exists()
    assert "poison" not in ended.stdout + ended.stderr
    assert machine.query(poisoned, "SELECT 1 FROM pg_namespace WHERE nspname ~ 'poison'") == []


def shape(machine: Machine, sync: Sync) -> Any:
    columns = (
        "SELECT table_name, column_name, data_type, is_nullable FROM information_schema.columns"
        " WHERE table_schema = %s ORDER BY 1, 2"
    )
    indexes = "SELECT indexname FROM pg_indexes WHERE schemaname = %s ORDER BY 1"
    data = "SELECT id, name, nested::text, camel_case::text, list::text FROM {schema}.by_cursor ORDER BY id"
    staged = f"SELECT count(*) FROM {sync.schema}_staging.by_cursor"  # noqa: S608 - a name of ours
    return (
        machine.query(sync, columns, sync.schema),
        machine.query(sync, indexes, sync.schema),
        machine.query(sync, data),
        machine.query(sync, staged),
    )


def test_nothing_is_left_and_nobody_else_is_called(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[Any] = []
    resolved: list[Any] = []
    plain, lookup = socket.socket.connect, socket.getaddrinfo

    def connect(self: socket.socket, to: Any) -> None:
        called.append(to)
        plain(self, to)

    def getaddrinfo(host: Any, *arguments: Any, **named: Any) -> Any:
        resolved.append(host)
        return lookup(host, *arguments, **named)

    monkeypatch.setattr(socket.socket, "connect", connect)
    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    machine.api.all_rows = rows(25)
    sync = machine.sync("by_cursor")
    machine.slice(sync)  # whatever is made once is made now
    watched = [Path.home() / ".dlt", Path.home() / ".config" / "dlt", BASE_DIR / ".dlt", BASE_DIR / "_storage"]
    before = [folder.exists() for folder in watched]
    cwd = {path.name for path in BASE_DIR.iterdir()}

    machine.refresh(sync)

    assert set(called) == {("127.0.0.1", machine.api.server.port)}
    assert set(resolved) <= {"127.0.0.1"}
    assert [folder.exists() for folder in watched] == before
    assert {path.name for path in BASE_DIR.iterdir()} == cwd
    assert {path.name for path in starting.home().glob("*") if path.is_file()} <= {".anonymous_id"}  # of dlt, random
    assert list(starting.home().glob(f"slice-{os.getpid()}-*")) == []
    assert starting.home().stat().st_mode & 0o077 == 0


def test_no_log_and_no_note_tells_what_rows_and_secrets_are(
    machine: Machine, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """Not those of a slice that goes well, of one that is refused, nor of one that the destination refuses"""
    caplog.set_level(logging.DEBUG)
    machine.api.all_rows = [row | {"text": "canary-row"} for row in rows(15)]
    sync = machine.sync("by_cursor", "by_link")
    machine.slice(sync)
    odd = answering(400, b"canary-row", "X-Canary: canary-row")
    machine.api.behaviours = [odd, odd]
    machine.refresh(sync)
    machine.query(sync, "ALTER TABLE {schema}.by_cursor ADD CHECK (text <> 'canary-rows')")
    machine.api.all_rows = [row | {"text": "canary-rows"} for row in rows(15)]
    run = machine.refresh(sync, full=True)

    assert run.stop == "destination"
    assert machine.api.requests[0].headers["authorization"].endswith("canary-key")
    password = SyncDatabase.objects.get().password
    assert password == builtin.target().password
    kept = [*Sync.objects.all(), *SyncRun.objects.all(), *SyncMeasure.objects.all(), sync.destination]
    output = capfd.readouterr()
    told = "\n".join([serializers.serialize("json", kept), caplog.text, output.out, output.err])
    assert len(SyncRun.objects.all()) == 3
    assert "canary" not in told
    assert password not in told
    states = [
        machine.query(sync, statement)
        for statement in ("SELECT state FROM {schema}._dlt_pipeline_state", "SELECT schema FROM {schema}._dlt_version")
    ]
    assert all(states)
    assert "canary" not in str(states)
    assert password not in str(states)
