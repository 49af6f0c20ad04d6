"""Where a trip ends that leads to no redirect URI: on a page of ours, or in the console, as its link's row says."""

import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import OperationalError, connection
from django.db.models import F
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from responses import RequestsMock

from credentials import imports, reconnect
from credentials.keeping import NotKept, keep
from credentials.link import start_links
from credentials.models import Authorization, Credential, End, StartLink, Step, fingerprint
from credentials.purge import purge
from oauth_apps.models import Account, OAuthApp, RedirectURI
from providers.errors import ProviderUnavailable, TokenRequestRejected
from sequin_auth.lib.encryption import UnknownKey
from tests.link.reconnection import (
    ME,
    REVOKE,
    SOMEBODY_ELSE,
    TOKEN_ENDPOINT,
    Reconnection,
    salesforce_app,
    salesforce_credential,
)  # fmt: skip
from tests.link.trip import REDIRECT_URI, Trip, assert_page, post_form, query_of

BASE = "http://127.0.0.1:8000"


@pytest.fixture
def reconnection(client: Client, responses: RequestsMock, account: Account) -> Reconnection:
    """Of an account that has registered no redirect URI at all."""
    return Reconnection(client, responses, salesforce_credential(salesforce_app(account)))


def path_of(link: start_links.Link) -> str:
    return link.url.removeprefix(BASE)


def console_path(trip: Trip, *, ends_at: End = End.CONSOLE, **fields: Any) -> str:
    """Of a link that a developer has made, who is signed in to the console in the browser of the trip."""
    return path_of(
        start_links.make(trip.oauth_app, variables={}, ends_at=ends_at, started_by=signed_in(trip), **fields)
    )


def signed_in(trip: Trip) -> User:
    user, _ = User.objects.get_or_create(username="paul", is_staff=True)
    trip.client.force_login(user)
    return user


def sent(client: Client, path: str) -> dict[str, str]:
    response = client.get(path)
    assert response.status_code == 302, response.content
    return query_of(response["Location"])


def arrived_at(authorization: Authorization) -> str:
    return BASE + reverse("admin:credentials_authorization_arrived", args=[authorization.pk])


# ---- refusals: what cannot be made -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fields",
    [
        {"redirect_uri": "", "ends_at": End.REDIRECT_URI},
        {"redirect_uri": "https://app.example.com/in", "ends_at": End.PAGE},
        {"redirect_uri": "https://app.example.com/in", "ends_at": End.CONSOLE},
        {"redirect_uri": "https://app.example.com/in", "ends_at": End.TRIAL},
        {"ends_at": End.PAGE},  # for no credential
        {"ends_at": End.CONSOLE},  # of nobody
        {"ends_at": End.TRIAL},
    ],
)
def test_a_link_has_one_end(trip: Trip, fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="link"):
        start_links.make(trip.oauth_app, variables={}, **fields)

    assert StartLink.objects.count() == 0


def test_on_a_page_of_ours_no_other_account_takes_the_place(reconnection: Reconnection) -> None:
    """B15"""
    with pytest.raises(ValueError, match="same account"):
        reconnect.link(reconnection.credential, reconnection.oauth_app, ends_at=End.PAGE, any_identity=True)

    response = reconnection.ask(redirect_url=None, identity="any")
    assert response.status_code == 422
    assert list(response.json()["validation_errors"]) == ["redirect_url"]
    assert StartLink.objects.count() == 0


def test_a_credential_of_nobody_knows_whom_needs_a_redirect_uri(reconnection: Reconnection) -> None:
    """B15: whoever is sent the link would become its owner."""
    Credential.objects.update(properties={"instance_url": "https://acme.my.salesforce.com"}, is_identified=False)
    reconnection.credential.refresh_from_db()

    response = reconnection.ask(redirect_url=None)

    assert response.status_code == 422
    assert list(response.json()["validation_errors"]) == ["redirect_url"]
    assert not reconnect.knows_whose(reconnection.credential)


