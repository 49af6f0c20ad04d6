"""One credential, one provider, and every way in which a refresh can end."""

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone
from requests import ConnectionError as ConnectionFailed
from requests import ReadTimeout
from responses import RequestsMock
from responses.matchers import urlencoded_params_matcher

from credentials.errors import ClientRefused, NeedsReauthorization, ProviderTrouble, RefreshInProgress
from credentials.models import Credential, Expiry, Failure, FingerprintKey, Token
from credentials.models.fingerprint import fingerprint_key
from credentials.refresh import lease
from oauth_apps.models import Account, HealthStatus, OAuthApp
from sequin_auth.lib.encryption import Unreadable
from tests.credentials.stored import NEW, OLD, TOKEN_ENDPOINT, again, keep, linear_app, linear_credential


@pytest.fixture
def oauth_app(account: Account) -> OAuthApp:
    return linear_app(account)


@pytest.fixture
def expired(oauth_app: OAuthApp) -> Credential:
    return linear_credential(oauth_app)


@pytest.fixture
def living(oauth_app: OAuthApp) -> Credential:
    in_four_minutes = timezone.now() + timedelta(minutes=4)
    return linear_credential(oauth_app, expires_at=in_four_minutes.isoformat())


def requests_sent(responses: RequestsMock) -> int:
    return len(responses.calls)


# ---- what ends it ----------------------------------------------------------------------------------------------------


def test_a_refused_refresh_token_needs_its_owner_and_is_not_tried_again(
    expired: Credential, responses: RequestsMock
) -> None:
    """G07, E11"""
    responses.post(TOKEN_ENDPOINT, json={"error": "invalid_grant"}, status=400)

    with pytest.raises(NeedsReauthorization):
        lease.refreshed(expired, min_ttl=300)
    with pytest.raises(NeedsReauthorization):
        lease.refreshed(again(expired), min_ttl=300)

    assert requests_sent(responses) == 1
    stored = again(expired)
    assert (stored.token.failure, stored.token.due_at) == (Failure.REFRESH_TOKEN_REFUSED, None)
    assert stored.health_status == HealthStatus.ERROR
    assert f"/v1/credentials/{expired.pk}/reconnect" in stored.health_notes[0]


def test_what_has_ended_is_tried_once_more_for_whoever_insists(expired: Credential, responses: RequestsMock) -> None:
    """G07: one call per explicit request; and it may heal"""
    responses.post(TOKEN_ENDPOINT, json={"error": "invalid_grant"}, status=400)
    with pytest.raises(NeedsReauthorization):
        lease.refreshed(expired)
    responses.replace("POST", TOKEN_ENDPOINT, json=NEW)

    token = lease.refreshed(again(expired), force=True)

    assert token.access_token == NEW["access_token"]
    assert again(expired).health_status == HealthStatus.OK
    assert requests_sent(responses) == 2


def test_an_attempt_whose_owner_died_is_taken_over_once(expired: Credential, responses: RequestsMock) -> None:
    """G02: the provider may have rotated already; if so, that is told"""
    left_behind(expired)
    responses.post(TOKEN_ENDPOINT, json={"error": "invalid_grant"}, status=400)

    for _ in range(2):
        with pytest.raises(NeedsReauthorization):
            lease.refreshed(again(expired))

    assert requests_sent(responses) == 1
    stored = again(expired)
    assert stored.token.failure == Failure.ROTATION_INTERRUPTED
    assert "rotation_interrupted" in stored.health_notes[0]


def test_an_attempt_whose_owner_died_before_the_call_heals(expired: Credential, responses: RequestsMock) -> None:
    """G02"""
    left_behind(expired)
    responses.post(TOKEN_ENDPOINT, json=NEW)

    token = lease.refreshed(again(expired))

    assert token.access_token == NEW["access_token"]
    stored = again(expired)
    assert (stored.token.failure, stored.token.interrupted_at, stored.health_status) == ("", None, "ok")


def left_behind(credential: Credential) -> None:
    """A lease whose owner never gave it back, and whose time is over."""
    past = timezone.now() - timedelta(seconds=1)
    Token.objects.filter(pk=credential.pk).update(lease_owner=credential.pk, lease_until=past)


