"""`manage.py doctor`: each thing that can be wrong is found, and comes with the way to mend it."""

import io
import json
import os
import time
from collections.abc import Callable, Iterable
from datetime import timedelta
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
import responses as answering
from django.core.management import call_command
from django.db import OperationalError, connection
from django.utils import timezone
from pytest_django import Settings
from requests import ConnectionError as NoConnection
from responses import RequestsMock

from credentials.models import FingerprintKey, Token
from credentials.refresh import spool
from oauth_apps import audit, audit_seals
from oauth_apps.measures import note_worker
from oauth_apps.models import Account, AuditChain, OAuthApp, Process
from sequin_auth.doctor import (
    Finding,
    Level,
    configuration,
    database,
    duration,
    error,
    keys,
    outbound,
    outside,
    size,
    storage,
    working,
)
from sequin_auth.lib import http
from sequin_auth.lib.schema import MARK
from sequin_auth.management.commands import doctor
from syncs.models import Sync
from tests.credentials.stored import keep

PUBLIC_URL = "http://127.0.0.1:8000"


@pytest.fixture(autouse=True)
def folder(settings: Settings, tmp_path: Path) -> Path:
    tmp_path.chmod(0o700)
    settings.VAR_DIR = tmp_path
    return tmp_path


def wrong(found: Iterable[Finding]) -> list[tuple[str, str]]:
    """What is not well, in short; each has a way to mend it."""
    unwell = [one for one in found if one.level != Level.OK]
    assert all(one.fix for one in unwell)
    return [(str(one.level), one.what) for one in unwell]


# ---- settings --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({}, []),
        (
            {"SANDBOX": True},
            [
                (
                    "warning",
                    "The provider simulator is on: apps of the environment sandbox approve whatever they are asked.",
                )
            ],
        ),
        (
            {"ALLOWED_HOSTS": ["*"]},
            [("error", "ALLOWED_HOSTS allows every name, so a request may claim to be for any host.")],
        ),
        (
            {"TRUSTED_PROXIES": ["0.0.0.0/0"]},
            [("error", "TRUSTED_PROXIES: entry 1 is too wide: whoever is in it may say that he is anybody.")],
        ),
    ],
)
def test_settings(settings: Settings, changes: dict[str, Any], found: list[tuple[str, str]]) -> None:
    sound = {
        "PUBLIC_URL": "https://auth.example.com", "ON_LOOPBACK": False, "ALLOWED_HOSTS": ["auth.example.com"],
        "TRUSTED_PROXIES": ["10.0.0.0/24"], "SANDBOX": False, "ENV_FILE": "", "DEBUG": False,
    }  # fmt: skip
    for name, value in (sound | changes).items():
        setattr(settings, name, value)

    assert wrong(configuration.look()) == found


def test_a_file_of_keys_that_others_may_read(settings: Settings, folder: Path) -> None:
    settings.ENV_FILE = str(folder / "development.env")
    Path(settings.ENV_FILE).write_text("")
    Path(settings.ENV_FILE).chmod(0o644)

    assert ("warning", "Others on this machine may read ENV_FILE, which holds the keys.") in wrong(configuration.look())


# ---- storage ---------------------------------------------------------------------------------------------------------


def test_storage_that_is_sound() -> None:
    assert wrong(storage.look()) == []


def test_a_folder_that_is_not_there(settings: Settings, folder: Path) -> None:
    settings.VAR_DIR = folder / "nowhere"

    assert wrong(storage.look()) == [("error", "VAR_DIR is not a directory that this user may write.")]


@pytest.mark.parametrize(("free", "level"), [(500 << 20, "warning"), (50 << 20, "error")])
def test_a_disk_that_is_full(monkeypatch: pytest.MonkeyPatch, free: int, level: str) -> None:
    class Usage:
        def __init__(self) -> None:
            self.free = free

    monkeypatch.setattr("shutil.disk_usage", lambda _: Usage())

    assert wrong(storage.look()) == [(level, f"The disk of VAR_DIR has {free >> 20} MiB left.")]


