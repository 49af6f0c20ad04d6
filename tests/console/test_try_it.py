"""“Try it”, and whatever else begins in the console: a trip that ends there, for whoever began it and nobody else."""

import json
import re
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from html import unescape
from threading import Barrier
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.db import OperationalError, connection
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from responses import RequestsMock

from credentials import keeping
from credentials.link import start_links
from credentials.models import Authorization, Credential, End, StartLink, Step, Token
from credentials.purge import erase_unclaimed
from oauth_apps.models import Account, AuditEvent, Membership, OAuthApp
from providers import catalogue, kinds
from sequin_auth.lib.encryption import digest
from tests.console.trips import trip_at
from tests.providers.trip import sandbox_app

MASK = "*" * 11


@pytest.fixture
def linear(account: Account, network: RequestsMock) -> OAuthApp:
    """An app in the sandbox."""
    return sandbox_app(account, catalogue.get("linear"))


def try_it(client: Client, oauth_app: OAuthApp) -> str:
    """The start link to which the page moves on."""
    response = client.post(reverse("admin:try_out", args=[oauth_app.pk]))
    assert response.status_code == 200, response.content
    found = re.search(r'<meta http-equiv="refresh" content="0; url=([^"]+)">', response.content.decode())
    assert found
    return unescape(found[1])


def travels(client: Client, link: str, outcome: str = "approve") -> str:
    """Where the browser ends, which is a path of ours."""
    consent = client.get(link.removeprefix(settings.PUBLIC_URL))
    outcomes = client.get(consent["Location"], headers={"Accept": "application/json"}).json()["outcomes"]
    arrived = client.get(client.get(outcomes[outcome])["Location"])
    assert arrived.status_code == 302, arrived.content
    assert arrived["Location"] == f"{settings.PUBLIC_URL}{where(the_trip())}"
    return where(the_trip())


def the_trip() -> Authorization:
    return Authorization.objects.latest("created_at")


def where(trip: Authorization) -> str:
    return reverse("admin:credentials_authorization_arrived", args=[trip.pk])


def keep(client: Client) -> Any:
    return client.post(reverse("admin:credentials_authorization_keep", args=[the_trip().pk]), follow=True)


def said(response: Any) -> list[tuple[str, str]]:
    return [(message.level_tag, str(message)) for message in response.context["messages"]]


def secrets_of(trip: Authorization) -> list[str]:
    grant = trip.granted()
    return [token for token in (grant.access_token, grant.refresh_token) if token]


def begun_in_the_console(client: Client, user: User, oauth_app: OAuthApp, outcome: str = "approve") -> str:
    link = start_links.make(oauth_app, variables={}, ends_at=End.CONSOLE, started_by=user)
    return travels(client, link.url, outcome)


# ---- beginning one -----------------------------------------------------------------------------------------------


def test_nobody_tries_another_accounts_app(member: Client, other_account: Account) -> None:
    """H07"""
    theirs = OAuthApp.objects.create(account=other_account, provider="linear", name="Spice", client_id="lin_1")

    assert member.post(reverse("admin:try_out", args=[theirs.pk])).status_code == 404
    assert Client().post(reverse("admin:try_out", args=[theirs.pk])).status_code == 302
    assert not StartLink.objects.exists()


def test_a_link_begins_no_trip_and_neither_does_another_site(member: Client, paul: User, linear: OAuthApp) -> None:
    there = reverse("admin:try_out", args=[linear.pk])
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(paul)

    assert member.get(there).status_code == 405
    assert strict.post(there).status_code == 403
    assert not StartLink.objects.exists()


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"enabled": False}, "while the OAuth app is disabled"),
        ({"provider": "gone"}, "is not in the catalogue any more"),
    ],
)
def test_what_cannot_be_tried_says_so(member: Client, linear: OAuthApp, fields: dict[str, Any], says: str) -> None:
    OAuthApp.objects.update(**fields)

    response = member.post(reverse("admin:try_out", args=[linear.pk]))

    assert response["Location"] == reverse("admin:oauth_apps_oauthapp_change", args=[linear.pk])
    assert [says in str(message) for message in response.wsgi_request._messages] == [True]  # type: ignore[attr-defined]
    assert not StartLink.objects.exists()


