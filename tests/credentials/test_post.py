"""`POST /v1/credentials`: what is refused, then what is kept."""

import json
import uuid
from typing import Any
from unittest.mock import ANY

import pytest
from django.contrib.auth.models import User
from django.test import Client

from credentials.models import Credential, Token
from oauth_apps.models import Account, ApiToken, OAuthApp
from providers import kinds
from tests.credentials.answers import CREDENTIALS, JSON, NDJSON, errors, path, post, posted, without_request_id
from tests.credentials.conftest import AppOf
from tests.credentials.shapes import MASK, SHAPES, WITHOUT_APP
from tests.oauth_apps.conftest import client_of

KEY = {"kind": "stripe_key", "secret": "sk_live_canary"}
LINEAR = {"kind": "linear_oauth2", **SHAPES["linear_oauth2"]}
NO_SUCH_APP = {"oauth_app_id": ["There is no OAuth app with this id."]}


def body_of(kind: str, app_of: AppOf) -> dict[str, Any]:
    body: dict[str, Any] = {"properties": {"kind": kind, **SHAPES[kind]}}
    return body if kind in WITHOUT_APP else body | {"oauth_app_id": str(app_of(kinds.get(kind).provider.slug).pk)}


# ---- who may ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shown", [None, "Bearer", "Bearer sqa_nonsense", "Basic eDp5"])
def test_without_an_api_token_nothing_is_kept(account: Account, shown: str | None) -> None:
    """D02"""
    api = Client(headers={"Authorization": shown} if shown else {})

    response = post(api, properties=KEY)

    assert response.status_code == 401
    assert response["WWW-Authenticate"].startswith("Bearer")
    assert not Credential.objects.exists()


def test_a_dead_api_token_keeps_nothing(api: Client) -> None:
    """D02"""
    ApiToken.objects.update(revoked_at="2026-01-01T00:00:00Z")

    assert post(api, properties=KEY).status_code == 401


def test_a_session_of_the_console_opens_nothing(account: Account) -> None:
    """D08"""
    api = Client()
    api.force_login(User.objects.create_superuser("muaddib", password="x"))

    assert post(api, properties=KEY).status_code == 401
    assert api.get(CREDENTIALS).status_code == 401


def test_it_needs_the_scope_write(account: Account) -> None:
    """D07"""
    response = post(client_of(account, "read", "reveal"), properties=KEY)

    assert (response.status_code, response.json()["code"]) == (403, "insufficient_scope")
    assert not Credential.objects.exists()


@pytest.mark.parametrize(
    "content_type",
    ["application/x-www-form-urlencoded", "text/plain", "text/xml", "application/json; charset=latin-1", NDJSON],
)
def test_it_takes_json_alone(api: Client, content_type: str) -> None:
    """D10"""
    response = api.post(CREDENTIALS, json.dumps({"properties": KEY}), content_type=content_type)

    assert (response.status_code, response["Content-Type"]) == (415, JSON)
    assert not Credential.objects.exists()


# ---- whose OAuth app -------------------------------------------------------------------------------------------------


def test_another_accounts_oauth_app_is_not_there(linear_app: OAuthApp, other_api: Client) -> None:
    """D01: told exactly as one that nobody has"""
    theirs, nobodys = (
        post(other_api, properties=LINEAR, oauth_app_id=str(one)) for one in (linear_app.pk, uuid.uuid4())
    )

    assert without_request_id(theirs) == without_request_id(nobodys)
    assert errors(theirs) == NO_SUCH_APP
    assert not Credential.objects.exists()


@pytest.mark.parametrize("spelling", ["{%s}", "urn:uuid:%s", "%s ", "not one", "%s%s"])
def test_an_oauth_apps_id_has_one_spelling(linear_app: OAuthApp, api: Client, spelling: str) -> None:
    """D12"""
    pk = str(linear_app.pk)
    others = [spelling.replace("%s", pk), pk.upper(), linear_app.pk.hex]

    assert [errors(post(api, properties=LINEAR, oauth_app_id=one)) for one in others] == [NO_SUCH_APP] * 3


def test_a_kind_of_the_code_flow_needs_its_oauth_app(api: Client) -> None:
    response = post(api, properties=LINEAR)

    assert errors(response) == {
        "oauth_app_id": ["Is required: a linear_oauth2 belongs to an OAuth app of the provider linear."]
    }


@pytest.mark.parametrize("kind", ["linear_oauth2", "github_app"])
def test_another_providers_oauth_app_will_not_do(api: Client, stripe_app: OAuthApp, kind: str) -> None:
    response = post(api, properties={"kind": kind, **SHAPES[kind]}, oauth_app_id=str(stripe_app.pk))

    slug = kinds.get(kind).provider.slug
    assert errors(response) == {
        "oauth_app_id": [f"Belongs to another provider: a {kind} needs an OAuth app of {slug}."]
    }