def test_answers_that_wait(folder: Path) -> None:
    spool.folder().mkdir()
    waiting = spool.folder() / f"{'0' * 8}-0000-4000-8000-{'0' * 12}.1.0a0b0c0d"
    waiting.write_text("{}")
    os.utime(waiting, (time.time() - 7200, time.time() - 7200))

    assert wrong(storage.look()) == [("warning", "1 answers of providers wait to be stored, the oldest for 2 h.")]


# ---- database --------------------------------------------------------------------------------------------------------

FACTS: dict[str, Any] = {
    "allowed": 197, "used": 12, "size": 8 << 20, "is_standby": False, "may_create": True, "is_superuser": False,
    "is_near": True, "is_encrypted": False, "now": 0.0,
}  # fmt: skip


def test_a_database_that_is_sound(db: None, settings: Settings) -> None:
    settings.WEB_CONCURRENCY = 1

    found = [(level, what) for level, what in wrong(database.look()) if "connections" not in what]

    assert found == []


@pytest.mark.parametrize(
    ("facts", "skew", "found"),
    [
        ({}, 0.0, []),
        ({"is_standby": True}, 0.0, [("error", "It is a standby, which takes no writes.")]),
        (
            {"may_create": False},
            0.0,
            [("warning", "Our role may not create tables, so the next upgrade cannot migrate.")],
        ),
        (
            {"is_near": False},
            0.0,
            [("warning", "The connection to the database crosses a network and is not encrypted.")],
        ),
        ({"is_near": False, "is_encrypted": True}, 0.0, []),
        ({"used": 190}, 0.0, [("warning", "190 of the 197 connections that the server allows are taken.")]),
        ({"allowed": 60}, 0.0, [("warning", "The server allows 60 connections; this machine alone may want 80.")]),
        ({}, 10.0, [("warning", "Its clock is 10 s ahead of ours.")]),
        ({}, -90.0, [("error", "Its clock is 90 s behind ours.")]),
    ],
)
def test_facts_about_the_database(
    db: None, monkeypatch: pytest.MonkeyPatch, facts: dict[str, Any], skew: float, found: list[tuple[str, str]]
) -> None:
    pool = {"min_size": 1, "max_size": 20}
    monkeypatch.setitem(connection.settings_dict["OPTIONS"], "pool", pool)
    monkeypatch.setattr(database, "asked", lambda: (FACTS | facts, skew))

    assert wrong(database.look()) == found


def test_a_network_that_is_said_to_be_nobody_elses(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "asked", lambda: (FACTS | {"is_near": False}, 0.0))
    assert len(wrong(database.look())) == 1
    monkeypatch.setitem(connection.settings_dict["OPTIONS"], "sslmode", "disable")

    assert wrong(database.look()) == []


def test_a_server_that_is_too_old(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(connection, "get_database_version", lambda: (14, 9))
        patch.setattr(connection, "cursor", connection.check_database_version_supported)  # as a new connection does
        found = database.answers()

    assert found == error("PostgreSQL is too old.", "Upgrade it to 15 or newer.")


def test_a_database_that_was_moved_by_half(db: None) -> None:
    assert database.answers() is None
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE TABLE {MARK} ()")

    assert database.answers() == error(
        "`move_database` has not finished with this database.",
        "Run it again, with DATABASE_URL naming the old database, which is the one to start with until then.",
    )


def test_a_superuser_of_a_server_that_somebody_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(connection.settings_dict, "HOST", "db.example.com")

    found = wrong(database.of_rights(FACTS | {"is_superuser": True}))

    assert found == [("warning", "Our role is a superuser, who may do more than its own database needs.")]


def test_migrations_that_wait(db: None) -> None:
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM django_migrations WHERE app = 'syncs' AND name LIKE '0001%'")

    level, what, fix = database.migrations()

    assert (level, what.split(" ", 1)[1]) == ("error", "migrations wait.")
    assert "manage.py migrate" in fix


def test_a_database_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object, **__: object) -> None:
        raise OperationalError('FATAL: password authentication failed for user "canary-user"')

    monkeypatch.setattr(connection, "cursor", away)

    found = [(subject, one.what) for subject, one in doctor.findings("none") if subject in {"database", "keys", "work"}]

    assert found == [("database", "The database does not answer (OperationalError).")]


