"""Connections › Credentials: who sees which, what a page says, what can be done with one."""

import html
import json
import re
import time
import uuid
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.contrib.messages import get_messages
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone
from responses import RequestsMock

from credentials.console import listing
from credentials.models import Credential, End, Failure, StartLink, Token
from credentials.models.fingerprint import fingerprint
from oauth_apps.models import Account, AuditEvent, Membership, OAuthApp
from tests.credentials.stored import NEW, OLD, TOKEN_ENDPOINT, again, keep, linear_app, linear_credential

if TYPE_CHECKING:
    from django.test.client import _MonkeyPatchedWSGIResponse as Response

LIST = "/admin/credentials/credential/"
DEEDS = ("refresh", "check", "reconnect", "reconnect_here", "rename", "export_one", "reveal")
SENDGRID = "https://api.sendgrid.com/v3/scopes"


@pytest.fixture
def oauth_app(account: Account) -> OAuthApp:
    return linear_app(account)


@pytest.fixture
def credential(oauth_app: OAuthApp) -> Credential:
    """Its access token has ended."""
    return linear_credential(oauth_app)


@pytest.fixture
def theirs(other_account: Account) -> Credential:
    return linear_credential(linear_app(other_account, name="Spice"), linear_org_name="Harkonnen Inc.")


def url(deed: str, credential: Credential) -> str:
    return reverse(f"admin:credentials_credential_{deed}", args=[credential.pk])


def page(client: Client, path: str) -> str:
    response = client.get(path)
    assert response.status_code == 200, path
    return response.content.decode()


def told(response: "Response") -> list[str]:
    return [str(message) for message in get_messages(response.wsgi_request)]


def listed(client: Client, **query: str) -> set[str]:
    """The names in the list."""
    response = client.get(LIST, query)
    assert response.status_code == 200, query
    return {row.name for row in response.context["cl"].result_list}


def named(credential: Credential, name: str) -> Credential:
    Credential.objects.filter(pk=credential.pk).update(name=name)
    return again(credential)


# ---- refusals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("deed", [*DEEDS, "change", "delete", "history"])
@pytest.mark.parametrize("method", ["get", "post"])
def test_another_accounts_credential_is_not_found(
    member: Client, theirs: Credential, deed: str, method: str, settings: Any
) -> None:
    """H07"""
    settings.CONSOLE_REVEAL = True

    response = getattr(member, method)(url(deed, theirs), {"post": "yes", "password": "of-paul"})
    nobodys = getattr(member, method)(reverse(f"admin:credentials_credential_{deed}", args=[uuid.uuid4()]))

    assert response.status_code == nobodys.status_code
    assert response.status_code in {404, 405} or response["Location"] == "/admin/"
    assert "Harkonnen" not in response.content.decode()
    assert Credential.objects.filter(pk=theirs.pk).exists()
    assert not AuditEvent.objects.exists()


def test_the_list_and_its_filters_tell_nothing_of_another_account(
    member: Client, theirs: Credential, other_account: Account
) -> None:
    """H07"""
    keep(other_account, "sendgrid_key", None, secret="SG.canary")

    for query in ({}, {"q": "Harkonnen"}, {"q": str(theirs.pk)}, {"oauth_app": str(theirs.oauth_app_id)}):
        response = member.get(LIST, query)
        assert response.status_code == 200
        assert list(response.context["cl"].result_list) == []
        shown = response.content.decode()
        for word in ("Spice", "Harkonnen Inc", "linear_oauth2", "SendGrid"):
            assert word not in shown.replace(str(query.get("q")), ""), query


@pytest.mark.parametrize("deed", ["refresh", "check", "reconnect", "reconnect_here", "rename"])
def test_a_deed_is_never_done_by_a_link(member: Client, credential: Credential, deed: str) -> None:
    assert member.get(url(deed, credential)).status_code == 405
    assert not StartLink.objects.exists()


@pytest.mark.parametrize("deed", DEEDS)
def test_a_deed_of_another_site_is_refused(paul: User, credential: Credential, deed: str) -> None:
    """H03"""
    client = Client(enforce_csrf_checks=True)
    client.force_login(paul)

    assert client.post(url(deed, credential), {"password": "of-paul"}).status_code == 403