def test_a_key_belongs_to_no_oauth_app(api: Client, stripe_app: OAuthApp) -> None:
    response = post(api, properties=KEY, oauth_app_id=str(stripe_app.pk))

    assert errors(response) == {"oauth_app_id": ["Is not to be given: a stripe_key belongs to no OAuth app."]}


# ---- what is no credential -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("properties", "refused"),
    [
        (None, {"properties": ["This field may not be null."]}),
        ([KEY], {"properties": ["Must be a JSON object."]}),
        ("stripe_key", {"properties": ["Must be a JSON object."]}),
        ({}, {"properties.kind": ["Is required."]}),
        ({"kind": None}, {"properties.kind": ["This field may not be null."]}),
        ({"kind": 5}, {"properties.kind": ["Must be a string."]}),
        ({"kind": ["stripe_key"]}, {"properties.kind": ["Must be a string."]}),
        ({"kind": "melange"}, {"properties.kind": ["Is no kind of credential. GET /v1/providers lists them all."]}),
        ({"kind": "STRIPE_KEY"}, {"properties.kind": ["Is no kind of credential. GET /v1/providers lists them all."]}),
        ({"kind": "stripe_key"}, {"properties.secret": ["Is required."]}),
        ({**KEY, "secret": None}, {"properties.secret": ["Is required."]}),
        ({**KEY, "secret": ""}, {"properties.secret": ["Must not be empty."]}),
        ({**KEY, "secret": True}, {"properties.secret": ["Must be a string."]}),
        ({**KEY, "test": "true"}, {"properties.test": ["Must be true or false."]}),
        ({**KEY, "test": True}, {"properties.test": ["Contradicts secret."]}),
        (
            {**KEY, "secret": "sk_live canary"},
            {"properties.secret": ["Must hold only visible ASCII characters, and no spaces."]},
        ),
        (
            {**KEY, "secret": "sk_live\r\nX-Evil: 1"},
            {"properties.secret": ["Must not hold line breaks or other control characters."]},
        ),
        ({**KEY, "tset": 1}, {"properties.tset": ["Is no property of stripe_key. There are: secret, test."]}),
        ({**KEY, "kínd": 1}, {"body": ["Is no property of stripe_key. There are: secret, test."]}),
        ({**KEY, "name": 5}, {"properties.name": ["Must be a string."]}),
    ],
)
def test_it_names_the_property_that_is_wrong(api: Client, properties: Any, refused: dict[str, list[str]]) -> None:
    response = post(api, properties=properties)

    assert errors(response) == refused
    assert b"canary" not in response.content
    assert not Credential.objects.exists()


def test_it_names_every_property_that_is_missing(api: Client) -> None:
    response = post(api, properties={"kind": "netsuite_tba"})

    names = ["account_id", "consumer_key", "consumer_secret", "token_id", "token_secret"]
    assert errors(response) == {f"properties.{name}": ["Is required."] for name in names}


@pytest.mark.parametrize("mask", ["*", "*" * 10, "*" * 11])
@pytest.mark.parametrize("name", ["access_token", "refresh_token", "linear_org_id", "linear_org_name"])
def test_a_mask_is_not_written_back(api: Client, linear_app: OAuthApp, name: str, mask: str) -> None:
    """D04"""
    response = post(api, properties={**LINEAR, "refresh_token": "x", name: mask}, oauth_app_id=str(linear_app.pk))

    assert errors(response) == {f"properties.{name}": ["Is the mask that stands for the value, not a value."]}
    assert not Credential.objects.exists()


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("name", 5, "Must be a string."),
        ("name", None, "This field may not be null."),
        ("name", "x" * 201, "Ensure this field has no more than 200 characters."),
        ("name", "Spice\x1b[2J", "Must not hold line breaks or other control characters."),
        ("metadata", None, "This field may not be null."),
        ("metadata", [], "Must be a JSON object."),
        ("metadata", "{}", "Must be a JSON object."),
        ("metadata", {"x": "y" * 16_384}, "Has at most 16 KiB, written without spaces."),
        ("oauth_app_id", 5, "Must be a string."),
        ("id", "00000000-0000-4000-8000-000000000000", "Is no field here."),
        ("account", "00000000-0000-4000-8000-000000000000", "Is no field here."),
        ("created_at", "2020-01-01T00:00:00Z", "Is no field here."),
        ("health", {"status": "ok"}, "Is no field here."),
        ("secrets", "canary", "Is no field here."),
        ("kind", "stripe_key", "Is no field here."),
    ],
)
def test_it_names_the_field_that_is_wrong(api: Client, field: str, value: Any, reason: str) -> None:
    """D05, and the rest"""
    response = post(api, **{"properties": KEY, field: value})

    assert errors(response) == {field: [reason]}
    assert not Credential.objects.exists()