@pytest.mark.parametrize(
    "answer",
    [{"body": ReadTimeout()}, {"status": 502}, {"body": "<html>", "content_type": "text/html"}],
    ids=["cut", "bad gateway", "html"],
)
def test_a_lost_answer_explains_the_refusal_that_follows(
    expired: Credential, responses: RequestsMock, answer: dict[str, Any]
) -> None:
    responses.post(TOKEN_ENDPOINT, **answer)
    with pytest.raises(ProviderTrouble):
        lease.refreshed(expired)
    responses.replace("POST", TOKEN_ENDPOINT, json={"error": "invalid_grant"}, status=400)

    with pytest.raises(NeedsReauthorization):
        lease.refreshed(again(expired), force=True)

    assert again(expired).token.failure == Failure.ROTATION_INTERRUPTED


def test_an_end_without_a_refresh_token_is_told_when_it_has_come(oauth_app: OAuthApp, responses: RequestsMock) -> None:
    expired = linear_credential(oauth_app, refresh_token=None)

    with pytest.raises(NeedsReauthorization):
        lease.refreshed(expired)

    stored = again(expired)
    assert stored.token.failure == Failure.NO_REFRESH_TOKEN
    assert "no refresh token" in stored.health_notes[0]
    assert requests_sent(responses) == 0


def test_insisting_does_not_make_a_refresh_token(account: Account, responses: RequestsMock) -> None:
    """Salesforce could be asked when the token ends, but there is nothing to renew it with"""
    oauth_app = OAuthApp.objects.create(
        account=account, provider="salesforce", name="S", client_id="s", client_secret="canary-client-secret"
    )
    url = "https://acme.my.salesforce.com"
    credential = keep(account, "salesforce_oauth2", oauth_app, instance_url=url, access_token="a1")

    token = lease.refreshed(credential, force=True)

    assert (token.access_token, token.failure) == ("a1", "")
    assert requests_sent(responses) == 0


def test_another_account_is_never_stored(account: Account, responses: RequestsMock) -> None:
    """G15: and what came is given back"""
    hubspot = OAuthApp.objects.create(
        account=account, provider="hubspot", name="H", client_id="h", client_secret="canary-client-secret"
    )
    credential = keep(account, "hubspot_oauth2", hubspot, hub_id=1, refresh_token="canary-refresh-1")
    url = "https://api.hubapi.com/oauth/2026-03/token"
    responses.post(url, json={**NEW, "hub_id": 2})
    revoked = responses.post(f"{url}/revoke", status=200)

    with pytest.raises(NeedsReauthorization):
        lease.refreshed(credential)

    stored = again(credential)
    assert stored.token.failure == Failure.IDENTITY_CHANGED
    assert (stored.token.access_token, stored.token.refresh_token) == (None, "canary-refresh-1")
    assert revoked.call_count == 1


# ---- what is only a delay --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "failure"),
    [
        ({"status": 500}, Failure.PROVIDER_UNAVAILABLE),
        ({"status": 429, "headers": {"Retry-After": "120"}}, Failure.PROVIDER_UNAVAILABLE),
        ({"body": ConnectionFailed()}, Failure.PROVIDER_UNAVAILABLE),
        ({"body": "<html>", "content_type": "text/html"}, Failure.NOT_UNDERSTOOD),
        ({"json": []}, Failure.NOT_UNDERSTOOD),
        ({"json": {"error": "invalid_scope"}, "status": 400}, Failure.REFUSED),
        ({"json": {"error": "quota"}, "status": 403}, Failure.REFUSED),
    ],
    ids=["500", "429", "refused connection", "html", "list", "scope", "odd"],
)
def test_trouble_disconnects_nobody(
    living: Credential, responses: RequestsMock, answer: dict[str, Any], failure: Failure
) -> None:
    """G08: the token that is still good is served, and the provider is left alone for a while"""
    responses.post(TOKEN_ENDPOINT, **answer)

    first = lease.refreshed(living, min_ttl=300)
    second = lease.refreshed(again(living), min_ttl=300)

    assert first.access_token == second.access_token == OLD["access_token"]
    assert len({call.request.url for call in responses.calls}) == 1
    stored = again(living)
    assert stored.token.failure == failure
    assert stored.token.failures == 1
    assert stored.token.retry_at is not None
    assert stored.health_status == HealthStatus.WARN
    assert not stored.token.needs_reauthorization


