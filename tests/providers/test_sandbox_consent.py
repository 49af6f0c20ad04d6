"""The consent page of the simulated providers, and the outcomes that it offers."""

import hashlib
import hmac
import json
import re
from datetime import timedelta
from urllib.parse import urlencode

import pytest
import time_machine
from django.utils import timezone

from providers.sandbox import consent
from providers.sandbox.models import Grant, Registration
from providers.sandbox.purge import purge
from providers.sandbox.script import load
from tests.providers.in_depth import IN_DEPTH
from tests.providers.sandbox_developer import CLIENT_SECRET, STATE, Developer, error_of, is_page

pytestmark = pytest.mark.django_db

SCRIPTS = {slug: player.script for slug, player in load().items() if player.script.authorization_endpoint}
SLUGS = IN_DEPTH
OUTCOMES = ["approve", "approve_fewer", "deny", "provider_error", "slow", "short_lived", "refresh_fails"]
WITHOUT_REFRESH_TOKENS = ["vercel"]


def outcomes_of(slug: str) -> list[str]:
    of_refreshing = [] if slug in WITHOUT_REFRESH_TOKENS else ["rotating"]
    return [*OUTCOMES, *of_refreshing, *(["rate_limited", "api_fails"] if SCRIPTS[slug].collections else [])]


def who_answers(slug: str) -> dict[str, str]:
    """Google alone of these says so, in a refusal too (RFC 9207, 2)."""
    return {"iss": "https://accounts.google.com"} if slug == "google" else {}


# ---- refusals ----------------------------------------------------------------------------------------------------


def test_a_consent_is_given_once() -> None:
    developer = Developer("stripe")
    links = developer.links()
    developer.follow(links["approve"])

    again = developer.http.get(links["approve"])
    another = developer.http.get(links["slow"])

    assert [(answer.status_code, is_page(answer)) for answer in (again, another)] == [(400, True), (400, True)]
    assert Grant.objects.count() == 1


def test_a_link_that_was_not_made_here_is_refused() -> None:
    link = Developer("stripe").links()["approve"]
    elsewhere = Developer("slack")

    def status(changed: str) -> int:
        return elsewhere.http.get(changed).status_code

    assert status(link.replace("/sandbox/stripe/", "/sandbox/slack/")) == 400  # another provider's
    assert status(link[:-1] + ("A" if link[-1] != "A" else "B")) == 400  # one character changed
    assert status("/sandbox/stripe/consent?outcome=approve") == 400
    assert status("/sandbox/stripe/consent?outcome=approve&ticket=%00") == 400
    assert not Grant.objects.exists()


def test_a_link_is_good_for_ten_minutes() -> None:
    developer = Developer("stripe")
    link = developer.links()["approve"]

    with time_machine.travel(timezone.now() + timedelta(seconds=601)):
        assert developer.http.get(link).status_code == 400


@pytest.mark.parametrize(
    "changed",
    [
        "outcome=anything",
        "outcome=",
        "outcome=approve&account=0",
        "outcome=approve&account=x%00",
        "outcome=approve&records=0",
        "outcome=approve&records=100001",
        "outcome=approve&records=",
    ],
)
def test_an_outcome_or_account_that_there_is_not_is_refused(changed: str) -> None:
    developer = Developer("stripe")
    link = developer.links()["approve"].replace("outcome=approve", changed)

    assert developer.http.get(link).status_code == 400


def test_a_client_that_is_gone_gets_nothing() -> None:
    developer = Developer("stripe")
    link = developer.links()["approve"]
    Registration.objects.all().delete()

    assert developer.http.get(link).status_code == 400


def test_a_link_takes_nothing_but_get() -> None:
    developer = Developer("stripe")

    assert developer.http.post(developer.links()["approve"]).status_code == 405
    assert not Grant.objects.exists()


# ---- the page ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("slug", SLUGS)
def test_the_page_says_who_asks_and_offers_each_outcome_as_a_plain_link(slug: str) -> None:
    developer = Developer(slug, client_id="<script>client")

    answer = developer.ask("text/html")

    page = answer.content.decode()
    assert answer.status_code == 200
    assert f"stands in for {developer.player.name}" in page
    assert "&lt;script&gt;client" in page
    assert "<script" not in page
    assert "<form" not in page
    assert re.findall(
        r'<a href="http://127\.0\.0\.1:8000/sandbox/[\w-]+/consent\?outcome=(\w+)&amp;ticket=', page
    ) == outcomes_of(slug)
    if developer.script.scopes.parameter:
        assert all(f"<code>{scope}</code>" in page for scope in developer.scopes())