# ---- keys ------------------------------------------------------------------------------------------------------------

OTHER = "J5sKqQnWJ7PTbqQXJz7KT+5wZyG1xA9WUXgI1Y3s8dc="


def test_keys_that_are_sound(account: Account, settings: Settings) -> None:
    keep(account, "stripe_key", None, secret="sk_test_canary")

    assert wrong(keys.look()) == []


def test_a_key_that_is_missing(account: Account, settings: Settings) -> None:
    keep(account, "stripe_key", None, secret="sk_test_canary")
    settings.ENCRYPTION_KEYS = f"new:{OTHER}"

    found = wrong(keys.look())

    assert [level for level, _ in found] == ["error"]
    assert "stored secrets are sealed with the key test, which ENCRYPTION_KEYS does not hold." in found[0][1]
    assert OTHER not in str(found)


def test_a_key_that_is_still_in_use(account: Account, settings: Settings) -> None:
    keep(account, "stripe_key", None, secret="sk_test_canary")
    settings.ENCRYPTION_KEYS = f"new:{OTHER},{settings.ENCRYPTION_KEYS}"

    found = wrong(keys.look())

    assert [(level, what.split(" ", 1)[1]) for level, what in found] == [
        ("warning", "stored secrets are still sealed with the key test.")
    ]


def test_a_key_that_nobody_needs(account: Account, settings: Settings) -> None:
    keep(account, "stripe_key", None, secret="sk_test_canary")
    settings.ENCRYPTION_KEYS = f"{settings.ENCRYPTION_KEYS},old:{OTHER}"

    assert wrong(keys.look()) == [("warning", "The key old has sealed nothing that is stored.")]


def test_what_is_no_envelope(account: Account) -> None:
    credential = keep(account, "stripe_key", None, secret="sk_test_canary")
    with connection.cursor() as cursor:
        cursor.execute("UPDATE credentials_credential SET secrets = 'x' WHERE id = %s", [credential.pk])

    assert wrong(keys.look()) == [("error", "1 stored secrets are not what we seal: they never open.")]


def test_another_key_under_a_known_name(db: None, settings: Settings) -> None:
    FingerprintKey.objects.get_or_create(defaults={"key": bytes(32)})
    settings.ENCRYPTION_KEYS = f"test:{OTHER}"

    found = wrong(keys.look())

    assert (
        "error",
        "ENCRYPTION_KEYS does not open credentials.FingerprintKey, which one of its keys has sealed.",
    ) in found


# ---- work ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def worker(db: None) -> None:
    note_worker(["refresh", "webhooks", "housekeeping"])


def queued(queue: str, status: str, seconds_ago: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO procrastinate_jobs (queue_name, task_name, status, scheduled_at)"
            " VALUES (%s, 'x', %s, now() - make_interval(secs => %s))",
            [queue, status, seconds_ago],
        )


def test_work_that_goes_on(worker: None) -> None:
    assert wrong(working.look()) == []


NOT_DONE = {
    "refresh": "no token is refreshed ahead of time",
    "webhooks": "no webhook is delivered",
    "housekeeping": "nothing is purged or counted",
}


def test_no_worker(db: None) -> None:
    assert wrong(working.look()) == [
        ("error", f"No worker of the queue {name} was heard of in the last hour: {not_done}.")
        for name, not_done in NOT_DONE.items()
    ]