def test_retry_after_is_kept_to(living: Credential, responses: RequestsMock) -> None:
    responses.post(TOKEN_ENDPOINT, status=429, headers={"Retry-After": "1000"})

    lease.refreshed(living, min_ttl=300)

    retry_at = again(living).token.retry_at
    assert retry_at is not None
    assert timedelta(seconds=990) < retry_at - timezone.now() < timedelta(seconds=1210)


def test_each_failure_in_a_row_waits_twice_as_long(expired: Credential, responses: RequestsMock) -> None:
    responses.post(TOKEN_ENDPOINT, status=500)

    waits = []
    for _ in range(4):
        with pytest.raises(ProviderTrouble):
            lease.refreshed(again(expired), force=True)
        retry_at = again(expired).token.retry_at
        assert retry_at is not None
        waits.append((retry_at - timezone.now()).total_seconds())

    for wait, least in zip(waits, [5, 10, 20, 40], strict=True):
        assert least - 1 < wait < least * 1.21


def test_a_refused_client_is_the_oauth_apps_business(
    living: Credential, oauth_app: OAuthApp, responses: RequestsMock
) -> None:
    responses.post(TOKEN_ENDPOINT, json={"error": "invalid_client"}, status=401)

    token = lease.refreshed(living, min_ttl=300)

    assert token.access_token == OLD["access_token"]
    oauth_app.refresh_from_db()
    assert oauth_app.health_status == HealthStatus.ERROR
    assert again(living).health_status == HealthStatus.OK


def test_a_refused_client_leaves_no_token_when_the_old_one_has_ended(
    expired: Credential, responses: RequestsMock
) -> None:
    responses.post(TOKEN_ENDPOINT, json={"error": "invalid_client"}, status=401)

    with pytest.raises(ClientRefused):
        lease.refreshed(expired)

    assert not again(expired).token.needs_reauthorization


def test_a_seal_that_does_not_open_is_never_another_ones_token(
    expired: Credential, oauth_app: OAuthApp, responses: RequestsMock
) -> None:
    """E06"""
    other = linear_credential(oauth_app, linear_org_id="org-2", refresh_token="canary-refresh-other")
    moved = vars(other.token)["refresh_token"]
    Token.objects.filter(pk=expired.pk).update(refresh_token=moved)

    with pytest.raises(Unreadable):
        lease.refreshed(again(expired))

    stored = again(expired)
    assert stored.token.failure == Failure.UNREADABLE
    assert stored.health_status == HealthStatus.ERROR
    assert requests_sent(responses) == 0


def test_a_seal_that_opens_again_is_believed_at_once(
    expired: Credential, oauth_app: OAuthApp, responses: RequestsMock
) -> None:
    other = linear_credential(oauth_app, linear_org_id="org-2", refresh_token="canary-refresh-other")
    own = vars(expired.token)["refresh_token"]
    Token.objects.filter(pk=expired.pk).update(refresh_token=vars(other.token)["refresh_token"])
    with pytest.raises(Unreadable):
        lease.refreshed(again(expired))
    Token.objects.filter(pk=expired.pk).update(refresh_token=own)
    responses.post(TOKEN_ENDPOINT, json=NEW)

    assert lease.refreshed(again(expired)).access_token == NEW["access_token"]


def test_nobody_is_asked_for_what_could_not_be_kept(expired: Credential, responses: RequestsMock) -> None:
    """Without the key of the fingerprints no answer can be written down"""
    fingerprint_key.cache_clear()
    fingerprint_key()  # whichever test needed it first has made it, and it went with that test
    fingerprint_key.cache_clear()
    FingerprintKey.objects.update(key=FingerprintKey._meta.get_field("key").seal(b"x" * 32, pk=uuid.uuid4()))

    with pytest.raises(Unreadable):
        lease.refreshed(again(expired))

    assert requests_sent(responses) == 0
    fingerprint_key.cache_clear()


def test_whoever_comes_while_the_lease_is_held_gets_what_is_still_good(
    living: Credential, monkeypatch: pytest.MonkeyPatch, responses: RequestsMock
) -> None:
    monkeypatch.setattr(lease, "PATIENCE", 0.0)
    held = {"lease_owner": living.pk, "lease_until": timezone.now() + timedelta(seconds=20)}
    Token.objects.update(**held)

    assert lease.refreshed(again(living), min_ttl=300).access_token == OLD["access_token"]
    with pytest.raises(RefreshInProgress):
        lease.refreshed(again(living), force=True)
    assert requests_sent(responses) == 0


