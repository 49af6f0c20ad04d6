"""`/v1/syncs`: made, shown, listed, changed, asked to look again, deleted. Whose they are: test_isolation.py."""

import uuid
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from procrastinate.contrib.django.models import ProcrastinateJob

from credentials.models import Credential
from oauth_apps.models import Account, AuditEvent, OAuthApp
from syncs.destinations import NoSyncDatabase, builtin
from syncs.models import Destination, DroppedSchema, Stop, Sync, SyncRun
from tests.credentials.answers import errors, without_request_id
from tests.credentials.stored import keep
from tests.link.trip import Trip
from tests.oauth_apps.conftest import client_of
from tests.syncs.asking import GRANTED, SYNCS, again, app_at, asked, credential_at, patch, path, post, sync_with

pytestmark = pytest.mark.usefixtures("dunes_catalogue")

MASK = "*" * 11
ALL = ["dunes:harvester", "dunes:spice_field", "dunes:worm"]
LIMIT = {"allowed_requests": 10, "interval": 2, "max_concurrent_requests": 3}
LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)
WELL = {"status": "ok", "notes": []}
Commits = Callable[..., AbstractContextManager[Any]]


@pytest.fixture(autouse=True)
def has_a_place(account: Account) -> Destination:
    """The built-in destination is there already; how it comes about is test_destinations.py's."""
    return Destination.objects.builtin(account)


@pytest.fixture
def commits(django_capture_on_commit_callbacks: Any) -> Commits:
    """What waits for the commit is done when the block ends."""
    return lambda: django_capture_on_commit_callbacks(execute=True)


def told(response: Any, status: int = 200) -> Any:
    assert response.status_code == status, response.content
    return response.json()


def deeds(of: str = "sync.") -> list[tuple[str, str]]:
    found = AuditEvent.objects.filter(action__startswith=of).order_by("number")
    return list(found.values_list("action", "detail"))


def jobs_of(sync: Sync) -> int:
    return ProcrastinateJob.objects.filter(args={"sync_id": str(sync.pk)}, status="todo").count()


# ---- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("provider", None, "required"),
        ("provider", "nobody", "Is not in the catalogue"),
        ("provider", "sietch", "Has no collections to sync. There are some of: "),
        ("provider", 5, "Must be a string."),
        ("name", None, "required"),
        ("name", " ", "Must not be empty."),
        ("name", "x" * 201, "200"),
        ("collection_ids", None, "required"),
        ("collection_ids", [], "Must be a list of 1 to 100 collections"),
        ("collection_ids", ["dunes:worm"] * 101, "Must be a list of 1 to 100 collections"),
        ("collection_ids", "dunes:harvester", "Must be a list of 1 to 100 collections"),
        ("collection_ids.0", [5], "Must be a string."),
        ("collection_ids.0", ["dunes:dune"], "Is no collection of Dunes. There are: " + ", ".join(ALL)),
        ("collection_ids.0", ["harvester"], "Is no collection of Dunes."),
        ("collection_ids.0", ["stripe:customer"], "Is no collection of Dunes."),
        ("collection_ids.1", ["dunes:harvester", "dunes:harvester"], "Stands there twice."),
        ("collection_ids.1", ["dunes:harvester", "arrakis-dunes:harvester"], "Stands there twice."),
        ("collection_ids.0", ["dunes:worm"], "Needs what this credential was not granted: worms:read."),
        ("destination_id", "x", "Must be an id"),
        ("rate_limit", 5, "Must be a JSON object."),
        ("rate_limit.allowed_requests", {}, "required"),
        ("rate_limit.allowed_requests", LIMIT | {"allowed_requests": 0}, "Must be a whole number from 1 to 100000."),
        ("rate_limit.allowed_requests", LIMIT | {"allowed_requests": True}, "Must be a whole number from 1"),
        ("rate_limit.interval", LIMIT | {"interval": 0}, "Must be a whole number from 1 to 86400."),
        ("rate_limit.interval", LIMIT | {"interval": 1.5}, "Must be a whole number from 1 to 86400."),
        (
            "rate_limit.max_concurrent_requests",
            LIMIT | {"max_concurrent_requests": -1},
            "Must be a whole number from 0 to 1000.",
        ),
        ("rate_limit.burst", LIMIT | {"burst": 1}, "Is no field here."),
        ("max_age_days", 0, "Must be a whole number from 1 to 3650."),
        ("max_age_days", 3651, "Must be a whole number from 1 to 3650."),
        ("max_age_days", "7", "Must be a whole number from 1 to 3650."),
        ("sync_frequency", "hourly", "Must be one of continuous, 4h."),
        ("sync_frequency", ["4h"], "Must be one of continuous, 4h."),
        ("metadata", [], "Must be a JSON object."),
        ("external_id", "", "Must not be empty."),
        ("external_id", "x" * 201, "200"),
        ("stream_id", 7, "Must be a string."),
        ("destination", {"id": "x"}, "Is no field here."),
        ("status", "disabled", "Is no field here."),
        ("nonsense", 1, "Is no field here."),
    ],
)
def test_it_names_the_field_that_is_wrong(api: Client, dunes: Credential, field: str, value: Any, reason: str) -> None:
    """D11"""
    content = asked(credential_id=str(dunes.pk), **{field.partition(".")[0]: value})

    found = errors(post(api, **content))

    assert list(found) == [field]
    assert reason in " ".join(found[field])
    assert not Sync.objects.exists()


