"""Connecting an account from the console: by a trip, by a key, by whatever the catalogue has."""

import re
import uuid
from typing import TYPE_CHECKING, Any

import pytest
import requests
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from django.conf import settings as configured
from django.contrib.auth.models import User
from django.contrib.messages import get_messages
from django.test import Client
from django.urls import reverse
from responses import RequestsMock

from credentials.console.connect_forms import TripForm, TypedForm
from credentials.models import Authorization, Credential, End, StartLink, Step
from oauth_apps.models import Account, AuditEvent, Membership, OAuthApp
from providers import catalogue, kinds
from tests.credentials.stored import again, keep, linear_app
from tests.providers.trip import sandbox_app

if TYPE_CHECKING:
    from django.test.client import _MonkeyPatchedWSGIResponse as Response

CONNECT = "/admin/credentials/credential/connect/"
SENDGRID = "https://api.sendgrid.com/v3/scopes"
SENDGRID_KEY = {"provider": "sendgrid", "kind": "sendgrid_key"}
KEY = "SG.canary-key"
GITHUB_TOKENS = "https://api.github.com/app/installations/42/access_tokens"
GITHUB_CHECK = "https://api.github.com/installation/repositories?per_page=1"
SERVICENOW = re.compile(r"https://acme\.service-now\.com/api/now/table/sys_user")
TYPED = sorted(name for name, kind in kinds.load().items() if kind.declared)


@pytest.fixture(scope="module")
def private_key() -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()).decode()


@pytest.fixture
def github_app(account: Account, private_key: str) -> OAuthApp:
    return OAuthApp.objects.create(
        account=account, provider="github", name="GitHub App", client_id="Iv1.app", client_secret=private_key
    )


def path(**query: str) -> str:
    return f"{CONNECT}?{'&'.join(f'{name}={value}' for name, value in query.items())}"


def of_app(oauth_app: OAuthApp, kind: str = "") -> dict[str, str]:
    return {
        "provider": oauth_app.provider,
        "kind": kind or oauth_app.definition.kind,
        "oauth_app": str(oauth_app.pk),
    }


def told(response: "Response") -> str:
    return " ".join(str(message) for message in get_messages(response.wsgi_request))


def connected(response: "Response") -> Credential:
    """The credential on whose page it ends."""
    assert response.status_code == 302, response.context["form"].errors
    credential = Credential.objects.whole().latest("updated_at")
    assert response["Location"] == reverse("admin:credentials_credential_change", args=[credential.pk])
    return credential


def refused(response: "Response", *, words: str) -> None:
    assert response.status_code == 200
    shown = response.content.decode()
    assert words in shown
    assert "canary" not in shown
    assert not AuditEvent.objects.exists()


# ---- refusals --------------------------------------------------------------------------------------------------------


def test_another_accounts_oauth_app_is_not_found(member: Client, other_account: Account, private_key: str) -> None:
    """H07"""
    theirs = linear_app(other_account, name="Spice")
    key = OAuthApp.objects.create(
        account=other_account, provider="github", name="Spice", client_id="Iv1.b", client_secret=private_key
    )
    for query in (of_app(theirs), of_app(key, "github_app"), of_app(key)):
        assert member.get(path(**query)).status_code == 404
        assert member.post(path(**query), {"property_installation_id": "42"}).status_code == 404
    for slug in ("linear", "github"):
        assert "Spice" not in member.get(path(provider=slug)).content.decode()
    assert not StartLink.objects.exists()


def test_a_superuser_connects_in_the_account_that_he_chose(
    superuser: Client, account: Account, other_account: Account, responses: RequestsMock
) -> None:
    responses.get(SENDGRID, json={"scopes": []})

    refused(superuser.post(path(**SENDGRID_KEY), {"property_secret": KEY}), words="This field is required")
    refused(
        superuser.post(path(**SENDGRID_KEY), {"property_secret": KEY, "account": str(uuid.uuid4())}),
        words="not one of the available choices",
    )
    response = superuser.post(path(**SENDGRID_KEY), {"property_secret": KEY, "account": str(other_account.pk)})

    assert connected(response).account == other_account


