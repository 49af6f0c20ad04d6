"""A provider whose address depends on the customer: the link says it, the app, or the end user on a hosted page."""

import re
from urllib.parse import parse_qs, urlsplit

import pytest
from django.contrib.auth.models import User
from django.test import Client
from responses import RequestsMock

from credentials.link import start_links
from credentials.models import Authorization, End
from oauth_apps.console.variable_field import variable_field
from oauth_apps.models import Account, OAuthApp, RedirectURI
from providers.showing.facts import hint
from providers.variables import Variable
from tests.link.trip import START, assert_page, query_of

REDIRECT_URI = "https://app.example.com/in"


@pytest.fixture
def zendesk_app(account: Account) -> OAuthApp:
    RedirectURI.objects.create(account=account, redirect_uri=REDIRECT_URI)
    return OAuthApp.objects.create(
        account=account, provider="zendesk", name="Zendesk", client_id="z1", client_secret="canary-client-secret"
    )


def link(oauth_app: OAuthApp, **params: str) -> dict[str, str]:
    return {"client_id": str(oauth_app.pk), "redirect_uri": REDIRECT_URI, "state": "s1", **params}


@pytest.mark.parametrize(
    "subdomain",
    [
        "evil.com\\", "evil.com/", "evil.com#", "evil.com?", "a@evil.com", "a.b", "a\n", "a:b", "xn--\u00e9",
        "-a", "a-", "a" * 64, "..", "{0.__class__}", "%2e", "a b", "127.0.0.1", "https://evil.com",
    ],
)  # fmt: skip
def test_a_variable_never_leaves_its_label(client: Client, zendesk_app: OAuthApp, subdomain: str) -> None:
    """F01"""
    response = client.get(START, link(zendesk_app, subdomain=subdomain))

    assert response.status_code == 302
    answer = query_of(response["Location"])
    assert response["Location"].startswith(REDIRECT_URI)
    assert (answer["error"], answer["state"]) == ("invalid_request", "s1")
    assert Authorization.objects.count() == 0


def test_a_variable_that_the_app_fixes_cannot_be_changed(client: Client, zendesk_app: OAuthApp) -> None:
    OAuthApp.objects.update(variables={"subdomain": "acme"})

    other = client.get(START, link(zendesk_app, subdomain="other"))
    same = client.get(START, link(zendesk_app, subdomain="acme"))

    assert query_of(other["Location"])["error"] == "invalid_request"
    assert same["Location"].startswith("https://acme.zendesk.com/")


def test_a_host_that_is_not_the_providers_own_is_for_the_developer_to_name(client: Client, account: Account) -> None:
    """Anybody may open a link, and the client secret would be sent to whatever host it names."""
    RedirectURI.objects.create(account=account, redirect_uri=REDIRECT_URI)
    oauth_app = OAuthApp.objects.create(
        account=account, provider="auth0", name="Auth0", client_id="a1", client_secret="x", own_callback=True
    )

    stranger = client.get(START, link(oauth_app, domain="auth0.evil.com"))
    providers_own = client.get(START, link(oauth_app, domain="acme.us.auth0.com"))
    OAuthApp.objects.update(variables={"domain": "login.acme.com"})
    fixed = client.get(START, link(oauth_app))

    assert query_of(stranger["Location"])["error"] == "invalid_request"
    assert providers_own["Location"].startswith("https://acme.us.auth0.com/authorize?")
    assert fixed["Location"].startswith("https://login.acme.com/authorize?")


def test_the_end_user_is_asked_for_what_nobody_gave(client: Client, zendesk_app: OAuthApp) -> None:
    asked = client.get(START, link(zendesk_app))

    page = asked.content.decode()
    assert asked.status_code == 200
    assert asked["Cache-Control"] == "no-store"
    assert "Zendesk subdomain" in page
    assert "<script" not in page
    assert Authorization.objects.count() == 0
    fields = dict(re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)">', page))
    assert fields == {**link(zendesk_app), "hosted": "1"}

    wrong = client.get(START, {**fields, "subdomain": "not a label"})
    right = client.get(START, {**fields, "subdomain": "Acme.zendesk.com"})

    assert wrong.status_code == 200
    assert "must be a word of letters, digits and dashes" in wrong.content.decode()
    assert 'value="not a label"' in wrong.content.decode()
    assert right.status_code == 200  # a page that moves on: form-action would stop a redirect
    match = re.search(r'http-equiv="refresh" content="0; url=([^"]*)"', right.content.decode())
    assert match
    url = match[1].replace("&amp;", "&")
    assert url.startswith("https://acme.zendesk.com/oauth/authorizations/new?")
    assert "link_" in str(client.cookies)
    assert Authorization.objects.count() == 1


