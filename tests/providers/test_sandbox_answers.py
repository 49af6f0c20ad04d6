"""What the simulated providers answer, word for word, and that nothing makes them stumble."""

import json
from typing import Any

import pytest
import time_machine
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import connection
from django.utils import timezone
from joserfc import jwt
from joserfc.jwk import KeySet

from providers.catalogue.rules import leaks
from providers.sandbox import script, signing
from providers.sandbox.models import Grant, SigningKey, Token
from tests.providers.in_depth import IN_DEPTH
from tests.providers.sandbox_developer import VERIFIER, Developer

pytestmark = pytest.mark.django_db

SCRIPTS = {slug: player.script for slug, player in script.load().items()}
SLUGS = IN_DEPTH
SIGNING = [slug for slug in SLUGS if SCRIPTS[slug].id_token]
TOKENS = {"access_token", "refresh_token", "id_token"}


def told(answer: dict[str, Any]) -> dict[str, Any]:
    """An answer without its tokens, which are random."""
    return {name: value for name, value in answer.items() if name not in TOKENS}


# ---- junk --------------------------------------------------------------------------------------------------------

JUNK: list[tuple[str, bytes]] = [
    ("application/x-www-form-urlencoded", b"grant_type=authorization_code&code=%00&client_id=%00&client_secret=%00"),
    ("application/x-www-form-urlencoded", b"\xff\xfe=\xff&client_id=\xf0\x28\x8c\x28"),
    ("application/x-www-form-urlencoded", b"&".join(b"a%d=b" % n for n in range(1100))),
    ("application/json", b"[" * 6000),
    ("application/json", b'{"client_id": "\\ud800", "client_secret": "\\u0000"}'),
    ("application/json", b'{"client_id": 1e400, "client_secret": ' + b"9" * 5000 + b', "code": [{}]}'),
    ("application/json", b'"text"'),
    ("application/json; charset=bogus", b"{}"),
    ("multipart/form-data; boundary=x", b"--x\r\nnonsense"),
    ("text/plain", b"x" * 1000),
    ("", b"x"),
]
HEADERS = ["Basic ====", "Basic AAAA", "Basic //4=", "Basic", "Bearer \u00e9", "Bearer ", "bogus"]


@pytest.mark.parametrize("slug", SLUGS)
def test_no_address_stumbles_over_junk(slug: str) -> None:
    developer = Developer(slug)
    actor = developer.script
    places = [("POST", actor.token_endpoint), *((call.method, call.url) for call in actor.calls)]
    for verb, url in [(verb, developer.at(url)) for verb, url in places]:
        answers = [developer.http.generic(verb, url, content, content_type=kind) for kind, content in JUNK]
        answers += [developer.http.generic(verb, url, headers={"Authorization": header}) for header in HEADERS]
        assert all(answer.status_code < 500 for answer in answers)


@pytest.mark.parametrize("slug", SLUGS)
@pytest.mark.parametrize("query", ["client_id=%00", "client_id=%ff&redirect_uri=%ff", "a=" + "b" * 5000, "&=&=", "%"])
def test_no_authorization_request_makes_it_stumble(slug: str, query: str) -> None:
    developer = Developer(slug)
    url = developer.at(developer.script.authorization_endpoint)

    assert developer.http.get(f"{url}?{query}").status_code < 500
    sound = "&".join(f"{name}={value}" for name, value in developer.authorization_request().items())
    assert developer.http.get(f"{url}?{sound}&state=%00&scope=%00&nonce=%00").status_code < 500


# ---- scripts -----------------------------------------------------------------------------------------------------

LEAST = {
    "documentation": ["https://docs.example.com"],
    "authorization_endpoint": "https://example.com/authorize",
    "token_endpoint": "https://example.com/token",
}


