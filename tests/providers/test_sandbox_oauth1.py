"""The simulated providers of OAuth 1.0a: what they refuse, in their own words, and that our entries suit them."""

import time
import uuid
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import msgspec
import pytest
import time_machine
from django.conf import settings
from django.test import Client
from oauthlib.oauth1 import Client as Signer
from responses import RequestsMock

from oauth_apps import health
from oauth_apps.models import Account, HealthStatus, RedirectURI
from providers import catalogue, oauth1
from providers.client import Client as OurClient
from providers.errors import ProviderError, TokenRequestRejected
from providers.provider import Provider
from providers.sandbox import registrations
from providers.sandbox.models import Grant
from providers.sandbox.script import PLACEHOLDER, load, read, simulated
from tests.providers.trip import REDIRECT_URI, Browser, network, sandbox_app

__all__ = ["network"]  # a fixture

pytestmark = pytest.mark.django_db

SLUGS = sorted(slug for slug, provider in catalogue.load().items() if provider.auth == "oauth1")
# Those whose API wants signed calls; the others take the token as it is
SIGNED = [slug for slug in SLUGS if any(call.token == "oauth1" for call in load()[slug].script.calls)]


class Developer:
    """A client at the simulated `slug`, which signs with whatever a test wants."""

    def __init__(self, slug: str, *, client_id: str = "client-1", client_secret: str = "canary secret") -> None:
        player = simulated(slug)
        assert player is not None
        assert player.script.oauth1 is not None
        self.slug, self.script, self.oauth1 = slug, player.script, player.script.oauth1
        self.client_id, self.client_secret = client_id, client_secret
        self.redirect_uri = f"{settings.PUBLIC_URL}/link/oauth2/callback/{slug}"
        self.http = Client()
        registrations.register(
            uuid.uuid4(),
            slug=slug,
            client_id=client_id,
            client_secret=client_secret,
            redirect_uri=self.redirect_uri,
            variables={},
        )

    def at(self, url: str | list[str]) -> str:
        first = PLACEHOLDER.sub("acme", url if isinstance(url, str) else url[0])
        return f"{settings.PUBLIC_URL}/sandbox/{self.slug}/{first.removeprefix('https://')}"

    def sign(self, method: Any, url: str, **changes: Any) -> str:
        keys = {
            "client_key": self.client_id,
            "client_secret": self.client_secret,
            "signature_method": self.oauth1.signature_methods[0],
        }
        return str(Signer(**keys | changes).sign(url, http_method=method)[1]["Authorization"])

    def send(self, url: str, method: str, authorization: str) -> Any:
        path = url.removeprefix(settings.PUBLIC_URL)
        return self.http.generic(method, path, headers={"Authorization": authorization})

    def ask(self, **changes: Any) -> Any:
        """Temporary credentials."""
        url, method = self.at(self.oauth1.request_token_endpoint), self.oauth1.request_token_methods[0]
        return self.send(url, method, self.sign(method, url, **{"callback_uri": self.redirect_uri} | changes))

    def temporary(self) -> dict[str, str]:
        answer = self.ask()
        assert answer.status_code == 200, answer["Sandbox-Reason"]
        return dict(parse_qsl(answer.content.decode()))

    def authorization_url(self, token: str) -> str:
        path = self.at(self.script.authorization_endpoint).removeprefix(settings.PUBLIC_URL)
        params = {name: value or "any" for name, value in self.script.authorization_params.items()}
        if self.script.scopes.required:
            params[self.script.scopes.parameter] = self.script.scopes.pattern.split("|")[0]
        query = "&".join(f"{name}={value}" for name, value in params.items())
        return f"{path}?oauth_token={token.replace(':', '%3A')}&{query}"

    def outcomes(self, token: str) -> dict[str, str]:
        page = self.http.get(self.authorization_url(token), headers={"Accept": "application/json"})
        assert page.status_code == 200, page.content
        return {name: link.removeprefix(settings.PUBLIC_URL) for name, link in page.json()["outcomes"].items()}

    def consent(self, token: str, outcome: str = "approve") -> dict[str, str]:
        return dict(parse_qsl(urlsplit(self.http.get(self.outcomes(token)[outcome])["Location"]).query))

    def exchange(self, temporary: dict[str, str], verifier: str | None, **changes: Any) -> Any:
        url, method = self.at(self.script.token_endpoint), self.script.token_methods[0]
        keys = {
            "resource_owner_key": temporary["oauth_token"],
            "resource_owner_secret": temporary["oauth_token_secret"],
            "verifier": verifier,
        }
        return self.send(url, method, self.sign(method, url, **keys | changes))

    def is_refused(self, answer: Any, what: Any) -> bool:
        refusal = self.script.refusal(what)
        return answer.status_code == refusal.status and b"canary" not in answer.content


@pytest.fixture(params=SLUGS)
def developer(request: pytest.FixtureRequest) -> Developer:
    return Developer(request.param)


# ---- temporary credentials -------------------------------------------------------------------------------------------


def test_an_unknown_client_gets_nothing(developer: Developer) -> None:
    assert developer.is_refused(developer.ask(client_key="nobody"), "unknown_client")


