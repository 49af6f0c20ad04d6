"""What an OAuth app says of its registration: trips to a simulated provider whose client is set so, or otherwise."""

import base64
import hmac
import json
import time
import uuid
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from django.conf import settings
from django.test import Client
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey, RSAKey
from responses import RequestsMock

from credentials.models import Authorization, Credential, Step
from oauth_apps import health
from oauth_apps.models import Account, HealthStatus, OAuthApp, RedirectURI
from providers import catalogue, dpop
from providers.catalogue.rules import lint
from providers.client_authentication import JWT_BEARER
from providers.sandbox import script
from providers.sandbox.models import Registration, Token
from tests.oauth_apps.conftest import client_of
from tests.providers.acme import provider_with
from tests.providers.trip import REDIRECT_URI, SECRET, Browser, private_key, sandbox_app
from tests.providers.trip import network as network

REALM = {"domain": "sso.acme.example.com", "realm": "Acme"}
AT = f"{settings.PUBLIC_URL}/sandbox/keycloak/sso.acme.example.com/realms/Acme/protocol/openid-connect"
PUSH = {"require_pushed_authorization_requests": "true"}
BIND = {"dpop_bound_access_tokens": "true"}
Key = RSAKey | ECKey | OctKey
EC_KEY = private_key()
RSA_KEY = (
    rsa.generate_private_key(65537, 2048)
    .private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    .decode()
)


def keycloak_app(account: Account, client_secret: str = SECRET, **variables: str) -> OAuthApp:
    RedirectURI.objects.get_or_create(account=account, redirect_uri=REDIRECT_URI)
    provider = catalogue.get("keycloak")
    return sandbox_app(account, provider, client_secret=client_secret, variables=REALM | variables)


def set_there(oauth_app: OAuthApp, **variables: str) -> None:
    """Change the client at the provider, and not here."""
    registration = Registration.objects.get(pk=oauth_app.pk)
    Registration.objects.filter(pk=oauth_app.pk).update(variables=registration.variables | variables)


def sent_to(network: RequestsMock, path: str) -> list[Any]:
    return [call.request for call in network.calls if urlsplit(str(call.request.url)).path.endswith(path)]


# ---- refusals of the catalogue ---------------------------------------------------------------------------------------


def a(*values: str, **fields: Any) -> dict[str, Any]:
    return {"label": "x", "kind": "choice", "values": values, "required": False, "from": ["app"], **fields}


SIGNING = {"token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt"]}
ENDPOINT = {"pushed_authorization_request_endpoint": "https://acme.example/par"}


@pytest.mark.parametrize(
    ("fields", "variables", "problem"),
    [
        (SIGNING, {"token_endpoint_auth_method": a("client_secret_jwt")}, "offers client_secret_jwt"),
        (SIGNING, {"token_endpoint_auth_method": a("private_key_jwt", **{"from": ["start", "app"]})}, "alone"),
        (SIGNING, {"token_endpoint_auth_method": a("private_key_jwt", required=True)}, "required = false"),
        (SIGNING, {"token_endpoint_auth_method": a(kind="text")}, "must be a choice"),
        ({"token_endpoint_auth_methods_supported": ["client_secret_post", "client_secret_jwt"]}, {}, "never used"),
        ({"token_endpoint_auth_signing_alg_values_supported": ["RS256"]}, {}, "needs private_key_jwt"),
        (SIGNING | {"token_endpoint_auth_signing_alg_values_supported": ["ES512"]}, {}, "none of those"),
        ({}, {"require_pushed_authorization_requests": a("true", "false")}, "needs pushed_authorization"),
        (ENDPOINT, {}, "never used"),
        (ENDPOINT, {"require_pushed_authorization_requests": a("true")}, "true and false"),
        ({}, {"dpop_bound_access_tokens": a("true", "false")}, "needs dpop_signing"),
        ({"dpop_signing_alg_values_supported": ["ES256"]}, {}, "never used"),
    ],
)
def test_a_setting_that_cannot_be_meant_is_a_problem_of_the_file(
    fields: dict[str, Any], variables: dict[str, Any], problem: str
) -> None:
    problems = lint(provider_with(**fields, variables=variables))

    assert [found for found in problems if problem in found], problems


