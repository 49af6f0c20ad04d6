"""The checks of each provider on the wire, what answers them, and how a credential is sent."""

import base64
import hmac
import json
import re
from typing import Any

import msgspec
import pytest
from oauthlib.oauth1.rfc5849 import signature
from responses import RequestsMock

from providers import access, kinds, oauth1
from providers.client import Client
from providers.errors import AnswerNotUnderstood, ProviderError, ProviderUnavailable, TokenRequestRejected
from providers.vocabulary import Api, FollowUp
from tests.providers.imports import IMPORTS
from tests.providers.speaker import SANDBOX, Speaker, form_of, sent

KINDS = {name: kind for name, kind in kinds.load().items() if name in IMPORTS}
CHECKED = sorted(name for name, kind in KINDS.items() if kind.declared and kind.declared.check) + sorted(
    name for name, kind in KINDS.items() if not kind.declared and (kind.provider.check or kind.provider.follow_up)
)
DOCUMENTS = {
    "flickr_oauth1": {"stat": "ok"},
    "slack_oauth2": {"ok": True},
    "checkout_champ_password": {"result": "SUCCESS", "message": {}},
}


def anything(responses: RequestsMock, **answer: Any) -> None:
    for method in ("GET", "POST"):
        responses.add(method, re.compile("https://"), **answer)


@pytest.mark.parametrize("name", CHECKED)
def test_a_credential_that_works_is_told_so(name: str, responses: RequestsMock) -> None:
    document = DOCUMENTS.get(name, {"id": 1})
    anything(responses, json=document)

    assert Speaker(name).check() == document
    assert len(responses.calls) == 1


@pytest.mark.parametrize("name", CHECKED)
@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ({"status": 401, "json": {"message": "canary"}}, TokenRequestRejected),
        ({"status": 429, "headers": {"Retry-After": "7"}}, ProviderUnavailable),
        ({"status": 500}, ProviderUnavailable),
        ({"status": 404, "json": {}}, AnswerNotUnderstood),
        ({"status": 302, "headers": {"Location": "https://evil.com"}}, AnswerNotUnderstood),
        ({"status": 200, "body": "<html>canary</html>", "content_type": "text/html"}, AnswerNotUnderstood),
        ({"status": 200, "body": b""}, AnswerNotUnderstood),
    ],
)
def test_an_answer_that_is_no_yes_is_an_error(
    name: str, answer: dict[str, Any], error: type[ProviderError], responses: RequestsMock
) -> None:
    anything(responses, **answer)

    with pytest.raises(error) as caught:
        Speaker(name).check()

    assert "canary" not in f"{caught.value!r}{caught.value}"
    if isinstance(caught.value, TokenRequestRejected):
        assert caught.value.reason == "invalid_token"
    if isinstance(caught.value, ProviderUnavailable):
        assert caught.value.retry_after == (7 if answer["status"] == 429 else None)


@pytest.mark.parametrize("name", CHECKED)
def test_whoever_is_known_and_not_allowed_is_well(name: str, responses: RequestsMock) -> None:
    anything(responses, status=403, json={"message": "canary"})

    assert Speaker(name).check() == {}


@pytest.mark.parametrize(
    ("name", "document"),
    [
        ("slack_oauth2", {"ok": False, "error": "invalid_auth"}),
        ("slack_oauth2", {}),
        ("checkout_champ_password", {"result": "ERROR", "message": "canary"}),
        ("checkout_champ_password", []),
    ],
)
def test_a_refusal_that_looks_like_a_success_is_one(name: str, document: Any, responses: RequestsMock) -> None:
    """F09."""
    anything(responses, json=document)

    with pytest.raises(TokenRequestRejected) as caught:
        Speaker(name).check()

    assert caught.value.reason == "invalid_token"


def basic(pair: str) -> str:
    return "Basic " + base64.b64encode(pair.encode()).decode()