@pytest.mark.parametrize(
    "wrong",
    [
        {"pkse": "required"},
        {"pkce": "perhaps"},
        {"scopes": {"seperators": ","}},
        {"answer": {"access_token": "{acess_token}"}},
        {"rotation": {"answer": {"access_token": "{acess_token}"}}},
        {"access_token_format": "always-the-same"},
        {"calls": [{"url": "https://example.com/me", "answer": {"id": "{who}"}}]},
    ],
)
def test_a_script_that_is_wrong_stops_the_process(wrong: dict[str, Any]) -> None:
    assert script.read("example", "Example", LEAST).slug == "example"

    with pytest.raises(ImproperlyConfigured, match=r"^\[sandbox\]"):
        script.read("example", "Example", {**LEAST, **wrong})


@pytest.mark.parametrize("slug", SLUGS)
def test_a_script_names_its_documentation_and_holds_nobodys_secret(slug: str) -> None:
    from providers import catalogue

    assert all(page.startswith("https://") for page in SCRIPTS[slug].documentation)
    assert leaks(catalogue.get(slug).sandbox) == []


@pytest.mark.parametrize(
    ("pattern", "address", "parts"),
    [
        ("https://{shop}.myshopify.com/a", "acme.myshopify.com/a", {"shop": "acme"}),
        ("https://{shop}.myshopify.com/a", "a.b.myshopify.com/a", None),
        ("https://{shop}.myshopify.com/a", "acme.myshopify.com/a/", None),
        ("https://{shop}.myshopify.com/a", "acmexmyshopify.com/a", None),
        ("https://{domain}/a", "127.0.0.1:9000/a", {"domain": "127.0.0.1:9000"}),
        ("https://{domain}/a", "x@y.example/a", None),
        ("https://a.example/{tenant}/b/{tenant}", "a.example/x/b/x", {"tenant": "x"}),
        ("https://a.example/{tenant}/b/{tenant}", "a.example/x/b/y", None),
        ("https://a.example/{tenant}", "a.example/x\n", None),
    ],
)
def test_an_address_is_a_providers_or_it_is_not(pattern: str, address: str, parts: dict[str, str] | None) -> None:
    table = {**LEAST, "scopes": {}, "calls": [{"url": pattern}]}
    player = script.read("example", "Example", table)

    found = [parts for endpoint, parts in player.at(address) if endpoint.role == "call"]

    assert found == ([] if parts is None else [parts])


# ---- tokens ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("slug", SLUGS)
def test_tokens_can_be_told_from_real_ones_and_are_hashed_at_rest(slug: str) -> None:
    developer = Developer(slug)
    code = developer.code()
    answer = json.loads(developer.exchange(code).content)
    issued = [code, *(answer[name] for name in ("access_token", "refresh_token") if name in answer)]

    assert all("sandbox_" in token for token in issued)
    with connection.cursor() as cursor:
        for table in ("sandbox_registration", "sandbox_grant", "sandbox_token"):
            cursor.execute(f"SELECT string_agg(t::text, ' ') FROM {table} t")  # noqa: S608
            dump = str(cursor.fetchone())
            assert not [token for token in issued if token in dump or token.encode().hex() in dump]


def test_a_trip_takes_few_statements(django_assert_num_queries: Any) -> None:
    developer = Developer("stripe")
    with django_assert_num_queries(1):
        link = developer.links()["approve"]
    code = developer.follow(link)["code"]
    with django_assert_num_queries(4):
        developer.exchange(code)


@pytest.mark.parametrize("slug", [slug for slug in SLUGS if SCRIPTS[slug].refresh.needs_scope])
def test_no_refresh_token_comes_without_its_scope(slug: str) -> None:
    developer = Developer(slug)

    answer = developer.tokens(**{developer.script.scopes.parameter: "alpha"})

    assert "refresh_token" not in answer


@pytest.mark.parametrize(("slug", "name"), [("google", "access_type"), ("dropbox", "token_access_type")])
def test_no_refresh_token_comes_unless_offline_access_is_asked_for(slug: str, name: str) -> None:
    developer = Developer(slug)

    assert "refresh_token" in developer.tokens()
    assert "refresh_token" not in developer.tokens(**{name: None})
    assert "refresh_token" not in developer.tokens(**{name: "online"})