def test_the_page_itself_changes_nothing(member: Client, credential: Credential) -> None:
    response = member.post(url("change", credential), {"name": "x", "kind": "stripe_key"})

    assert response.status_code == 405
    assert again(credential).name == ""
    assert member.get(LIST + "add/").status_code == 403


@pytest.mark.parametrize("spelt", ["1", "x", "..%2f", "A" * 300])
def test_an_id_that_is_none_is_not_found(member: Client, spelt: str) -> None:
    assert member.get(f"{LIST}{spelt}/change/").status_code == 404


@pytest.mark.parametrize(
    "query",
    [{"p": "99"}, {"oauth_app": "x"}, {"health": "odd"}, {"needs": "x"}, {"q": "%"}, {"q": " "}, {"kind": "x' OR 1"}],
)
def test_an_odd_query_of_the_list_breaks_nothing(member: Client, credential: Credential, query: dict[str, str]) -> None:
    assert member.get(LIST, query).status_code in {200, 302}


# ---- the list --------------------------------------------------------------------------------------------------------


def test_the_list_says_what_is_known(member: Client, credential: Credential) -> None:
    shown = page(member, LIST)

    assert "Arrakis · org-1" in shown
    assert "/providers/linear/logo.svg" in shown
    assert "OAuth 2.0" in shown
    assert '<span class="sq-badge">not checked yet</span>' in shown
    assert "days ago" in shown
    assert url("change", credential) in shown
    assert "canary" not in shown


def test_filters_offer_what_occurs(member: Client, credential: Credential, account: Account) -> None:
    keep(account, "sendgrid_key", None, secret="SG.canary")

    specs = {spec.parameter_name: dict(spec.lookup_choices) for spec in member.get(LIST).context["cl"].filter_specs}

    assert specs["provider"] == {"linear": "Linear", "sendgrid": "Twilio SendGrid"} | specs["provider"]
    assert sorted(specs["provider"]) == ["linear", "sendgrid"]
    assert sorted(specs["kind"]) == ["linear_oauth2", "sendgrid_key"]
    assert specs["oauth_app"] == {str(credential.oauth_app_id): "Linear"}
    assert sorted(specs["health"]) == ["error", "ok", "warn"]


def test_filters_and_search_find(member: Client, oauth_app: OAuthApp, account: Account) -> None:
    named(linear_credential(oauth_app), "Atreides")
    fremen = named(linear_credential(oauth_app, linear_org_id="org-2", refresh_token="r2"), "Fremen")
    key = named(keep(account, "sendgrid_key", None, secret="SG.canary"), "Mail")
    Token.objects.filter(pk=fremen.pk).update(failure=Failure.REVOKED)
    Credential.objects.filter(pk=fremen.pk).update(health_status="error")

    assert listed(member) == {"Atreides", "Fremen", "Mail"}
    assert listed(member, health="error") == {"Fremen"}
    assert listed(member, needs="reauthorization") == {"Fremen"}
    assert listed(member, provider="sendgrid") == {"Mail"}
    assert listed(member, kind="linear_oauth2") == {"Atreides", "Fremen"}
    assert listed(member, oauth_app=str(oauth_app.pk)) == {"Atreides", "Fremen"}
    assert listed(member, q="reme") == {"Fremen"}
    assert listed(member, q="LINEAR") == {"Atreides", "Fremen"}
    assert listed(member, q="sendgr") == {"Mail"}
    assert listed(member, q="ORG-2") == {"Fremen"}
    assert listed(member, q="org-2 atre") == set()
    assert listed(member, q=str(key.pk)) == {"Mail"}
    assert listed(member, q="linear_org") == set()  # a property's name is nobody's identity
    assert listed(member, q="SG.canary") == set()
    assert listed(member, q="reme", health="ok") == set()


def test_the_list_takes_ten_statements_however_many_there_are(member: Client, oauth_app: OAuthApp) -> None:
    for number in range(120):
        linear_credential(oauth_app, linear_org_id=f"org-{number}", refresh_token=f"r-{number}")

    for query in ({}, {"p": "2"}, {"q": "org-1"}, {"health": "error"}, {"needs": "reauthorization"}):
        with CaptureQueriesContext(connection) as statements:
            assert member.get(LIST, query).status_code == 200
        asked = [sql for sql in statements if "SAVEPOINT" not in sql["sql"]]
        assert len(asked) <= 10, [sql["sql"][:80] for sql in asked]