def test_it_names_what_there_is_once_however_many_are_unknown(api: Client, dunes: Credential) -> None:
    found = errors(post(api, **asked(credential_id=str(dunes.pk), collection_ids=["dunes:a", "dunes:b"])))

    assert list(found) == ["collection_ids.0", "collection_ids.1"]
    assert ["There are" in reasons[0] for reasons in found.values()] == [True, False]


@pytest.mark.parametrize("both", [True, False])
def test_it_wants_one_credential(api: Client, dunes: Credential, both: bool) -> None:
    given: Any = {"oauth_app_id": str(dunes.oauth_app_id), "properties": {"kind": "dunes_oauth2", **GRANTED}}
    content = {"credential": given, "credential_id": str(dunes.pk)} if both else {"credential": None}

    found = errors(post(api, **asked(), **content))

    reason = ["Give one of credential and credential_id, and not both."]
    assert found == {"credential": reason, "credential_id": reason}


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("credential", []),
        ("credential", "sk_1"),
        ("credential.properties", {"properties": None}),
        ("credential.properties.kind", {"properties": {"kind": "dunes_cookie"}}),
        ("credential.oauth_app_id", {"oauth_app_id": None}),
        ("credential.oauth_app_id", {"oauth_app_id": str(uuid.UUID(int=1))}),
        ("credential.id", {"id": str(uuid.UUID(int=1))}),
        ("credential.properties.access_token", {"properties": {"kind": "dunes_oauth2", "access_token": MASK}}),
    ],
)
def test_it_names_what_is_wrong_with_the_credential(api: Client, dunes_app: OAuthApp, field: str, change: Any) -> None:
    sound = {"oauth_app_id": str(dunes_app.pk), "properties": {"kind": "dunes_oauth2", **GRANTED}}
    credential = sound | change if isinstance(change, dict) else change

    assert field in errors(post(api, **asked(credential=credential)))
    assert not Credential.objects.exists()


def test_a_credential_is_of_the_same_provider(api: Client, account: Account, dunes_app: OAuthApp) -> None:
    theirs = credential_at(app_at(account, "sietch"))
    another = {"kind": "sietch_oauth2", **GRANTED, "user_id": "chani"}
    posted = {"oauth_app_id": str(theirs.oauth_app_id), "properties": another}

    stored, imported = (
        errors(post(api, **asked(**with_what)))
        for with_what in ({"credential_id": str(theirs.pk)}, {"credential": posted})
    )

    reason = ["Is a credential of sietch: a sync of dunes needs one of its own."]
    assert (stored, imported) == ({"credential_id": reason}, {"credential": reason})
    assert Credential.objects.count() == 1


