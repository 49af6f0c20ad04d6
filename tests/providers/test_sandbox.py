"""What the simulated providers refuse, each in its own words, as their documentation has it."""

import json
from datetime import timedelta

import pytest
import time_machine
from django.test import Client
from django.utils import timezone
from pytest_django.fixtures import Settings

from providers.sandbox.models import Grant, Token
from providers.sandbox.script import Refused, load
from tests.providers.in_depth import IN_DEPTH
from tests.providers.sandbox_developer import CHALLENGE, STATE, Answer, Developer, error_of, is_page

pytestmark = pytest.mark.django_db

SCRIPTS = {slug: player.script for slug, player in load().items() if player.script.authorization_endpoint}
SLUGS = IN_DEPTH
PKCE = [slug for slug in SLUGS if SCRIPTS[slug].pkce in {"required", "supported"}]
NAMED = [slug for slug in SLUGS if not SCRIPTS[slug].client_named_by]  # the client is, in the authorization request
WITH_SCOPES = [slug for slug in SLUGS if SCRIPTS[slug].scopes.parameter]
REFRESHING = [slug for slug in SLUGS if SCRIPTS[slug].refresh.policy != "none"]
ROTATING = [slug for slug in SLUGS if SCRIPTS[slug].refresh.policy == "rotates"]
METHODS = ["client_secret_basic", "client_secret_post", "none"]


def assert_refused(developer: Developer, answer: Answer, what: Refused) -> None:
    """In the words and with the status that the script has for it."""
    refusal = developer.script.refusal(what)
    assert answer.status_code == refusal.status, answer.content
    assert error_of(answer) == refusal.error


# ---- the house ---------------------------------------------------------------------------------------------------


def test_every_provider_with_a_code_flow_is_played() -> None:
    from providers import catalogue

    assert {slug for slug, provider in catalogue.load().items() if provider.has_code_flow} == SCRIPTS.keys()


@pytest.mark.parametrize("slug", SLUGS)
def test_nothing_is_there_when_the_sandbox_is_off(slug: str, settings: Settings) -> None:
    developer = Developer(slug)
    link = developer.links()["approve"]
    settings.SANDBOX = False

    assert developer.ask().status_code == 404
    assert developer.http.get(link).status_code == 404
    assert developer.exchange("code").status_code == 404


@pytest.mark.parametrize("slug", SLUGS)
def test_an_address_that_is_not_documented_answers_404(slug: str, client: Client) -> None:
    assert client.get(f"/sandbox/{slug}/undocumented.example.com/nowhere/in/the/documentation").status_code == 404
    assert client.get("/sandbox/unheard-of/example.com/authorize").status_code == 404


@pytest.mark.parametrize("slug", SLUGS)
def test_the_token_endpoint_takes_nothing_but_post(slug: str) -> None:
    developer = Developer(slug)

    answer = developer.http.get(developer.at(developer.script.token_endpoint), {"code": "x"})

    assert (answer.status_code, answer["Allow"]) == (405, "POST")


# ---- the authorization request -----------------------------------------------------------------------------------


@pytest.mark.parametrize("slug", SLUGS)
@pytest.mark.parametrize("accept", ["text/html", "application/json"])
def test_an_unknown_client_meets_an_error_page_and_no_redirect(slug: str, accept: str) -> None:
    developer = Developer(slug, client_id="unknown-client")

    answer = developer.ask(accept)

    assert (answer.status_code, "Location" in answer) == (400, False)
    assert is_page(answer) == (accept == "text/html")


@pytest.mark.parametrize("slug", NAMED)
@pytest.mark.parametrize(
    "redirect_uri", ["https://evil.example.com/callback", "http://127.0.0.1:8000/link/oauth2/callback/x", "", None]
)
def test_an_unregistered_redirect_uri_meets_an_error_page_and_no_redirect(slug: str, redirect_uri: str | None) -> None:
    answer = Developer(slug).ask("text/html", redirect_uri=redirect_uri)

    assert (answer.status_code, "Location" in answer, is_page(answer)) == (400, False, True)