def test_a_name_is_given_once(api: Client) -> None:
    response = post(api, name="Spice", properties={**KEY, "name": "Water"})

    assert errors(response) == {"name": ["Contradicts properties.name."]}


POISON = [
    '"a\\u0000b"', '"\\ud800"', '"\\udc00\\ud800"', "9" * 5000, "-1e999", "NaN", "Infinity", "[" * 5000 + "]" * 5000,
    '{"a": 1, "a": 2}', "[" * 33 + "]" * 33, '"\ufeff"', "true", "{}", "[]", "1.5", "-1", "1" * 300,
    f'"{"x" * 70_000}"',
]  # fmt: skip


@pytest.mark.parametrize("poison", POISON)
@pytest.mark.parametrize(
    "field",
    [
        "name", "metadata.m", "oauth_app_id", "properties.kind", "properties.name", "properties.access_token",
        "properties.expires_at", "properties.scope", "properties.token_type", "properties.linear_org_id",
        "properties.\\ud800",
    ],
)  # fmt: skip
def test_no_value_breaks_it_or_a_later_read(api: Client, linear_app: OAuthApp, field: str, poison: str) -> None:
    """D13: refused, or stored so that it can be read again"""
    place, _, name = field.partition(".")
    fields: dict[str, Any] = {"oauth_app_id": str(linear_app.pk), "properties": dict(LINEAR), "metadata": {}}
    if name:
        fields[place].pop(name, None)
        fields[place]["poisoned"] = 1
    else:
        fields[place] = {"poisoned": 1}
    written = json.dumps(fields).replace('"poisoned": 1', f'"{name}": {poison}')
    written = written if name else written.replace(f'{{"": {poison}}}', poison)

    response = api.generic("POST", CREDENTIALS, written, content_type=JSON)

    assert response.status_code in {201, 400, 422}, response.content
    assert response["Content-Type"] == JSON
    assert api.get(CREDENTIALS).status_code == 200
    assert Credential.objects.exists() is (response.status_code == 201)


def test_a_body_has_at_most_one_mebibyte(api: Client) -> None:
    """I02"""
    response = post(api, properties=KEY, metadata={"x": "y" * 1_048_576})

    assert (response.status_code, response.json()["code"]) == (413, "body_too_large")


def test_thousands_of_wrong_names_are_not_all_told(api: Client) -> None:
    wrong = {f"p{number}": 1 for number in range(20_000)}

    response = post(api, properties={**KEY, **wrong})

    assert len(errors(response)) == 100
    assert len(response.content) < 20_000


# ---- once ------------------------------------------------------------------------------------------------------------


def test_an_idempotency_key_is_kept_without_secrets(api: Client) -> None:
    headers = {"Idempotency-Key": "key-1"}
    first = api.post(CREDENTIALS, {"properties": KEY}, content_type=JSON, headers=headers)
    Credential.objects.all().delete()

    again = api.post(CREDENTIALS, {"properties": KEY}, content_type=JSON, headers=headers)
    other = api.post(CREDENTIALS, {"properties": {**KEY, "secret": "sk_live_x"}}, content_type=JSON, headers=headers)

    assert (first.status_code, again.status_code, again.content) == (201, 201, first.content)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    assert b"canary" not in again.content


# ---- the shapes ------------------------------------------------------------------------------------------------------

# what goes without saying, or is kept in another spelling than the posted one
BESIDE: dict[str, dict[str, Any]] = {
    "github_oauth2": {"domain": "github.com"},
    "netsuite_oauth2": {"account_id": "1234567-sb1"},
    "netsuite_tba": {"account_id": "1234567-sb1"},
    "salesforce_oauth2": {"domain": "login.salesforce.com"},
    "auth0_client_credentials": {"audience": "https://arrakis.eu.auth0.com/api/v2/"},
    "workday_oauth2": {
        "token_domain": "wd2-impl-services1.workday.com",
        "authorization_domain": "impl.workday.com",
    },
}
REFRESH_TOKENS_END = {  # as documented, where the import does not say when
    "airtable_oauth2", "google_oauth2", "netsuite_oauth2", "quickbooks_oauth2", "servicenow_oauth2",
}  # fmt: skip