@pytest.mark.parametrize("field", ["credential_id", "destination_id"])
def test_what_there_is_not_is_not_found(api: Client, dunes: Credential, field: str) -> None:
    content = asked(credential_id=str(dunes.pk)) | {field: str(uuid.uuid4())}

    response = post(api, **content)

    assert (response.status_code, response.json()["summary"]) == (404, f"There is nothing with this {field}.")


def test_a_credential_is_not_kept_for_a_sync_that_is_refused(api: Client, dunes_app: OAuthApp) -> None:
    credential = {"oauth_app_id": str(dunes_app.pk), "properties": {"kind": "dunes_oauth2", **GRANTED}}

    errors(post(api, **asked(credential=credential, collection_ids=["dunes:worm"])))

    assert (Credential.objects.count(), Sync.objects.count(), deeds("")) == (0, 0, [])


def test_without_a_sync_database_it_says_what_to_do(
    api: Client, dunes: Credential, has_a_place: Destination, monkeypatch: pytest.MonkeyPatch
) -> None:
    has_a_place.delete()

    def target() -> None:
        raise NoSyncDatabase(builtin.NOT_ALLOWED)

    monkeypatch.setattr(builtin, "target", target)

    assert errors(post(api, **asked(credential_id=str(dunes.pk)))) == {"destination_id": [builtin.NOT_ALLOWED]}


@pytest.mark.parametrize("body", ["[]", "5", "null"])
def test_a_body_is_an_object(api: Client, dunes: Credential, body: str) -> None:
    assert list(errors(api.post(SYNCS, body, content_type="application/json"))) == ["body"]


# ---- made ------------------------------------------------------------------------------------------------------------


def test_it_is_made_and_due_at_once(api: Client, dunes: Credential, commits: Commits) -> None:
    with commits():
        made = told(post(api, **asked(credential_id=str(dunes.pk))), 201)

    sync = Sync.objects.get()
    assert made == {
        "id": str(sync.pk),
        "org_id": str(sync.account_id),
        "provider": "dunes",
        "name": "Spice",
        "collection_ids": ["dunes:harvester"],
        "credential": api.get(f"/v1/credentials/{dunes.pk}").json(),
        "credential_id": str(dunes.pk),
        "destination": {"id": str(sync.destination_id), "kind": "builtin", "schema": sync.schema},
        "destination_id": str(sync.destination_id),
        "rate_limit": None,
        "max_age_days": None,
        "sync_frequency": "continuous",
        "metadata": {},
        "external_id": None,
        "stream_id": None,
        "status": "active",
        "health": {
            **WELL,
            "time": made["created_at"],
            **{part: WELL | {"time": made["created_at"]} for part in ("credential", "provider", "destination")},
        },
        "collections": [
            {
                "id": "dunes:harvester",
                "state": "waiting",
                "rows": 0,
                "last_synced_at": None,
                "next_at": None,
                "error": None,
            }
        ],
        "initial_backfill_completed_at": None,
        "created_at": made["created_at"],
        "updated_at": made["created_at"],
    }
    assert made["credential"]["properties"]["access_token"] == MASK
    assert list(made) == ORDER
    assert sync.next_at <= timezone.now()
    assert jobs_of(sync) == 1
    assert deeds() == [("sync.created", "dunes:harvester")]


ORDER = [
    "id", "org_id", "provider", "name", "collection_ids", "credential", "credential_id", "destination",
    "destination_id", "rate_limit", "max_age_days", "sync_frequency", "metadata", "external_id", "stream_id", "status",
    "health", "collections", "initial_backfill_completed_at", "created_at", "updated_at",
]  # fmt: skip