def test_a_filter_that_is_not_offered_shows_nothing_else(member: Client, account: Account) -> None:
    keep(account, "sendgrid_key", None, secret="SG.canary")

    assert listed(member, oauth_app=str(uuid.uuid4())) == set()
    assert listed(member, provider="linear") == set()


def test_pages_follow_one_another(member: Client, oauth_app: OAuthApp) -> None:
    for number in range(60):
        linear_credential(oauth_app, linear_org_id=f"org-{number}", refresh_token=f"r-{number}")

    first, second = (member.get(LIST, {"p": number}).context["cl"] for number in ("1", "2"))
    searched = member.get(LIST, {"p": "2", "q": "org"}).context["cl"]

    assert (len(first.result_list), len(second.result_list), first.result_count) == (50, 10, 60)
    assert {row.pk for row in first.result_list}.isdisjoint(row.pk for row in second.result_list)
    assert [row.pk for row in searched.result_list] == [row.pk for row in second.result_list]


def test_a_search_that_finds_very_many_says_so(
    member: Client, oauth_app: OAuthApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "MOST_FOUND", 3)
    for number in range(4):
        linear_credential(oauth_app, linear_org_id=f"org-{number}", refresh_token=f"r-{number}")

    cut = " ".join(page(member, f"{LIST}?q=org").split())
    whole = " ".join(page(member, f"{LIST}?q=org-1").split())
    everything = " ".join(page(member, LIST).split())

    assert len(member.get(LIST, {"q": "org"}).context["cl"].result_list) == 3
    assert cut.count("ore than 3 credentials") == 2  # above the list and below it
    assert "only the newest are listed" in cut
    assert ">1 credential<" in whole
    assert ">4 credentials<" in everything
    assert "ore than" not in whole + everything


def test_a_thousand_is_spelt_so_that_it_can_be_read() -> None:
    pages = listing.PagesOfIds(range(1_000), 50)

    assert pages.number == "1,000 credentials"


def test_the_list_is_of_the_account_that_is_worked_in(
    member: Client, paul: User, credential: Credential, theirs: Credential, other_account: Account
) -> None:
    Membership.objects.create(account=other_account, user=paul)
    assert len(member.get(LIST).context["cl"].result_list) == 2

    member.post(reverse("admin:choose_account"), {"account": str(other_account.pk)})

    assert [row.pk for row in member.get(LIST).context["cl"].result_list] == [theirs.pk]
    assert member.get(url("change", credential)).status_code == 200  # by a link, all of his accounts


# ---- a row that does not open, a provider that has left --------------------------------------------------------------


def test_an_unreadable_row_breaks_no_page(member: Client, credential: Credential) -> None:
    """E07"""
    spoil(credential)

    assert "Arrakis" in page(member, LIST)
    assert "There is one" in page(member, url("change", credential))
    assert page(member, url("delete", credential))
    response = member.post(url("refresh", credential))
    assert "does not open" in told(response)[0]
    assert again(credential).token.failure == Failure.UNREADABLE
    assert member.post(url("check", credential)).status_code == 302
    assert member.post(url("delete", credential), {"post": "yes"}).status_code == 302
    assert not Credential.objects.exists()


def spoil(credential: Credential) -> None:
    with connection.cursor() as cursor:
        for column in ("access_token", "refresh_token"):
            cursor.execute(
                f"UPDATE credentials_token SET {column} = overlay({column} placing 'x'::bytea from 40 for 1)"  # noqa: S608
                " WHERE credential_id = %s",
                [credential.pk],
            )


def test_a_provider_that_has_left_the_catalogue_breaks_no_page(member: Client, credential: Credential) -> None:
    Credential.objects.filter(pk=credential.pk).update(provider="gone", kind="gone_oauth2")

    assert "gone" in page(member, LIST)
    assert "not in the catalogue any more" in page(member, url("change", credential))
    for deed in ("refresh", "check", "reconnect", "reconnect_here"):
        response = member.post(url(deed, credential))
        assert response.status_code == 302
        assert told(response)


def test_what_comes_from_outside_is_escaped(member: Client, oauth_app: OAuthApp) -> None:
    """H08"""
    evil = "<script>alert(1)</script>"
    credential = named(linear_credential(oauth_app, linear_org_name=evil, scope=evil), evil)
    Credential.objects.filter(pk=credential.pk).update(
        health_notes=[evil], metadata={evil: evil}, scopes_requested=[evil]
    )
    OAuthApp.objects.update(name=evil)

    for path in (LIST, *(url(deed, credential) for deed in ("change", "delete", "export_one"))):
        assert evil not in page(member, path)