@pytest.mark.parametrize(
    ("name", "url", "authorization"),
    [
        ("stripe_key", "https://api.stripe.com/v1/account", ("Authorization", "Bearer sk_test_canary")),
        ("stripe_oauth2", "https://api.stripe.com/v1/account", ("Authorization", "Bearer canary-minted")),
        ("sendgrid_key", "https://api.sendgrid.com/v3/scopes", ("Authorization", "Bearer SG.canary")),
        (
            "shopify_token",
            "https://acme.myshopify.com/admin/oauth/access_scopes.json",
            ("X-Shopify-Access-Token", "canary-token"),
        ),
        (
            "shopify_oauth2",
            "https://acme.myshopify.com/admin/oauth/access_scopes.json",
            ("X-Shopify-Access-Token", "canary-minted"),
        ),
        (
            "github_app",
            "https://api.github.com/installation/repositories?per_page=1",
            ("Authorization", "Bearer canary-minted"),
        ),
        (
            "servicenow_password",
            "https://acme.service-now.com/api/now/table/sys_user?sysparm_query=sys_id%3Djavascript%3Ags.getUserID()"
            "&sysparm_fields=sys_id%2Cuser_name&sysparm_limit=1",
            ("Authorization", basic("paul:canary pässword")),
        ),
        (
            "hubspot_oauth2",
            "https://api.hubapi.com/account-info/2026-03/details",
            ("Authorization", "Bearer canary-minted"),
        ),
        (
            "quickbooks_oauth2",
            "https://quickbooks.api.intuit.com/v3/company/x1/companyinfo/x1",
            ("Authorization", "Bearer canary-minted"),
        ),
        (
            "salesforce_oauth2",
            "https://arrakis.my.salesforce.com/services/data/v66.0/",
            ("Authorization", "Bearer canary-minted"),
        ),
        (
            "google_oauth2",
            "https://openidconnect.googleapis.com/v1/userinfo",
            ("Authorization", "Bearer canary-minted"),
        ),
        ("notion_oauth2", "https://api.notion.com/v1/users/me", ("Authorization", "Bearer canary-minted")),
        ("zendesk_oauth2", "https://acme.zendesk.com/api/v2/users/me.json", ("Authorization", "Bearer canary-minted")),
    ],
)
def test_the_cheapest_call_of_each_provider(
    name: str, url: str, authorization: tuple[str, str], responses: RequestsMock
) -> None:
    anything(responses, json={})

    Speaker(name).check()

    request = sent(responses)
    header, value = authorization
    assert (request.method, request.url, request.body) == ("GET", url, None)
    assert request.headers[header] == value
    assert header == "Authorization" or "Authorization" not in request.headers


def test_slack_is_asked_by_post(responses: RequestsMock) -> None:
    anything(responses, json={"ok": True})

    Speaker("slack_oauth2").check()

    request = sent(responses)
    assert (request.method, request.url) == ("POST", "https://slack.com/api/auth.test")
    assert request.headers["Authorization"] == "Bearer canary-minted"


def test_notion_is_told_which_version_is_meant(responses: RequestsMock) -> None:
    anything(responses, json={})

    Speaker("notion_oauth2").check()

    assert sent(responses).headers["Notion-Version"] == "2025-09-03"


def test_checkout_champ_has_its_login_in_the_body_of_every_call(responses: RequestsMock) -> None:
    anything(responses, json={"result": "SUCCESS"})

    Speaker("checkout_champ_password").check("")

    request = sent(responses)
    assert (request.method, request.url) == ("POST", "https://api.checkoutchamp.com/campaign/query/")
    assert form_of(request) == {"loginId": "api", "password": "canary password", "resultsPerPage": "1"}
    assert "Authorization" not in request.headers


def test_netsuite_gets_a_signed_call_of_its_own_realm(responses: RequestsMock) -> None:
    """RFC 5849, 3: the same signature comes out of what was sent, with the secrets that were not."""
    anything(responses, json={})

    Speaker("netsuite_tba").check("")

    request = sent(responses)
    url = "https://1234567-sb1.suitetalk.api.netsuite.com/services/rest/record/v1/metadata-catalog?select=customer"
    assert (request.method, request.url) == ("GET", url)
    header = request.headers["Authorization"]
    params = dict(re.findall(r'(\w+)="([^"]*)"', header))
    assert header.startswith('OAuth realm="1234567_SB1",')
    assert params | {"oauth_nonce": "", "oauth_timestamp": "", "oauth_signature": ""} == {
        "realm": "1234567_SB1",
        "oauth_version": "1.0",
        "oauth_signature_method": "HMAC-SHA256",
        "oauth_consumer_key": "canary-consumer-key",
        "oauth_token": "canary-token-id",
        "oauth_nonce": "",
        "oauth_timestamp": "",
        "oauth_signature": "",
    }
    assert verified(header, "GET", url)
    assert "secret" not in f"{header}{request.url}"