def test_and_gets_no_tokens_on_a_page_of_ours(reconnection: Reconnection) -> None:
    """B15"""
    Credential.objects.update(properties={"instance_url": "https://acme.my.salesforce.com"}, is_identified=False)
    reconnection.credential.refresh_from_db()
    link = reconnect.link(reconnection.credential, reconnection.oauth_app, ends_at=End.PAGE)
    reconnection.provider_answers()

    reconnection.callback(sent(reconnection.client, path_of(link))["state"])

    assert (reconnection.trip.step, reconnection.trip.error) == (Step.FAILED, "another_account")
    assert reconnection.stored.token.access_token == "canary-stored-access"


# ---- refusals: what whoever opens the link cannot change -------------------------------------------------------------


@pytest.mark.parametrize("added", ["ends_at=page", "ends_at=console", "started_by=1", "hosted=1&ends_at=trial"])
def test_where_a_trip_ends_is_no_parameter(trip: Trip, added: str) -> None:
    """A13, B16"""
    trip.start()
    trip.client.get(f"/link/oauth2/start?client_id={trip.oauth_app.pk}&{added}")

    authorization = Authorization.objects.get()
    assert (authorization.ends_at, authorization.redirect_uri) == (End.REDIRECT_URI, REDIRECT_URI)
    assert authorization.started_by is None


def test_a_link_of_the_console_takes_no_redirect_uri(trip: Trip) -> None:
    """A02, B16"""
    path = console_path(trip)

    trip.client.get(path, {"redirect_uri": "https://app.example.com/callback/stripe", "state": "evil"})

    authorization = Authorization.objects.get()
    assert (authorization.ends_at, authorization.redirect_uri, authorization.client_state) == (End.CONSOLE, "", None)
    assert (authorization.started_by, authorization.client_state_fingerprint) == (signed_in(trip), None)


def test_a_redirect_uri_that_is_removed_still_ends_the_trip_of_a_developer(trip: Trip) -> None:
    """A07"""
    state = trip.started()["state"]
    RedirectURI.objects.all().delete()

    assert_page(trip.callback(state=state, code="ac_1"), holds="link_withdrawn")
    assert len(trip.responses.calls) == 0


