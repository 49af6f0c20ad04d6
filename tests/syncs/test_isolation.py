"""Whose syncs they are, and what becomes of them when what they are made of goes, or comes back."""

import uuid
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client
from django.utils import timezone
from procrastinate.contrib.django.models import ProcrastinateJob

from credentials import announcing
from credentials.models import Credential, Failure, Token
from oauth_apps.models import Account, AuditEvent, OAuthApp
from syncs.models import Destination, DroppedSchema, Stop, Sync, SyncRun
from tests.credentials.answers import without_request_id
from tests.syncs.asking import GRANTED, SYNCS, again, app_at, asked, credential_at, path, post, sync_with

pytestmark = pytest.mark.usefixtures("dunes_catalogue")

LATER = timedelta(hours=4)
Commits = Callable[..., AbstractContextManager[Any]]


@pytest.fixture
def commits(django_capture_on_commit_callbacks: Any) -> Commits:
    """What waits for the commit is done when the block ends."""
    return lambda: django_capture_on_commit_callbacks(execute=True)


@pytest.fixture
def theirs(dunes_catalogue: None, other_account: Account) -> Credential:
    return credential_at(app_at(other_account, "dunes"))


def deeds() -> list[tuple[str, str]]:
    found = AuditEvent.objects.filter(action__endswith=".deleted").order_by("number")
    return list(found.values_list("action", "object_name"))


def dropped() -> set[str]:
    return set(DroppedSchema.objects.values_list("schema", flat=True))


# ---- another account's -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "action", "content"),
    [
        ("GET", "", ""),
        ("PATCH", "", '{"name": "Mine"}'),
        ("PATCH", "", '{"provider": 1}'),
        ("DELETE", "", ""),
        ("DELETE", "?keep_data=true", ""),
        ("POST", "/refresh", "{}"),
        ("POST", "/refresh", '{"full": 1}'),
        ("GET", "/runs", ""),
    ],
)
def test_another_accounts_sync_is_not_there(
    sync: Sync, other_api: Client, method: str, action: str, content: str
) -> None:
    """D01: identical to the answer for an id that nobody has"""
    SyncRun.objects.create(sync=sync)

    foreign, unknown = (
        other_api.generic(method, path(one, action), content, content_type="application/json")
        for one in (sync.pk, uuid.uuid4())
    )

    assert without_request_id(foreign) == without_request_id(unknown)
    assert (foreign.status_code, foreign.json()["code"]) == (404, "not_found")
    assert (again(sync).name, again(sync).refresh_asked_at, dropped()) == ("Spice", None, set())


def test_another_accounts_sync_is_in_no_list(sync: Sync, other_api: Client) -> None:
    """D01"""
    queries = [{}, {"provider": "dunes"}, {"metadata": "{}"}, {"credential_id": str(sync.credential_id)}]

    assert [other_api.get(SYNCS, query).json()["data"] for query in queries] == [[]] * 4


@pytest.mark.parametrize("spelling", ["{%s}", "urn:uuid:%s", "%s."])
def test_an_id_has_one_spelling(sync: Sync, api: Client, spelling: str) -> None:
    """D12"""
    others = [spelling % sync.pk, str(sync.pk).upper(), sync.pk.hex]

    assert [api.get(path(one)).status_code for one in others] == [404] * 3


@pytest.mark.parametrize("url", [SYNCS, f"{SYNCS}/{uuid.UUID(int=1)}", "/v1/providers/dunes/collections"])
def test_without_an_api_token_nothing_is_told(db: None, url: str) -> None:
    """D02"""
    assert Client().get(url).status_code == 401


def test_another_accounts_credential_and_destination_are_not_there(
    api: Client, dunes: Credential, theirs: Credential
) -> None:
    """D01, G12"""
    Destination.objects.builtin(dunes.account)
    destination = Destination.objects.create(account=theirs.account, name="Theirs")

    for field, foreign in (("credential_id", theirs.pk), ("destination_id", destination.pk)):
        answers = [
            post(api, **(asked(credential_id=str(dunes.pk)) | {field: str(pk)})) for pk in (foreign, uuid.uuid4())
        ]
        assert without_request_id(answers[0]) == without_request_id(answers[1])
        assert answers[0].status_code == 404
    credential = {"oauth_app_id": str(theirs.oauth_app_id), "properties": {"kind": "dunes_oauth2", **GRANTED}}
    assert post(api, **asked(credential=credential)).status_code == 422
    assert api.get("/v1/providers/dunes/collections", {"credential_id": str(theirs.pk)}).status_code == 404
    assert not Sync.objects.exists()


# ---- the credential goes ---------------------------------------------------------------------------------------------