def sent_back(developer: Developer, **changes: str | None) -> tuple[str, str]:
    """The error that the callback is told, and the state."""
    answer = developer.http.get(
        developer.at(developer.script.authorization_endpoint), developer.authorization_request(**changes)
    )
    if answer.status_code == 200:  # posted
        assert is_page(answer)
        machine = developer.ask(**changes)
        return error_of(machine), STATE
    assert answer.status_code == 302, answer.content
    assert answer["Location"].startswith(developer.redirect_uri + "?")
    told = dict(pair.split("=") for pair in answer["Location"].partition("?")[2].split("&"))
    return told["error"], told["state"]


@pytest.mark.parametrize("slug", [slug for slug in SLUGS if SCRIPTS[slug].pkce == "required"])
def test_pkce_is_demanded(slug: str) -> None:
    answer = sent_back(Developer(slug), code_challenge=None, code_challenge_method=None)

    assert answer == ("invalid_request", STATE)


@pytest.mark.parametrize("slug", PKCE)
def test_a_code_challenge_that_is_not_made_with_s256_is_refused(slug: str) -> None:
    developer = Developer(slug)

    assert sent_back(developer, code_challenge_method="plain") == ("invalid_request", STATE)
    assert sent_back(developer, code_challenge_method=None) == ("invalid_request", STATE)
    assert sent_back(developer, code_challenge="short") == ("invalid_request", STATE)


@pytest.mark.parametrize("slug", [slug for slug in SLUGS if SCRIPTS[slug].pkce == "refused"])
def test_pkce_is_refused_where_the_app_has_not_opted_in(slug: str) -> None:
    answer = sent_back(Developer(slug), code_challenge=CHALLENGE, code_challenge_method="S256")

    assert answer == ("invalid_request", STATE)


@pytest.mark.parametrize("slug", WITH_SCOPES)
def test_scopes_with_the_wrong_separator_are_no_scopes(slug: str) -> None:
    developer = Developer(slug)
    scopes = developer.script.scopes
    wrong = next(separator for separator in ",|; " if separator not in scopes.separators)

    answer = sent_back(developer, **{scopes.parameter: wrong.join(["alpha", "beta"])})

    assert answer == ("invalid_scope", STATE)


@pytest.mark.parametrize("slug", [slug for slug in SLUGS if SCRIPTS[slug].scopes.required])
def test_one_scope_is_the_least(slug: str) -> None:
    developer = Developer(slug)

    assert sent_back(developer, **{developer.script.scopes.parameter: None}) == ("invalid_scope", STATE)


@pytest.mark.parametrize(
    ("slug", "name"), [(slug, name) for slug in SLUGS for name in SCRIPTS[slug].authorization_params]
)
def test_a_parameter_that_the_provider_demands_must_be_there(slug: str, name: str) -> None:
    developer = Developer(slug)

    assert sent_back(developer, **{name: None}) == ("invalid_request", STATE)
    assert sent_back(developer, **{name: "another"}) == ("invalid_request", STATE)


@pytest.mark.parametrize("slug", [slug for slug in SLUGS if SCRIPTS[slug].response_type])
def test_the_response_type_must_be_code(slug: str) -> None:
    developer = Developer(slug)

    assert sent_back(developer, response_type="token") == ("unsupported_response_type", STATE)
    assert sent_back(developer, response_type=None) == ("unsupported_response_type", STATE)


@pytest.mark.parametrize(("slug", "shortest"), [("netsuite", 22), ("airtable", 16), ("quickbooks", 1), ("okta", 1)])
def test_a_state_that_is_too_short_is_refused(slug: str, shortest: int) -> None:
    developer = Developer(slug)

    too_short, enough = developer.ask(state="x" * (shortest - 1)), developer.ask(state="x" * shortest)

    assert (too_short.status_code, enough.status_code) == (400, 200)


def test_apple_posts_its_answer_where_scopes_are_asked_for() -> None:
    assert sent_back(Developer("apple"), response_mode="query", scope="name") == ("invalid_request", STATE)


@pytest.mark.parametrize("slug", SLUGS)
def test_a_repeated_parameter_is_refused(slug: str) -> None:
    developer = Developer(slug)
    params = {**developer.authorization_request(), "prompt": ["consent", "none"]}

    answer = developer.http.get(
        developer.at(developer.script.authorization_endpoint), params, headers={"Accept": "application/json"}
    )

    assert (answer.status_code, error_of(answer)) == (400, "invalid_request")