def verified(header: str, method: Any, url: str, form: list[tuple[str, str]] | None = None) -> bool:
    """Whether a provider that has the secrets finds the signature right."""
    told: Any = signature.collect_parameters(
        uri_query=url.partition("?")[2], headers={"Authorization": header}, exclude_oauth_signature=False
    )
    signed: Any = [(name, value) for name, value in told if name != "oauth_signature"] + (form or [])
    base = signature.signature_base_string(method, url.partition("?")[0], signature.normalize_parameters(signed))
    key = b"canary-consumer-secret&canary-token-secret"
    made = base64.b64encode(hmac.digest(key, base.encode(), "sha256")).decode()
    return bool(made == dict(told)["oauth_signature"])


def test_a_signature_covers_the_body_and_no_two_are_the_same() -> None:
    url, form = "https://api.acme.com/x?a=1", {"b": "2 3", "c": "é"}

    first, second = (oauth1.authorization("POST", url, keys=IMPORTS["netsuite_tba"], form=form) for _ in range(2))

    assert first != second
    assert verified(first, "POST", url, list(form.items()))
    assert not verified(first, "POST", url, [("b", "2")])
    assert not verified(first, "POST", url.replace("a=1", "a=2"), list(form.items()))
    assert "realm" not in first


@pytest.mark.parametrize("name", ["marketo_client_credentials", "apple_oauth2", "workday_oauth2", "vercel_oauth2"])
def test_where_no_call_is_known_none_is_made(name: str, responses: RequestsMock) -> None:
    assert Speaker(name).check() is None
    assert len(responses.calls) == 0


def test_where_the_address_is_not_known_none_is_made(responses: RequestsMock) -> None:
    speaker = Speaker("salesforce_oauth2", instance_url=None)

    assert speaker.check() is None
    assert len(responses.calls) == 0


@pytest.mark.parametrize("instance_url", ["https://me@evil.com", "http://evil.com", "https://evil.com/x", "evil.com"])
def test_an_instance_that_somebody_changed_in_the_row_is_not_called(instance_url: str, responses: RequestsMock) -> None:
    """F01."""
    speaker = Speaker("salesforce_oauth2")
    speaker.values["instance_url"] = instance_url

    assert speaker.check() is None
    assert speaker.sent_with()["base_url"] is None
    assert len(responses.calls) == 0


def test_a_property_cannot_leave_its_segment(responses: RequestsMock) -> None:
    anything(responses, json={})
    speaker = Speaker("quickbooks_oauth2")
    speaker.values["realm_id"] = "../x?y#z"

    speaker.check()

    segment = "..%2Fx%3Fy%23z"
    assert sent(responses).url == (f"https://quickbooks.api.intuit.com/v3/company/{segment}/companyinfo/{segment}")


@pytest.mark.parametrize("name", CHECKED)
def test_a_check_of_the_sandbox_reaches_nothing_else(name: str, responses: RequestsMock) -> None:
    """F02."""
    for method in ("GET", "POST"):
        responses.add(method, re.compile(re.escape(SANDBOX)), json=DOCUMENTS.get(name, {}))

    Speaker(name, sandbox=True).check()

    assert str(sent(responses).url).startswith(f"{SANDBOX}{kinds.get(name).provider.slug}/")


def test_a_follow_up_is_a_check_with_all_that_it_asks_for(responses: RequestsMock) -> None:
    """As introspection that wants the client in the body."""
    form = {"token": "{token}", "client_id": "{client_id}", "client_secret": "{client_secret}"}
    call = FollowUp(url="https://api.acme.com/me", method="POST", form=form, auth="none", headers={"X-A": "b"})
    provider = msgspec.structs.replace(kinds.get("stripe_oauth2").provider, check="", follow_up=call)
    kind = kinds.of(provider)[0]
    responses.post("https://api.acme.com/me", json={"active": True})

    document = access.check(kind, provider, Client("c1", "canary-secret", {}), {}, "a1")

    request = sent(responses)
    assert document == {"active": True}
    assert form_of(request) == {"token": "a1", "client_id": "c1", "client_secret": "canary-secret"}
    assert request.headers["X-A"] == "b"
    assert "Authorization" not in request.headers