# ---- the page --------------------------------------------------------------------------------------------------------


def test_the_page_says_what_is_known_and_no_secret(member: Client, credential: Credential) -> None:
    """E04, D04"""
    Credential.objects.filter(pk=credential.pk).update(
        scopes_requested=["read", "write", "admin"], scopes_granted=["read", "write"], metadata={"customer": 7}
    )
    now = int(time.time())
    Token.objects.filter(pk=credential.pk).update(
        history=[f"{now} provider_unavailable", f"{now - 3600} refreshed", "odd", "x y"]
    )

    shown = page(member, url("change", credential))

    assert "canary" not in shown
    assert shown.count("***********") == 2
    assert '<li class="sq-chip warn">admin</li>' in shown
    assert "named the moment" in shown
    assert "The provider did not answer." in shown
    assert "Refreshed." in shown
    assert "&quot;customer&quot;: 7" in shown
    assert reverse("admin:oauth_apps_oauthapp_change", args=[credential.oauth_app_id]) in shown
    assert "Reveal" not in shown


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("expires_in", "in its answer"), ("token", "The token says so"), ("introspection", "was asked"),
        ("catalogue", "documentation"), ("policy", "taken for an hour"), ("never", "does not end"),
        ("", "Nobody has said yet"),
    ],
)  # fmt: skip
def test_the_page_says_where_the_end_is_known_from(
    member: Client, credential: Credential, source: str, words: str
) -> None:
    Token.objects.filter(pk=credential.pk).update(expiry_source=source)

    assert words in page(member, url("change", credential))


def test_a_key_has_no_tokens_to_speak_of(member: Client, account: Account) -> None:
    key = keep(account, "sendgrid_key", None, secret="SG.canary")

    shown = page(member, url("change", key))

    assert "sent as it is" in shown
    assert "Refresh now" not in shown
    assert "comes from no authorization" in shown
    assert told(member.post(url("refresh", key)))[0].startswith("There is nothing to refresh")


def test_what_was_never_observed_is_not_said_to_be_well(
    member: Client, account: Account, responses: RequestsMock
) -> None:
    responses.get(SENDGRID, json={"scopes": []})
    key = keep(account, "sendgrid_key", None, secret="SG.canary")
    assert '<span class="sq-badge">not checked yet</span>' in page(member, url("change", key))
    assert "as of" not in page(member, url("change", key))

    member.post(url("check", key))

    for path in (LIST, url("change", key)):
        assert "not checked yet" not in page(member, path)
        assert '<span class="sq-badge ok">ok</span>' in page(member, path)


def primary(shown: str) -> list[str]:
    """What the page wants somebody to press."""
    return re.findall(r'<(?:button|a) class="sq-button primary"[^>]*>([^<]+)<', shown)


def test_a_broken_credential_is_reconnected_first(
    member: Client, credential: Credential, responses: RequestsMock
) -> None:
    responses.post(TOKEN_ENDPOINT, status=400, json={"error": "invalid_grant"})
    assert primary(page(member, url("change", credential))) == ["Check"]
    member.post(url("refresh", credential))

    shown = page(member, url("change", credential))

    assert primary(shown) == ["Make a reconnect link"]
    assert shown.count("Make a reconnect link") == shown.count("Reconnect in this browser") == 1
    assert "Refused since" in shown
    assert "There is one" not in shown
    assert "/v1/" in str(again(credential).health_notes)
    assert "POST /v1/" not in shown
    assert not [words for words in told(member.post(url("check", credential))) if "/v1/" in words]

    OAuthApp.objects.update(enabled=False)
    assert primary(page(member, url("change", credential))) == ["Check"]


def test_a_broken_credential_of_nobody_known_is_reconnected_in_this_browser(
    member: Client, credential: Credential
) -> None:
    Credential.objects.filter(pk=credential.pk).update(properties={})
    shown = page(member, url("change", credential))
    assert "Make a reconnect link" not in shown
    assert "could bring another" in shown

    Token.objects.filter(pk=credential.pk).update(failure=Failure.REVOKED)

    shown = page(member, url("change", credential))
    assert primary(shown) == ["Reconnect in this browser"]
    assert shown.count("Reconnect in this browser") == 1