def test_a_member_cannot_name_another_account(
    member: Client, paul: User, account: Account, other_account: Account, responses: RequestsMock
) -> None:
    """H07"""
    responses.get(SENDGRID, json={"scopes": []})

    response = member.post(path(**SENDGRID_KEY), {"property_secret": KEY, "account": str(other_account.pk)})

    assert connected(response).account == account


def test_who_belongs_to_no_account_connects_nothing(db: None) -> None:
    client = Client()
    client.force_login(User.objects.create_user("stray", is_staff=True))

    response = client.post(path(**SENDGRID_KEY), {"property_secret": KEY})

    refused(response, words="You belong to no account")


@pytest.mark.parametrize(
    "query",
    [
        {"provider": "nobody"}, {"provider": "sendgrid", "kind": "stripe_key"}, {"provider": ""},
        {"provider": "linear", "kind": "linear_oauth2"},
        {"provider": "linear", "kind": "linear_oauth2", "oauth_app": "x"},
    ],
)  # fmt: skip
def test_what_is_not_there_is_not_found(member: Client, query: dict[str, str]) -> None:
    assert member.get(path(**query)).status_code == 404


@pytest.mark.parametrize("fields", [{"enabled": False}, {"environment": "sandbox"}, {"provider": "stripe"}])
def test_an_app_that_cannot_be_used_is_not_found(
    member: Client, account: Account, settings: Any, fields: dict[str, Any]
) -> None:
    oauth_app = linear_app(account)
    OAuthApp.objects.update(**fields)
    settings.SANDBOX = False

    assert member.get(path(**of_app(oauth_app))).status_code == 404
    assert "register an OAuth app first" in member.get(path(provider="linear")).content.decode()


def test_a_form_of_another_site_is_refused(paul: User, account: Account) -> None:
    """H03"""
    client = Client(enforce_csrf_checks=True)
    client.force_login(paul)

    assert client.post(path(**SENDGRID_KEY), {"property_secret": KEY}).status_code == 403


@pytest.mark.parametrize("value", ["", " ", "***********", "a b", "a\r\nb", "schlüssel", "a\0b", "x" * 9000])
def test_a_key_obeys_the_rules_of_the_api(member: Client, value: str) -> None:
    """A05, D04"""
    response = member.post(path(**SENDGRID_KEY), {"property_secret": value})

    assert response.status_code == 200
    assert response.context["form"].errors.keys() == {"property_secret"}
    assert not Credential.objects.exists()


@pytest.mark.parametrize("instance", ["evil.com/x", "acme@evil.com", "a b", "acme#", "-acme", "../x", "127.0.0.1"])
def test_a_variable_leads_nowhere_else(member: Client, responses: RequestsMock, instance: str) -> None:
    """F01"""
    form = {"property_instance": instance, "property_username": "paul", "property_password": "canary"}

    response = member.post(path(provider="servicenow", kind="servicenow_password"), form)

    assert response.context["form"].errors.keys() == {"property_instance"}
    assert len(responses.calls) == 0


def test_a_key_that_is_refused_is_not_kept(member: Client, responses: RequestsMock) -> None:
    """D04"""
    asked = responses.get(SENDGRID, status=401, json={"errors": []})

    response = member.post(path(**SENDGRID_KEY), {"property_secret": KEY, "name": "Mail"})

    refused(response, words="SendGrid does not accept this. Nothing was kept.")
    assert 'value="Mail"' in response.content.decode()
    assert asked.call_count == 1
    assert not Credential.objects.exists()


def test_a_refused_password_leaves_the_one_that_is_stored(
    member: Client, account: Account, responses: RequestsMock
) -> None:
    stored = keep(account, "servicenow_password", None, instance="acme", username="paul", password="the-good-one")
    responses.get(SERVICENOW, status=401, json={})
    form = {"property_instance": "acme", "property_username": "paul", "property_password": "canary-wrong"}

    response = member.post(path(provider="servicenow", kind="servicenow_password"), form)

    refused(response, words="does not accept this")
    assert again(stored).values()["password"] == "the-good-one"
    assert again(stored).health_status == "ok"
    assert 'value="paul"' in response.content.decode()


# ---- which provider, which way ---------------------------------------------------------------------------------------


def test_every_provider_is_offered(member: Client) -> None:
    shown = member.get(reverse("admin:connect")).content.decode()

    for provider in catalogue.load().values():
        assert f"?provider={provider.slug}" in shown
    assert "Private API key" in shown
    assert 'data-filter="#providers"' in shown