def test_all_that_can_be_said_is_echoed(api: Client, account: Account, dunes_app: OAuthApp) -> None:
    """The provider and its collections by an alias too."""
    credential = credential_at(dunes_app, scope="read worms:read")
    destination = Destination.objects.create(account=account, name="Theirs")
    more = {
        "rate_limit": LIMIT,
        "max_age_days": 90,
        "sync_frequency": "4h",
        "metadata": {"tenant": 7},
        "external_id": "t-7",
        "stream_id": "s-1",
        "destination_id": str(destination.pk),
    }

    made = told(
        post(
            api,
            **asked(provider="arrakis-dunes", collection_ids=[ALL[2], "arrakis-dunes:harvester"]),
            credential_id=str(credential.pk),
            **more,
        ),
        201,
    )

    assert {name: made[name] for name in more} == more
    assert (made["provider"], made["collection_ids"]) == ("dunes", ["dunes:worm", "dunes:harvester"])
    assert made["destination"] == {"id": str(destination.pk), "kind": "postgres", "schema": Sync.objects.get().schema}
    assert told(api.get(path(made))) == made


def test_what_is_left_out_of_a_rate_limit_is_usual(api: Client, dunes: Credential) -> None:
    made = told(post(api, **asked(credential_id=str(dunes.pk), rate_limit={"allowed_requests": 5})), 201)

    assert made["rate_limit"] == {"allowed_requests": 5, "interval": 1, "max_concurrent_requests": 0}


def test_scopes_that_nobody_knows_refuse_nothing(api: Client, account: Account) -> None:
    key = keep(account, "dunes_key", None, secret="canary-key")

    made = told(post(api, **asked(credential_id=str(key.pk), collection_ids=ALL)), 201)

    assert made["collection_ids"] == ALL


def test_the_token_endpoints_credential_is_kept_and_linked(trip: Trip, commits: Commits) -> None:
    """As it is, and once: the next sync of the same account at the provider has the same credential."""
    credential = trip.token(code=trip.code()).json()["credential"]
    api = client_of(trip.oauth_app.account)
    content = {"provider": "stripe", "name": "Customers", "collection_ids": ["stripe:customer"]}

    with commits():
        first, second = (told(post(api, **content, credential=credential), 201) for _ in range(2))

    kept = Credential.objects.get()
    assert [one["credential_id"] for one in (first, second)] == [str(kept.pk)] * 2
    assert first["credential"]["properties"]["stripe_user_id"] == "acct_1"
    assert first["destination"]["schema"] != second["destination"]["schema"]
    assert deeds("credential.") == [("credential.created", "stripe_oauth2"), ("credential.replaced", "stripe_oauth2")]
    assert [action for action, _ in deeds()] == ["sync.created"] * 2


def test_the_same_key_makes_it_once(api: Client, dunes: Credential) -> None:
    content = asked(credential_id=str(dunes.pk))

    def send(**changes: Any) -> Any:
        headers = {"Idempotency-Key": "once"}
        return api.post(SYNCS, content | changes, content_type="application/json", headers=headers)

    first, second, other = send(), send(), send(name="Melange")

    assert (first.status_code, second.status_code, first.json()) == (201, 201, second.json())
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    assert Sync.objects.count() == 1


# ---- shown -----------------------------------------------------------------------------------------------------------


def test_it_shows_how_far_it_is(api: Client, sync: Sync) -> None:
    Sync.objects.update(
        collection_ids=ALL[:2],
        progress={
            "harvester": {
                "state": "fresh",
                "rows": 7,
                "pass": 2,
                "last_synced_at": "2026-11-22T12:00:00.5+00:00",
                "next_at": "2026-11-22T12:01:00Z",
                "error": "",
            },
            "spice_field": {"state": "error", "rows": 3, "error": "The provider says 403."},
            "worm": {"state": "fresh"},
        },
        health_status="warn",
        health_notes=["Slow."],
        health_time=LONG_AGO,
        health_parts={"provider": {"status": "warn", "notes": ["Slow."], "time": "2026-01-02T00:00:00Z"}},
        initial_backfill_completed_at=LONG_AGO,
    )

    shown = told(api.get(path(sync)))

    assert shown["collections"] == [
        {
            "id": "dunes:harvester",
            "state": "fresh",
            "rows": 7,
            "last_synced_at": "2026-11-22T12:00:00Z",
            "next_at": "2026-11-22T12:01:00Z",
            "error": None,
        },
        {
            "id": "dunes:spice_field",
            "state": "error",
            "rows": 3,
            "last_synced_at": None,
            "next_at": None,
            "error": "The provider says 403.",
        },
    ]
    assert shown["health"] == {
        "status": "warn",
        "notes": ["Slow."],
        "time": "2026-01-01T00:00:00Z",
        "credential": WELL | {"time": "2026-01-01T00:00:00Z"},
        "provider": {"status": "warn", "notes": ["Slow."], "time": "2026-01-02T00:00:00Z"},
        "destination": WELL | {"time": "2026-01-01T00:00:00Z"},
    }
    assert shown["initial_backfill_completed_at"] == "2026-01-01T00:00:00Z"