def test_a_wrong_signature_gets_nothing(developer: Developer) -> None:
    assert developer.is_refused(developer.ask(client_secret="another"), "wrong_secret")


def test_a_signature_method_that_is_not_documented_gets_nothing(developer: Developer) -> None:
    for method in {"HMAC-SHA1", "HMAC-SHA256", "PLAINTEXT"} - {*developer.oauth1.signature_methods}:
        assert developer.is_refused(developer.ask(signature_method=method), "bad_request")


def test_every_documented_signature_method_is_taken(developer: Developer) -> None:
    for method in developer.oauth1.signature_methods:
        assert developer.ask(signature_method=method).status_code == 200


@pytest.mark.parametrize(
    "changes",
    [
        {"callback_uri": None},
        {"callback_uri": "https://evil.example/"},
        {"resource_owner_key": "t"},
        {"timestamp": "137131200"},
        {"timestamp": "-1"},
    ],
)
def test_a_request_that_lacks_something_gets_nothing(changes: dict[str, Any], developer: Developer) -> None:
    answer = developer.ask(**changes)

    assert answer.status_code in {400, 401, 403}, answer.content
    assert b"oauth_token_secret" not in answer.content


def test_a_nonce_is_good_for_one_request(developer: Developer) -> None:
    url, method = developer.at(developer.oauth1.request_token_endpoint), developer.oauth1.request_token_methods[0]
    said = developer.sign(method, url, callback_uri=developer.redirect_uri, nonce=uuid.uuid4().hex)

    first, second = developer.send(url, method, said), developer.send(url, method, said)

    assert (first.status_code, second["Sandbox-Reason"]) == (200, "The nonce was used before.")


@pytest.mark.parametrize("said", ["", "Bearer canary", "OAuth", 'OAuth a="1", a="2"', "OAuth oauth_token=canary"])
def test_what_is_not_signed_gets_nothing(said: str) -> None:
    developer = Developer("flickr")
    url = developer.at(developer.oauth1.request_token_endpoint)

    assert developer.is_refused(developer.send(url, "GET", said), "bad_request")


def test_a_parameter_that_was_changed_on_the_way_breaks_the_signature() -> None:
    developer = Developer("flickr")
    url = developer.at(developer.oauth1.request_token_endpoint)
    said = developer.sign("GET", f"{url}?a=1", callback_uri=developer.redirect_uri)

    assert developer.is_refused(developer.send(f"{url}?a=2", "GET", said), "wrong_secret")


def test_of_two_clients_with_one_key_the_one_that_signs_is_meant() -> None:
    Developer("flickr", client_secret="another's")
    developer = Developer("flickr")

    assert developer.ask().status_code == 200


# ---- consent ---------------------------------------------------------------------------------------------------------


def test_a_consent_is_for_known_temporary_credentials(developer: Developer) -> None:
    other = Developer(next(slug for slug in SLUGS if slug != developer.slug)).temporary()["oauth_token"]

    for token in ("", "sandbox_made-up", other):
        page = developer.http.get(developer.authorization_url(token), headers={"Accept": "application/json"})
        assert page.status_code == 400
    assert not Grant.objects.exists()


def test_temporary_credentials_end(developer: Developer) -> None:
    temporary = developer.temporary()

    with time_machine.travel(time.time() + developer.oauth1.lifetime + 2):
        page = developer.http.get(
            developer.authorization_url(temporary["oauth_token"]), headers={"Accept": "application/json"}
        )

    assert page.status_code == 400


def test_a_denial_brings_no_verifier(developer: Developer) -> None:
    token = developer.temporary()["oauth_token"]

    denied = developer.consent(token, "deny")

    assert "oauth_verifier" not in denied
    assert "{" not in str([*denied.values()])


# ---- the exchange ----------------------------------------------------------------------------------------------------


def test_nobody_has_agreed_yet(developer: Developer) -> None:
    assert developer.is_refused(developer.exchange(developer.temporary(), "v"), "bad_code")


def test_another_verifier_is_refused_and_the_right_one_is_good_once(developer: Developer) -> None:
    temporary = developer.temporary()
    back = developer.consent(temporary["oauth_token"])

    wrong = developer.exchange(temporary, "another")
    first = developer.exchange(temporary, back["oauth_verifier"])
    second = developer.exchange(temporary, back["oauth_verifier"])

    assert back["oauth_token"] == temporary["oauth_token"]
    assert developer.is_refused(wrong, "wrong_code_verifier")
    assert first.status_code == 200
    assert {"oauth_token", "oauth_token_secret"} <= dict(parse_qsl(first.content.decode())).keys()
    assert developer.is_refused(second, "used_code")


def test_the_exchange_is_signed_with_the_secret_of_the_temporary_credentials(developer: Developer) -> None:
    temporary = developer.temporary()
    verifier = developer.consent(temporary["oauth_token"])["oauth_verifier"]

    answer = developer.exchange(temporary, verifier, resource_owner_secret="another")

    assert developer.is_refused(answer, "wrong_secret")
    assert developer.exchange(temporary, None).status_code == developer.script.refusal("bad_request").status