def test_settings_that_fit_are_none() -> None:
    switch = a("true", "false")
    variables = {
        "token_endpoint_auth_method": a("private_key_jwt", "client_secret_post"),
        "require_pushed_authorization_requests": switch,
        "dpop_bound_access_tokens": switch,
    }
    bound = {"dpop_signing_alg_values_supported": ["ES256"]}

    assert lint(provider_with(**SIGNING, **ENDPOINT, **bound, variables=variables)) == []


# ---- refusals of registration ----------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:Key size")
@pytest.mark.parametrize(
    ("key", "why"),
    [
        ("small", "An RSA key must have 2048 bits at least."),
        (ECKey.generate_key("P-384").as_pem(private=True).decode(), "An EC key must be of the curve P-256."),
        (
            ECKey.generate_key("P-256").as_pem(private=True, password="x").decode(),
            "The client secret must be a private key: RSA or EC P-256, PEM or JWK, not encrypted.",
        ),
    ],
)
def test_a_key_that_cannot_sign_is_not_registered(account: Account, key: str, why: str) -> None:
    if key == "small":
        small = rsa.generate_private_key(65537, 1024)  # noqa: S505
        key = small.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    body = {"provider": "keycloak", "name": "K", "client_id": "c1", "client_secret": key, "variables": REALM}

    refused = client_of(account, "read", "write").post("/v1/oauth-apps", body, content_type="application/json")

    assert refused.status_code == 422
    assert refused.json()["validation_errors"] == {"client_secret": [why]}


@pytest.mark.parametrize("key", [EC_KEY, RSA_KEY])
def test_a_key_that_can_is_registered_and_masked(account: Account, key: str) -> None:
    body = {"provider": "keycloak", "name": "K", "client_id": "c1", "client_secret": key, "variables": REALM}

    made = client_of(account, "read", "write").post("/v1/oauth-apps", body, content_type="application/json")

    assert made.status_code == 201, made.content
    assert made.json()["client_secret"] == "**********"
    assert OAuthApp.objects.get().client_secret == key


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"token_endpoint_auth_method": "tls_client_auth"}, "token_endpoint_auth_method"),
        ({"dpop_bound_access_tokens": "yes"}, "dpop_bound_access_tokens"),
    ],
)
def test_a_setting_that_there_is_not_is_refused(account: Account, variables: dict[str, str], named: str) -> None:
    body = {"provider": "keycloak", "name": "K", "client_id": "c1", "client_secret": SECRET}
    body |= {"variables": REALM | variables}  # type: ignore[dict-item]

    refused = client_of(account, "read", "write").post("/v1/oauth-apps", body, content_type="application/json")

    assert refused.status_code == 422
    assert named in json.dumps(refused.json()["validation_errors"])


def test_a_setting_is_not_taken_from_a_start_link(client: Client, account: Account, network: RequestsMock) -> None:
    browser = Browser(client, keycloak_app(account))

    browser.chooses("approve", dpop_bound_access_tokens="true", require_pushed_authorization_requests="true")

    assert sent_to(network, "/par/request") == []
    assert "DPoP" not in sent_to(network, "/token")[0].headers


# ---- refusals of the simulator ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("here", "there"),
    [
        ({}, {"token_endpoint_auth_method": "client_secret_jwt"}),
        ({"token_endpoint_auth_method": "client_secret_jwt"}, {"token_endpoint_auth_method": "client_secret_post"}),
        ({"token_endpoint_auth_method": "client_secret_post"}, {"token_endpoint_auth_method": "client_secret_basic"}),
        ({}, BIND),
    ],
)
def test_a_client_that_is_set_otherwise_there_is_refused(
    client: Client, account: Account, network: RequestsMock, here: dict[str, str], there: dict[str, str]
) -> None:
    oauth_app = keycloak_app(account, **here)
    set_there(oauth_app, **there)

    arrived = Browser(client, oauth_app).chooses("approve")

    assert arrived["error"] == "server_error"
    assert not Authorization.objects.filter(tokens__isnull=False).exists()