def test_what_has_left_the_catalogue_is_shown_renamed_and_deleted(api: Client, sync: Sync) -> None:
    Sync.objects.update(provider="gone", collection_ids=["gone:thing"])

    assert told(api.get(path(sync)))["collections"][0]["id"] == "gone:thing"
    assert told(patch(api, sync, name="Old"))["name"] == "Old"
    assert list(errors(patch(api, sync, collection_ids=["gone:other"]))) == ["collection_ids"]
    assert told(api.delete(path(sync)))["deleted"] is True


# ---- listed ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"limit": "0"}, "limit"),
        ({"cursor": "x"}, "cursor"),
        ({"provider": "Dunes"}, "provider"),
        ({"name": ""}, "name"),
        ({"external_id": "x" * 201}, "external_id"),
        ({"status": "paused"}, "status"),
        ({"health.status": "fine"}, "health.status"),
        ({"credential_id": "1"}, "credential_id"),
        ({"metadata": "[]"}, "metadata"),
        ({"collection": "worm"}, "collection"),
    ],
)
def test_it_names_the_parameter_that_is_wrong(api: Client, query: dict[str, str], field: str) -> None:
    """D11"""
    assert list(errors(api.get(SYNCS, query))) == [field]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"provider": "dunes"}, ["Second", "First"]),
        ({"provider": "nobody"}, []),
        ({"name": "First"}, ["First"]),
        ({"status": "disabled"}, ["Second"]),
        ({"health.status": "error"}, ["Second"]),
        ({"external_id": "t-7"}, ["First"]),
        ({"metadata": '{"tenant": {"id": 7}}'}, ["First"]),
        ({"metadata": '{"tenant": {"id": 8}}'}, []),
        ({"status": "active", "health.status": "error"}, []),
    ],
)
def test_filters_narrow_it(api: Client, dunes: Credential, query: dict[str, str], found: list[str]) -> None:
    sync_with(dunes, name="First", external_id="t-7", metadata={"tenant": {"id": 7, "name": "x"}})
    sync_with(dunes, name="Second", status="disabled", health_status="error")

    assert [one["name"] for one in told(api.get(SYNCS, query))["data"]] == found


def test_it_finds_the_syncs_of_a_credential(api: Client, dunes: Credential, sync: Sync) -> None:
    other = sync_with(credential_at(dunes.oauth_app, user_id="chani"))  # type: ignore[arg-type]

    found = [told(api.get(SYNCS, {"credential_id": str(pk)}))["data"] for pk in (other.credential_id, uuid.uuid4())]

    assert [[one["id"] for one in page] for page in found] == [[str(other.pk)], []]


def test_the_newest_come_first_page_by_page(api: Client, dunes: Credential) -> None:
    made = [sync_with(dunes) for _ in range(3)]

    first = told(api.get(SYNCS, {"limit": 2}))
    rest = told(api.get(SYNCS, {"limit": 2, "cursor": first["next_cursor"]}))

    assert [one["id"] for one in [*first["data"], *rest["data"]]] == [str(one.pk) for one in reversed(made)]
    assert rest["next_cursor"] is None


def test_a_page_of_fifty_costs_as_many_statements_as_a_page_of_one(api: Client, dunes: Credential) -> None:
    sync_with(dunes)
    api.get(SYNCS)  # the API token's use is noted

    def statements() -> int:
        with CaptureQueriesContext(connection) as captured:
            told(api.get(SYNCS))
        return len(captured)

    one = statements()
    for number in range(49):
        sync_with(credential_at(dunes.oauth_app, user_id=f"fremen-{number}"))  # type: ignore[arg-type]

    assert (one, statements()) == (2, 2)  # the API token, the page