@pytest.mark.parametrize("developer", SIGNED, indirect=True)
def test_a_call_is_signed_with_the_secret_of_the_token(developer: Developer) -> None:
    temporary = developer.temporary()
    back = developer.consent(temporary["oauth_token"])
    tokens = dict(parse_qsl(developer.exchange(temporary, back["oauth_verifier"]).content.decode()))
    [call] = developer.script.calls
    query = "&".join(f"{name}={value}" for name, value in call.params.items())
    url = f"{developer.at(call.url)}?{query}" if query else developer.at(call.url)

    def called(secret: str) -> Any:
        keys = {"resource_owner_key": tokens["oauth_token"], "resource_owner_secret": secret}
        return developer.send(url, call.method, developer.sign(call.method, url, **keys))

    good, bad = called(tokens["oauth_token_secret"]), called("another")

    assert good.status_code == 200, good["Sandbox-Reason"]
    assert "The signature is not that" in bad["Sandbox-Reason"]


# ---- our entries -----------------------------------------------------------------------------------------------------


@pytest.fixture(params=SLUGS)
def browser(request: pytest.FixtureRequest, client: Client, account: Account, network: RequestsMock) -> Browser:
    RedirectURI.objects.create(account=account, redirect_uri=REDIRECT_URI)
    return Browser(client, sandbox_app(account, catalogue.get(request.param)))


@pytest.mark.parametrize(("outcome", "error"), [("deny", "access_denied"), ("provider_error", "server_error")])
def test_what_went_wrong_is_told_in_rfc_6749s_words(outcome: str, error: str, browser: Browser) -> None:
    arrived = browser.chooses(outcome)

    assert (arrived["error"], arrived["state"]) == (error, "s1")


@pytest.mark.parametrize("changes", [{"client_secret": "wrong-secret"}, {"client_id": "unknown-1"}])
def test_a_wrong_client_is_found_before_the_end_user_leaves(changes: dict[str, str], browser: Browser) -> None:
    for name, value in changes.items():
        setattr(browser.oauth_app, name, value)
    browser.oauth_app.save()

    told = dict(parse_qsl(urlsplit(browser.start()["Location"]).query))

    assert (told["error"], told["state"]) == ("server_error", "s1")
    browser.oauth_app.refresh_from_db()
    assert browser.oauth_app.health_status == HealthStatus.ERROR


def test_a_check_tells_a_sound_client_from_a_wrong_one(browser: Browser) -> None:
    assert health.check(browser.oauth_app).health_status == HealthStatus.OK

    browser.oauth_app.client_secret = "wrong-secret"
    browser.oauth_app.save()
    assert health.check(browser.oauth_app).health_status == HealthStatus.ERROR


@pytest.mark.parametrize(
    ("slug", "entry"),
    [
        ("discogs", {"request_token_method": "POST"}),
        ("discogs", {"signature_method": "HMAC-SHA256"}),
        ("flickr", {"token_request_method": "POST"}),
        ("flickr", {"signature_method": "PLAINTEXT"}),
        ("trello", {"request_token_endpoint": "https://trello.com/1/OAuthRequestToken"}),
        ("twitter-oauth1", {"signature_method": "HMAC-SHA256"}),
        ("zotero", {"request_token_method": "GET"}),
    ],
)
def test_a_wrong_entry_fails(slug: str, entry: dict[str, Any], account: Account, network: RequestsMock) -> None:
    app = sandbox_app(account, catalogue.get(slug))
    client = OurClient(app.client_id, app.client_secret or "", {}, sandbox=True)

    speak(at_the_sandbox(slug), client, f"{app.callback_url}?state=s")
    with pytest.raises(ProviderError):
        speak(at_the_sandbox(slug, **entry), client, f"{app.callback_url}?state=s")


def speak(provider: Provider, client: OurClient, callback_url: str) -> None:
    """Both requests; that nobody has agreed to the second is as it should be."""
    temporary = oauth1.request_token(provider, client, callback_url=callback_url)
    answer = {"oauth_token": temporary.value, "oauth_verifier": "v"}
    try:
        oauth1.exchange(provider, client, answer, kept=temporary.text)
    except TokenRequestRejected as exc:
        if exc.reason != "invalid_grant":
            raise


def at_the_sandbox(slug: str, **entry: Any) -> Provider:
    provider = msgspec.structs.replace(catalogue.get(slug), **entry)
    return provider.bound({}, sandbox_url=f"{settings.PUBLIC_URL}/sandbox/{slug}")


def test_the_script_needs_no_word_for_what_the_protocol_says() -> None:
    table = {
        "documentation": [],
        "authorization_endpoint": "https://acme.example/authorize",
        "token_endpoint": "https://acme.example/token",
        "oauth1": {"request_token_endpoint": "https://acme.example/request"},
    }

    player = read("acme", "Acme", table)

    assert (player.script.refresh.policy, player.script.response_type) == ("none", "")
    assert player.script.denial == {"oauth_problem": "permission_denied"}
    assert [endpoint.role for endpoint, _ in player.at("acme.example/request")] == ["request_token"]