def test_a_sandbox_that_is_off_cannot_be_tried(member: Client, linear: OAuthApp, settings: Any) -> None:
    settings.SANDBOX = False

    assert member.post(reverse("admin:try_out", args=[linear.pk])).status_code == 302
    assert not StartLink.objects.exists()


def test_it_begins_a_trip_that_ends_in_the_console(member: Client, paul: User, linear: OAuthApp) -> None:
    link = try_it(member, linear)

    row = StartLink.objects.get()
    assert (row.ends_at, row.started_by, row.oauth_app) == (End.TRIAL, paul, linear)
    assert link == f"{settings.PUBLIC_URL}/link/oauth2/start/{link.rpartition('/')[2]}"
    assert bytes(row.token_hash) == digest(link.rpartition("/")[2])
    event = AuditEvent.objects.get()
    assert (event.action, event.actor, event.account, event.object_name) == (
        "oauth_app.tried", "paul", linear.account, "Linear",
    )  # fmt: skip


# ---- for whoever begins it alone -----------------------------------------------------------------------------------


def others(account: Account) -> list[Client]:
    """A stranger, another member of the same account, and nobody at all."""
    stranger, chani = User.objects.create_user("stranger"), User.objects.create_user("chani", is_staff=True)
    Membership.objects.create(account=account, user=chani)
    clients = [Client(), Client(), Client()]
    clients[0].force_login(stranger)
    clients[1].force_login(chani)
    return clients


def refused(response: Any) -> None:
    page = response.content.decode()
    assert (response.status_code, response.has_header("Location")) == (400, False)
    assert "This link was opened somewhere else" in page
    assert "sign in to the console and start again from there" in page
    assert "session_mismatch" in page


@pytest.mark.parametrize("ends_at", [End.CONSOLE, End.TRIAL])
@pytest.mark.parametrize("asks_first", [False, True])
def test_nobody_else_sets_out_by_it(
    member: Client, paul: User, linear: OAuthApp, account: Account, ends_at: End, asks_first: bool
) -> None:
    """B15, B04: the account that he connects would be the maker's"""
    OAuthApp.objects.update(asks_first=asks_first)
    path = start_links.make(linear, variables={}, ends_at=ends_at, started_by=paul).url
    token = path.rpartition("/")[2]

    for client in others(account):
        refused(client.get(path))
        refused(client.post("/link/oauth2/continue", {"link": token, "query": ""}))

    assert StartLink.objects.get().used_at is None
    assert not Authorization.objects.exists()
    assert member.get(path).status_code == (200 if asks_first else 302)


def test_nobody_else_is_asked_where_his_account_is(
    member: Client, paul: User, account: Account, network: RequestsMock
) -> None:
    """B15"""
    zendesk = sandbox_app(account, catalogue.get("zendesk"), variables={})
    path = start_links.make(zendesk, variables={}, ends_at=End.CONSOLE, started_by=paul).url

    for client in others(account):
        refused(client.get(path))

    assert "Where is your Zendesk account?" in member.get(path).content.decode()


def test_nobody_else_is_told_what_has_become_of_the_app(member: Client, linear: OAuthApp, account: Account) -> None:
    link = try_it(member, linear)
    OAuthApp.objects.update(enabled=False)

    for client in others(account):
        refused(client.get(link))