# ---- changed ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("provider", "dunes"),
        ("credential", {}),
        ("credential_id", str(uuid.UUID(int=1))),
        ("destination", {}),
        ("destination_id", None),
        ("stream_id", "s-2"),
    ],
)
def test_some_of_it_never_changes(api: Client, sync: Sync, field: str, value: Any) -> None:
    assert errors(patch(api, sync, **{field: value})) == {field: ["Never changes: make another sync."]}


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("status", "paused", "Must be one of active, disabled."),
        ("collection_ids.0", ["dunes:dune"], "There are: "),
        ("collection_ids.0", ["dunes:worm"], "Needs what this credential was not granted: worms:read."),
        ("rate_limit.allowed_requests", {"interval": 5}, "required"),
        ("max_age_days", 0, "Must be a whole number"),
        ("id", str(uuid.UUID(int=1)), "Is no field here."),
    ],
)
def test_a_change_is_judged_as_a_new_one_is(api: Client, sync: Sync, field: str, value: Any, reason: str) -> None:
    found = errors(patch(api, sync, **{field.partition(".")[0]: value}))

    assert list(found) == [field]
    assert reason in " ".join(found[field])


def test_it_changes(api: Client, sync: Sync) -> None:
    changes = {
        "name": "Melange",
        "rate_limit": LIMIT,
        "max_age_days": 30,
        "sync_frequency": "4h",
        "metadata": {"a": 1},
        "external_id": "t-8",
    }

    changed = told(patch(api, sync, **changes))

    assert {name: changed[name] for name in changes} == changes
    assert told(api.get(path(sync))) == changed
    assert deeds() == [("sync.changed", ", ".join(changes))]
    nothing = {"rate_limit": None, "max_age_days": None, "external_id": None}
    cleared = told(patch(api, sync, **nothing))
    assert {name: cleared[name] for name in nothing} == nothing


def test_a_change_that_is_none_is_not_written_down(api: Client, sync: Sync) -> None:
    told(patch(api, sync, name=sync.name))

    assert (deeds(), again(sync).updated_at) == ([], sync.updated_at)


@pytest.mark.parametrize(
    ("changes", "is_due"),
    [
        ({"collection_ids": ALL[:2]}, True),
        ({"sync_frequency": "continuous"}, True),
        ({"status": "disabled"}, False),
        ({"name": "Melange"}, False),
        ({"rate_limit": LIMIT}, False),
    ],
)
def test_what_it_has_to_do_anew_is_done_at_once(
    api: Client, dunes: Credential, commits: Commits, changes: dict[str, Any], is_due: bool
) -> None:
    later = timezone.now() + timedelta(hours=4)
    sync = sync_with(dunes, next_at=later, sync_frequency="4h")

    with commits():
        told(patch(api, sync, **changes))

    assert (again(sync).next_at < later, jobs_of(sync)) == (is_due, int(is_due))


def test_disabled_and_enabled(api: Client, dunes: Credential, commits: Commits) -> None:
    sync = sync_with(dunes, next_at=timezone.now() + timedelta(hours=4))

    with commits():
        disabled = told(patch(api, sync, status="disabled"))
        told(patch(api, sync, collection_ids=ALL[:2]))  # which waits
    waiting = jobs_of(sync)
    with commits():
        enabled = told(patch(api, sync, status="active"))

    assert (disabled["status"], waiting, enabled["status"], jobs_of(sync)) == ("disabled", 0, "active", 1)
    assert again(sync).next_at <= timezone.now()
    assert deeds() == [("sync.disabled", ""), ("sync.changed", "collection_ids"), ("sync.enabled", "")]


# ---- asked to look again ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"collections": ["dunes:worm"]}, "collections.0"),
        ({"collections": []}, "collections"),
        ({"full": "yes"}, "full"),
        ({"force": True}, "force"),
    ],
)
def test_a_refresh_names_what_is_wrong(api: Client, sync: Sync, body: dict[str, Any], field: str) -> None:
    assert list(errors(post(api, path(sync, "/refresh"), **body))) == [field]