def test_the_page_may_load_a_stylesheet_of_ours_and_nothing_else() -> None:
    answer = Developer("stripe").ask("text/html")

    assert answer["Content-Security-Policy"] == (
        "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; frame-ancestors 'none'; "
        "form-action 'none'"
    )
    assert (answer["Cache-Control"], answer["Referrer-Policy"]) == ("no-store", "no-referrer")
    assert not Grant.objects.exists()  # asking writes nothing


def test_who_accepts_json_alone_gets_the_links_as_json() -> None:
    developer = Developer("stripe")

    answer = json.loads(developer.ask().content)

    assert (answer["provider"], answer["client_id"]) == ("stripe", "client-1")
    assert answer["scopes"] == ["read_only", "read_write"]
    assert list(answer["outcomes"]) == outcomes_of("stripe")
    assert answer["refresh_token"] == "It stays good, however often it is used."
    assert is_page(developer.ask("text/html,application/json;q=0.9"))


@pytest.mark.parametrize(
    ("slug", "told"),
    [
        ("airtable", "It is good for one use. A used one that comes back ends them all."),
        ("linear", "It is good for one use. A used one that comes back is refused."),
        ("xero", "It is good for one use, and taken again for 1800 seconds. A used one that comes back is refused."),
        ("atlassian", "It is good for one use, and taken again for 600 seconds."
                      " A used one that comes back ends them all."),
        ("shopify", "It is good for one use, and taken again for 2592000 seconds or until the new one is used."
                    " A used one that comes back is refused."),
        ("quickbooks", "It is replaced once it is 86400 seconds old. A used one that comes back is refused."),
        ("microsoft", "A new one comes with every refresh, and the old one stays good."),
        ("google", "It stays good, however often it is used."),
        ("github", "There is none: the access token does not end."),
    ],
)  # fmt: skip
def test_it_says_what_becomes_of_a_refresh_token(slug: str, told: str) -> None:
    developer = Developer(slug)

    assert json.loads(developer.ask().content)["refresh_token"] == told
    assert f"<dd>{told}</dd>" in developer.ask("text/html").content.decode()


def test_rotation_is_not_offered_where_nothing_rotates() -> None:
    developer = Developer("vercel")
    link = developer.links()["approve"]

    assert developer.http.get(link.replace("outcome=approve", "outcome=rotating")).status_code == 400
    assert not Grant.objects.exists()


def test_a_posted_answer_is_a_form_with_a_button() -> None:
    developer = Developer("apple")

    answer = developer.http.get(developer.links()["approve"])

    page = answer.content.decode()
    assert f'<form method="post" action="{developer.redirect_uri}">' in page
    assert re.findall(r'<input type="hidden" name="(\w+)"', page) == ["code", "state"]
    assert '<button type="submit">Continue</button>' in page
    assert "<script" not in page
    # no narrower: a browser applies it to the redirects that follow as well, and these lead to the developer
    assert answer["Content-Security-Policy"].endswith("form-action http: https:")


# ---- outcomes ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("slug", SLUGS)
def test_a_denial_is_told_in_the_providers_words(slug: str) -> None:
    developer = Developer(slug)

    told = developer.follow(developer.links()["deny"])

    assert told == {**developer.script.denial, **who_answers(slug), "state": STATE}
    assert told["error"] == ("user_cancelled_authorize" if slug == "apple" else "access_denied")


@pytest.mark.parametrize("slug", SLUGS)
def test_an_error_of_the_provider_is_told_at_the_callback(slug: str) -> None:
    developer = Developer(slug)

    told = developer.follow(developer.links()["provider_error"])

    assert told == {"error": "server_error", **who_answers(slug), "state": STATE}


def test_without_a_state_none_comes_back() -> None:
    developer = Developer("stripe")

    assert set(developer.follow(developer.links(state=None)["approve"])) == {"code"}
    assert set(developer.follow(developer.links(state=None)["provider_error"])) == {"error"}


def test_fewer_scopes_are_approved() -> None:
    stripe, linear, atlassian = Developer("stripe"), Developer("linear"), Developer("atlassian")

    assert stripe.tokens("approve_fewer")["scope"] == "read_only"
    assert linear.tokens("approve_fewer")["scope"] == "read alpha"
    # what brings the refresh token is no scope to untick
    assert atlassian.tokens("approve_fewer")["scope"] == "alpha offline_access"
    assert stripe.tokens("approve_fewer", scope="read_write")["scope"] == "read_write"


def test_a_short_lived_token_ends_after_a_minute() -> None:
    developer = Developer("dropbox")
    token = developer.tokens("short_lived", scope="account_info.read")
    account = developer.calls(revoking=False)[0]

    assert token["expires_in"] == 60
    assert developer.call(account, token["access_token"]).status_code == 200
    with time_machine.travel(timezone.now() + timedelta(seconds=61)):
        assert developer.call(account, token["access_token"]).status_code == 401
        assert developer.refreshed(token["refresh_token"])["expires_in"] == 14400


