"""The life of a key: nothing starts without one, `rotate_keys` replaces it, `keys status` tells when it may go."""

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
import pytest
from django.contrib import admin
from django.core import checks
from django.core.management import CommandError, call_command
from django.core.management.base import SystemCheckError
from django.db import connection
from django.db.models import Model
from django.utils import timezone
from pytest_django.fixtures import Settings
from responses import RequestsMock

from credentials.models import Authorization, Credential, Expiry, Failure, Token, Tokens
from credentials.refresh import spool
from oauth_apps.models import Account, OAuthApp
from providers.sandbox.models import Registration
from sequin_auth.lib.embedded_postgres.server import server_in
from sequin_auth.lib.encryption import Sealed
from sequin_auth.management.commands import rotate_keys
from syncs.models import SyncDatabase
from tests import settings as test_settings
from tests.credentials.stored import again, keep, linear_app, linear_credential
from tests.oauth_apps.conftest import client_of

OLD = test_settings.ENCRYPTION_KEYS  # "test:…", which seals unless a test says otherwise
NEW = "new:N5CZXFApwLux/a2XSQhWnobA8l8UQ08hvlrWhJ38ex4="
TOKENS = Tokens(
    access_token="canary-access-2",
    refresh_token="canary-refresh-2",
    obtained_at=timezone.now(),
    expires_at=None,
    expiry_source=Expiry.NEVER,
    refresh_expires_at=None,
    due_at=None,
)


@pytest.fixture(autouse=True)
def no_sync_database(db: None) -> None:
    """The password of the one that other tests have made is sealed as well."""
    SyncDatabase.objects.all().delete()


def run(command: str, *arguments: str) -> tuple[list[str], list[str], bool]:
    """What it said on stdout and stderr, and whether it ended well."""
    out, err = StringIO(), StringIO()
    try:
        call_command(command, *arguments, stdout=out, stderr=err)
    except CommandError as exc:
        return out.getvalue().splitlines(), [*err.getvalue().splitlines(), str(exc)], False
    return out.getvalue().splitlines(), err.getvalue().splitlines(), True


def make_apps(account: Account, count: int) -> list[OAuthApp]:
    return [
        OAuthApp.objects.create(
            account=account, provider="stripe", name=f"{n}", client_id=f"ca_{n}", client_secret=f"secret {n}"
        )
        for n in range(count)
    ]


def put(row: OAuthApp, stored: bytes) -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE oauth_apps_oauthapp SET client_secret = %s WHERE id = %s", [stored, row.pk])


def secrets() -> list[str | None]:
    return [app.client_secret for app in OAuthApp.objects.order_by("name")]


def sealing_keys() -> list[str | None]:
    return [vars(app)["client_secret"].key_id for app in OAuthApp.objects.order_by("name")]