def test_shopifys_token_ends_only_if_it_was_asked_to() -> None:
    developer = Developer("shopify")

    expiring = json.loads(developer.exchange(developer.code()).content)
    endless = json.loads(developer.exchange(developer.code(), expiring=None).content)

    assert told(expiring) == {"scope": "alpha,beta", "expires_in": 3600, "refresh_token_expires_in": 7776000}
    assert list(endless) == ["access_token", "scope"]


def test_zendesks_token_lives_as_long_as_it_was_asked_to() -> None:
    developer = Developer("zendesk")

    asked = json.loads(developer.exchange(developer.code(), expires_in="86400").content)
    too_short = developer.exchange(developer.code(), expires_in="300")

    assert asked["expires_in"] == 86400
    assert "expires_in" not in developer.tokens()
    assert (too_short.status_code, json.loads(too_short.content)["error"]) == (400, "invalid_request")


@pytest.mark.parametrize("slug", ["microsoft", "stripe"])
def test_an_old_refresh_token_stays_where_the_provider_lets_it(slug: str) -> None:
    developer = Developer(slug)
    first = developer.tokens()["refresh_token"]

    second, third = developer.refreshed(first)["refresh_token"], developer.refreshed(first)["refresh_token"]

    assert (first == second == third) == (slug == "stripe")
    assert len({first, second, third}) == (1 if slug == "stripe" else 3)


def test_xero_takes_a_used_refresh_token_for_half_an_hour() -> None:
    developer = Developer("xero")
    first = developer.tokens()["refresh_token"]
    developer.refreshed(first)

    assert developer.refresh(first).status_code == 200
    with time_machine.travel(timezone.now().timestamp() + 1801):
        assert developer.refresh(first).status_code == 400


def test_a_refresh_ends_zendesks_old_access_token() -> None:
    developer = Developer("zendesk")
    old = developer.tokens()
    me = developer.calls(revoking=False)[0]

    new = developer.refreshed(old["refresh_token"])

    assert developer.call(me, old["access_token"]).status_code == 401
    assert developer.call(me, new["access_token"]).status_code == 200


# ---- word for word -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("slug", "expected"),
    [
        (
            "stripe",
            {
                "livemode": False,
                "token_type": "bearer",
                "stripe_publishable_key": "pk_test_1",
                "stripe_user_id": "acct_sandbox1",
                "scope": "read_only read_write",
            },
        ),
        (
            "slack",
            {
                "ok": True,
                "app_id": "A0SANDBOX00",
                "authed_user": {"id": "U0SANDBOX01"},
                "scope": "alpha,beta",
                "token_type": "bot",
                "bot_user_id": "B0SANDBOX01",
                "team": {"id": "T0SANDBOX01", "name": "Sandbox Team 1"},
                "enterprise": None,
                "is_enterprise_install": False,
            },
        ),
        ("hubspot", {"token_type": "bearer", "hub_id": 9000001, "scopes": ["alpha", "beta"], "expires_in": 1800}),
        ("netsuite", {"expires_in": "3600", "token_type": "bearer"}),
        ("workday", {"token_type": "Bearer"}),
        ("linear", {"token_type": "Bearer", "expires_in": 86399, "scope": "read alpha beta"}),
        ("microsoft", {"token_type": "Bearer", "scope": "alpha beta", "expires_in": 3599, "ext_expires_in": 3599}),
    ],
)
def test_the_token_answer(slug: str, expected: dict[str, Any]) -> None:
    assert told(Developer(slug).tokens()) == expected


def test_google_spells_granted_scopes_in_its_own_way() -> None:
    answer = Developer("google").tokens(scope="openid email")

    assert answer["scope"] == "openid https://www.googleapis.com/auth/userinfo.email"


@pytest.mark.parametrize(
    ("slug", "scope", "answered"),
    [
        ("github", "user user:email gist", "user,gist"),
        ("github", "read:user,user:email", "read:user,user:email"),
        ("github", "read:org admin:org", "admin:org"),
        ("shopify", "read_products,write_products,read_orders", "write_products,read_orders"),
        ("salesforce", "api offline_access refresh_token", "api refresh_token"),
    ],
)
def test_a_scope_is_not_answered_beside_a_wider_one(slug: str, scope: str, answered: str) -> None:
    assert Developer(slug).tokens(scope=scope)["scope"] == answered