# ---- client authentication ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("slug", "method"),
    [(slug, m) for slug in SLUGS for m in METHODS if m not in SCRIPTS[slug].client_authentication],
)
def test_a_method_of_client_authentication_that_is_not_documented_is_refused(slug: str, method: str) -> None:
    developer = Developer(slug)
    code = developer.code()

    answer = developer.exchange(code, authentication=method)

    assert_refused(developer, answer, "wrong_client_authentication")
    assert developer.exchange(code).status_code == 200  # the code is not burned


@pytest.mark.parametrize("slug", SLUGS)
def test_an_unknown_client_and_a_wrong_secret_are_refused(slug: str) -> None:
    developer = Developer(slug)
    code = developer.code()

    developer.client_id = "another"
    assert_refused(developer, developer.exchange(code), "unknown_client")
    developer.client_id = "client-1"
    right = developer.secret_to_send()
    developer.secret_to_send = lambda: right[:-1] + ("A" if right[-1] != "A" else "B")  # type: ignore[method-assign]
    assert_refused(developer, developer.exchange(code), "wrong_secret")


@pytest.mark.parametrize("slug", [slug for slug in SLUGS if "none" in SCRIPTS[slug].client_authentication])
def test_a_client_that_has_a_secret_must_use_it(slug: str) -> None:
    developer, public = Developer(slug), Developer(slug, client_id="public", has_secret=False)

    assert_refused(developer, developer.exchange(developer.code(), authentication="none"), "wrong_secret")
    assert public.exchange(public.code(), authentication="none").status_code == 200


@pytest.mark.parametrize("slug", [slug for slug in SLUGS if len(SCRIPTS[slug].client_authentication) > 1])
def test_two_methods_at_once_are_refused(slug: str) -> None:
    developer = Developer(slug)

    answer = developer.send(
        developer.at(developer.script.token_endpoint),
        {"grant_type": "authorization_code", "code": "x", "client_secret": "x"},
        authentication="client_secret_basic",
    )

    assert_refused(developer, answer, "bad_request")


def test_apple_takes_no_secret_that_is_not_made_out_to_it() -> None:
    developer = Developer("apple")
    developer.variables["team_id"] = "ANOTHER"
    developer.register()

    assert_refused(developer, developer.exchange("code"), "wrong_secret")


# ---- the body ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("slug", "kind"), [(slug, k) for slug in SLUGS for k in ("form", "json") if k not in SCRIPTS[slug].token_body]
)
def test_a_body_that_is_not_documented_is_refused(slug: str, kind: str) -> None:
    developer = Developer(slug)

    answer = developer.exchange(developer.code(), body=kind)

    assert_refused(developer, answer, "wrong_body")


@pytest.mark.parametrize("slug", SLUGS)
def test_parameters_in_the_query_are_not_read(slug: str) -> None:
    developer = Developer(slug)
    url = developer.at(developer.script.token_endpoint)

    answer = developer.send(f"{url}?grant_type=authorization_code&code={developer.code()}", {})

    assert_refused(developer, answer, "bad_request")


@pytest.mark.parametrize("slug", SLUGS)
def test_another_grant_type_is_refused(slug: str) -> None:
    developer = Developer(slug)

    assert_refused(developer, developer.exchange("x", grant_type="password"), "bad_grant_type")


@pytest.mark.parametrize("slug", [slug for slug in SLUGS if SCRIPTS[slug].grant_type_required])
def test_a_grant_type_that_is_missing_is_refused(slug: str) -> None:
    developer = Developer(slug)

    assert_refused(developer, developer.exchange(developer.code(), grant_type=None), "bad_request")


@pytest.mark.parametrize("slug", [slug for slug in SLUGS if not SCRIPTS[slug].grant_type_required])
def test_a_grant_type_that_is_missing_is_that_of_a_code_where_the_provider_wants_none(slug: str) -> None:
    developer = Developer(slug)

    assert developer.exchange(developer.code(), grant_type=None).status_code == 200