def test_a_disabled_one_is_not_refreshed(api: Client, dunes: Credential) -> None:
    sync = sync_with(dunes, status="disabled")

    response = post(api, path(sync, "/refresh"))

    assert (response.status_code, response.json()["code"]) == (409, "sync_disabled")
    assert again(sync).refresh_asked_at is None


def test_a_refresh_is_due_at_once(api: Client, dunes: Credential, commits: Commits) -> None:
    sync = sync_with(dunes, next_at=timezone.now() + timedelta(hours=4))

    with commits():
        answer = told(api.generic("POST", path(sync, "/refresh")))

    after = again(sync)
    assert answer == told(api.get(path(sync)))
    assert after.refresh_asked_at is not None
    assert after.next_at == after.refresh_asked_at <= timezone.now()
    assert (after.full_refresh_asked_at, after.refresh_collections, jobs_of(sync)) == (None, [], 1)
    assert deeds() == [("sync.refreshed", "")]


def test_what_was_asked_for_before_is_done_as_well(api: Client, dunes: Credential) -> None:
    before = timezone.now() - timedelta(minutes=5)
    ended = {"last_synced_at": (before + timedelta(minutes=1)).isoformat()}
    late = {"last_synced_at": (before - timedelta(minutes=1)).isoformat()}
    sync = sync_with(
        dunes,
        collection_ids=ALL,
        refresh_asked_at=before,
        refresh_collections=["harvester", "worm"],
        progress={"harvester": ended, "worm": late},
    )

    told(post(api, path(sync, "/refresh"), collections=["dunes:spice_field"], full=True))

    after = again(sync)
    assert after.refresh_collections == ["spice_field", "worm"]
    assert after.full_refresh_asked_at == after.refresh_asked_at
    assert deeds() == [("sync.refreshed", "in full, dunes:spice_field")]
    told(post(api, path(sync, "/refresh"), collections=["dunes:harvester"]))
    assert again(sync).refresh_collections == []  # that is all there are


# ---- its runs --------------------------------------------------------------------------------------------------------


def test_runs_come_newest_first_page_by_page(api: Client, sync: Sync) -> None:
    ended = {"rows": {"harvester": 5}, "requests": 2, "waited_ms": 40, "stop": Stop.RATE_LIMITED, "note": "Slowly."}
    first = SyncRun.objects.create(sync=sync, started_at=LONG_AGO, ended_at=LONG_AGO + timedelta(seconds=9), **ended)
    second = SyncRun.objects.create(sync=sync, started_at=LONG_AGO + timedelta(minutes=1))

    page = told(api.get(path(sync, "/runs"), {"limit": 1}))
    rest = told(api.get(path(sync, "/runs"), {"limit": 1, "cursor": page["next_cursor"]}))

    assert page["data"] == [
        {
            "id": str(second.pk),
            "started_at": "2026-01-01T00:01:00Z",
            "ended_at": None,
            "rows": {},
            "requests": 0,
            "waited_ms": 0,
            "stop": None,
            "note": "",
        }
    ]
    assert rest["next_cursor"] is None
    assert rest["data"] == [
        {
            "id": str(first.pk),
            "started_at": "2026-01-01T00:00:00Z",
            "ended_at": "2026-01-01T00:00:09Z",
            "rows": {"dunes:harvester": 5},
            "requests": 2,
            "waited_ms": 40,
            "stop": "rate_limited",
            "note": "Slowly.",
        }
    ]