@pytest.mark.parametrize("force", [False, True])
def test_whoever_read_the_tokens_before_they_were_renewed_gets_the_new_ones(
    expired: Credential, responses: RequestsMock, force: bool
) -> None:
    """G01: a caller may have been slow between his first look and his turn"""
    responses.post(TOKEN_ENDPOINT, json=NEW)
    before = expired.token
    lease.refreshed(again(expired))

    token = lease.refreshed(again(expired), force=force, seen=before)

    assert token.access_token == NEW["access_token"]
    assert requests_sent(responses) == 1


def test_what_is_good_already_is_not_renewed(living: Credential, responses: RequestsMock) -> None:
    assert lease.refreshed(living, min_ttl=60).access_token == OLD["access_token"]
    assert requests_sent(responses) == 0


# ---- what is kept ----------------------------------------------------------------------------------------------------


def test_new_tokens_take_the_place_of_the_old(expired: Credential, responses: RequestsMock) -> None:
    sent = {
        "grant_type": "refresh_token",
        "refresh_token": OLD["refresh_token"],
        "client_id": "lin_1",
        "client_secret": "canary-client-secret",
    }
    responses.post(TOKEN_ENDPOINT, json=NEW, match=[urlencoded_params_matcher(sent)])

    returned = lease.refreshed(expired, min_ttl=300)

    stored = again(expired)
    for token in (returned, stored.token):
        assert (token.access_token, token.refresh_token) == (NEW["access_token"], NEW["refresh_token"])
        assert token.expires_at is not None
        assert timedelta(minutes=59) < token.expires_at - timezone.now() <= timedelta(hours=1)
        assert (token.version, token.lease_owner, token.failure) == (2, None, "")
    assert stored.token.expiry_source == Expiry.EXPIRES_IN
    assert stored.token.due_at is not None
    assert stored.token.expires_at is not None
    assert stored.token.due_at < stored.token.expires_at - timedelta(minutes=6)
    assert (stored.scopes_granted, stored.health_status) == (["read", "write"], HealthStatus.OK)


def test_a_refresh_token_that_is_not_repeated_is_kept(expired: Credential, responses: RequestsMock) -> None:
    """G06"""
    responses.post(TOKEN_ENDPOINT, json={"access_token": "canary-access-2", "expires_in": 60})

    lease.refreshed(expired)

    assert again(expired).token.refresh_token == OLD["refresh_token"]


def test_a_refresh_token_without_an_access_token_is_kept(expired: Credential, responses: RequestsMock) -> None:
    """G16"""
    responses.post(TOKEN_ENDPOINT, json={"refresh_token": "canary-refresh-2", "expires_in": 60})

    with pytest.raises(ProviderTrouble):
        lease.refreshed(expired)

    token = again(expired).token
    assert (token.refresh_token, token.access_token) == ("canary-refresh-2", OLD["access_token"])
    assert (token.failure, token.version) == (Failure.NOT_UNDERSTOOD, 2)


def test_a_narrowed_scope_is_told(expired: Credential, responses: RequestsMock) -> None:
    responses.post(TOKEN_ENDPOINT, json=NEW | {"scope": "read"})

    lease.refreshed(expired)

    stored = again(expired)
    assert (stored.scopes_requested, stored.scopes_granted) == (["read", "write"], ["read"])
    assert stored.health_status == HealthStatus.WARN
    assert "write" in stored.health_notes[0]


def test_what_comes_too_late_is_dropped_and_given_back(expired: Credential, responses: RequestsMock) -> None:
    """G12: the credential was connected again while the provider was asked"""
    revoked = responses.post("https://api.linear.app/oauth/revoke", status=200)

    def reconnect(request: Any) -> tuple[int, dict[str, str], str]:
        in_an_hour = timezone.now() + timedelta(hours=1)
        Token.objects.filter(pk=expired.pk).update(version=9, granted_at=timezone.now(), expires_at=in_an_hour)
        return 200, {}, '{"access_token": "canary-access-late", "refresh_token": "canary-refresh-late"}'

    responses.add_callback("POST", TOKEN_ENDPOINT, callback=reconnect, content_type="application/json")

    token = lease.refreshed(expired)

    assert (token.version, token.access_token) == (9, OLD["access_token"])
    assert "canary-refresh-late" in str(revoked.calls[0].request.body)
    assert again(expired).token.refresh_token == OLD["refresh_token"]