def test_a_redirect_uri_that_is_removed_while_the_provider_is_asked(
    trip: Trip, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A07"""
    trip.provider_answers()
    state = trip.started()["state"]
    monkeypatch.setattr(
        "providers.identity.properties",
        lambda *args, **more: RedirectURI.objects.all().delete() and {"stripe_user_id": "acct_1"},
    )

    assert_page(trip.callback(state=state, code="ac_1"), holds="link_withdrawn")
    assert Authorization.objects.get().tokens is None


def test_a_link_of_the_console_in_another_browser_brings_nothing(trip: Trip) -> None:
    """B04"""
    state = sent(trip.client, console_path(trip))["state"]

    response = Client().get("/link/oauth2/callback/stripe", {"state": state, "code": "ac_1"})

    assert_page(response, holds="session_mismatch")
    assert Authorization.objects.get().step == Step.FAILED
    assert len(trip.responses.calls) == 0


def test_a_used_link_of_the_console_starts_nothing(trip: Trip) -> None:
    path = console_path(trip)
    sent(trip.client, path)

    assert_page(trip.client.get(path), holds="link_expired")


def test_the_token_endpoint_has_no_code_of_the_console(trip: Trip) -> None:
    """Nobody was given one; and none can be guessed."""
    trip.provider_answers()
    trip.callback(state=sent(trip.client, console_path(trip))["state"], code="ac_1")

    assert trip.token(code="").status_code == 400
    assert Authorization.objects.get().step == Step.GRANTED


# ---- the console -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ends_at", [End.CONSOLE, End.TRIAL])
def test_a_granted_trip_leads_to_the_console_with_nothing_in_the_url(trip: Trip, ends_at: End) -> None:
    trip.provider_answers()
    path = console_path(trip, ends_at=ends_at, state="canary-state")
    RedirectURI.objects.all().delete()

    response = trip.callback(state=sent(trip.client, path)["state"], code="ac_1")

    authorization = Authorization.objects.get()
    assert (response.status_code, response["Location"]) == (302, arrived_at(authorization))
    assert (authorization.step, authorization.started_by) == (Step.GRANTED, signed_in(trip))
    assert bytes(authorization.client_state_fingerprint or b"") == fingerprint("canary-state")
    assert keep(authorization).values()["stripe_user_id"] == "acct_1"
    with pytest.raises(NotKept):
        keep(authorization)


@pytest.mark.parametrize("ends_at", [End.CONSOLE, End.TRIAL])
def test_so_does_a_denied_one(trip: Trip, ends_at: End) -> None:
    state = sent(trip.client, console_path(trip, ends_at=ends_at, state="s1"))["state"]

    response = trip.callback(state=state, error="access_denied")

    authorization = Authorization.objects.get()
    assert response["Location"] == arrived_at(authorization)
    assert (authorization.step, authorization.error) == (Step.FAILED, "access_denied")


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ({"status": 503}, "temporarily_unavailable"),
        ({"status": 401, "json": {"error": "invalid_client"}}, "invalid_client"),
        ({"status": 400, "json": {"error": "invalid_grant"}}, "invalid_grant"),
        ({"json": {"surprise": 1}}, "server_error"),
    ],
)
def test_so_does_a_failed_one(trip: Trip, answer: dict[str, Any], error: str) -> None:
    state = sent(trip.client, console_path(trip))["state"]
    trip.provider_answers(**({"json": {}} | answer))

    response = trip.callback(state=state, code="ac_1")

    authorization = Authorization.objects.get()
    assert (response.status_code, response["Location"]) == (302, arrived_at(authorization))
    assert (authorization.step, authorization.error) == (Step.FAILED, error)


def test_so_does_one_whose_app_was_disabled_meanwhile(trip: Trip) -> None:
    state = sent(trip.client, console_path(trip))["state"]
    OAuthApp.objects.update(enabled=False)

    response = trip.callback(state=state, code="ac_1")

    assert response["Location"] == arrived_at(Authorization.objects.get())
    assert Authorization.objects.get().error == "link_withdrawn"
    assert len(trip.responses.calls) == 0


def test_a_start_that_is_refused_is_a_page_with_a_way_back_to_the_console(trip: Trip, account: Account) -> None:
    zendesk = OAuthApp.objects.create(account=account, provider="zendesk", name="Z", client_id="z", client_secret="x")
    variables = {"subdomain": "evil.com/"}
    link = start_links.make(zendesk, variables=variables, ends_at=End.CONSOLE, started_by=signed_in(trip))

    response = trip.client.get(path_of(link))

    assert_page(response, holds="invalid_request")
    assert f'href="{BASE}/admin/oauth_apps/oauthapp/{zendesk.pk}/change/"' in response.content.decode()
    assert Authorization.objects.count() == 0


def test_a_provider_that_is_down_before_anybody_leaves_is_a_page_too(
    trip: Trip, monkeypatch: pytest.MonkeyPatch
) -> None:
    def down(*args: Any) -> str:
        raise ProviderUnavailable("The provider did not answer.")

    monkeypatch.setattr("providers.pushed_requests.pushed", down)

    path = console_path(trip)
    response = trip.client.get(path)

    assert_page(response, holds="temporarily_unavailable")
    assert f'<a class="button" href="{path}">Try again</a>' in response.content.decode()
    assert Authorization.objects.get().error == "temporarily_unavailable"
    monkeypatch.undo()
    assert trip.client.get(path).status_code == 302
    assert_page(trip.client.get(path), holds="link_expired")


def test_a_link_that_expires_while_the_provider_is_down_is_not_offered_again(
    trip: Trip, monkeypatch: pytest.MonkeyPatch
) -> None:
    def down(*args: Any) -> str:
        StartLink.objects.update(expires_at=timezone.now())
        raise ProviderUnavailable("The provider did not answer.")

    monkeypatch.setattr("providers.pushed_requests.pushed", down)

    page = trip.client.get(console_path(trip)).content.decode()

    assert "start again with a new one" in page
    assert "Try again" not in page


def test_a_provider_that_refuses_before_anybody_leaves_has_used_the_link(
    trip: Trip, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*args: Any) -> str:
        raise TokenRequestRejected("The client is unknown.", reason="invalid_client")

    monkeypatch.setattr("providers.pushed_requests.pushed", refused)
    path = console_path(trip)

    assert "Try again" not in trip.client.get(path).content.decode()
    assert_page(trip.client.get(path), holds="link_expired")


def test_a_links_lifetime_is_the_makers(trip: Trip) -> None:
    path = console_path(trip, lifetime=timedelta(days=7))

    StartLink.objects.update(expires_at=timezone.now() + timedelta(days=6))

    left = StartLink.objects.get().expires_at - timezone.now()
    assert timedelta(days=5) < left < timedelta(days=7)
    assert trip.client.get(path).status_code == 302


@pytest.mark.parametrize(
    ("state", "text"), [("s1", "s1"), ({"user": 7}, '{"user": 7}'), ("café 🏜", "café 🏜"), (7, "7")]
)
def test_a_trip_is_found_by_the_developers_state(trip: Trip, state: object, text: str) -> None:
    sent(trip.client, console_path(trip, state=state))

    assert Authorization.objects.filter(client_state_fingerprint=fingerprint(text)).count() == 1


def test_a_trip_without_a_state_has_no_fingerprint(trip: Trip) -> None:
    trip.started()
    trip.started(state="s1")

    prints = Authorization.objects.order_by("created_at").values_list("client_state_fingerprint", flat=True)
    assert [kept and bytes(kept) for kept in prints] == [None, fingerprint("s1")]


# ---- a page of ours --------------------------------------------------------------------------------------------------


def ended(reconnection: Reconnection) -> str:
    """The page, as anybody's browser shows it."""
    response = Client().get(f"/link/oauth2/ended/{reconnection.trip.pk}")
    assert (response.status_code, response["Cache-Control"]) == (200, "no-store")
    return response.content.decode()


def test_a_reconnection_without_a_redirect_uri_ends_on_a_page_and_keeps_itself(reconnection: Reconnection) -> None:
    state = reconnection.started(redirect_url=None)["state"]
    assert "not finished yet" in ended(reconnection)
    reconnection.provider_answers(ME)

    response = reconnection.callback(state)

    authorization = reconnection.trip
    assert (response.status_code, response["Location"]) == (302, f"{BASE}/link/oauth2/ended/{authorization.pk}")
    assert (authorization.step, authorization.tokens) == (Step.EXCHANGED, None)
    stored = reconnection.stored
    assert (stored.pk, stored.name, stored.metadata) == (reconnection.credential.pk, "Paul's", {"user": 7})
    assert stored.token.access_token == "canary-new-access"
    page = ended(reconnection)
    assert "Your Salesforce account is connected" in page
    assert "Arrakis" in page
    assert "canary" not in page


def test_the_place_where_the_last_trip_led_is_not_forgotten(reconnection: Reconnection) -> None:
    Credential.objects.update(redirect_uri="https://app.example.com/before")
    reconnection.provider_answers(ME)

    reconnection.callback(reconnection.started(redirect_url=None)["state"])

    assert reconnection.stored.redirect_uri == "https://app.example.com/before"


def test_another_account_changes_nothing_and_is_told(reconnection: Reconnection) -> None:
    """B15"""
    reconnection.provider_answers(SOMEBODY_ELSE)

    reconnection.callback(reconnection.started(redirect_url=None)["state"])

    assert reconnection.trip.error == "another_account"
    assert reconnection.stored.token.access_token == "canary-stored-access"
    assert set(reconnection.given_back) & {"canary-new-access", "canary-new-refresh"}
    assert "another Salesforce account" in ended(reconnection)


def test_a_credential_that_is_deleted_meanwhile_takes_the_trip_with_it(reconnection: Reconnection) -> None:
    state = reconnection.started(redirect_url=None)["state"]
    trip = reconnection.trip
    Credential.objects.all().delete()

    assert_page(reconnection.callback(state), holds="what it was for has been deleted")
    assert Client().get(f"/link/oauth2/ended/{trip.pk}").status_code == 404


def test_whoever_comes_back_too_late_is_told(reconnection: Reconnection) -> None:
    reconnection.started(redirect_url=None)
    Authorization.objects.update(expires_at=timezone.now() - timedelta(seconds=1))

    assert "did not come back from Salesforce in time" in ended(reconnection)


def test_a_denial_is_told(reconnection: Reconnection) -> None:
    state = reconnection.started(redirect_url=None)["state"]

    response = reconnection.client.get("/link/oauth2/callback/salesforce", {"state": state, "error": "access_denied"})

    assert response["Location"] == f"{BASE}/link/oauth2/ended/{reconnection.trip.pk}"
    assert "Nothing was connected" in ended(reconnection)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({"status": 503}, "is not available right now"),
        ({"status": 401, "json": {"error": "invalid_client"}}, "has to mend something first"),
        ({"json": {"surprise": 1}}, "did not work"),
    ],
)
def test_a_fault_is_told_with_whose_turn_it_is(reconnection: Reconnection, answer: dict[str, Any], words: str) -> None:
    state = reconnection.started(redirect_url=None)["state"]
    reconnection.responses.post(TOKEN_ENDPOINT, **answer)

    reconnection.callback(state)

    page = ended(reconnection)
    assert words in page
    assert str(reconnection.trip.pk) in page