def test_every_provider_has_a_next_page(member: Client) -> None:
    for provider in catalogue.load().values():
        if provider.kinds:
            assert member.get(path(provider=provider.slug)).status_code in {200, 302}, provider.slug


def test_the_only_way_is_gone_at_once(member: Client, account: Account) -> None:
    assert member.get(path(provider="sendgrid"))["Location"] == path(provider="sendgrid", kind="sendgrid_key")

    oauth_app = linear_app(account)

    assert member.get(path(provider="linear"))["Location"] == path(**of_app(oauth_app))


def test_each_way_is_told_in_sentences(
    member: Client, superuser: Client, github_app: OAuthApp, other_account: Account
) -> None:
    OAuthApp.objects.create(
        account=github_app.account, provider="github", name="Tried", client_id="c", client_secret="x",
        environment="sandbox",
    )  # fmt: skip

    shown = member.get(path(provider="github")).content.decode()
    to_a_superuser = superuser.get(path(provider="github")).content.decode()

    assert "You sign in at GitHub. It is a live OAuth app.<" in shown
    assert "You sign in at GitHub. It is a sandbox OAuth app.<" in shown
    assert "You enter where it is installed. It is a live OAuth app.<" in shown
    assert f"It is a live OAuth app of {github_app.account}.<" in to_a_superuser


def test_where_an_oauth_app_is_missing_it_is_said(member: Client, account: Account) -> None:
    OAuthApp.objects.create(account=account, provider="github", name="Old", client_id="x", client_secret="no-key")

    shown = member.get(path(provider="github")).content.decode()

    assert "OAuth 2.0 with Old" in shown
    assert "whose client secret is its private key" in shown
    assert reverse("admin:oauth_apps_oauthapp_add") + "?provider=github" in shown


@pytest.mark.parametrize("name", TYPED)
def test_every_kind_has_its_form(member: Client, github_app: OAuthApp, name: str) -> None:
    kind = kinds.get(name)
    query = of_app(github_app, name) if kind.needs_oauth_app else {"provider": kind.provider.slug, "kind": name}

    shown = member.get(path(**query)).content.decode()

    for prop in kind.properties:
        assert f'name="property_{prop}"' in shown
    secrets = [f"property_{prop}" for prop, declared in kind.properties.items() if declared.secret]
    assert all(re.search(rf'<input type="password" name="{prop}"', shown) for prop in secrets)


def test_every_code_flow_has_its_form(account: Account) -> None:
    for kind in kinds.load().values():
        if kind.declared is not None:
            continue
        form = TripForm(oauth_app=OAuthApp(account=account, provider=kind.provider.slug, name="x", client_id="x"))
        asked = [name for name, variable in kind.provider.variables.items() if variable.sources != ["app"]]
        assert list(form.fields) == [*(f"variable_{name}" for name in asked), "scope"]
        assert "<" in str(form)


@pytest.mark.parametrize("name", TYPED)
def test_every_kind_takes_what_its_catalogue_file_gives_as_an_example(account: Account, name: str) -> None:
    """What is required there is required in the form, and nothing else."""
    kind = kinds.get(name)
    oauth_app = None
    if kind.needs_oauth_app:
        oauth_app = OAuthApp.objects.create(
            account=account, provider=kind.provider.slug, name="x", client_id="x", client_secret="x"
        )
    required = {demand[0][0] for demand in kind.demands}

    form = TypedForm({}, kind=kind, oauth_app=oauth_app, accounts=[account])

    assert {name.removeprefix("property_") for name in form.errors} == required


# ---- by what somebody types ------------------------------------------------------------------------------------------