@pytest.mark.parametrize("ends_at", [End.CONSOLE, End.TRIAL])
@pytest.mark.parametrize("number", [0, 1, 2])
def test_nobody_else_comes_back_from_it(
    member: Client, paul: User, linear: OAuthApp, account: Account, network: RequestsMock, ends_at: End, number: int
) -> None:
    """B15, B04: the browser of the start, and another user in it, or none"""
    link = start_links.make(linear, variables={}, ends_at=ends_at, started_by=paul)
    consent = member.get(link.url)
    outcomes = member.get(consent["Location"], headers={"Accept": "application/json"}).json()["outcomes"]
    callback = member.get(outcomes["approve"])["Location"]
    other = others(account)[number]
    other.cookies.update({name: cookie for name, cookie in member.cookies.items() if name.startswith("link_")})
    asked = len(network.calls)

    refused(other.get(callback))

    trip = the_trip()
    assert (trip.step, trip.error, trip.tokens, trip.code_verifier) == (Step.FAILED, "session_mismatch", None, None)
    assert len(network.calls) == asked
    assert member.get(callback).status_code == 400
    page = member.get(where(trip)).content.decode()
    assert "was not signed in when the browser came back" in page
    assert not Credential.objects.exists()


# ---- where it ends -----------------------------------------------------------------------------------------------


def test_it_ends_on_a_page_without_a_secret(member: Client, linear: OAuthApp) -> None:
    """E04"""
    path = travels(member, try_it(member, linear))
    secrets = secrets_of(the_trip())

    response = member.get(path)

    page = response.content.decode()
    assert response.status_code == 200
    assert "no-store" in response["Cache-Control"]
    assert not [secret for secret in (*secrets, linear.client_secret or "") if secret in page]
    assert "It works: Linear" in page
    assert '<span class="sq-badge info">sandbox</span>' in page
    found = re.search(r'<pre id="token-answer"[^>]*>(.*?)</pre>', page, re.DOTALL)
    assert found
    answer = json.loads(unescape(found[1]))
    properties = answer["credential"]["properties"]
    assert (answer["access_token"], answer["refresh_token"], answer["token_type"]) == (MASK, MASK, "Bearer")
    assert (properties["access_token"], properties["refresh_token"]) == (MASK, MASK)
    assert (properties["kind"], answer["credential"]["oauth_app_id"]) == ("linear_oauth2", str(linear.pk))
    assert f"<dt>linear_org_id</dt><dd><code>{properties['linear_org_id']}</code></dd>" in page
    assert "<dt>Refresh token</dt><dd>yes</dd>" in page
    assert re.search(r"in 23 hours, at \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC \(as the provider says\)", page)
    assert "In about 10 minutes they are erased" in page


@pytest.mark.parametrize("slug", ["hubspot", "shopify", "flickr", "auth0"])
def test_no_kind_of_token_is_in_the_page(member: Client, account: Account, network: RequestsMock, slug: str) -> None:
    """E04, whatever is secret there: a token, its secret, the key that it is bound to"""
    oauth_app = sandbox_app(account, catalogue.get(slug))
    path = travels(member, try_it(member, oauth_app))
    grant = the_trip().granted()
    declared = kinds.get(oauth_app.definition.kind).properties
    secrets = [str(grant.properties[name]) for name in grant.properties if declared[name].secret]

    page = member.get(path).content.decode()

    assert "It works" in page
    assert not [secret for secret in (*secrets, *secrets_of(the_trip())) if secret in unescape(page)]


def test_a_reload_shows_the_same_and_keeps_nothing(member: Client, linear: OAuthApp) -> None:
    path = travels(member, try_it(member, linear))

    first, second = member.get(path), member.get(path)

    without_tokens = re.compile(r'value="[A-Za-z0-9]{64}"|\d\d:\d\d:\d\d|expires_in&quot;: \d+|nonce-[\w=+/]+')
    pages = [without_tokens.sub("", response.content.decode()) for response in (first, second)]
    assert pages[0] == pages[1]
    assert the_trip().step == Step.GRANTED
    assert not Credential.objects.exists()


def test_scopes_that_were_not_granted_are_named(member: Client, linear: OAuthApp) -> None:
    OAuthApp.objects.update(default_scopes=["read", "write"])

    page = member.get(travels(member, try_it(member, linear), "approve_fewer")).content.decode()

    missing = re.search(r"<dt>Missing</dt><dd>(.*?)</dd>", page, re.DOTALL)
    assert missing
    assert ">write<" in missing[1]
    assert "granted less than was asked for" in page