def test_a_follow_up_never_sends_a_private_key(responses: RequestsMock) -> None:
    private_key = "-----BEGIN PRIVATE KEY-----\ncanary\n-----END PRIVATE KEY-----"
    call = FollowUp(url="https://api.acme.com/me", method="POST", form={"secret": "{client_secret}"})
    provider = msgspec.structs.replace(kinds.get("github_oauth2").provider, follow_up=call)

    with pytest.raises(ProviderError):
        access.check(kinds.of(provider)[0], provider, Client("c1", private_key, {}), {}, "a1")

    assert len(responses.calls) == 0


def test_a_query_goes_out_as_json(responses: RequestsMock) -> None:
    anything(responses, json={"data": {}})

    Speaker("linear_oauth2").check()

    request = sent(responses)
    assert (request.method, request.url) == ("POST", "https://api.linear.app/graphql")
    assert json.loads(request.body or "") == {"query": "{ organization { id name } viewer { id } }"}


# ---- how it is sent --------------------------------------------------------------------------------------------------


def sent_as(header: str | None, scheme: str | None, base_url: str | None) -> dict[str, Any]:
    return {"base_url": base_url, "header": header, "scheme": scheme}


@pytest.mark.parametrize(
    ("name", "token", "how"),
    [
        ("stripe_key", "sk_test_canary", sent_as("Authorization", "Bearer", "https://api.stripe.com")),
        ("sendgrid_key", "SG.canary", sent_as("Authorization", "Bearer", "https://api.sendgrid.com")),
        ("shopify_token", "canary-token", sent_as("X-Shopify-Access-Token", "", "https://acme.myshopify.com")),
        ("shopify_oauth2", None, sent_as("X-Shopify-Access-Token", "", "https://acme.myshopify.com")),
        (
            "servicenow_password",
            basic("paul:canary pässword").removeprefix("Basic "),
            sent_as("Authorization", "Basic", "https://acme.service-now.com"),
        ),
        (
            "netsuite_tba",
            None,
            sent_as("Authorization", "OAuth", "https://1234567-sb1.suitetalk.api.netsuite.com"),
        ),
        ("salesforce_oauth2", None, sent_as("Authorization", "Bearer", "https://arrakis.my.salesforce.com")),
        ("slack_oauth2", None, sent_as("Authorization", "Bearer", "https://slack.com/api")),
        ("github_app", None, sent_as("Authorization", "Bearer", "https://api.github.com")),
        (
            "marketo_client_credentials",
            None,
            sent_as("Authorization", "Bearer", "https://123-abc-456.mktorest.com"),
        ),
        ("apple_oauth2", None, sent_as("Authorization", "Bearer", None)),
        (
            "checkout_champ_password",
            None,
            sent_as(None, None, "https://api.checkoutchamp.com")
            | {"params": {"loginId": "login_id", "password": "password"}},
        ),
    ],
)
def test_it_is_told_how_a_credential_is_sent(name: str, token: str | None, how: dict[str, Any]) -> None:
    speaker = Speaker(name)

    assert access.standing_token(speaker.kind, speaker.values) == token
    assert speaker.sent_with() == how
    assert "canary" not in str(how)


def test_no_property_is_told_that_nobody_has() -> None:
    assert Speaker("salesforce_oauth2", instance_url=None).sent_with()["base_url"] is None


def test_a_kind_may_have_an_api_of_its_own() -> None:
    speaker = Speaker("sendgrid_key")
    declared = msgspec.structs.replace(
        speaker.provider.kinds["sendgrid_key"], api=Api(base_url="https://eu.acme.com/v3/", scheme="Token")
    )
    provider = msgspec.structs.replace(speaker.provider, kinds={"sendgrid_key": declared})

    how = access.sent_with(speaker.kind, provider, speaker.values)

    assert how == sent_as("Authorization", "Token", "https://eu.acme.com/v3")