def test_a_key_is_connected(member: Client, account: Account, responses: RequestsMock) -> None:
    asked = responses.get(SENDGRID, json={"scopes": ["mail.send"]})

    response = member.post(path(**SENDGRID_KEY), {"property_secret": f" {KEY}\n", "name": "Mail"})

    credential = connected(response)
    assert (credential.kind, credential.name, credential.account) == ("sendgrid_key", "Mail", account)
    assert credential.values() == {"secret": KEY}
    assert (credential.health_status, credential.health_notes) == ("ok", [])
    assert told(response) == "Connected: SendGrid accepts it."
    assert asked.call_count == 1
    event = AuditEvent.objects.get()
    assert (event.action, event.object_id, event.account) == ("credential.connected", str(credential.pk), account)
    assert "canary" not in str(AuditEvent.objects.values())
    assert "canary" not in member.get(response["Location"]).content.decode()


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({"status": 503, "body": "canary"}, "did not answer a check"),
        ({"body": requests.ConnectionError("canary")}, "did not answer a check"),
        ({"status": 404, "body": "canary"}, "documentation does not promise"),
    ],
)
def test_what_cannot_be_checked_is_kept_with_a_note(
    member: Client, responses: RequestsMock, answer: dict[str, Any], words: str
) -> None:
    responses.get(SENDGRID, **answer)

    response = member.post(path(**SENDGRID_KEY), {"property_secret": KEY})

    credential = connected(response)
    assert credential.health_status == "warn"
    assert words in credential.health_notes[0]
    assert words in told(response)
    assert "canary" not in told(response)


def test_the_same_account_again_is_the_same_credential(
    member: Client, account: Account, responses: RequestsMock
) -> None:
    stored = keep(account, "servicenow_password", None, instance="acme", username="paul", password="old")
    responses.get(SERVICENOW, json={"result": [{"sys_id": "1", "user_name": "paul"}]})
    form = {"property_instance": "https://ACME.service-now.com/", "property_username": "paul"}

    response = member.post(
        path(provider="servicenow", kind="servicenow_password"), form | {"property_password": " new one "}
    )

    credential = connected(response)
    assert credential.pk == stored.pk
    assert credential.values()["password"] == " new one "
    assert "in the place" in AuditEvent.objects.get().detail


@pytest.mark.parametrize(("typed", "kept"), [("", True), ("true", True)])
def test_a_choice_may_be_left_to_the_value(member: Client, responses: RequestsMock, typed: str, kept: bool) -> None:
    responses.get(re.compile("https://api.stripe.com/"), json={"object": "balance"})

    response = member.post(
        path(provider="stripe", kind="stripe_key"), {"property_secret": "sk_test_canary", "property_test": typed}
    )

    assert connected(response).properties == {"test": kept}


def test_what_contradicts_is_said_at_its_field(member: Client) -> None:
    response = member.post(
        path(provider="stripe", kind="stripe_key"), {"property_secret": "sk_live_canary", "property_test": "true"}
    )

    assert response.context["form"].errors == {"property_test": ["Contradicts secret."]}
    refused(response, words="Contradicts secret.")


def test_an_installation_of_a_github_app_is_connected(
    member: Client, github_app: OAuthApp, responses: RequestsMock
) -> None:
    minted = responses.post(GITHUB_TOKENS, json={"token": "ghs_canary", "expires_at": "2099-01-01T00:00:00Z"})
    responses.get(GITHUB_CHECK, json={"total_count": 1})
    form = {"property_installation_id": "42", "property_account_type": "Organization", "property_account_login": "acme"}

    response = member.post(path(**of_app(github_app, "github_app")), form)

    credential = connected(response)
    assert credential.oauth_app == github_app
    assert credential.properties == {"installation_id": 42, "account_type": "Organization", "account_login": "acme"}
    assert minted.call_count == 1
    assert credential.health_status == "ok"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({"status": 404, "json": {"message": "Not Found"}}, "GitHub does not accept this."),
        ({"status": 401, "json": {"message": "no"}}, "GitHub does not accept the OAuth app GitHub App."),
    ],
)
def test_an_installation_that_is_not_there_is_not_kept(
    member: Client, github_app: OAuthApp, responses: RequestsMock, answer: dict[str, Any], words: str
) -> None:
    responses.post(GITHUB_TOKENS, **answer)

    response = member.post(path(**of_app(github_app, "github_app")), {"property_installation_id": "42"})

    refused(response, words=words)
    assert not Credential.objects.exists()


# ---- by a trip -------------------------------------------------------------------------------------------------------