def test_a_credential_that_is_used_stays(api: Client, sync: Sync) -> None:
    sync_with(sync.credential, status="disabled")

    response = api.delete(f"/v1/credentials/{sync.credential_id}")

    assert (response.status_code, response.json()["code"]) == (409, "credential_in_use")
    assert "is used by 2 syncs" in response.json()["summary"]
    assert "?cascade=true" in response.json()["summary"]
    assert Sync.objects.count() == 2
    assert deeds() == []


def test_a_credential_takes_its_syncs_along(api: Client, sync: Sync, commits: Commits) -> None:
    SyncRun.objects.create(sync=sync)
    other = sync_with(credential_at(sync.credential.oauth_app, user_id="chani"))  # type: ignore[arg-type]

    with commits():
        response = api.delete(f"/v1/credentials/{sync.credential_id}?cascade=true")

    assert response.status_code == 200
    assert list(Sync.objects.all()) == [other]
    assert dropped() == {sync.schema}
    assert ProcrastinateJob.objects.filter(task_name="syncs.jobs.drop_schemas").count() == 1
    assert sorted(deeds()) == [("credential.deleted", str(sync.credential)), ("sync.deleted", "Spice")]


def test_a_credential_without_syncs_just_goes(api: Client, dunes: Credential) -> None:
    assert api.delete(f"/v1/credentials/{dunes.pk}").status_code == 200
    assert api.delete(f"/v1/credentials/{dunes.pk}?cascade=1").status_code == 422


def test_an_oauth_app_takes_all_along(api: Client, sync: Sync) -> None:
    app = f"/v1/oauth-apps/{sync.credential.oauth_app_id}"

    refused, gone = api.delete(app), api.delete(f"{app}?cascade=true")

    assert (refused.status_code, refused.json()["code"]) == (409, "has_credentials")
    assert gone.status_code == 200
    assert [kind.objects.count() for kind in (Sync, Credential, OAuthApp)] == [0, 0, 0]
    assert dropped() == {sync.schema}
    assert sorted(action for action, _ in deeds()) == ["credential.deleted", "oauth_app.deleted", "sync.deleted"]


def test_the_console_names_what_keeps_a_credential(sync: Sync) -> None:
    client = Client()
    client.force_login(User.objects.create_superuser("root", password="x"))
    page = f"/admin/credentials/credential/{sync.credential_id}/delete/"

    shown, sent = client.get(page), client.post(page, {"post": "yes"})

    for response in (shown, sent):
        assert response.status_code == 200
        assert "It cannot be deleted while syncs use it: Spice." in " ".join(response.content.decode().split())
        assert 'class="sq-button danger"' not in response.content.decode()
    assert Credential.objects.exists()


def test_an_account_goes_with_all_of_it(account: Account, sync: Sync, theirs: Credential) -> None:
    """E14"""
    other = sync_with(theirs)

    call_command("delete_account", str(account.pk), "--yes")

    assert list(Sync.objects.all()) == [other]
    assert not Account.objects.filter(pk=account.pk).exists()


def test_an_account_that_is_deleted_at_once_goes_too(account: Account, sync: Sync) -> None:
    account.delete()

    assert [kind.objects.count() for kind in (Sync, Credential)] == [0, 0]


# ---- the credential comes back ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ended", "failure", "is_due"),
    [
        (Failure.REFRESH_TOKEN_REFUSED, "", True),
        (Failure.NONE, Stop.UNAUTHORIZED, True),
        (Failure.NONE, Stop.DESTINATION, False),
        (Failure.NONE, "", False),
    ],
)
def test_what_waited_for_other_tokens_goes_on(
    dunes: Credential, commits: Commits, ended: Failure, failure: str, is_due: bool
) -> None:
    later = timezone.now() + LATER
    sync = sync_with(dunes, next_at=later, failure=failure)
    disabled = sync_with(dunes, next_at=later, failure=failure, status="disabled")
    Token.objects.filter(pk=dunes.pk).update(failure=ended, failed_at=timezone.now())

    with commits():
        credential_at(dunes.oauth_app, access_token="canary-other", refresh_token="canary-other")  # type: ignore[arg-type]

    assert [again(one).next_at < later for one in (sync, disabled)] == [is_due, False]
    assert ProcrastinateJob.objects.filter(args={"sync_id": str(sync.pk)}).count() == int(is_due)


def test_what_waited_for_a_refresh_goes_on(dunes: Credential, commits: Commits) -> None:
    later = timezone.now() + LATER
    sync = sync_with(dunes, next_at=later)
    Token.objects.filter(pk=dunes.pk).update(failure=Failure.REFRESH_TOKEN_REFUSED, failed_at=timezone.now())
    before = Token.objects.get(pk=dunes.pk)

    with commits():
        announcing.recovered(dunes.pk, before=before)

    assert again(sync).next_at < later