@pytest.mark.parametrize("kind", SHAPES)
def test_every_kind_is_taken_in_its_shape_and_shown_without_its_secrets(api: Client, app_of: AppOf, kind: str) -> None:
    """D03"""
    body = body_of(kind, app_of)

    response = post(api, **body, name="Spice", metadata={"tenant": 7})

    declared = kinds.get(kind).properties
    shown = {name: MASK if declared[name].secret else value for name, value in SHAPES[kind].items()}
    of_token = {} if kinds.get(kind).declared else {"token_type": "Bearer"}
    answer = response.json()
    assert response.status_code == 201
    ends = {"refresh_token_expires_at": ANY} if kind in REFRESH_TOKENS_END else {}
    assert answer["properties"] == {"kind": kind, **of_token, **shown, **ends, **BESIDE.get(kind, {})}
    assert list(answer["properties"]) == ["kind", *(name for name in declared if name in answer["properties"])]
    assert (answer["kind"], answer["provider"]) == (kind, kinds.get(kind).provider.slug)
    assert (answer["oauth_app_id"], answer["name"]) == (body.get("oauth_app_id"), "Spice")
    assert api.get(path(answer)).json() == answer
    assert api.get(CREDENTIALS).json() == {"data": [answer], "next_cursor": None}
    assert b"canary" not in response.content


def test_an_answer_has_these_members(api: Client, linear_app: OAuthApp) -> None:
    answer = posted(api, properties={**LINEAR, "scope": "read"}, oauth_app_id=str(linear_app.pk), metadata={"m": 1})

    row = Credential.objects.get()
    created = row.created_at.strftime("%Y-%m-%dT%H:%M:%SZ")
    assert answer == {
        "id": str(row.pk),
        "provider": "linear",
        "kind": "linear_oauth2",
        "name": "",
        "oauth_app_id": str(linear_app.pk),
        "oauth_app": api.get(f"/v1/oauth-apps/{linear_app.pk}").json(),
        "properties": {
            "kind": "linear_oauth2",
            "access_token": MASK,
            "scope": "read",
            "token_type": "Bearer",
            "linear_org_id": "abc123",
            "linear_org_name": "Arrakis Inc.",
        },
        "scopes": {"requested": ["read"], "granted": ["read"], "missing": []},
        "expires_at": None,
        "expires_at_source": None,
        "health": {"status": "ok", "notes": [], "time": created},
        "metadata": {"m": 1},
        "created_at": created,
        "updated_at": row.updated_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    assert list(answer) == [
        "id", "provider", "kind", "name", "oauth_app_id", "oauth_app", "properties", "scopes", "expires_at",
        "expires_at_source", "health", "metadata", "created_at", "updated_at",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("written", "kind"),
    [
        ("hubspot", "hubspot_oauth2"),
        ("salesforce", "salesforce_oauth2"),
        ("stripe", "stripe_oauth2"),
        ("github", "github_oauth2"),
        ("stripe", "stripe_key"),
        ("checkout_champ", "checkout_champ_password"),
        ("checkout-champ", "checkout_champ_password"),
        ("marketo", "marketo_client_credentials"),
        ("netsuite", "netsuite_tba"),
    ],
)
def test_a_kind_may_be_written_without_its_suffix(api: Client, app_of: AppOf, written: str, kind: str) -> None:
    body = body_of(kind, app_of)
    body["properties"]["kind"] = written

    assert posted(api, **body)["kind"] == kind


def test_a_name_may_stand_among_the_properties(api: Client) -> None:
    answer = posted(api, properties={**KEY, "name": "Spice"})

    assert (answer["name"], "name" in answer["properties"]) == ("Spice", False)


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("2030-01-01T00:00:00Z", "2030-01-01T00:00:00Z"),
        ("2030-01-01T02:00:00+02:00", "2030-01-01T00:00:00Z"),
        (1893456000, "2030-01-01T00:00:00Z"),
    ],
)
def test_the_end_of_an_access_token_is_shown_and_whence_it_is_known(
    api: Client, linear_app: OAuthApp, given: Any, shown: str
) -> None:
    answer = posted(api, properties={**LINEAR, "expires_at": given}, oauth_app_id=str(linear_app.pk))

    assert (answer["expires_at"], answer["expires_at_source"]) == (shown, "expires_at")
    assert answer["properties"]["expires_at"] == shown


def test_secrets_are_sealed(api: Client, linear_app: OAuthApp) -> None:
    """E01, E05"""
    posted(api, properties={**LINEAR, "refresh_token": "canary-refresh"}, oauth_app_id=str(linear_app.pk))
    posted(api, properties=KEY)

    stored = [*Credential.objects.values(), *Token.objects.values()]
    assert "canary" not in repr(stored)
    assert json.loads(Credential.objects.get(kind="stripe_key").secrets or "") == {"secret": "sk_live_canary"}
    assert Token.objects.get(credential__kind="linear_oauth2").refresh_token == "canary-refresh"