@pytest.mark.parametrize(
    ("error", "words"),
    [
        ("server_error", "Salesforce is not available right now"),
        ("temporarily_unavailable", "Salesforce is not available right now"),
        ("moon_phase", "The connection did not work"),
    ],
)
def test_a_provider_that_says_itself_that_it_is_down(reconnection: Reconnection, error: str, words: str) -> None:
    state = reconnection.started(redirect_url=None)["state"]

    reconnection.client.get("/link/oauth2/callback/salesforce", {"state": state, "error": error})

    assert words in ended(reconnection)


def test_tokens_that_cannot_be_kept_are_given_back(reconnection: Reconnection, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the callback's look and the keeping, the same account was connected as another credential."""

    def too_late(*args: Any) -> Any:
        raise reconnect.already_connected()

    reconnection.provider_answers(ME)
    state = reconnection.started(redirect_url=None)["state"]
    monkeypatch.setattr("credentials.reconnect.replace", too_late)

    response = reconnection.callback(state)

    assert response["Location"].endswith(f"/ended/{reconnection.trip.pk}")
    assert (reconnection.trip.step, reconnection.trip.error) == (Step.FAILED, "already_connected")
    assert [call.request.url for call in reconnection.responses.calls][-1] == REVOKE
    assert "connected already" in ended(reconnection)


# ---- what is said to be kept is kept -------------------------------------------------------------------------------


def fails(*args: object) -> Any:
    raise OperationalError("canary")


def granted(reconnection: Reconnection, monkeypatch: pytest.MonkeyPatch) -> Authorization:
    """A trip whose tokens the database did not take when they came."""
    reconnection.provider_answers(ME)
    state = reconnection.started(redirect_url=None)["state"]
    with monkeypatch.context() as patched:
        patched.setattr("credentials.reconnect.replace", fails)
        response = reconnection.callback(state)
    assert response["Location"] == f"{BASE}/link/oauth2/ended/{reconnection.trip.pk}"
    return reconnection.trip


def some_time_later(seconds: float = 31) -> None:
    moved = timedelta(seconds=seconds)
    Authorization.objects.update(granted_at=F("granted_at") - moved, expires_at=F("expires_at") - moved)


def test_what_the_database_did_not_take_is_not_said_to_be_connected(
    reconnection: Reconnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """G13"""
    trip = granted(reconnection, monkeypatch)

    pages = [ended(reconnection), ended(reconnection)]

    assert (trip.step, trip.tokens is None, reconnection.given_back) == (Step.GRANTED, False, [])
    assert reconnection.stored.token.access_token == "canary-stored-access"
    assert all("Salesforce has agreed, and it is not stored yet." in page for page in pages)
    assert all('<a class="button" href="">Look again</a>' in page for page in pages)
    assert not any("is connected" in page for page in pages)
    assert reconnection.trip.step == Step.GRANTED  # nobody has changed it by looking


def test_and_is_kept_a_little_later_by_itself(reconnection: Reconnection, monkeypatch: pytest.MonkeyPatch) -> None:
    trip = granted(reconnection, monkeypatch)
    assert purge()["kept_trips"] == 0  # it may be under way still

    some_time_later()
    assert [purge()["kept_trips"], purge()["kept_trips"]] == [1, 0]

    assert reconnection.trip.step == Step.EXCHANGED
    assert reconnection.stored.token.access_token == "canary-new-access"
    assert "Your Salesforce account is connected" in ended(reconnection)
    assert reconnection.trip.pk == trip.pk


def test_one_that_cannot_be_kept_does_not_hold_up_the_purge(
    reconnection: Reconnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    granted(reconnection, monkeypatch)
    some_time_later()
    monkeypatch.setattr("credentials.reconnect.replace", fails)

    assert purge()["kept_trips"] == 0
    assert reconnection.trip.step == Step.GRANTED


def test_and_one_that_nobody_could_keep_is_given_back_in_the_end(
    reconnection: Reconnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    granted(reconnection, monkeypatch)
    Authorization.objects.update(expires_at=timezone.now() - timedelta(minutes=10, seconds=1))

    report = purge()

    assert (report["kept_trips"], report["unclaimed_tokens"]) == (0, 1)
    assert reconnection.trip.step == Step.ABANDONED
    assert "canary-new-refresh" in reconnection.given_back
    assert "could not be stored" in ended(reconnection)


@pytest.mark.parametrize("ends_at", [End.CONSOLE, End.TRIAL])
def test_nobody_keeps_what_is_to_be_kept_in_the_console(trip: Trip, ends_at: End) -> None:
    trip.provider_answers()
    trip.callback(state=sent(trip.client, console_path(trip, ends_at=ends_at))["state"], code="ac_1")
    some_time_later()

    assert purge()["kept_trips"] == 0
    assert Authorization.objects.get().step == Step.GRANTED


def test_a_trip_of_an_app_that_is_disabled_by_then_is_not_kept(
    reconnection: Reconnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A07"""
    trip = granted(reconnection, monkeypatch)
    OAuthApp.objects.update(enabled=False)

    with pytest.raises(NotKept, match="disabled"):
        keep(trip)

    assert (reconnection.trip.step, reconnection.trip.error, reconnection.trip.tokens) == (
        Step.FAILED, "link_withdrawn", None,
    )  # fmt: skip
    assert "canary-new-refresh" in reconnection.given_back
    assert reconnection.stored.token.access_token == "canary-stored-access"


@pytest.mark.parametrize(
    ("error", "words"),
    [(UnknownKey("canary"), "cannot be read"), (KeyError("canary"), "not in the catalogue any more")],
)
def test_what_cannot_be_read_or_is_of_nobody_ends_the_trip(
    reconnection: Reconnection, monkeypatch: pytest.MonkeyPatch, error: Exception, words: str
) -> None:
    trip = granted(reconnection, monkeypatch)

    def fail(*args: object) -> Any:
        raise error

    monkeypatch.setattr("credentials.reconnect.as_import", fail)
    with pytest.raises(NotKept, match=words):
        keep(trip)

    assert (reconnection.trip.step, reconnection.trip.error, reconnection.trip.tokens) == (
        Step.FAILED, "not_kept", None,
    )  # fmt: skip
    assert "canary" not in reconnection.trip.error_description
    assert "canary-new-refresh" in reconnection.given_back
    assert "could not be stored" in ended(reconnection)


def test_nothing_is_given_back_while_the_database_is_held(
    reconnection: Reconnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    trip = granted(reconnection, monkeypatch)
    outside = len(connection.savepoint_ids)
    seen: list[tuple[str, int]] = []

    def give_back(authorization: Authorization, oauth_app: OAuthApp) -> None:
        seen.append((Authorization.objects.get(pk=authorization.pk).step, len(connection.savepoint_ids)))

    def too_late(*args: Any) -> Any:
        raise reconnect.already_connected()

    monkeypatch.setattr("credentials.reconnect.replace", too_late)
    monkeypatch.setattr("credentials.keeping.give_back", give_back)
    with pytest.raises(NotKept):
        keep(trip)

    assert seen == [(Step.FAILED, outside)]


@pytest.mark.django_db(transaction=True)
def test_of_two_at_once_one_keeps(reconnection: Reconnection, monkeypatch: pytest.MonkeyPatch) -> None:
    """C01"""
    trip = granted(reconnection, monkeypatch)
    barrier = Barrier(2)

    def one(_: int) -> str:
        try:
            barrier.wait()
            return str(keep(trip).pk)
        except NotKept:
            return "not kept"
        finally:
            connection.close()

    with ThreadPoolExecutor(2) as pool:
        outcomes = set(pool.map(one, range(2)))

    assert outcomes == {str(reconnection.credential.pk), "not kept"}
    assert reconnection.trip.step == Step.EXCHANGED
    assert reconnection.stored.token.access_token == "canary-new-access"
    assert reconnection.given_back == []


@pytest.mark.django_db(transaction=True)
def test_a_trip_is_over_only_when_its_credential_stands(trip: Trip, monkeypatch: pytest.MonkeyPatch) -> None:
    """As another connection sees it, which is what every page reads."""
    trip.provider_answers()
    trip.callback(state=sent(trip.client, console_path(trip))["state"], code="ac_1")
    seen: list[tuple[str, int]] = []

    def as_others_see_it() -> None:
        seen.append((Authorization.objects.get().step, Credential.objects.count()))
        connection.close()

    def look(*args: Any) -> Any:
        with ThreadPoolExecutor(1) as pool:
            pool.submit(as_others_see_it).result()
        return kept_by_import(*args)

    kept_by_import = imports.keep
    monkeypatch.setattr("credentials.imports.keep", look)
    keep(Authorization.objects.get())
    as_others_see_it()

    assert seen == [(Step.GRANTED, 0), (Step.EXCHANGED, 1)]


def test_no_other_trip_has_such_a_page(trip: Trip, db: None) -> None:
    trip.started()

    assert trip.client.get(f"/link/oauth2/ended/{Authorization.objects.get().pk}").status_code == 404
    assert trip.client.get(f"/link/oauth2/ended/{uuid.uuid4()}").status_code == 404
    assert trip.client.post(f"/link/oauth2/ended/{uuid.uuid4()}").status_code == 405


def test_the_trip_of_a_page_has_no_code_to_fetch(reconnection: Reconnection) -> None:
    reconnection.provider_answers(ME)
    reconnection.callback(reconnection.started(redirect_url=None)["state"])

    pair = {"client_id": str(reconnection.oauth_app.pk), "client_secret": "canary-client-secret"}
    assert post_form(pair | {"code": "x" * 35}).json()["error"] == "invalid_grant"
