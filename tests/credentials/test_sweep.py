"""What falls due is refreshed ahead of time."""

import threading
import uuid
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone
from responses import RequestsMock

from credentials.models import Credential, Failure, Token
from credentials.refresh import leaseholder, sweep, watch
from oauth_apps.models import Account, OAuthApp
from tests.credentials.stored import NEW, TOKEN_ENDPOINT, again, keep, linear_app, linear_credential

pytestmark = pytest.mark.django_db(transaction=True)

Seen = list[tuple[str, uuid.UUID]]


@pytest.fixture
def oauth_app(account: Account) -> OAuthApp:
    return linear_app(account)


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Seen:
    """What was refreshed, in order, instead of refreshing it."""
    seen: Seen = []

    def note(credential: Credential, lease: Token, *, force: bool = False) -> Token:
        seen.append((credential.provider, credential.pk))
        Token.objects.give_back(lease, due_at=None)
        return lease

    monkeypatch.setattr(leaseholder, "renewed", note)
    return seen


def due(oauth_app: OAuthApp, number: int, **columns: Any) -> Credential:
    credential = linear_credential(oauth_app, linear_org_id=f"org-{number}", refresh_token=f"canary-{number}")
    columns = {"due_at": timezone.now() - timedelta(minutes=1)} | columns
    Token.objects.filter(pk=credential.pk).update(**columns)
    return credential


def test_what_is_not_due_leased_or_over_is_left_alone(oauth_app: OAuthApp, seen: Seen) -> None:
    """G07"""
    now = timezone.now()
    due(oauth_app, 1, due_at=now + timedelta(minutes=1))
    due(oauth_app, 2, due_at=None, failure=Failure.REFRESH_TOKEN_REFUSED)
    due(oauth_app, 3, lease_owner=uuid.uuid4(), lease_until=now + timedelta(seconds=20))

    assert sweep.refresh_due() == 0

    assert seen == []


def test_the_recently_used_come_first(oauth_app: OAuthApp, seen: Seen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "AT_ONCE", 1)
    now = timezone.now()
    never = due(oauth_app, 1)
    long_ago = due(oauth_app, 2, used_at=now - timedelta(days=30))
    just_now = due(oauth_app, 3, used_at=now)

    assert sweep.refresh_due() == 3

    assert [pk for _, pk in seen] == [just_now.pk, long_ago.pk, never.pk]


def test_an_expiring_token_is_renewed_before_anybody_asks(oauth_app: OAuthApp, responses: RequestsMock) -> None:
    responses.post(TOKEN_ENDPOINT, json=NEW)
    credential = due(oauth_app, 1)

    assert sweep.refresh_due() == 1

    token = again(credential).token
    assert (token.access_token, token.lease_owner) == (NEW["access_token"], None)
    assert token.due_at is not None
    assert token.due_at > timezone.now()


def test_a_failure_is_not_tried_again_in_the_same_run(oauth_app: OAuthApp, responses: RequestsMock) -> None:
    responses.post(TOKEN_ENDPOINT, status=500)
    due(oauth_app, 1)

    assert sweep.refresh_due() == 1

    assert len(responses.calls) == 1


def test_what_is_due_again_at_once_waits_for_the_next_run(oauth_app: OAuthApp, monkeypatch: pytest.MonkeyPatch) -> None:
    due(oauth_app, 1)
    renewals = []

    def renewed(credential: Credential, leased: Token, *, force: bool = False) -> Token:
        renewals.append(credential.pk)
        Token.objects.give_back(leased, due_at=timezone.now() - timedelta(seconds=1))
        return leased

    monkeypatch.setattr(leaseholder, "renewed", renewed)

    assert sweep.refresh_due() == 1
    assert len(renewals) == 1


def test_one_that_cannot_be_renewed_is_noticed_when_it_ends(oauth_app: OAuthApp) -> None:
    credential = linear_credential(oauth_app, refresh_token=None)

    assert sweep.refresh_due() == 1

    assert again(credential).token.failure == Failure.NO_REFRESH_TOKEN
    assert again(credential).health_status == "error"
    assert sweep.refresh_due() == 0


