"""OAuth client libraries as they come, by configuration alone: the gateway is one more authorization server."""

import asyncio
import json
import secrets
import subprocess
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

import pytest
import requests
from authlib.integrations.httpx_client import OAuth2Client as AuthlibOverHttpx
from authlib.integrations.requests_client import OAuth2Session as AuthlibOverRequests
from httpx_oauth.oauth2 import OAuth2 as HttpxOAuth
from requests_oauthlib import OAuth2Session as RequestsOAuthlib

from tests.real.canaries import Canaries
from tests.real.end_user import EndUser, query_of
from tests.real.gateway import App, Gateway
from tests.real.machine import program
from tests.real.oidc import OidcProviders

pytestmark = pytest.mark.real

METHODS = ["client_secret_basic", "client_secret_post"]
SCOPES = {"oidc-pkce": "openid email offline_access", "linear": "read write"}
AWKWARD_SECRET = ":/+% é&=%3A%2B~-_.!" + "x" * 20  # oidc-provider's clients have `:/+% ` in theirs, and may have no é


@pytest.fixture(scope="package")
def linear_app(gateway: Gateway) -> App:
    return gateway.create_app("linear", client_id="linear-1", client_secret=AWKWARD_SECRET, environment="sandbox")


@pytest.fixture(params=["oidc-pkce", "linear"])
def app(request: pytest.FixtureRequest, pkce_app: App, linear_app: App) -> App:
    return pkce_app if request.param == "oidc-pkce" else linear_app


@pytest.fixture
def verifier(canaries: Canaries) -> str:
    return canaries.add("the developer's code_verifier", secrets.token_urlsafe(48))


@pytest.fixture
def metadata(gateway: Gateway) -> dict[str, Any]:
    return gateway.metadata()


def assert_granted(token: Mapping[str, Any], app: App, oidc: OidcProviders, canaries: Canaries) -> None:
    """The token endpoint's answer, as the library hands it on, and that its access token is a living one."""
    canaries.add_document(dict(token))
    assert token["token_type"] == "Bearer"
    assert {*token["scope"].split()} == {*SCOPES[app.provider].split()}
    assert token["expires_in"] > 3000
    properties = token["credential"]["properties"]
    assert properties["access_token"] == token["access_token"]
    assert properties["refresh_token"] == token["refresh_token"]
    if app.provider == "oidc-pkce":
        assert oidc.userinfo("pkce", token["access_token"]).status_code == 200
    else:
        assert properties["linear_org_name"] == "Sandbox Workspace 1"


def assert_refreshed(new: Mapping[str, Any], old: Mapping[str, Any], app: App, oidc: OidcProviders) -> None:
    assert new["token_type"] == "Bearer"
    assert new["access_token"] != old["access_token"]
    assert new["refresh_token"] != old["refresh_token"]
    if app.provider == "oidc-pkce":
        assert oidc.userinfo("pkce", new["access_token"]).status_code == 200


@pytest.mark.parametrize("method", METHODS)
def test_authlib_over_requests(
    app: App,
    method: str,
    metadata: dict[str, Any],
    verifier: str,
    end_user: EndUser,
    oidc: OidcProviders,
    canaries: Canaries,
) -> None:
    client = AuthlibOverRequests(
        app.id,
        app.client_secret,
        token_endpoint_auth_method=method,
        revocation_endpoint_auth_method=method,
        scope=SCOPES[app.provider],
        redirect_uri=app.redirect_uri,
        code_challenge_method="S256",
        **metadata,
    )

    url, _ = client.create_authorization_url(metadata["authorization_endpoint"], code_verifier=verifier)
    arrived = end_user.walk(url, to=app.redirect_uri)
    token = dict(client.fetch_token(authorization_response=arrived, code_verifier=verifier))
    assert_granted(token, app, oidc, canaries)
    new = dict(client.refresh_token())
    assert_refreshed(new, token, app, oidc)
    canaries.add_document(new)
    revoked = client.revoke_token(metadata["revocation_endpoint"], new["refresh_token"], "refresh_token")

    assert revoked.status_code == 200


@pytest.mark.parametrize("method", METHODS)
def test_authlib_over_httpx(
    app: App,
    method: str,
    metadata: dict[str, Any],
    verifier: str,
    end_user: EndUser,
    oidc: OidcProviders,
    canaries: Canaries,
) -> None:
    client = AuthlibOverHttpx(
        app.id,
        app.client_secret,
        token_endpoint_auth_method=method,
        scope=SCOPES[app.provider],
        redirect_uri=app.redirect_uri,
        code_challenge_method="S256",
        timeout=30,
        **metadata,
    )

    url, _ = client.create_authorization_url(metadata["authorization_endpoint"], code_verifier=verifier)
    arrived = end_user.walk(url, to=app.redirect_uri)
    token = dict(client.fetch_token(authorization_response=arrived, code_verifier=verifier))
    assert_granted(token, app, oidc, canaries)
    new = dict(client.refresh_token(metadata["token_endpoint"], refresh_token=token["refresh_token"]))

    assert_refreshed(new, token, app, oidc)
    canaries.add_document(new)