def test_a_denial_ends_with_advice_and_another_try(member: Client, linear: OAuthApp) -> None:
    page = member.get(travels(member, try_it(member, linear), "deny")).content.decode()

    assert "Start again and approve" in page
    assert ">Try it again</button>" in page
    assert "Keep as a credential" not in page


def test_it_is_nobody_elses(member: Client, superuser: Client, linear: OAuthApp, account: Account) -> None:
    """H07"""
    path = travels(member, try_it(member, linear))
    chani = User.objects.create_user("chani", is_staff=True)
    Membership.objects.create(account=account, user=chani)
    other = Client()
    other.force_login(chani)
    kept = reverse("admin:credentials_authorization_keep", args=[the_trip().pk])

    assert [client.get(path).status_code for client in (superuser, other, Client())] == [404, 404, 302]
    assert [client.post(kept).status_code for client in (superuser, other, Client())] == [404, 404, 302]
    assert the_trip().step == Step.GRANTED


def test_who_has_left_the_account_keeps_nothing(member: Client, linear: OAuthApp) -> None:
    """H07"""
    path = travels(member, try_it(member, linear))
    Membership.objects.all().delete()

    assert member.get(path).status_code == 404
    assert keep(member).status_code == 404


def test_a_signed_out_browser_comes_back_after_the_login(member: Client, paul: User, linear: OAuthApp) -> None:
    path = travels(member, try_it(member, linear))
    member.logout()

    login = member.get(path)["Location"]

    assert urlsplit(login).path == reverse("admin:login")
    member.force_login(paul)
    assert "It works" in member.get(path).content.decode()


def test_a_developers_trip_does_not_arrive_here(member: Client, paul: User, linear: OAuthApp) -> None:
    row = trip_at(linear, Step.GRANTED, started_by=paul)

    assert member.get(where(row)).status_code == 404


# ---- keeping it --------------------------------------------------------------------------------------------------


def test_what_it_brought_is_kept_once(member: Client, linear: OAuthApp) -> None:
    path = travels(member, try_it(member, linear))

    first, second = keep(member), keep(member)

    credential = Credential.objects.get()
    there = reverse("admin:credentials_credential_change", args=[credential.pk])
    assert first.redirect_chain == second.redirect_chain == [(there, 302)]
    assert [str(message) for message in first.context["messages"]] == ["Connected."]
    assert [str(message) for message in second.context["messages"]] == [
        "It is kept already. This is the credential."
    ]  # fmt: skip
    assert (credential.kind, credential.account) == ("linear_oauth2", linear.account)
    assert AuditEvent.objects.filter(action="credential.connected", object_id=str(credential.pk)).count() == 1
    again = member.get(path).content.decode()
    assert "Show the credential" in again
    assert "Keep as a credential" not in again