def test_a_worker_that_fell_silent(worker: None) -> None:
    Process.objects.update(seen_at=timezone.now() - timedelta(minutes=20))

    assert wrong(working.look()) == [
        ("error", f"No worker of the queue {name} was heard of for 20 min: {not_done}.")
        for name, not_done in NOT_DONE.items()
    ]


def test_the_workers_of_one_queue_do_not_stand_for_those_of_another(db: None) -> None:
    note_worker(["syncs", "webhooks", "housekeeping"])

    assert wrong(working.look()) == [
        ("error", "No worker of the queue refresh was heard of in the last hour: no token is refreshed ahead of time.")
    ]


def test_active_syncs_without_a_worker_of_theirs(worker: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Sync.objects, "active", lambda: Account.objects)
    assert wrong(working.look()) == []
    Account.objects.create(name="Ix")

    assert wrong(working.look()) == [
        ("error", "No worker of the queue syncs was heard of in the last hour: no sync goes on.")
    ]


def test_a_queue_that_waits(worker: None) -> None:
    queued("syncs", "todo", 1200)
    queued("webhooks", "todo", 10)
    queued("refresh", "failed", 10)

    assert wrong(working.look()) == [
        ("warning", "1 jobs of the queue refresh have failed for good."),
        ("warning", "The oldest of 1 jobs in the queue syncs has waited for 20 min."),
    ]


@pytest.mark.parametrize(("minutes", "level", "said"), [(10, "warning", "10 min"), (180, "error", "3 h")])
def test_refreshes_that_are_overdue(worker: None, account: Account, minutes: int, level: str, said: str) -> None:
    credential = keep(account, "stripe_key", None, secret="sk_test_canary")
    Token.objects.filter(pk=credential.pk).update(due_at=timezone.now() - timedelta(minutes=minutes))

    assert wrong(working.look()) == [(level, f"1 refreshes are overdue, the oldest by {said}.")]


def test_an_audit_log_whose_end_was_cut_off(worker: None, account: Account) -> None:
    audit_seals.audit_key()
    for _ in range(3):
        audit.record("keys.rotated", by=audit.Actor.command("test"), account=account.pk, named="x")
    assert wrong(working.look()) == []
    chain = AuditChain.objects.get(name=str(account.pk))
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL sequin_auth.forgets = 'on'")
        cursor.execute("DELETE FROM oauth_apps_auditevent WHERE chain = %s AND number = 3", [chain.name])

    assert wrong(working.look()) == [("error", "1 of 1 chains of the audit log are not whole at their end.")]


# ---- providers -------------------------------------------------------------------------------------------------------


def at(*, ahead: float = 0) -> dict[str, str]:
    return {"Date": formatdate(time.time() + ahead, usegmt=True)}


def test_hosts_that_answer(responses: RequestsMock) -> None:
    responses.head("https://one.example/", status=404, headers=at())
    responses.head("https://two.example/", status=301, headers=at())

    assert wrong(outbound.look(["one.example", "two.example"])) == []


def test_one_host_that_is_away_is_its_own_trouble(responses: RequestsMock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "request", unreachable("one.example", http.request))
    responses.head("https://two.example/", headers=at())

    found = wrong(outbound.look(["one.example", "two.example"]))

    assert found == [("warning", "one.example is not reached: The name does not resolve.")]


def test_all_hosts_that_are_away_are_our_trouble(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "request", unreachable("one.example", http.request))

    assert [level for level, _ in wrong(outbound.look(["one.example"]))] == ["error"]


def test_a_host_at_a_private_address_is_not_called(monkeypatch: pytest.MonkeyPatch) -> None:
    found = wrong(outbound.look(["127.0.0.1"]))

    assert found == [("error", "127.0.0.1 is not called: The host has an address that is not public.")]