@pytest.fixture(scope="module")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment of a product whose database has no table, on the server of the tests."""
    server = server_in(Path(test_settings.VAR_DIR) / "postgres")
    server.start()
    name = f"empty_{os.getpid()}"
    with psycopg.connect(server.uri("postgres"), autocommit=True) as superuser:
        superuser.execute(f"CREATE DATABASE {name}".encode())
        yield os.environ | {
            "DATABASE_URL": server.uri(name),
            "VAR_DIR": str(tmp_path_factory.mktemp("var")),
            "DJANGO_SETTINGS_MODULE": "sequin_auth.settings",
        }
        superuser.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


# No database


@pytest.mark.parametrize(
    "command", [["keys", "status"], ["create_account", "Arrakis"], ["rotate_keys"], ["audit", "verify"]]
)
def test_a_database_that_is_not_migrated_is_called_so(command: list[str], empty_database: dict[str, str]) -> None:
    started = subprocess.run(
        [sys.executable, "manage.py", *command],
        check=False,
        env=empty_database,
        cwd=test_settings.BASE_DIR,
        capture_output=True,
        text=True,
    )

    assert (started.returncode, started.stdout) == (1, "")
    assert started.stderr == "manage.py: The database is not migrated. Run `manage.py migrate` first.\n"


# No start


@pytest.mark.parametrize(
    ("start", "keys", "rule"),
    [
        (["manage.py", "keys", "status"], f"{NEW},canary-of-a-key", "ENCRYPTION_KEYS: entry 2 is not id:base64"),
        (["-c", "import sequin_auth.wsgi"], f"{NEW},canary-of-a-key", "ENCRYPTION_KEYS: entry 2 is not id:base64"),
        (["manage.py", "keys", "status"], "", "ENCRYPTION_KEYS is not set"),
    ],
)
def test_nothing_starts_without_sound_keys(start: list[str], keys: str, rule: str) -> None:
    """E09: neither a command nor the web server, and no fall-back to SECRET_KEY."""
    environment = os.environ | {"ENCRYPTION_KEYS": keys, "DJANGO_SETTINGS_MODULE": "sequin_auth.settings"}

    started = subprocess.run(
        [sys.executable, *start],
        check=False,
        env=environment,
        cwd=test_settings.BASE_DIR,
        capture_output=True,
        text=True,
    )

    assert started.returncode != 0
    assert rule in started.stderr
    assert "canary" not in started.stdout + started.stderr
    assert NEW[4:] not in started.stdout + started.stderr


@pytest.mark.parametrize(
    ("command", "options"),
    [("check", {"databases": ["default"], "tags": ["database"]}), ("migrate", {"skip_checks": False})],
)
def test_a_missing_key_is_found_at_the_start(
    account: Account, settings: Settings, command: str, options: dict[str, Any]
) -> None:
    """E08."""
    make_apps(account, 2)
    settings.ENCRYPTION_KEYS = NEW

    with pytest.raises(SystemCheckError) as refusal:
        call_command(command, **options)

    assert "Stored secrets are sealed with the key test, which ENCRYPTION_KEYS does not hold." in str(refusal.value)
    assert "(sequin_auth.E003)" in str(refusal.value)


def test_no_missing_key_is_found_where_there_is_none(account: Account, settings: Settings) -> None:
    make_apps(account, 1)
    settings.ENCRYPTION_KEYS = f"{NEW},{OLD}"

    assert [error for error in checks.run_checks(databases=["default"]) if error.id == "sequin_auth.E003"] == []


@pytest.mark.django_db
def test_a_table_that_waits_for_its_migration_is_no_problem() -> None:
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE oauth_apps_oauthapp RENAME TO elsewhere")
        cursor.execute("ALTER TABLE credentials_authorization DROP COLUMN tokens")

    assert [error for error in checks.run_checks(databases=["default"]) if error.id == "sequin_auth.E003"] == []


@pytest.mark.parametrize("option", ["list_display", "readonly_fields"])
def test_a_console_that_would_show_a_secret_is_refused(option: str) -> None:
    """E04."""
    site = admin.AdminSite("spare")
    site.register(OAuthApp, type("SpareAdmin", (admin.ModelAdmin,), {option: ["name", "client_secret"]}))

    found = [error.msg for error in checks.run_checks(tags=[checks.Tags.admin]) if error.id == "sequin_auth.E004"]
    site.unregister(OAuthApp)

    assert found == ["The console would show oauth_apps.OAuthApp.client_secret in the clear."]


# keys status


def test_status_refuses_a_key_that_is_in_use_and_missing(account: Account, settings: Settings) -> None:
    make_apps(account, 3)
    settings.ENCRYPTION_KEYS = NEW

    out, err, ended_well = run("keys", "status")

    assert out == ["new seals and opens", "  is not in use yet"]
    assert err == [
        "test is missing from ENCRYPTION_KEYS",
        "  oauth_apps.OAuthApp.client_secret: 3",
        "Stored secrets cannot be opened.",
    ]
    assert not ended_well


@pytest.mark.parametrize("garbage", [b"", b"\x01", b"\x01\xffcanary", b"\x01\x06CANARY" + bytes(40), b"canary" * 9])
def test_status_counts_what_is_no_envelope_and_does_not_repeat_it(account: Account, garbage: bytes) -> None:
    put(make_apps(account, 2)[0], garbage)

    out, err, ended_well = run("keys", "status")

    assert out == ["test seals and opens", "  oauth_apps.OAuthApp.client_secret: 1"]
    assert err == [
        "no envelope, so never to be opened",
        "  oauth_apps.OAuthApp.client_secret: 1",
        "Stored secrets cannot be opened.",
    ]
    assert not ended_well


def test_status_tells_what_is_in_use(stripe_app: OAuthApp, settings: Settings) -> None:
    Authorization.objects.create(
        oauth_app=stripe_app,
        provider="stripe",
        state_hash=b"1" * 32,
        browser_hash=b"2" * 32,
        callback_url="https://gateway.example/callback",
        redirect_uri="https://app.example.com/callback/stripe",
        snapshot={},
        expires_at=timezone.now() + timedelta(minutes=10),
        code_verifier="verifier",
    )
    settings.ENCRYPTION_KEYS = f"{NEW},{OLD}"
    stripe_app.client_secret = "changed"
    stripe_app.save()

    out, err, ended_well = run("keys", "status")

    assert (out, err, ended_well) == (
        [
            "new seals and opens",
            "  oauth_apps.OAuthApp.client_secret: 1",
            "test opens",
            "  credentials.Authorization.code_verifier: 1",
        ],
        [],
        True,
    )


def test_status_does_not_retire_the_key_of_one_row(account: Account, settings: Settings) -> None:
    """E08"""
    credential = linear_credential(linear_app(account))
    sealed_by_test = vars(credential.token)["refresh_token"]
    settings.ENCRYPTION_KEYS = f"{NEW},{OLD}"
    assert run("rotate_keys")[2]
    Token.objects.update(refresh_token=sealed_by_test)

    out, err, ended_well = run("keys", "status")
    settings.ENCRYPTION_KEYS = NEW
    _, missing, _ = run("keys", "status")

    assert out[-2:] == ["test opens", "  credentials.Token.refresh_token: 1"]
    assert (err, ended_well) == ([], True)
    assert missing == [
        "test is missing from ENCRYPTION_KEYS",
        "  credentials.Token.refresh_token: 1",
        "Stored secrets cannot be opened.",
    ]


def test_status_does_not_retire_the_key_of_an_answer_that_waits(
    account: Account, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """G03: it was sealed while the database was away, and is in no table"""
    monkeypatch.setattr(spool, "folder", lambda: tmp_path)
    monkeypatch.setattr(spool, "replay_until_empty", lambda: None)
    credential = linear_credential(linear_app(account))
    spool.keep(credential.token, TOKENS)
    settings.ENCRYPTION_KEYS = f"{NEW},{OLD}"
    assert run("rotate_keys")[2]

    out, err, ended_well = run("keys", "status")
    settings.ENCRYPTION_KEYS = NEW
    _, missing, ended_well_without = run("keys", "status")
    settings.ENCRYPTION_KEYS = f"{NEW},{OLD}"
    assert spool.replay() == 1
    afterwards, _, _ = run("keys", "status")

    assert out[-2:] == ["test opens", f"  answers that wait for the database ({tmp_path}): 1"]
    assert (err, ended_well, ended_well_without) == ([], True, False)
    assert missing == [
        "test is missing from ENCRYPTION_KEYS",
        f"  answers that wait for the database ({tmp_path}): 1",
        "Stored secrets cannot be opened.",
    ]
    assert afterwards[-2:] == ["test opens", "  is not in use: it can be retired"]
    assert again(credential).token.access_token == TOKENS.access_token


# rotate_keys


def test_what_does_not_open_is_named_and_left_and_holds_up_nothing(account: Account, settings: Settings) -> None:
    """E07."""
    bad, moved, *_ = make_apps(account, 4)
    put(bad, b"no envelope")
    put(moved, bytes(vars(OAuthApp.objects.get(name="3"))["client_secret"].envelope))
    settings.ENCRYPTION_KEYS = f"{NEW},{OLD}"

    out, err, ended_well = run("rotate_keys")

    assert "oauth_apps.OAuthApp.client_secret: 2 sealed anew, 2 unreadable" in out
    assert sorted(err) == sorted(
        [
            f"oauth_apps.OAuthApp.client_secret of row {bad.pk} does not open: this is no envelope.",
            f"oauth_apps.OAuthApp.client_secret of row {moved.pk} does not open: "
            "it was changed, or sealed for another place.",
            "2 values do not open. They were left as they are.",
        ]
    )
    assert not ended_well
    assert sealing_keys() == [None, "test", "new", "new"]


def test_a_missing_key_leaves_its_values_alone(account: Account, settings: Settings) -> None:
    make_apps(account, 1)
    settings.ENCRYPTION_KEYS = NEW

    out, err, ended_well = run("rotate_keys")

    assert "oauth_apps.OAuthApp.client_secret: 0 sealed anew, 1 unreadable" in out
    assert err[0].endswith("its key is not in ENCRYPTION_KEYS.")
    assert not ended_well
    assert sealing_keys() == ["test"]


def test_a_writer_in_between_wins(account: Account, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of three rows one is changed, under the old key still, and one deleted, after they were read."""
    changed, gone, _ = make_apps(account, 3)
    settings.ENCRYPTION_KEYS = f"{NEW},{OLD}"
    replace = rotate_keys.Rotation.replace
    seen: set[uuid.UUID] = set()

    def replace_late(self: rotate_keys.Rotation, anew: dict[uuid.UUID, Any]) -> int:
        if changed.pk in anew and changed.pk not in seen:
            settings.ENCRYPTION_KEYS = OLD
            changed.client_secret = "written meanwhile"
            changed.save()
            settings.ENCRYPTION_KEYS = f"{NEW},{OLD}"
        if gone.pk in anew:
            OAuthApp.objects.filter(pk=gone.pk).delete()
        seen.update(anew)
        return replace(self, anew)

    monkeypatch.setattr(rotate_keys.Rotation, "replace", replace_late)

    out, err, ended_well = run("rotate_keys")

    assert (secrets(), sealing_keys()) == (["written meanwhile", "secret 2"], ["new", "new"])
    assert "oauth_apps.OAuthApp.client_secret: 2 sealed anew, 0 unreadable" in out
    assert (err, ended_well) == ([], True)