def test_github_answers_with_a_form_unless_json_is_accepted() -> None:
    developer = Developer("github")
    developer.client_secret = "another"
    url = developer.at(developer.script.token_endpoint)

    refused = developer.send(url, {"code": "x"}, headers={"Accept": "*/*"})
    in_json = developer.send(url, {"code": "x"})

    assert (refused.status_code, refused["Content-Type"]) == (200, "application/x-www-form-urlencoded")
    assert refused.content.startswith(b"error=incorrect_client_credentials&error_description=")
    assert json.loads(in_json.content)["error"] == "incorrect_client_credentials"


# ---- introspection -----------------------------------------------------------------------------------------------


def introspection(slug: str) -> tuple[Developer, script.Call]:
    developer = Developer(slug)
    return developer, next(call for call in developer.script.calls if str(call.url).count("introspect"))


def test_salesforce_tells_when_a_token_ends() -> None:
    developer, call = introspection("salesforce")
    with time_machine.travel(1_800_000_000, tick=False):
        tokens = developer.tokens(scope="api refresh_token")

    with time_machine.travel(1_800_003_600, tick=False):
        answer = developer.call(call, tokens["access_token"])

    assert json.loads(answer.content) == {
        "active": True,
        "scope": "api refresh_token",
        "client_id": "client-1",
        "username": "user1@sandbox.example",
        "sub": "https://login.salesforce.com/id/00DSB0000000011EAA/005SB0000000011AAA",
        "token_type": "access_token",
        "exp": 1_800_007_200,
        "iat": 1_800_000_000,
        "nbf": 1_800_000_000,
    }


def test_salesforce_says_no_more_of_a_token_that_is_not_active() -> None:
    developer, call = introspection("salesforce")
    other = Developer("salesforce", client_id="client-2")
    token, theirs = developer.tokens()["access_token"], other.tokens()["access_token"]
    with time_machine.travel(timezone.now().timestamp() + 7201):
        answers = [developer.call(call, token)]

    answers += [developer.call(call, "made-up"), developer.call(call, theirs)]

    assert [(answer.status_code, json.loads(answer.content)) for answer in answers] == [(200, {"active": False})] * 3


def test_salesforce_tells_it_to_the_client_alone() -> None:
    developer, call = introspection("salesforce")
    token = developer.tokens()["access_token"]
    developer.secret_to_send = lambda: "another"  # type: ignore[method-assign]

    answer = developer.call(call, token)

    assert (answer.status_code, json.loads(answer.content)["error"]) == (400, "invalid_client")


# ---- id_tokens ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("slug", SIGNING)
def test_an_id_token_verifies_with_the_published_keys(slug: str) -> None:
    developer = Developer(slug)
    wanted = developer.script.id_token
    assert wanted is not None
    scope = "name" if slug == "apple" else f"openid {' '.join(developer.script.refresh.needs_scope[:1])}".strip()

    answer = developer.tokens(scope=scope, nonce="n-1")
    keys = json.loads(developer.http.get(developer.at(developer.script.jwks_uri)).content)
    token = jwt.decode(answer["id_token"], KeySet.import_key_set(keys), algorithms=[wanted.algorithm])

    assert token.header["alg"] == wanted.algorithm
    assert (token.claims["aud"], token.claims["nonce"]) == (developer.client_id, "n-1")
    assert token.claims["exp"] - token.claims["iat"] == wanted.lifetime
    assert token.claims["iss"].startswith("https://")
    assert "d" not in keys["keys"][0]


@pytest.mark.parametrize("slug", [slug for slug in SIGNING if slug != "apple"])
def test_no_id_token_comes_without_openid(slug: str) -> None:
    assert "id_token" not in Developer(slug).tokens()