# ---- deleted ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("query", "dropped"), [("", 1), ("?keep_data=false", 1), ("?keep_data=true", 0)])
def test_its_schema_goes_with_it_unless_it_is_to_stay(
    api: Client, sync: Sync, commits: Commits, query: str, dropped: int
) -> None:
    SyncRun.objects.create(sync=sync)

    with commits():
        answer = told(api.delete(path(sync, query)))

    assert answer == {"id": str(sync.pk), "deleted": True}
    assert not Sync.objects.exists()
    assert (
        list(DroppedSchema.objects.values_list("schema", "destination"))
        == [(sync.schema, sync.destination_id)][:dropped]
    )
    assert ProcrastinateJob.objects.filter(task_name="syncs.jobs.drop_schemas").count() == dropped
    assert deeds() == [("sync.deleted", "" if dropped else "its tables were kept")]
    assert api.get(path(sync)).status_code == 404
    assert api.delete(path(sync)).status_code == 404


def test_keep_data_is_true_or_false(api: Client, sync: Sync) -> None:
    assert list(errors(api.delete(path(sync, "?keep_data=1")))) == ["keep_data"]
    assert Sync.objects.exists()


# ---- what can be synced ----------------------------------------------------------------------------------------------


def test_a_provider_tells_its_collections(api: Client) -> None:
    by_slug, by_alias = (told(api.get(f"/v1/providers/{name}/collections")) for name in ("dunes", "arrakis-dunes"))

    assert by_slug == by_alias
    assert by_slug["data"][:2] == [
        {
            "id": "dunes:harvester",
            "name": "Harvester",
            "primary_key": ["id"],
            "columns": {"updated_at": "timestamp"},
            "sees": "updated",
            "deletes": "full_pass",
            "scopes": [],
            "docs": "https://dunes.example/api/harvesters",
            "checked": "2026-11-22",
            "verified": None,
        },
        {
            "id": "dunes:spice_field",
            "name": "Spice field",
            "primary_key": ["sector", "number"],
            "columns": {},
            "sees": "nothing",
            "deletes": "flag:gone",
            "scopes": [],
            "docs": "https://dunes.example/api/fields",
            "checked": "2026-11-22",
            "verified": "2026-11-22",
        },
    ]


def test_collections_come_page_by_page(api: Client) -> None:
    where = "/v1/providers/dunes/collections"

    first = told(api.get(where, {"limit": 2}))
    rest = told(api.get(where, {"limit": 2, "cursor": first["next_cursor"]}))

    assert [one["id"] for one in [*first["data"], *rest["data"]]] == ALL
    assert rest["next_cursor"] is None


def test_a_cursor_of_another_list_is_none_here(api: Client, dunes: Credential) -> None:
    """D11"""
    sync_with(dunes)
    sync_with(dunes)
    cursor = told(api.get(SYNCS, {"limit": 1}))["next_cursor"]

    for where in ("/v1/providers/dunes/collections", "/v1/providers"):
        response = api.get(where, {"cursor": cursor})
        assert response.status_code in {200, 422}, where
        if response.status_code == 422:
            assert list(errors(response)) == ["cursor"]


def test_collections_of_whom_nobody_knows(api: Client, account: Account, dunes: Credential) -> None:
    where = "/v1/providers/dunes/collections"
    theirs = credential_at(app_at(account, "sietch"))

    assert api.get("/v1/providers/nobody/collections").status_code == 404
    assert told(api.get("/v1/providers/sietch/collections")) == {"data": [], "next_cursor": None}
    assert told(api.get(where, {"credential_id": str(dunes.pk)}))["data"]
    assert list(errors(api.get(where, {"credential_id": "x"}))) == ["credential_id"]
    assert list(errors(api.get(where, {"credential_id": str(theirs.pk)}))) == ["credential_id"]


# ---- by whom ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scope", "method", "action"),
    [
        ("write", "GET", ""),
        ("write", "GET", "/runs"),
        ("read", "PATCH", ""),
        ("read", "DELETE", ""),
        ("read", "POST", "/refresh"),
    ],
)
def test_it_needs_the_scope(account: Account, sync: Sync, scope: str, method: str, action: str) -> None:
    """D07"""
    api = client_of(account, scope)

    response = api.generic(method, path(sync, action), "{}", content_type="application/json")

    assert response.status_code == 403


def test_what_is_not_understood_is_json(api: Client, sync: Sync) -> None:
    """D11"""
    response = api.put(path(sync), {}, content_type="application/json")

    assert without_request_id(response)[0] == 405