def test_the_page_says_which_part_of_the_address_it_is(client: Client, zendesk_app: OAuthApp) -> None:
    """In the words of the console's own form."""
    variable = zendesk_app.definition.variables["subdomain"]
    field = variable_field(variable, provider_name="Zendesk", required=True)

    page = client.get(START, link(zendesk_app)).content.decode()

    assert hint(variable) == "The part before .zendesk.com, for example acme."
    assert hint(variable) in str(field.help_text)
    assert f'id="hint_subdomain">{hint(variable)}</p>' in page


@pytest.mark.parametrize(
    ("variable", "words"),
    [
        (Variable("Shop", suffix=".shop.example", example="acme"), "The part before .shop.example, for example acme."),
        (Variable("Name"), "Letters, digits and dashes."),
        (Variable("Host", kind="host", example="a.example"), "A host name, for example a.example."),
        (Variable("Region", kind="choice", values=["eu", "us"]), "One of eu, us."),
        (Variable("Scopes", kind="scopes"), "Separated by spaces or commas."),
        (Variable("Id", kind="text", example="42"), "For example 42."),
        (Variable("Id", kind="text"), ""),
    ],
)
def test_a_variable_is_hinted_at(variable: Variable, words: str) -> None:
    assert hint(variable) == words


def test_who_does_not_want_to_say_it_goes_back_with_a_refusal(client: Client, zendesk_app: OAuthApp) -> None:
    pages = [client.get(START, link(zendesk_app, **more)) for more in ({}, {"hosted": "1", "subdomain": "a b"})]

    for page in pages:
        found = re.search(r'<a class="button quiet" href="([^"]+)" rel="noreferrer">Cancel</a>', page.content.decode())
        assert found
        back = found[1].replace("&amp;", "&")
        assert back.startswith(f"{REDIRECT_URI}?")
        assert (query_of(back)["error"], query_of(back)["state"]) == ("access_denied", "s1")


def test_of_a_link_of_the_console_he_goes_back_there(client: Client, zendesk_app: OAuthApp) -> None:
    user = User.objects.create_user("paul", is_staff=True)
    client.force_login(user)
    path = start_links.make(zendesk_app, variables={}, ends_at=End.CONSOLE, started_by=user).url

    page = client.get(path).content.decode()

    there = f"http://127.0.0.1:8000/admin/oauth_apps/oauthapp/{zendesk_app.pk}/change/"
    assert f'<a class="button quiet" href="{there}" rel="noreferrer">Cancel</a>' in page


def test_what_was_typed_is_used_for_the_exchange(
    client: Client, zendesk_app: OAuthApp, responses: RequestsMock
) -> None:
    responses.post(
        "https://acme.zendesk.com/oauth/tokens", json={"access_token": "t1", "token_type": "bearer", "scope": "read"}
    )
    responses.get("https://acme.zendesk.com/api/v2/users/me.json", json={"user": {"id": 7}})
    started = client.get(START, link(zendesk_app, subdomain="acme"))
    state = parse_qs(urlsplit(started["Location"]).query)["state"][0]

    arrived = client.get("/link/oauth2/callback/zendesk", {"state": state, "code": "c1", "subdomain": "evil"})

    assert "code" in query_of(arrived["Location"])


def test_a_provider_that_posts_is_sent_to_the_get_form(client: Client, account: Account) -> None:
    """B13: the Lax cookie is not on a cross-site POST"""
    RedirectURI.objects.create(account=account, redirect_uri=REDIRECT_URI)
    oauth_app = OAuthApp.objects.create(
        account=account,
        provider="apple",
        name="Apple",
        client_id="com.example",
        client_secret="x",
        variables={"team_id": "A1B2C3D4E5", "key_id": "K1L2M3N4O5"},
    )
    started = client.get(START, link(oauth_app))
    state = query_of(started["Location"])["state"]

    posted = Client().post(
        "/link/oauth2/callback/apple", {"state": state, "code": "c1", "user": "{}", "id_token": "canary-id-token"}
    )

    assert query_of(started["Location"])["response_mode"] == "form_post"
    assert posted.status_code == 303
    assert posted["Location"] == f"/link/oauth2/callback/apple?code=c1&state={state}"
    assert Authorization.objects.get().step == "started"


def test_the_hosted_page_does_not_open_for_an_unregistered_uri(client: Client, zendesk_app: OAuthApp) -> None:
    response = client.get(START, link(zendesk_app) | {"redirect_uri": "https://evil.example.com"})

    assert_page(response)


def test_an_app_of_a_removed_provider_starts_nothing(client: Client, zendesk_app: OAuthApp) -> None:
    OAuthApp.objects.update(provider="gone")

    assert_page(client.get(START, link(zendesk_app)))