def test_an_answer_that_lost_to_another_one_of_the_same_grant_ends_nothing(
    account: Account, responses: RequestsMock
) -> None:
    """A refresh token that stays the same is not given back by whoever came too late"""
    hubspot = OAuthApp.objects.create(
        account=account, provider="hubspot", name="H", client_id="h", client_secret="canary-client-secret"
    )
    credential = keep(account, "hubspot_oauth2", hubspot, hub_id=1, refresh_token="canary-refresh-1")

    def lose(request: Any) -> tuple[int, dict[str, str], str]:
        in_an_hour = timezone.now() + timedelta(hours=1)
        sealed = Token._meta.get_field("access_token").seal("canary-access-winner", pk=credential.pk)
        Token.objects.filter(pk=credential.pk).update(
            version=2, access_token=sealed, expires_at=in_an_hour, expiry_source=Expiry.EXPIRES_IN
        )
        return 200, {}, '{"access_token": "canary-access-late", "refresh_token": "canary-refresh-1"}'

    url = "https://api.hubapi.com/oauth/2026-03/token"
    responses.add_callback("POST", url, callback=lose, content_type="application/json")

    token = lease.refreshed(credential)

    assert token.access_token == "canary-access-winner"
    assert requests_sent(responses) == 1


def test_a_short_lived_refresh_token_is_not_renewed_over_and_over(account: Account, responses: RequestsMock) -> None:
    """Atlassian's ends for good a year after the consent, however often it is used"""
    oauth_app = OAuthApp.objects.create(
        account=account, provider="atlassian", name="A", client_id="a", client_secret="canary-client-secret"
    )
    credential = keep(account, "atlassian_oauth2", oauth_app, account_id="1", refresh_token="canary-refresh-1")
    almost_a_year_ago = timezone.now() - timedelta(days=364, hours=12)
    Token.objects.update(granted_at=almost_a_year_ago, refresh_expires_at=timezone.now() + timedelta(hours=12))
    responses.post("https://auth.atlassian.com/oauth/token", json=NEW)

    lease.refreshed(again(credential))

    due_at = again(credential).token.due_at
    assert due_at is not None
    assert due_at > timezone.now() + timedelta(minutes=30)


def test_a_type_that_no_database_takes_is_passed_over(expired: Credential, responses: RequestsMock) -> None:
    responses.post(TOKEN_ENDPOINT, json=NEW | {"token_type": "a\u0000b"})

    lease.refreshed(expired)

    assert again(expired).token.token_type == "Bearer"


def test_a_new_token_that_is_called_inactive_lives_as_long_as_documented(
    account: Account, responses: RequestsMock
) -> None:
    """RFC 7662, 2.2: so a server answers to whoever may not ask"""
    oauth_app = OAuthApp.objects.create(
        account=account, provider="salesforce", name="S", client_id="s", client_secret="canary-client-secret"
    )
    url = "https://acme.my.salesforce.com"
    credential = keep(account, "salesforce_oauth2", oauth_app, instance_url=url, refresh_token="r1")
    responses.post(f"{SALESFORCE}/token", json={"access_token": "a2"})
    responses.post(f"{SALESFORCE}/introspect", json={"active": False})

    lease.refreshed(credential)

    token = again(credential).token
    assert (token.expiry_source, token.lasts(7000)) == (Expiry.CATALOGUE, True)


def test_somebody_elses_win_is_everybodys(expired: Credential, responses: RequestsMock) -> None:
    """G05: invalid_grant, but the row has moved on meanwhile"""

    def lose(request: Any) -> tuple[int, dict[str, str], str]:
        Token.objects.filter(pk=expired.pk).update(version=2, expires_at=timezone.now() + timedelta(hours=1))
        return 400, {}, '{"error": "invalid_grant"}'

    responses.add_callback("POST", TOKEN_ENDPOINT, callback=lose, content_type="application/json")

    token = lease.refreshed(expired)

    assert (token.version, token.failure) == (2, "")
    assert again(expired).health_status == HealthStatus.OK