def unreachable(host: str, request: Callable[..., http.Response]) -> Callable[..., http.Response]:
    def called(method: str, url: str, **rest: Any) -> http.Response:
        if host in url:
            raise http.Unreachable("The name does not resolve.")
        return request(method, url, **rest)

    return called


@pytest.mark.parametrize(
    ("ahead", "found"),
    [
        (3, []),
        (-30, [("warning", "Our clock is 30 s ahead of the providers'.")]),
        (300, [("error", "Our clock is 300 s behind the providers'.")]),
    ],
)
def test_the_clocks_of_providers(responses: RequestsMock, ahead: float, found: list[tuple[str, str]]) -> None:
    for host in ("one", "two", "three"):
        responses.head(f"https://{host}.example/", headers=at(ahead=ahead))
    responses.head("https://broken.example/", headers={"Date": "yesterday"})

    told = wrong(outbound.look([f"{name}.example" for name in ("one", "two", "three", "broken")]))

    assert [(level, what[:16]) for level, what in told] == [(level, what[:16]) for level, what in found]


def test_the_hosts_in_use_are_those_of_live_apps(account: Account) -> None:
    def app(provider: str, **fields: Any) -> None:
        given = {"name": provider, "client_id": "1", "client_secret": "x", "variables": {}}
        OAuthApp.objects.create(account=account, provider=provider, **(given | fields))

    app("stripe")
    app("stripe", client_id="2")
    app("zendesk", variables={"subdomain": "acme"})
    app("zendesk")  # where is not known
    app("github", environment="sandbox")
    app("linear", enabled=False)

    assert outbound.hosts_in_use() == {"connect.stripe.com", "acme.zendesk.com"}


def test_all_hosts_are_the_catalogues() -> None:
    hosts = outbound.all_hosts()

    assert {"connect.stripe.com", "github.com", "oauth2.googleapis.com"} <= hosts
    assert not [host for host in hosts if "{" in host or "/" in host]


# ---- the way in ------------------------------------------------------------------------------------------------------

OURS = {"X-Request-Id": "8b7f8f1c"}
ALIVE: dict[str, Any] = {"json": {"status": "ok"}, "headers": OURS}
PAGE: dict[str, Any] = {"status": 400, "headers": OURS, "body": "<p>"}


def seen(responses: RequestsMock, health: dict[str, Any], page: dict[str, Any] | None = None) -> list[tuple[str, str]]:
    responses.add(answering.GET, f"{PUBLIC_URL}/healthz", **health)
    if page:
        responses.add(answering.GET, f"{PUBLIC_URL}/link/oauth2/start", **page)
    return wrong(outside.look())


def test_a_way_in_that_is_open(responses: RequestsMock) -> None:
    assert seen(responses, ALIVE, PAGE) == []


@pytest.mark.parametrize(
    ("health", "said"),
    [
        ({"status": 502}, "A proxy answers at PUBLIC_URL, and does not reach the gateway (502)."),
        (
            {"status": 302, "headers": {"Location": "https://login.example.com/?next=canary"}},
            "PUBLIC_URL redirects (302) to login.example.com instead of an answer to /healthz.",
        ),
        ({"status": 400, "headers": OURS}, "The gateway does not know the name by which it is asked at PUBLIC_URL."),
        ({"status": 200, "body": "Welcome to nginx!"}, "Somebody else answers at PUBLIC_URL (200)."),
        ({"status": 404}, "Somebody else answers at PUBLIC_URL (404)."),
        (
            {"body": NoConnection("canary")},
            "PUBLIC_URL does not answer: The connection broke, or the answer is malformed.",
        ),
    ],
)
def test_a_way_that_leads_elsewhere(responses: RequestsMock, health: dict[str, Any], said: str) -> None:
    assert seen(responses, health) == [("error", said)]