@pytest.mark.parametrize("key", [EC_KEY, RSA_KEY])
def test_another_private_key_is_refused(client: Client, account: Account, network: RequestsMock, key: str) -> None:
    oauth_app = keycloak_app(account, key)
    registration = Registration.objects.get(pk=oauth_app.pk)
    registration.client_secret = private_key()
    registration.save()

    assert Browser(client, oauth_app).chooses("approve")["error"] == "server_error"
    health.check(oauth_app)
    assert oauth_app.health_status == HealthStatus.ERROR


def test_a_request_that_has_to_be_pushed_is_refused_in_the_browser(client: Client, account: Account) -> None:
    oauth_app = keycloak_app(account)
    set_there(oauth_app, **PUSH)

    started = Browser(client, oauth_app).start()
    page = client.get(started["Location"], headers={"Accept": "application/json"})

    assert page.status_code == 400
    assert "push" in page.json()["error_description"]


@pytest.mark.parametrize("change", ["more", "another client", "broken"])
def test_a_pushed_request_is_not_to_be_changed(
    client: Client, account: Account, network: RequestsMock, change: str
) -> None:
    started = Browser(client, keycloak_app(account, **PUSH)).start()["Location"]
    changed = {
        "more": f"{started}&scope=openid",
        "another client": started.replace("client_id=client-1", "client_id=client-2"),
        "broken": started[:-1] + ("A" if started[-1] != "A" else "B"),
    }[change]

    assert client.get(changed, headers={"Accept": "application/json"}).status_code == 400


def test_a_pushed_request_that_is_refused_is_told_to_the_redirect_uri(
    client: Client, account: Account, network: RequestsMock
) -> None:
    oauth_app = keycloak_app(account, **PUSH)
    set_there(oauth_app, token_endpoint_auth_method="client_secret_jwt")

    started = Browser(client, oauth_app).start()

    assert started["Location"].startswith("https://app.example.com/in/keycloak?")
    answer = dict(parse_qsl(urlsplit(started["Location"]).query))
    assert answer.keys() == {"error", "error_description", "state"}
    assert (answer["error"], answer["state"]) == ("server_error", "s1")
    assert Authorization.objects.get().step == Step.FAILED
    oauth_app.refresh_from_db()
    assert oauth_app.health_status == HealthStatus.ERROR


def test_the_diagnostics_page_pushes_nothing(client: Client, account: Account, network: RequestsMock) -> None:
    page = Browser(client, keycloak_app(account, **PUSH)).start(debug="true", response_type="token")

    assert (page.status_code, f"{AT}/auth?" in page.content.decode()) == (400, True)
    assert len(network.calls) == 0


@pytest.mark.parametrize("header", ["Bearer", "DPoP", "DPoP with another key"])
def test_a_bound_token_is_of_no_use_without_its_key(
    client: Client, account: Account, network: RequestsMock, header: str
) -> None:
    browser = Browser(client, keycloak_app(account, **BIND))
    body = browser.token(code=browser.chooses("approve")["code"]).json()
    url, token = f"{AT}/userinfo", body["access_token"]
    headers = {"Authorization": f"{header.split(' ')[0]} {token}"}
    if "another" in header:
        headers["DPoP"] = dpop.proof(dpop.new_key(), "GET", url, access_token=token)

    refused = Client().get(url.removeprefix(settings.PUBLIC_URL), headers=headers)
    key = body["credential"]["properties"]["dpop_key"]
    mine = {"Authorization": f"DPoP {token}", "DPoP": dpop.proof(key, "GET", url, access_token=token)}
    accepted = Client().get(url.removeprefix(settings.PUBLIC_URL), headers=mine)

    assert refused.status_code == 401
    assert accepted.status_code == 200


