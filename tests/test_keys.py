"""The life of a key: nothing starts without one, `rotate_keys` replaces it, `keys status` tells when it may go."""

import os
import subprocess
import sys
import uuid
from base64 import b64encode
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.contrib import admin
from django.core import checks
from django.core.management import CommandError, call_command
from django.core.management.base import SystemCheckError
from django.db import connection
from django.utils import timezone
from pytest_django.fixtures import Settings

from credentials.models import Authorization
from oauth_apps.models import Account, OAuthApp
from sequin_auth.management.commands import rotate_keys
from tests import settings as test_settings

OLD = test_settings.ENCRYPTION_KEYS  # "test:…", which seals unless a test says otherwise
NEW = "new:" + b64encode(b"seals-the-secrets-of-the-tests-2").decode()


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

    def replace_late(self: rotate_keys.Rotation, pk: uuid.UUID, *values: Any) -> int:
        if pk == changed.pk and pk not in seen:
            settings.ENCRYPTION_KEYS = OLD
            changed.client_secret = "written meanwhile"
            changed.save()
            settings.ENCRYPTION_KEYS = f"{NEW},{OLD}"
        if pk == gone.pk:
            OAuthApp.objects.filter(pk=gone.pk).delete()
        seen.add(pk)
        return replace(self, pk, *values)

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