def test_the_signing_key_is_made_once_and_sealed() -> None:
    developer = Developer("google")
    for _ in range(2):
        developer.tokens(scope="openid")

    row = SigningKey.objects.get()

    assert row.algorithm == "RS256"
    assert '"d":' in row.private_key
    with connection.cursor() as cursor:
        cursor.execute("SELECT t::text FROM sandbox_signingkey t")
        assert b'"kty"'.hex() not in str(cursor.fetchone())
    assert Token.objects.count() == 2


def test_of_two_that_make_a_signing_key_at_once_both_get_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = (signing.new_key.__wrapped__("ES256") for _ in range(2))

    def made_meanwhile(algorithm: str) -> str:
        SigningKey.objects.create(algorithm=algorithm, private_key=first)
        return str(second)

    monkeypatch.setattr(signing, "new_key", made_meanwhile)

    assert signing.signing_key("ES256").kid == json.loads(first)["kid"]
    assert SigningKey.objects.count() == 1


def test_of_two_that_use_a_code_or_a_refresh_token_at_once_one_is_told_so() -> None:
    Developer("xero").tokens(scope="offline_access")
    Grant.objects.update(used_at=None)
    one, other = Grant.objects.get(), Grant.objects.get()
    early, late = Token.objects.get(), Token.objects.get()

    assert (one.use_code(), other.use_code()) == (True, False)
    assert (early.use_refresh_token(), late.use_refresh_token()) == (True, False)


# ---- a second token ------------------------------------------------------------------------------------------------


def test_a_second_token_whose_scopes_are_misspelt_is_refused() -> None:
    answer = Developer("slack").ask(user_scope="users:read chat:write")

    assert (answer.status_code, json.loads(answer.content)["error"]) == (400, "invalid_scope")


def test_a_second_token_comes_if_it_is_asked_for_and_ends_with_the_first() -> None:
    developer = Developer("slack")
    who, revocation = developer.calls(revoking=False)[0], developer.calls(revoking=True)[0]

    without = developer.tokens()["authed_user"]
    beside = developer.tokens(user_scope="users:read,chat:write")
    second = beside["authed_user"].pop("access_token")
    before = developer.call(who, second).json()["ok"]
    developer.call(revocation, beside["access_token"])

    assert without == {"id": "U0SANDBOX01"}
    assert beside["authed_user"] == {"id": "U0SANDBOX01", "scope": "users:read,chat:write"}
    assert second.startswith("xoxp-sandbox_")
    assert (before, developer.call(who, second).json()["ok"]) == (True, False)


# ---- deployments ---------------------------------------------------------------------------------------------------


def test_what_one_deployment_issues_is_foreign_to_another() -> None:
    developer = Developer("docusign")
    elsewhere = developer.script.token_endpoint[1]
    [who] = developer.calls(revoking=False)
    code = developer.code()
    exchange = {"grant_type": "authorization_code", "code": code, "redirect_uri": developer.redirect_uri}
    if developer.script.pkce in {"required", "supported"}:
        exchange["code_verifier"] = VERIFIER

    refused = developer.send(developer.at(elsewhere), exchange)
    tokens = json.loads(developer.exchange(code).content)
    refresh = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}
    bearer = {"Authorization": f"Bearer {tokens['access_token']}"}

    assert "There is no such code" in refused["Sandbox-Reason"]
    assert "There is no such refresh token" in developer.send(developer.at(elsewhere), refresh)["Sandbox-Reason"]
    assert [developer.http.get(developer.at(url), headers=bearer).status_code for url in who.url] == [200, 401]
    assert developer.refresh(tokens["refresh_token"]).status_code == 200


def test_another_spelling_of_one_address_is_no_other_deployment() -> None:
    developer = Developer("stripe")
    express = developer.at(developer.script.authorization_endpoint[1])

    page = developer.http.get(express, developer.authorization_request(), headers={"Accept": "application/json"})
    link = json.loads(page.content)["outcomes"]["approve"].removeprefix(settings.PUBLIC_URL)

    assert developer.exchange(developer.follow(link)["code"]).status_code == 200