@pytest.mark.parametrize(
    "wrong",
    [
        {"method": "POST"},
        {"url": f"{AT}/token"},
        {"access_token": "another"},
        {"access_token": ""},
    ],
)
def test_a_proof_for_another_request_is_refused(
    client: Client, account: Account, network: RequestsMock, wrong: dict[str, str]
) -> None:
    browser = Browser(client, keycloak_app(account, **BIND))
    body = browser.token(code=browser.chooses("approve")["code"]).json()
    token, key = body["access_token"], body["credential"]["properties"]["dpop_key"]
    given = {"method": "GET", "url": f"{AT}/userinfo", "access_token": token} | wrong
    proof = dpop.proof(key, given["method"], given["url"], access_token=given["access_token"])

    refused = Client().get(
        f"{AT}/userinfo".removeprefix(settings.PUBLIC_URL), headers={"Authorization": f"DPoP {token}", "DPoP": proof}
    )

    assert refused.status_code == 401
    assert refused.json()["error"] == "invalid_dpop_proof"


def test_a_proof_is_good_for_one_request(client: Client, account: Account, network: RequestsMock) -> None:
    browser = Browser(client, keycloak_app(account, **BIND))
    body = browser.token(code=browser.chooses("approve")["code"]).json()
    url, token, key = f"{AT}/userinfo", body["access_token"], body["credential"]["properties"]["dpop_key"]
    proof = dpop.proof(key, "GET", url, access_token=token)
    headers = {"Authorization": f"DPoP {token}", "DPoP": proof}

    first, second = (Client().get(url.removeprefix(settings.PUBLIC_URL), headers=headers) for _ in range(2))

    assert first.status_code == 200
    assert (second.status_code, second["Sandbox-Reason"]) == (401, "The DPoP proof was used before.")


@pytest.mark.parametrize("key", ["", "another"])
def test_a_refresh_needs_the_key_that_the_tokens_are_bound_to(
    client: Client, account: Account, network: RequestsMock, key: str
) -> None:
    browser = Browser(client, keycloak_app(account, **BIND))
    body = browser.token(code=browser.chooses("approve")["code"]).json()
    url = f"{AT}/token"
    headers = {"DPoP": dpop.proof(dpop.new_key(), "POST", url)} if key else {}
    form = {"grant_type": "refresh_token", "refresh_token": body["refresh_token"]}

    refused = posted(url, {**form, "client_id": "client-1", "client_secret": SECRET}, **headers)

    assert refused.status_code == 400
    assert refused.json()["error"] == ("invalid_grant" if key else "invalid_dpop_proof")


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": f"{AT}/introspect"},
        {"aud": ["https://sso.acme.example.com/realms/Acme", "https://other.example"]},
        {"iss": "another"},
        {"sub": "another"},
        {"exp": 4_000_000_000},
        {"exp": 1_000_000_000},
        {"jti": ""},
    ],
)
def test_the_simulator_takes_no_assertion_but_a_good_one(account: Account, changes: dict[str, Any]) -> None:
    keycloak_app(account, token_endpoint_auth_method="client_secret_jwt")

    statuses = [answer_to(assertion(OctKey.import_key(SECRET), "HS256", **claims)) for claims in ({}, changes)]

    assert statuses == [200, 401]


def test_an_assertion_is_good_for_one_request(account: Account) -> None:
    keycloak_app(account, token_endpoint_auth_method="client_secret_jwt")
    said = assertion(OctKey.import_key(SECRET), "HS256")

    assert [answer_to(said), answer_to(said)] == [200, 401]


@pytest.mark.parametrize(
    ("key", "algorithm", "others"),
    [
        (RSA_KEY, "RS256", ["PS256"]),
        (RSA_KEY, "PS256", ["RS256", "ES256"]),
        (EC_KEY, "ES256", ["RS256"]),
    ],
)
def test_an_assertion_by_an_algorithm_that_is_not_documented_is_refused(
    account: Account, monkeypatch: pytest.MonkeyPatch, key: str, algorithm: str, others: list[str]
) -> None:
    keycloak_app(account, key)
    signing_key: Key = RSAKey.import_key(key) if key == RSA_KEY else ECKey.import_key(key)

    statuses = []
    for documented in ([algorithm], others):
        takes(monkeypatch, documented)
        statuses.append(answer_to(assertion(signing_key, algorithm)))

    assert statuses == [200, 401]