def test_the_page_says_how_a_credential_is_used(member: Client, credential: Credential, account: Account) -> None:
    shown = html.unescape(page(member, url("change", credential)))

    assert (
        f"curl {settings.PUBLIC_URL}/v1/credentials/{credential.pk}/access-token \\\n"
        '  -H "Authorization: Bearer $API_TOKEN"' in shown
    )
    assert f'<code>reveal</code>:\n<a href="{reverse("admin:oauth_apps_apitoken_add")}">' in shown
    key = keep(account, "sendgrid_key", None, secret="SG.canary")
    assert "Use it (curl)" not in page(member, url("change", key))


def test_an_empty_list_says_what_a_credential_is_and_how_one_comes(member: Client, account: Account) -> None:
    shown = html.unescape(page(member, LIST))
    sifted = html.unescape(page(member, f"{LIST}?q=spice"))

    assert "A credential is one connected account: yours, or one of your users'." in shown
    assert f'href="{reverse("admin:connect")}">Connect an account' in shown
    assert "A credential is one" not in sifted


def heading(response: "Response") -> str:
    found = re.search(r"<h1.*?</h1>", response.content.decode(), re.DOTALL)
    assert found
    return html.unescape(" ".join(re.sub("<[^>]+>", "", found[0]).split()))


def test_the_heading_says_where_one_is(member: Client, credential: Credential, settings: Any) -> None:
    settings.CONSOLE_REVEAL = True
    here = "Connections › Credentials"
    named = f"{here} › Arrakis · org-1"

    for path in (reverse("admin:connect"), f"{reverse('admin:connect')}?provider=github", f"{LIST}export/"):
        assert heading(member.get(path)) == here
    for deed in ("change", "export_one", "reveal", "delete"):
        assert heading(member.get(url(deed, credential))) == named
    assert heading(member.post(url("reconnect", credential))) == named
    assert again(credential).name == ""


# ---- deeds -----------------------------------------------------------------------------------------------------------


def test_refresh_now_asks_the_provider(member: Client, credential: Credential, responses: RequestsMock) -> None:
    asked = responses.post(TOKEN_ENDPOINT, json=NEW)

    response = member.post(url("refresh", credential))

    assert (response.status_code, response["Location"]) == (302, url("change", credential))
    assert told(response) == ["There is a new access token."]
    assert asked.call_count == 1
    assert again(credential).token.access_token == "canary-access-2"
    assert AuditEvent.objects.get().action == "credential.refreshed"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({"status": 400, "json": {"error": "invalid_grant"}}, "has to connect it again"),
        ({"status": 503, "body": "no"}, "does not answer"),
        ({"status": 200, "body": "<html>canary"}, "could not be asked"),
        ({"status": 401, "json": {"error": "invalid_client"}}, "does not accept the OAuth app"),
    ],
)
def test_what_stands_in_the_way_of_a_refresh_is_said(
    member: Client, credential: Credential, responses: RequestsMock, answer: dict[str, Any], words: str
) -> None:
    responses.post(TOKEN_ENDPOINT, **answer)

    response = member.post(url("refresh", credential))

    assert words in told(response)[0]
    assert "canary" not in page(member, url("change", credential))
    assert again(credential).token.access_token == OLD["access_token"]


@pytest.mark.parametrize(
    ("answer", "words", "health"),
    [
        ({"json": {"scopes": []}}, "Twilio SendGrid accepts", "ok"),
        ({"status": 401, "json": {}}, "does not accept", "error"),
        ({"status": 500, "body": "x"}, "did not answer a check", "warn"),
    ],
)
def test_check_asks_the_provider(
    member: Client, account: Account, responses: RequestsMock, answer: dict[str, Any], words: str, health: str
) -> None:
    key = keep(account, "sendgrid_key", None, secret="SG.canary")
    responses.get(SENDGRID, **answer)

    response = member.post(url("check", key))

    assert words.replace("Twilio SendGrid", again(key).definition.provider.name) in told(response)[0]
    assert again(key).health_status == health
    found = ["credential.needs_reauthorization"] if health == "error" else []
    events = AuditEvent.objects.order_by("created_at").values_list("action", "actor")
    assert list(events) == [(action, "paul") for action in [*found, "credential.checked"]]