def test_what_another_has_kept_meanwhile_is_no_error(
    member: Client, linear: OAuthApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C01: the second of two presses has read the row before the first has taken it."""
    travels(member, try_it(member, linear))
    stale = the_trip()
    keeping.keep(the_trip())
    monkeypatch.setattr("credentials.console.authorizations.AuthorizationAdmin.begun_by", lambda *args: stale)

    late = keep(member)
    Token.objects.update(granted_at=timezone.now())
    later = keep(member)

    there = reverse("admin:credentials_credential_change", args=[Credential.objects.get().pk])
    assert late.redirect_chain == [(there, 302)]
    assert said(late) == [("info", "It is kept already. This is the credential.")]
    assert later.redirect_chain == [(reverse("admin:credentials_authorization_change", args=[stale.pk]), 302)]
    assert said(later) == [("info", "It was kept already. The credential was renewed or deleted since.")]


def test_what_was_refused_meanwhile_says_why(member: Client, linear: OAuthApp, monkeypatch: pytest.MonkeyPatch) -> None:
    travels(member, try_it(member, linear))
    stale = the_trip()
    the_trip().fail("not_kept", "The provider's answer is none.")
    monkeypatch.setattr("credentials.console.authorizations.AuthorizationAdmin.begun_by", lambda *args: stale)

    assert said(keep(member)) == [("error", "Nothing was kept. The provider's answer is none.")]
    there = reverse("admin:credentials_authorization_keep", args=[stale.pk])
    Authorization.objects.all().delete()
    gone = ("error", "Nothing was kept. What this trip brought was taken already, or has been erased.")
    assert gone in said(member.post(there, follow=True))


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("how", ["arrives", "is kept"])
def test_of_two_at_once_both_see_the_credential(paul: User, linear: OAuthApp, how: str) -> None:
    """C01"""
    tabs = [Client(), Client()]
    for tab in tabs:
        tab.force_login(paul)
    if how == "arrives":
        begun_in_the_console(tabs[0], paul, linear)
    else:
        travels(tabs[0], try_it(tabs[0], linear))
    path, barrier = where(the_trip()), Barrier(2)
    kept = reverse("admin:credentials_authorization_keep", args=[the_trip().pk])

    def one(tab: Client) -> str:
        try:
            barrier.wait()
            return str((tab.get(path) if how == "arrives" else tab.post(kept))["Location"])
        finally:
            connection.close()

    with ThreadPoolExecutor(2) as pool:
        locations = set(pool.map(one, tabs))

    assert locations == {reverse("admin:credentials_credential_change", args=[Credential.objects.get().pk])}
    assert AuditEvent.objects.filter(action="credential.connected").count() == 1


def test_keeping_is_a_form_of_this_page_alone(paul: User, member: Client, linear: OAuthApp) -> None:
    travels(member, try_it(member, linear))
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(paul)
    there = reverse("admin:credentials_authorization_keep", args=[the_trip().pk])

    assert strict.post(there).status_code == 403
    assert member.get(there).status_code == 405
    assert not Credential.objects.exists()


def test_what_nobody_kept_is_erased_and_says_so(member: Client, linear: OAuthApp) -> None:
    path = travels(member, try_it(member, linear))
    Authorization.objects.update(expires_at=timezone.now() - timedelta(minutes=11))
    assert erase_unclaimed() == 1

    page, refused = member.get(path).content.decode(), keep(member)

    assert "they were erased, and given back to Linear" in page
    assert ">Try it again</button>" in page
    assert "have been erased" in refused.content.decode()
    assert not Credential.objects.exists()


def test_what_the_page_promises_is_what_the_purge_does(member: Client, linear: OAuthApp) -> None:
    path = travels(member, try_it(member, linear))
    Authorization.objects.update(expires_at=timezone.now() - timedelta(minutes=8, seconds=30))

    assert "In about 1 minute they are erased" in member.get(path).content.decode()
    assert erase_unclaimed() == 0


def test_tokens_that_do_not_open_are_told_in_words(member: Client, linear: OAuthApp) -> None:
    path = travels(member, try_it(member, linear))
    Authorization.objects.update(tokens=None)

    response = member.get(path)

    assert response.status_code == 200
    assert "It works" not in response.content.decode()


# ---- a connection that is made in the console --------------------------------------------------------------------


def test_a_connection_of_the_console_is_kept_when_it_arrives(member: Client, paul: User, linear: OAuthApp) -> None:
    path = begun_in_the_console(member, paul, linear)

    first, reload = member.get(path, follow=True), member.get(path, follow=True)

    there = reverse("admin:credentials_credential_change", args=[Credential.objects.get().pk])
    assert first.redirect_chain == reload.redirect_chain == [(there, 302)]
    assert [str(message) for message in first.context["messages"]] == ["Connected."]
    assert AuditEvent.objects.filter(action="credential.connected").count() == 1


def test_the_same_account_connected_twice_is_one_credential_and_nothing_is_lost(
    member: Client, paul: User, linear: OAuthApp
) -> None:
    """By the back button, too: the first trip's page leads to the credential still, or says what it is."""
    paths = [begun_in_the_console(member, paul, linear)]
    member.get(paths[0])
    paths.append(begun_in_the_console(member, paul, linear))
    member.get(paths[1])
    newest = Credential.objects.whole().get().token.access_token

    for path in [*paths, *paths]:
        assert member.get(path, follow=True).status_code == 200

    assert Credential.objects.whole().get().token.access_token == newest


def test_looking_ahead_keeps_nothing(member: Client, paul: User, linear: OAuthApp) -> None:
    """A24"""
    path = begun_in_the_console(member, paul, linear)

    ahead = [
        member.head(path),
        member.get(path, headers={"Sec-Purpose": "prefetch;prerender"}),
        member.get(path, headers={"Purpose": "prefetch"}),
        member.post(path),
    ]

    assert [response.status_code for response in ahead] == [405, 204, 204, 405]
    assert the_trip().step == Step.GRANTED
    assert not Credential.objects.exists()
    assert member.get(path).status_code == 302
    assert Credential.objects.count() == 1


def test_a_disabled_app_keeps_nothing(member: Client, paul: User, linear: OAuthApp) -> None:
    """A07"""
    path = begun_in_the_console(member, paul, linear)
    OAuthApp.objects.update(enabled=False)

    page = member.get(path, follow=True).content.decode()

    trip = the_trip()
    assert "Nothing was kept. The OAuth app was disabled meanwhile." in page
    assert (trip.step, trip.error, trip.tokens) == (Step.FAILED, "link_withdrawn", None)
    assert not Credential.objects.exists()


def test_a_second_press_keeps_what_the_database_did_not_take(
    member: Client, linear: OAuthApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """G13"""
    travels(member, try_it(member, linear))
    member.raise_request_exception = False

    def fail(*args: object) -> None:
        raise OperationalError("canary")

    with monkeypatch.context() as patched:
        patched.setattr("credentials.imports.keep", fail)
        first = keep(member)
    assert (first.status_code, the_trip().step, the_trip().tokens is None) == (503, Step.GRANTED, False)
    assert "canary" not in first.content.decode()

    keep(member)

    assert the_trip().step == Step.EXCHANGED
    assert Credential.objects.count() == 1


def test_a_denied_connection_of_the_console_ends_with_advice(member: Client, paul: User, linear: OAuthApp) -> None:
    page = member.get(begun_in_the_console(member, paul, linear, "deny")).content.decode()

    assert "Start again and approve" in page
    assert not Credential.objects.exists()


def test_what_must_not_be_kept_says_why(member: Client, paul: User, linear: OAuthApp) -> None:
    member.get(begun_in_the_console(member, paul, linear))
    Credential.objects.update(properties={"linear_org_id": "another", "linear_org_name": "Spice"})
    credential = Credential.objects.get()
    link = start_links.make(linear, variables={}, ends_at=End.CONSOLE, started_by=paul, credential=credential)

    page = member.get(travels(member, link.url), follow=True).content.decode()

    assert "Another account was connected than the one that this link is for." in page
    assert ">Open the credential</a>" in page
    assert Credential.objects.get().updated_at == credential.updated_at


def test_a_reconnection_of_the_console_keeps_the_credentials_id(member: Client, paul: User, linear: OAuthApp) -> None:
    member.get(begun_in_the_console(member, paul, linear), follow=True)
    credential = Credential.objects.get()
    link = start_links.make(linear, variables={}, ends_at=End.CONSOLE, started_by=paul, credential=credential)

    response = member.get(travels(member, link.url), follow=True)

    assert [str(message) for message in response.context["messages"]] == ["Reconnected."]
    assert Credential.objects.get().pk == credential.pk
    assert AuditEvent.objects.filter(action="credential.reconnected", object_id=str(credential.pk)).count() == 1