def test_a_run_that_was_cut_off_is_taken_up(
    account: Account, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_apps(account, 7)
    settings.ENCRYPTION_KEYS = f"{NEW},{OLD}"
    monkeypatch.setattr(rotate_keys, "BATCH_SIZE", 2)
    reseal = rotate_keys.Rotation.reseal
    left = iter(range(2))

    def cut_off(self: rotate_keys.Rotation, batch: list[Any]) -> int:
        if next(left, None) is None:
            raise KeyboardInterrupt
        return reseal(self, batch)

    monkeypatch.setattr(rotate_keys.Rotation, "reseal", cut_off)
    with pytest.raises(KeyboardInterrupt):
        run("rotate_keys")
    monkeypatch.setattr(rotate_keys.Rotation, "reseal", reseal)
    assert sorted(str(key) for key in sealing_keys()) == ["new"] * 4 + ["test"] * 3

    out, _, ended_well = run("rotate_keys")

    assert "oauth_apps.OAuthApp.client_secret: 3 sealed anew, 0 unreadable" in out
    assert ended_well
    assert sealing_keys() == ["new"] * 7


def test_a_key_is_replaced_retired_and_removed(account: Account, settings: Settings) -> None:
    """E08, the whole way."""
    make_apps(account, 3)
    OAuthApp.objects.create(account=account, provider="stripe", name="public", client_id="x", client_secret=None)
    settings.ENCRYPTION_KEYS = f"{NEW},{OLD}"
    assert secrets()[:3] == ["secret 0", "secret 1", "secret 2"]

    rotated = run("rotate_keys")
    status = run("keys", "status")
    again = run("rotate_keys")
    settings.ENCRYPTION_KEYS = NEW

    assert "oauth_apps.OAuthApp.client_secret: 3 sealed anew, 0 unreadable" in rotated[0]
    assert "oauth_apps.OAuthApp.client_secret: 0 sealed anew, 0 unreadable" in again[0]
    assert status == (
        [
            "new seals and opens",
            "  oauth_apps.OAuthApp.client_secret: 3",
            "test opens",
            "  is not in use: it can be retired",
        ],
        [],
        True,
    )
    assert secrets() == ["secret 0", "secret 1", "secret 2", None]
    assert run("keys", "status")[2]


# What was moved by SQL


class Moved(NamedTuple):
    """A credential beside others: what it needs was put there from elsewhere, where it opens."""

    credential: Credential
    row: Model  # which holds what does not open
    column: str


@pytest.fixture(
    params=["secrets of another row", "secrets from the tokens", "an app's of another", "an app's from the sandbox"]
)
def moved(request: pytest.FixtureRequest, account: Account) -> Moved:
    """Nothing of this is opened by whoever does not ask for this credential's access token."""
    key = keep(account, "stripe_key", None, secret="canary-own")
    other_key = keep(account, "stripe_key", None, secret="canary-of-another")
    oauth_app = linear_app(account, environment="sandbox")
    other_app = linear_app(account, client_id="lin_2", client_secret="canary-of-another-app")
    token = linear_credential(oauth_app)
    linear_credential(other_app)
    match request.param:
        case "another row's":
            return put_into(key, key, "secrets", vars(other_key)["secrets"])
        case "another table's":  # of the same id
            elsewhere = Token._meta.get_field("access_token").seal("canary-elsewhere", pk=key.pk)
            return put_into(key, key, "secrets", elsewhere)
        case "another app's":
            return put_into(token, oauth_app, "client_secret", vars(other_app)["client_secret"])
        case _:  # another table's, of the same id and column
            registered = Registration.objects.get(pk=oauth_app.pk)
            return put_into(token, oauth_app, "client_secret", vars(registered)["client_secret"])


def put_into(credential: Credential, row: Model, column: str, sealed: Sealed) -> Moved:
    type(row)._base_manager.filter(pk=row.pk).update(**{column: sealed})
    return Moved(credential, row, column)


def test_moved_ciphertext_is_nobodys_token(moved: Moved, account: Account, responses: RequestsMock) -> None:
    """E06"""
    response = client_of(account, "reveal").get(f"/v1/credentials/{moved.credential.pk}/access-token")

    assert (response.status_code, response.json()["code"]) == (500, "credential_unreadable")
    assert b"canary" not in response.content
    stored = again(moved.credential)
    assert (stored.token.failure, stored.health_status) == (Failure.UNREADABLE, "error")
    assert "ENCRYPTION_KEYS" in stored.health_notes[0]
    assert len(responses.calls) == 0


def test_moved_ciphertext_holds_up_no_list_and_no_export(moved: Moved, account: Account) -> None:
    """E07: an export names the credential whose own part does not open, and goes on"""
    api = client_of(account, "read", "reveal")

    listed = api.get("/v1/credentials")
    apps = api.get("/v1/oauth-apps")
    lines = [json.loads(line) for line in api.get("/v1/credentials/export").getvalue().splitlines()]

    assert (len(listed.json()["data"]), len(apps.json()["data"]), len(lines)) == (4, 2, 4)
    broken = [str(moved.credential.pk)] if moved.column == "secrets" else []
    assert [line["id"] for line in lines if line.get("error") == "credential_unreadable"] == broken
    assert len([line for line in lines if "properties" in line]) == 4 - len(broken)


def test_moved_ciphertext_holds_up_no_purge_and_no_rotation(moved: Moved, settings: Settings) -> None:
    """E07"""
    settings.ENCRYPTION_KEYS = f"{NEW},{OLD}"

    purged = run("purge")
    _, err, ended_well = run("rotate_keys")
    used = {line for line in run("keys", "status")[0] if moved.column in line}

    assert purged[1:] == ([], True)
    label = f"{type(moved.row)._meta.label}.{moved.column}"
    assert err == [
        f"{label} of row {moved.row.pk} does not open: it was changed, or sealed for another place.",
        "1 values do not open. They were left as they are.",
    ]
    assert not ended_well
    assert f"  {label}: 1" in used  # each of the two keys has one: the row that was left, and its neighbour