class Hanging:
    """A provider whose calls take as long as the test likes; counts how many are under way."""

    def __init__(self) -> None:
        self.go_on, self.lock = threading.Event(), threading.Lock()
        self.under_way: Counter[str] = Counter()
        self.most: Counter[str] = Counter()

    def renewed(self, hanging: str, release: Callable[[Counter[str]], bool]) -> Callable[..., Token]:
        def renewed(credential: Credential, lease: Token, *, force: bool = False) -> Token:
            name = credential.provider
            with self.lock:
                self.under_way[name] += 1
                self.most[name] = max(self.most[name], self.under_way[name])
                if release(self.most):
                    self.go_on.set()
            if name == hanging:
                assert self.go_on.wait(20)
            with self.lock:
                self.under_way[name] -= 1
            Token.objects.give_back(lease, due_at=None)
            return lease

        return renewed


def test_a_hanging_provider_leaves_room_for_the_others(
    account: Account, oauth_app: OAuthApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """G09: bounded concurrency per provider"""
    monkeypatch.setattr(sweep, "AT_ONCE", 4)
    monkeypatch.setattr(sweep, "AT_ONCE_OF_ONE_PROVIDER", 3)
    for number in range(8):
        due(oauth_app, number, used_at=timezone.now())
    hubspot = OAuthApp.objects.create(account=account, provider="hubspot", name="H", client_id="h", client_secret="s")
    keep(account, "hubspot_oauth2", hubspot, hub_id=1, refresh_token="canary-refresh-1")
    provider = Hanging()
    monkeypatch.setattr(leaseholder, "renewed", provider.renewed("linear", release=lambda most: most["hubspot"] > 0))

    assert sweep.refresh_due() == 9

    assert provider.most == {"linear": 3, "hubspot": 1}


def test_two_sweeps_share_the_work(oauth_app: OAuthApp, seen: Seen) -> None:
    credentials = {due(oauth_app, number).pk for number in range(30)}

    def run() -> None:
        sweep.refresh_due()
        connection.close()

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(pk for _, pk in seen) == sorted(credentials)


def test_it_stops_when_it_is_told_to(oauth_app: OAuthApp, seen: Seen, monkeypatch: pytest.MonkeyPatch) -> None:
    """G14"""
    monkeypatch.setattr(sweep, "stopping", threading.Event())
    sweep.stopping.set()
    due(oauth_app, 1)

    assert sweep.refresh_due() == 0
    assert seen == []


# ---- what time alone changes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("left", "says"), [(13.9, "within 14 days"), (6.9, "within 7 days"), (0.9, "within a day"), (15, "")]
)
def test_the_end_of_a_refresh_token_is_told_in_time(oauth_app: OAuthApp, left: float, says: str) -> None:
    credential = due(oauth_app, 1, refresh_expires_at=timezone.now() + timedelta(days=left))
    Token.objects.update(obtained_at=timezone.now() - timedelta(days=60))

    watch.warn_of_ends()

    notes = again(credential).health_notes
    assert len(notes) == (1 if says else 0)
    assert all(says in note for note in notes)
    assert again(credential).health_status == ("warn" if says else "ok")


def test_the_end_of_an_access_token_that_nothing_renews_is_told_in_time(oauth_app: OAuthApp) -> None:
    credential = linear_credential(oauth_app, refresh_token=None)
    Token.objects.update(expires_at=timezone.now() + timedelta(days=13))

    watch.warn_of_ends()

    assert again(credential).health_status == "warn"
    assert "no refresh token" in again(credential).health_notes[0]


def test_a_refresh_token_of_seven_days_is_not_warned_of_from_its_first_day(oauth_app: OAuthApp) -> None:
    credential = due(oauth_app, 1, refresh_expires_at=timezone.now() + timedelta(days=6.5))

    watch.warn_of_ends()

    assert again(credential).health_status == "ok"


def test_an_idle_refresh_token_is_kept_alive(account: Account) -> None:
    """A token that lasts long, with a refresh token that lapses unused: the schedule uses it in time"""
    app = OAuthApp.objects.create(account=account, provider="airtable", name="A", client_id="a", client_secret="s")
    in_a_year = (timezone.now() + timedelta(days=365)).isoformat()
    credential = keep(
        account, "airtable_oauth2", app, airtable_uid="usr1", access_token="a", refresh_token="r", expires_at=in_a_year
    )

    token = credential.token

    assert token.refresh_expires_at is not None
    assert token.due_at is not None
    assert timedelta(days=59) < token.refresh_expires_at - timezone.now() < timedelta(days=61)
    assert timedelta(days=30) < token.due_at - timezone.now() < timedelta(days=50)