@pytest.mark.parametrize(
    ("page", "level", "said"),
    [
        (
            {"status": 301, "headers": {**OURS, "Location": f"{PUBLIC_URL}/link/oauth2/start"}},
            "error",
            "The gateway sends browsers from https to https, without end: it does not believe the proxy.",
        ),
        (
            {"status": 302, "headers": {"Location": "https://sso.example.com/"}},
            "error",
            "PUBLIC_URL redirects (302) to sso.example.com instead of a page under /link.",
        ),
        ({"status": 403}, "error", "What is under /link is not answered by the gateway (403)."),
        ({"status": 500, "headers": OURS}, "error", "The pages under /link fail (500)."),
        ({"status": 429, "headers": OURS}, "warning", "A limit refuses this address, so nothing could be seen."),
    ],
)
def test_callbacks_that_do_not_arrive(responses: RequestsMock, page: dict[str, Any], level: str, said: str) -> None:
    assert seen(responses, ALIVE, page) == [(level, said)]


# ---- the whole -------------------------------------------------------------------------------------------------------


def printed(*options: str) -> tuple[str, int]:
    output = io.StringIO()
    try:
        call_command("doctor", *options, stdout=output)
    except SystemExit as exc:
        return output.getvalue(), int(str(exc.code))
    return output.getvalue(), 0


@pytest.fixture
def open_way(responses: RequestsMock) -> None:
    responses.add(answering.GET, f"{PUBLIC_URL}/healthz", **ALIVE)
    responses.add(answering.GET, f"{PUBLIC_URL}/link/oauth2/start", **PAGE)


def test_it_prints_what_is_so_and_how_to_mend_it(db: None, open_way: None) -> None:
    text, code = printed("--hosts", "none")

    assert code == 1
    assert "work      error    No worker of the queue refresh was heard of in the last hour: " in text
    assert "                   → Start `make serve` or `manage.py worker`; its log says why it ended.\n" in text
    assert max(map(len, text.splitlines())) <= 120
    assert text.rstrip().endswith(("warnings.", "warning.", "error."))


def test_without_an_error_it_ends_well(worker: None, open_way: None) -> None:
    text, code = printed("--hosts", "none")

    assert "error" not in text
    assert code == 0


def test_as_json(worker: None, open_way: None) -> None:
    text, _ = printed("--hosts", "none", "--json")
    document = json.loads(text)

    assert document["ok"] is True
    assert {row["subject"] for row in document["findings"]} == {
        "settings", "storage", "database", "keys", "work", "way in",
    }  # fmt: skip
    assert all(set(row) == {"subject", "level", "what", "fix"} for row in document["findings"])
    assert all(bool(row["fix"]) == (row["level"] != "ok") for row in document["findings"])


def test_a_look_that_fails_spoils_no_other(
    worker: None, open_way: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails() -> Iterable[Finding]:
        raise RuntimeError("canary-secret")

    monkeypatch.setattr(storage, "look", fails)

    text, code = printed("--hosts", "none")

    assert code == 1
    assert "This look itself failed (RuntimeError). Please report it." in text
    assert "canary" not in text
    assert "way in" in text


def test_no_secret_and_no_address_of_the_database_is_told(
    worker: None, account: Account, open_way: None, settings: Settings
) -> None:
    keep(account, "stripe_key", None, secret="sk_test_canary")

    told = "".join(printed("--hosts", "none", *how)[0] for how in ([], ["--json"]))

    for secret in (settings.SECRET_KEY, settings.ENCRYPTION_KEYS, "sk_test_canary", "Arrakis", "postgres://"):
        assert secret not in told
    assert str(settings.DATABASES["default"].get("DATA_DIR")) not in told


def test_words_for_lengths() -> None:
    assert [duration(seconds) for seconds in (0, 90, 600, 7200, 200_000)] == ["0 s", "90 s", "10 min", "2 h", "2 d"]
    assert [size(number) for number in (10, 2048, 5 << 30, 3 << 40)] == ["10 B", "2 KiB", "5 GiB", "3.0 TiB"]