@pytest.mark.parametrize("include_client_id", [None, True], ids=METHODS)
def test_requests_oauthlib(
    app: App,
    include_client_id: bool | None,
    metadata: dict[str, Any],
    end_user: EndUser,
    oidc: OidcProviders,
    canaries: Canaries,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")  # http, on loopback
    client = RequestsOAuthlib(app.id, redirect_uri=app.redirect_uri, scope=SCOPES[app.provider].split(), pkce="S256")

    url, _ = client.authorization_url(metadata["authorization_endpoint"])
    arrived = end_user.walk(url, to=app.redirect_uri)
    token = dict(
        client.fetch_token(
            metadata["token_endpoint"],
            authorization_response=arrived,
            client_secret=app.client_secret,
            include_client_id=include_client_id,
        )
    )
    assert_granted(token | {"scope": " ".join(token["scope"])}, app, oidc, canaries)
    pair = {"client_id": app.id, "client_secret": app.client_secret}
    new = dict(client.refresh_token(metadata["token_endpoint"], refresh_token=token["refresh_token"], **pair))

    assert_refreshed(new, token, app, oidc)
    canaries.add_document(new)


@pytest.mark.parametrize("method", METHODS)
def test_httpx_oauth(
    app: App,
    method: Any,
    metadata: dict[str, Any],
    verifier: str,
    end_user: EndUser,
    oidc: OidcProviders,
    canaries: Canaries,
) -> None:
    client = HttpxOAuth(
        app.id,
        app.client_secret or "",
        metadata["authorization_endpoint"],
        metadata["token_endpoint"],
        refresh_token_endpoint=metadata["token_endpoint"],
        revoke_token_endpoint=metadata["revocation_endpoint"],
        token_endpoint_auth_method=method,
        revocation_endpoint_auth_method=method,
    )
    state = secrets.token_urlsafe(16)
    challenge = urlsafe_b64encode(sha256(verifier.encode()).digest()).decode().rstrip("=")

    url = asyncio.run(
        client.get_authorization_url(
            app.redirect_uri,
            state,
            SCOPES[app.provider].split(),
            code_challenge=challenge,
            code_challenge_method="S256",
        )
    )
    arrived = query_of(end_user.walk(url, to=app.redirect_uri))
    assert arrived["state"] == state
    token = asyncio.run(client.get_access_token(arrived["code"], app.redirect_uri, verifier))
    assert_granted(token, app, oidc, canaries)
    new = asyncio.run(client.refresh_token(token["refresh_token"]))
    assert_refreshed(new, token, app, oidc)
    canaries.add_document(new)
    asyncio.run(client.revoke_token(new["refresh_token"]))


@pytest.mark.parametrize("method", METHODS)
def test_curl(app: App, method: str, end_user: EndUser, oidc: OidcProviders, canaries: Canaries) -> None:
    curl = [program("curl"), "--silent", "--show-error", "--fail-with-body", "--noproxy", "*"]
    url = f"{app.gateway.url}/link/oauth2/token"
    if method == "client_secret_basic":
        pair = ["--user", f"{app.id}:{app.client_secret}"]
    else:
        pair = ["--data-urlencode", f"client_id={app.id}", "--data-urlencode", f"client_secret={app.client_secret}"]
    arrived = end_user.walk(app.start_url(scope=SCOPES[app.provider]), to=app.redirect_uri)

    def post(**body: str) -> dict[str, Any]:
        data = [argument for name, value in body.items() for argument in ("--data-urlencode", f"{name}={value}")]
        document: dict[str, Any] = json.loads(subprocess.check_output([*curl, *pair, *data, url]))
        return document

    token = post(grant_type="authorization_code", code=query_of(arrived)["code"])
    assert_granted(token, app, oidc, canaries)
    new = post(grant_type="refresh_token", refresh_token=token["refresh_token"])

    assert_refreshed(new, token, app, oidc)
    canaries.add_document(new)


def test_a_stock_client_reads_our_refusals(app: App, metadata: dict[str, Any]) -> None:
    """The RFC's errors, with the RFC's statuses: what a library makes its exceptions of."""
    body = {"grant_type": "authorization_code", "code": "there-is-no-such-code"}
    url = metadata["token_endpoint"]

    right = requests.post(url, body | {"client_id": app.id, "client_secret": app.client_secret}, timeout=30)
    wrong = requests.post(url, body, auth=(app.id, "not-it"), timeout=30)

    assert (right.status_code, right.json()["error"]) == (400, "invalid_grant")
    assert (wrong.status_code, wrong.json()["error"]) == (401, "invalid_client")
    assert wrong.headers["WWW-Authenticate"].startswith("Basic")