# ---- the code ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("slug", SLUGS)
def test_a_code_is_good_for_one_exchange(slug: str) -> None:
    developer = Developer(slug)
    code = developer.code()

    first, second = developer.exchange(code), developer.exchange(code)

    assert first.status_code == 200
    assert_refused(developer, second, "used_code")
    assert Token.objects.count() == 1


def test_a_used_code_ends_the_tokens_where_the_provider_says_so() -> None:
    developer = Developer("stripe")
    code = developer.code()
    token = json.loads(developer.exchange(code).content)["access_token"]

    developer.exchange(code)

    account = developer.calls(revoking=False)[0]
    assert developer.call(account, token).status_code == 401


@pytest.mark.parametrize("slug", SLUGS)
def test_an_unknown_code_and_another_clients_code_are_refused(slug: str) -> None:
    developer, other = Developer(slug), Developer(slug, client_id="client-2")
    other.variables = developer.variables
    code = developer.code() if SCRIPTS[slug].client_named_by == "" else "code"

    assert_refused(developer, developer.exchange("made-up"), "bad_code")
    assert_refused(other, other.exchange(code), "bad_code")


@pytest.mark.parametrize("slug", SLUGS)
def test_an_expired_code_is_refused(slug: str) -> None:
    developer = Developer(slug)
    code = developer.code()
    Grant.objects.update(code_expires_at=timezone.now())

    assert_refused(developer, developer.exchange(code), "bad_code")


@pytest.mark.parametrize("slug", SLUGS)
def test_the_redirect_uri_must_be_the_one_of_the_authorization_request(slug: str) -> None:
    developer = Developer(slug)
    code = developer.code()

    assert_refused(developer, developer.exchange(code, redirect_uri="https://evil.example.com"), "wrong_redirect_uri")
    if developer.script.redirect_uri_on_exchange == "required":
        assert_refused(developer, developer.exchange(code, redirect_uri=None), "bad_request")
    assert developer.exchange(code).status_code == 200


@pytest.mark.parametrize("slug", PKCE)
@pytest.mark.parametrize("verifier", [None, "another-verifier-that-is-long-enough-0123456789abcdef", "short"])
def test_the_code_verifier_must_belong_to_the_challenge(slug: str, verifier: str | None) -> None:
    developer = Developer(slug)

    answer = developer.exchange(developer.code(), code_verifier=verifier)

    assert_refused(developer, answer, "wrong_code_verifier")


@pytest.mark.parametrize("slug", [slug for slug in SLUGS if SCRIPTS[slug].pkce == "supported"])
def test_a_verifier_without_a_challenge_is_refused(slug: str) -> None:
    developer = Developer(slug)

    answer = developer.exchange(developer.code(code_challenge=None, code_challenge_method=None))

    assert_refused(developer, answer, "wrong_code_verifier")


@pytest.mark.parametrize(
    ("slug", "part"), [("shopify", "shop"), ("zendesk", "subdomain"), ("auth0", "domain"), ("workday", "tenant")]
)
def test_a_code_of_one_customer_is_none_of_anothers(slug: str, part: str) -> None:
    developer = Developer(slug)
    code = developer.code()
    elsewhere = developer.at(
        developer.script.token_endpoint, **{part: "harkonnen.example" if part == "domain" else "h"}
    )
    params = {"grant_type": "authorization_code", "code": code, "redirect_uri": developer.redirect_uri}

    assert_refused(developer, developer.send(elsewhere, params), "bad_code")


# ---- the refresh token -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("slug", [slug for slug in SLUGS if SCRIPTS[slug].refresh.policy == "none"])
def test_there_is_no_refresh_where_tokens_do_not_end(slug: str) -> None:
    developer = Developer(slug)

    assert "refresh_token" not in developer.tokens()
    assert_refused(developer, developer.refresh("made-up"), "bad_grant_type")


@pytest.mark.parametrize("slug", REFRESHING)
def test_an_unknown_or_foreign_refresh_token_is_refused(slug: str) -> None:
    developer, other = Developer(slug), Developer(slug, client_id="client-2")
    theirs = developer.tokens()["refresh_token"]

    assert_refused(developer, developer.refresh("made-up"), "bad_refresh_token")
    assert_refused(other, other.refresh(theirs), "bad_refresh_token")