def test_a_trip_through_the_sandbox_ends_with_a_credential(
    member: Client, paul: User, account: Account, network: RequestsMock
) -> None:
    oauth_app = sandbox_app(account, catalogue.get("zendesk"), variables={})
    query = path(**of_app(oauth_app))
    assert "for example acme." in member.get(query).content.decode()

    response = member.post(query, {"variable_subdomain": "Acme", "scope": "read, write"})

    assert response.status_code == 200
    link = StartLink.objects.get()
    assert (link.ends_at, link.started_by, link.variables) == (End.CONSOLE, paul, {"subdomain": "acme"})
    start = response.context["url"]
    assert f'content="0; url={start}"' in response.content.decode()

    sent = member.get(start.removeprefix(configured.PUBLIC_URL))
    consent = member.get(sent["Location"], headers={"Accept": "application/json"}).json()
    callback = member.get(consent["outcomes"]["approve"])["Location"]
    arrived = member.get(callback)
    assert arrived.status_code == 302, arrived.content
    trip = Authorization.objects.get()
    assert arrived["Location"].removeprefix(configured.PUBLIC_URL) == reverse(
        "admin:credentials_authorization_arrived", args=[trip.pk]
    )
    ended = member.get(arrived["Location"].removeprefix(configured.PUBLIC_URL))

    credential = connected(ended)
    assert credential.oauth_app == oauth_app
    assert credential.variables == {"subdomain": "acme"}
    assert credential.scopes_requested == ["read", "write"]
    assert Authorization.objects.get().step == Step.EXCHANGED
    assert {event.action for event in AuditEvent.objects.all()} == {"authorization.started", "credential.connected"}
    shown = member.get(ended["Location"]).content.decode()
    for secret in (credential.token.access_token, credential.token.refresh_token):
        assert secret is None or secret not in shown


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("variable_subdomain", "evil.com/"), ("variable_subdomain", "a b"), ("variable_subdomain", ""),
        ("scope", 'a"b'), ("scope", "ä"), ("scope", "x " * 2049), ("variable_subdomain", "a\0b"),
    ],
)  # fmt: skip
def test_a_trip_is_not_begun_with_what_breaks_a_rule(
    member: Client, account: Account, responses: RequestsMock, field: str, value: str
) -> None:
    """F01"""
    oauth_app = sandbox_app(account, catalogue.get("zendesk"), variables={})

    response = member.post(path(**of_app(oauth_app)), {"variable_subdomain": "acme", "scope": "read"} | {field: value})

    assert response.status_code == 200
    assert response.context["form"].errors.keys() == {field}
    assert not StartLink.objects.exists()


def test_what_the_app_says_already_is_not_asked(member: Client, account: Account) -> None:
    oauth_app = sandbox_app(account, catalogue.get("zendesk"), variables={"subdomain": "acme"})

    response = member.get(path(**of_app(oauth_app)))
    member.post(path(**of_app(oauth_app)), {"variable_subdomain": "evil", "scope": ""})

    assert list(response.context["form"].fields) == ["scope"]
    assert "set on the OAuth app" in response.content.decode()
    assert StartLink.objects.get().variables == {}


def test_what_only_the_app_can_say_is_said_to_be_missing(member: Client, account: Account) -> None:
    oauth_app = OAuthApp.objects.create(
        account=account, provider="vercel", name="Vercel", client_id="x", client_secret="x", variables={}
    )

    response = member.post(path(**of_app(oauth_app)), {"scope": ""})

    assert "can be set on the OAuth app alone" in response.content.decode()
    assert not StartLink.objects.exists()


def test_a_trip_of_a_member_is_nobody_elses(
    member: Client, account: Account, network: RequestsMock, other_account: Account
) -> None:
    """H07"""
    oauth_app = sandbox_app(account, catalogue.get("linear"))
    start = member.post(path(**of_app(oauth_app)), {"scope": "read"}).context["url"]
    sent = member.get(start.removeprefix(configured.PUBLIC_URL))
    consent = member.get(sent["Location"], headers={"Accept": "application/json"}).json()
    arrived = member.get(member.get(consent["outcomes"]["approve"])["Location"])["Location"]
    jessica = User.objects.create_user("jessica", is_staff=True)
    Membership.objects.create(account=account, user=jessica)
    another = Client()
    another.force_login(jessica)

    assert another.get(arrived.removeprefix(configured.PUBLIC_URL)).status_code == 404
    assert not Credential.objects.exists()