def test_a_reconnect_link_is_shown_once(member: Client, credential: Credential) -> None:
    response = member.post(url("reconnect", credential))

    link = StartLink.objects.get()
    assert response.status_code == 200
    assert "no-store" in response["Cache-Control"]
    shown = response.context["link"].url
    assert shown in response.content.decode()
    assert (link.ends_at, link.credential_id, link.started_by) == (End.PAGE, credential.pk, None)
    assert timedelta(days=2, hours=23) < link.expires_at - timezone.now() <= timedelta(days=3)
    assert shown not in page(member, url("change", credential))
    assert response.context["words"] == (
        "Our access to your Linear account has to be renewed. Please open this link and agree once more. It works until"
        f" {link.expires_at:%Y-%m-%d %H:%M} UTC, for the account Arrakis · org-1: {shown}"
    )
    assert response.content.decode().count(shown) == 2
    assert AuditEvent.objects.get().action == "credential.reconnect_link_made"
    assert shown.rpartition("/")[2] not in str(AuditEvent.objects.values())


def test_reconnecting_in_this_browser_leads_on_without_a_redirect(
    member: Client, paul: User, credential: Credential
) -> None:
    response = member.post(url("reconnect_here", credential))

    link = StartLink.objects.get()
    assert response.status_code == 200
    assert f'content="0; url={response.context["url"]}"' in response.content.decode()
    assert (link.ends_at, link.credential_id, link.started_by) == (End.CONSOLE, credential.pk, paul)


def test_why_there_is_no_reconnect_link(member: Client, credential: Credential) -> None:
    OAuthApp.objects.update(enabled=False)

    for deed in ("reconnect", "reconnect_here"):
        assert set(told(member.post(url(deed, credential)))) == {"The OAuth app of this credential is disabled."}
    assert not StartLink.objects.exists()


def test_a_credential_is_renamed(member: Client, credential: Credential) -> None:
    response = member.post(url("rename", credential), {"name": "Atreides", "metadata": '{"customer": 7}'})

    assert response.status_code == 302
    changed = again(credential)
    assert (changed.name, changed.metadata) == ("Atreides", {"customer": 7})
    assert changed.token.access_token == OLD["access_token"]
    event = AuditEvent.objects.get()
    assert (event.action, event.detail, event.account_id) == (
        "credential.changed",
        "name, metadata",
        changed.account_id,
    )


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("metadata", "[]"), ("metadata", "{"), ("metadata", "7"), ("metadata", "[" * 5000), ("name", "x" * 201),
        ("metadata", json.dumps({"a": "x" * 17_000})), ("metadata", '{"a": "\\u0000"}'), ("name", "a\0b"),
    ],
)  # fmt: skip
def test_a_name_and_metadata_obey_the_rules_of_the_api(
    member: Client, credential: Credential, field: str, value: str
) -> None:
    """A05"""
    response = member.post(url("rename", credential), {"name": "A", "metadata": "{}"} | {field: value})

    assert response.status_code == 200
    assert response.context["form"].errors.keys() == {field}
    assert again(credential).name == ""


def test_deleting_revokes_and_erases(
    member: Client,
    account: Account,
    stripe_app: OAuthApp,
    responses: RequestsMock,
    django_capture_on_commit_callbacks: Any,
) -> None:
    """D15"""
    credential = keep(
        account, "stripe_oauth2", stripe_app, stripe_user_id="acct_1", livemode=True, access_token="canary-access-1",
        refresh_token="canary-refresh-1",
    )  # fmt: skip
    asked = responses.post("https://connect.stripe.com/oauth/deauthorize", json={"stripe_user_id": "acct_1"})
    assert "revoked at Stripe" in page(member, url("delete", credential))

    with django_capture_on_commit_callbacks(execute=True):
        response = member.post(url("delete", credential), {"post": "yes"})

    assert response.status_code == 302
    assert asked.call_count == 1
    assert not Credential.objects.exists()
    event = AuditEvent.objects.get()
    assert (event.action, event.object_id) == ("credential.deleted", str(credential.pk))
    assert response["Location"] == LIST
    assert told(response) == [f"{credential} is deleted."]


def test_a_fingerprint_is_no_identity(member: Client, account: Account) -> None:
    """What tells a key apart is its secret, which no page hints at."""
    key = keep(account, "sendgrid_key", None, secret="SG.canary")

    shown = page(member, LIST) + page(member, url("change", key))

    assert "SG." not in shown
    assert fingerprint("SG.canary").hex() not in shown