@pytest.mark.parametrize("slug", REFRESHING)
def test_the_outcome_of_a_refresh_that_fails(slug: str) -> None:
    developer = Developer(slug)

    tokens = developer.tokens("refresh_fails")

    assert_refused(developer, developer.refresh(tokens["refresh_token"]), "bad_refresh_token")


@pytest.mark.parametrize("slug", ROTATING)
def test_a_rotated_refresh_token_is_refused_when_it_comes_back(slug: str) -> None:
    developer = Developer(slug)
    policy = developer.script.refresh
    first = developer.tokens()["refresh_token"]
    with time_machine.travel(timezone.now() + timedelta(seconds=policy.rotates_after + 1)):
        second = developer.refreshed(first)["refresh_token"]
    assert second != first

    with time_machine.travel(timezone.now() + timedelta(seconds=policy.rotates_after + policy.grace + 9)):
        if policy.until_successor_is_used:
            developer.refreshed(second)
        answer = developer.refresh(first)
        after = developer.refresh(second)

    assert_refused(developer, answer, "bad_refresh_token")
    if policy.reuse_revokes_all:
        assert_refused(developer, after, "bad_refresh_token")


@pytest.mark.parametrize("slug", [slug for slug in REFRESHING if SCRIPTS[slug].refresh.lifetime])
def test_a_refresh_token_that_nobody_used_in_time_is_refused(slug: str) -> None:
    developer = Developer(slug)
    refresh_token = developer.tokens()["refresh_token"]

    with time_machine.travel(timezone.now() + timedelta(seconds=(developer.script.refresh.lifetime or 0) + 1)):
        assert_refused(developer, developer.refresh(refresh_token), "bad_refresh_token")


# ---- calls -------------------------------------------------------------------------------------------------------

CALLS = [(slug, index) for slug in SLUGS for index, call in enumerate(SCRIPTS[slug].calls) if not call.revokes]
REVOCATIONS = [(slug, index) for slug in SLUGS for index, call in enumerate(SCRIPTS[slug].calls) if call.revokes]


@pytest.mark.parametrize(("slug", "index"), CALLS)
def test_a_call_takes_live_access_tokens_alone(slug: str, index: int) -> None:
    developer = Developer(slug)
    call = developer.script.calls[index]
    needed = {developer.script.scopes.parameter: call.needs_scope} if call.needs_scope else {}
    token = developer.tokens(**needed)["access_token"]
    good = developer.call(call, token)
    assert (good.status_code, bool(good.content)) == (200, True), good.content

    made_up = developer.call(call, "made-up")
    Token.objects.update(expires_at=timezone.now())
    expired = developer.call(call, token)

    assert good.content not in {made_up.content, expired.content}
    refusal = call.refusal or developer.script.refusal("bad_access_token")
    assert (made_up.status_code, expired.status_code) == (refusal.status, refusal.status)


@pytest.mark.parametrize(("slug", "index"), REVOCATIONS)
def test_a_revoked_token_opens_nothing_and_refreshes_nothing(slug: str, index: int) -> None:
    developer = Developer(slug)
    tokens = developer.tokens()
    revocation = developer.script.calls[index]

    answer = developer.call(revocation, tokens["access_token"])

    assert answer.status_code == revocation.status, answer.content
    assert not Token.objects.filter(revoked_at=None).exists()
    if "refresh_token" in tokens:
        assert_refused(developer, developer.refresh(tokens["refresh_token"]), "bad_refresh_token")


@pytest.mark.parametrize(
    ("slug", "index"), [(slug, i) for slug, i in REVOCATIONS if SCRIPTS[slug].calls[i].client_authentication]
)
def test_a_revocation_demands_the_client(slug: str, index: int) -> None:
    developer = Developer(slug)
    token = developer.tokens()["access_token"]
    developer.secret_to_send = lambda: "another"  # type: ignore[method-assign]

    answer = developer.call(developer.script.calls[index], token)

    assert_refused(developer, answer, "wrong_secret")
    assert Token.objects.filter(revoked_at=None).exists()