def test_a_slow_provider_takes_longer_than_anybody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr("providers.sandbox.tokens.time.sleep", waits.append)
    developer = Developer("stripe")

    developer.exchange(developer.code("slow"))
    developer.exchange(developer.code("slow", "&delay=2.5"))
    developer.exchange(developer.code("slow", "&delay=9999"))
    developer.exchange(developer.code("slow", "&delay=99"))
    developer.exchange(developer.code("approve", "&delay=2"))

    assert waits == [consent.SLOW_SECONDS, 2.5, consent.SLOW_SECONDS, consent.LONGEST_DELAY]
    assert consent.SLOW_SECONDS == 12


def test_another_account_may_say_yes() -> None:
    developer = Developer("stripe")

    one = json.loads(developer.exchange(developer.code()).content)
    two = json.loads(developer.exchange(developer.code("approve", "&account=2")).content)

    assert (one["stripe_user_id"], two["stripe_user_id"]) == ("acct_sandbox1", "acct_sandbox2")


# ---- what comes back beside the code -------------------------------------------------------------------------------


def test_shopify_signs_its_callback() -> None:
    developer = Developer("shopify")

    told = developer.follow(developer.links()["approve"])

    signature = told.pop("hmac")
    message = urlencode(sorted(told.items())).encode()
    assert signature == hmac.new(CLIENT_SECRET.encode(), message, hashlib.sha256).hexdigest()
    assert told["shop"] == "acme.myshopify.com"
    assert set(told) == {"code", "host", "shop", "state", "timestamp"}


@pytest.mark.parametrize(
    ("slug", "extra"),
    [
        ("quickbooks", {"realmId": "9121300000000001"}),
        ("netsuite", {"role": "3", "entity": "1", "company": "acme"}),
        ("google", {"iss": "https://accounts.google.com", "scope": "alpha beta", "authuser": "0", "prompt": "consent"}),
        ("slack", {}),
    ],
)
def test_the_callback_holds_what_the_provider_adds(slug: str, extra: dict[str, str]) -> None:
    developer = Developer(slug)

    told = developer.follow(developer.links()["approve"])

    assert {name: value for name, value in told.items() if name not in {"code", "state"}} == extra
    assert told["state"] == STATE


# ---- which clients there are ---------------------------------------------------------------------------------------


def test_a_client_id_that_begins_with_unknown_is_not_known() -> None:
    developer = Developer("stripe")
    assert developer.ask().status_code == 200

    developer.client_id = "unknown"
    developer.register()

    assert developer.ask().status_code == 400
    assert not Registration.objects.exists()


def test_a_client_secret_that_begins_with_wrong_is_another_one() -> None:
    developer = Developer("stripe")
    developer.client_secret = "wrong-secret"
    developer.register()

    answer = developer.exchange(developer.code())

    assert (answer.status_code, error_of(answer)) == (401, "invalid_client")


def test_a_changed_client_is_known_as_it_is_now() -> None:
    developer = Developer("stripe")
    code = developer.code()
    developer.client_secret = "a-new-secret"
    developer.register()

    assert developer.exchange(code).status_code == 200
    assert Registration.objects.count() == 1


# ---- what is forgotten ---------------------------------------------------------------------------------------------


def test_the_purge_forgets_what_nobody_can_use_any_more() -> None:
    developer = Developer("stripe")
    with time_machine.travel(timezone.now() - timedelta(days=31)):
        developer.tokens()
    with time_machine.travel(timezone.now() - timedelta(hours=2)):
        developer.code()
    kept = developer.tokens()
    developer.code()

    assert purge() == 3  # a token, its grant, and a code that was never used
    assert purge() == 0
    assert Grant.objects.count() == 2
    assert developer.refresh(kept["refresh_token"]).status_code == 200


@pytest.mark.parametrize("slug", ["google", "microsoft", "airtable"])
def test_the_purge_keeps_a_refresh_token_that_is_used(slug: str) -> None:
    developer = Developer(slug)
    with time_machine.travel(timezone.now() - timedelta(days=31)):
        refresh_token = developer.tokens()["refresh_token"]
        forgotten = developer.tokens()["refresh_token"]
    with time_machine.travel(timezone.now() - timedelta(days=20)):
        refresh_token = developer.refreshed(refresh_token).get("refresh_token", refresh_token)

    purge()

    assert developer.refresh(refresh_token).status_code == 200
    assert developer.refresh(forgotten).status_code == developer.script.refusal("bad_refresh_token").status