# ---- when it ends, and who says so -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "source", "seconds"),
    [
        ({"expires_in": 60, "expires_at": 4102444800}, Expiry.EXPIRES_IN, 60),
        ({"expires_in": "soon", "expires_at": 4102444800}, Expiry.EXPIRES_AT, None),
        ({}, Expiry.POLICY, 3600),
    ],
    ids=["expires_in", "expires_at", "nobody"],
)
def test_the_most_dependable_word_counts(
    expired: Credential, responses: RequestsMock, answer: dict[str, Any], source: str, seconds: int | None
) -> None:
    responses.post(TOKEN_ENDPOINT, json={"access_token": "canary-access-2", **answer})

    lease.refreshed(expired)

    token = again(expired).token
    assert token.expiry_source == source
    assert token.expires_at is not None
    if seconds is not None:
        assert abs((token.expires_at - timezone.now()).total_seconds() - seconds) < 5


SALESFORCE = "https://login.salesforce.com/services/oauth2"


@pytest.fixture
def salesforce(account: Account) -> Credential:
    oauth_app = OAuthApp.objects.create(
        account=account, provider="salesforce", name="S", client_id="s", client_secret="canary-client-secret"
    )
    instance = "https://acme.my.salesforce.com"
    return keep(account, "salesforce_oauth2", oauth_app, instance_url=instance, access_token="a1", refresh_token="r1")


def test_a_token_of_unknown_age_is_asked_about_before_it_is_renewed(
    salesforce: Credential, responses: RequestsMock
) -> None:
    ends = int(timezone.now().timestamp()) + 1800
    responses.post(f"{SALESFORCE}/introspect", json={"active": True, "exp": ends})

    token = lease.refreshed(salesforce, min_ttl=300)

    assert (token.access_token, token.expiry_source, token.version) == ("a1", Expiry.INTROSPECTION, 1)
    assert token.expires_at == datetime.fromtimestamp(ends, tz=UTC)


def test_where_introspection_fails_a_token_that_nothing_renews_is_asked_about_later(
    account: Account, responses: RequestsMock
) -> None:
    oauth_app = OAuthApp.objects.create(
        account=account, provider="salesforce", name="S", client_id="s", client_secret="canary-client-secret"
    )
    url = "https://acme.my.salesforce.com"
    credential = keep(account, "salesforce_oauth2", oauth_app, instance_url=url, access_token="a1")
    responses.post(f"{SALESFORCE}/introspect", status=503)

    token = lease.refreshed(credential, min_ttl=300)

    stored = again(credential).token
    assert (token.access_token, stored.expiry_source, stored.expires_at) == ("a1", Expiry.UNKNOWN, None)
    assert stored.due_at is not None
    assert stored.due_at > timezone.now() + timedelta(minutes=50)


def test_an_inactive_token_is_renewed_and_the_new_one_asked_about(
    salesforce: Credential, responses: RequestsMock
) -> None:
    ends = int(timezone.now().timestamp()) + 1800
    responses.post(f"{SALESFORCE}/introspect", json={"active": False})
    responses.post(
        f"{SALESFORCE}/token", json={"access_token": "a2", "instance_url": "https://moved.my.salesforce.com"}
    )
    responses.post(f"{SALESFORCE}/introspect", json={"active": True, "exp": ends})

    token = lease.refreshed(salesforce, min_ttl=300)

    stored = again(salesforce)
    assert (token.access_token, stored.token.expiry_source) == ("a2", Expiry.INTROSPECTION)
    assert stored.token.expires_at == datetime.fromtimestamp(ends, tz=UTC)
    assert stored.properties["instance_url"] == "https://moved.my.salesforce.com"


def test_what_no_introspection_tells_the_documentation_does(salesforce: Credential, responses: RequestsMock) -> None:
    responses.post(f"{SALESFORCE}/introspect", status=500)
    responses.post(f"{SALESFORCE}/token", json={"access_token": "a2"})

    lease.refreshed(salesforce, min_ttl=300)

    token = again(salesforce).token
    assert token.expiry_source == Expiry.CATALOGUE
    assert token.expires_at is not None
    assert abs((token.expires_at - timezone.now()).total_seconds() - 7200) < 5