@pytest.mark.parametrize(
    "forged",
    [
        {"alg": "none"},
        {"alg": "HS256"},  # with the public key, which everybody has, for a secret
    ],
)
def test_an_assertion_that_anybody_could_have_made_is_refused(account: Account, forged: dict[str, str]) -> None:
    keycloak_app(account, RSA_KEY)
    public = RSAKey.import_key(RSA_KEY).as_pem(private=False)

    said = assertion(RSAKey.import_key(RSA_KEY), "RS256")
    signing_input = ".".join([b64(json.dumps(forged).encode()), said.split(".")[1]])
    signature = hmac.digest(public, signing_input.encode(), "sha256") if forged["alg"] == "HS256" else b""

    assert answer_to(f"{signing_input}.{b64(signature)}") == 401
    assert answer_to(said) == 200


def b64(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def takes(monkeypatch: pytest.MonkeyPatch, algorithms: list[str]) -> None:
    """Let the simulated Keycloak document these."""
    player = script.load()["keycloak"]
    changed = msgspec.structs.replace(player.script, client_assertion_algorithms=algorithms)
    monkeypatch.setattr("providers.sandbox.views.simulated", lambda slug: replace(player, script=changed))


def assertion(key: Key, algorithm: str, **changes: Any) -> str:
    """One that the simulated Keycloak takes, but for `changes`."""
    good = {"aud": "https://sso.acme.example.com/realms/Acme", "iss": "client-1", "sub": "client-1"}
    claims = good | {"jti": uuid.uuid4().hex, "exp": int(time.time()) + 60} | changes
    return jwt.encode({"alg": algorithm}, claims, key, algorithms=[algorithm])


def answer_to(said: str) -> int:
    """The status with which an introspection by this assertion is answered."""
    form = {"token": "t1", "client_assertion_type": JWT_BEARER, "client_assertion": said}
    return int(posted(f"{AT}/token/introspect", form).status_code)


def posted(url: str, form: dict[str, str], **headers: str) -> Any:
    path = url.removeprefix(settings.PUBLIC_URL)
    return Client().post(path, urlencode(form), content_type="application/x-www-form-urlencoded", headers=headers)


# ---- whole trips -----------------------------------------------------------------------------------------------------

SETTINGS: dict[str, tuple[str, dict[str, str]]] = {
    "client_secret_post": (SECRET, {"token_endpoint_auth_method": "client_secret_post"}),
    "client_secret_jwt": (SECRET, {"token_endpoint_auth_method": "client_secret_jwt"}),
    "private_key_jwt by RSA": (RSA_KEY, {"token_endpoint_auth_method": "private_key_jwt", "key_id": "k1"}),
    "private_key_jwt by EC": (EC_KEY, {}),
    "private_key_jwt by JWK": (json.dumps(ECKey.generate_key("P-256").as_dict(private=True)), {}),
    "pushed": (SECRET, PUSH),
    "bound": (SECRET, BIND),
    "all of it": (EC_KEY, PUSH | BIND),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_the_whole_trip(
    client: Client, account: Account, network: RequestsMock, django_capture_on_commit_callbacks: Any, name: str
) -> None:
    client_secret, variables = SETTINGS[name]
    oauth_app = keycloak_app(account, client_secret, **variables)
    browser, api = Browser(client, oauth_app), client_of(account, "read", "write", "reveal")
    is_bound, is_pushed = variables.items() >= BIND.items(), variables.items() >= PUSH.items()
    token_type = "DPoP" if is_bound else "Bearer"

    health.check(oauth_app)
    body = browser.token(code=browser.chooses("approve")["code"]).json()
    imported = api.post("/v1/credentials", body["credential"], content_type="application/json").json()
    url = f"/v1/credentials/{imported['id']}"
    revealed = api.get(f"{url}/access-token", {"force_refresh": "true"}).json()
    refreshed = browser.token(grant_type="refresh_token", refresh_token=body["refresh_token"])
    checked = api.post(f"{url}/check").json()
    exported = json.loads(b"".join(api.get("/v1/credentials/export")))
    with django_capture_on_commit_callbacks(execute=True):
        assert api.delete(url).status_code == 200

    assert oauth_app.health_status == HealthStatus.OK
    assert body["token_type"] == token_type
    assert (revealed["token_type"], revealed["api"]["scheme"]) == (token_type, token_type)
    assert refreshed.status_code == 200, refreshed.content
    assert checked["health"]["status"] == "ok", checked["health"]
    assert not Token.objects.filter(revoked_at=None).exists()
    assert bool(sent_to(network, "/par/request")) is is_pushed
    assert all("DPoP" in request.headers for request in sent_to(network, "/token")) is is_bound
    if is_bound:
        key = body["credential"]["properties"]["dpop_key"]
        assert imported["properties"]["dpop_key"] == "***********"
        assert revealed["dpop_key"] == exported["properties"]["dpop_key"] == key
        assert refreshed.json()["credential"]["properties"]["dpop_key"] == key
        stored = Credential.objects.filter(pk=imported["id"])
        assert not stored.exists()
    else:
        assert "dpop_key" not in {**body["credential"]["properties"], **revealed, **exported["properties"]}
    assert not [call for call in network.calls if "BEGIN" in f"{call.request.url} {call.request.body!r}"]


def test_a_new_consent_brings_a_new_key_and_an_export_holds_it(
    client: Client, account: Account, network: RequestsMock
) -> None:
    browser = Browser(client, keycloak_app(account, **BIND))
    api = client_of(account, "read", "write", "reveal")
    keys, urls = [], set()

    for _ in range(2):
        body = browser.token(code=browser.chooses("approve")["code"]).json()
        imported = api.post("/v1/credentials", body["credential"], content_type="application/json").json()
        urls.add(url := f"/v1/credentials/{imported['id']}")
        keys.append(body["credential"]["properties"]["dpop_key"])
        assert api.get(f"{url}/access-token").json()["dpop_key"] == keys[-1]

    assert len(urls) == 1
    assert len(set(keys)) == 2
    line = b"".join(api.get("/v1/credentials/export"))
    assert api.delete(url).status_code == 200
    api.post("/v1/credentials/import", line, content_type="application/x-ndjson")
    assert api.get(f"{url}/access-token", {"force_refresh": "true"}).json()["dpop_key"] == keys[-1]


OTHERS: list[tuple[str, str, dict[str, str]]] = [
    ("auth0", SECRET, {"token_endpoint_auth_method": "client_secret_basic"}),
    ("auth0", RSA_KEY, {"key_id": "k-1_A"}),
    ("auth0", SECRET, PUSH | BIND),
    ("okta", EC_KEY, {}),
    ("okta", SECRET, {"token_endpoint_auth_method": "client_secret_jwt"}),
    ("okta", RSA_KEY, BIND),
]


@pytest.mark.parametrize(("slug", "client_secret", "variables"), OTHERS)
def test_trips_to_others_that_document_it(
    client: Client, account: Account, network: RequestsMock, slug: str, client_secret: str, variables: dict[str, str]
) -> None:
    RedirectURI.objects.create(account=account, redirect_uri=REDIRECT_URI)
    provider = catalogue.get(slug)
    host = {"domain": provider.variables["domain"].example}
    browser = Browser(client, sandbox_app(account, provider, client_secret=client_secret, variables=host | variables))

    body = browser.token(code=browser.chooses("approve")["code"]).json()
    given = body["credential"]["properties"]
    bound = {"dpop_key": given["dpop_key"]} if BIND.items() <= variables.items() else {}
    refreshed = browser.token(grant_type="refresh_token", refresh_token=body["refresh_token"], **bound)

    assert refreshed.status_code == 200, refreshed.content
    assert body["token_type"] == refreshed.json()["token_type"] == ("DPoP" if bound else "Bearer")
    assert given["sub"]
    assert bool(sent_to(network, "/oauth/par")) is (PUSH.items() <= variables.items())


def test_a_provider_that_takes_no_such_signature_takes_no_such_key(account: Account) -> None:
    body = {"provider": "auth0", "name": "A", "client_id": "c1", "client_secret": EC_KEY}

    refused = client_of(account, "read", "write").post("/v1/oauth-apps", body, content_type="application/json")

    assert refused.status_code == 422
    assert "RS256, PS256" in refused.json()["validation_errors"]["client_secret"][0]
