"""`/v1/oauth-apps`: what is refused, then what is done."""

import json
import uuid
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from oauth_apps.models import Account, OAuthApp
from tests.oauth_apps.conftest import NewApp

SECRET = "a secret: with/+% and ümlaut"
SOUND: dict[str, Any] = {"provider": "acme", "name": "Spice", "client_id": "acme-1", "client_secret": SECRET}


def created(api: Client, **fields: Any) -> Any:
    return api.post("/v1/oauth-apps", SOUND | fields, content_type="application/json")


def patched(api: Client, oauth_app: OAuthApp, **fields: Any) -> Any:
    return api.patch(f"/v1/oauth-apps/{oauth_app.id}", fields, content_type="application/json")


def errors(response: Any) -> Any:
    """The reasons by field, of a 422."""
    assert response.status_code == 422, response.content
    answer = response.json()
    assert answer["code"] == "validation_failed"
    assert answer["request_id"] == response["X-Request-Id"]
    return answer["validation_errors"]


def without_request_id(response: Any) -> tuple[int, Any]:
    return response.status_code, response.json() | {"request_id": None}


# ---- another account's --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "action", "content"),
    [
        ("GET", "", ""),
        ("PATCH", "", '{"name": "Mine"}'),
        ("PATCH", "", '{"id": 1}'),
        ("DELETE", "", ""),
        ("POST", "/check", ""),
    ],
)
def test_another_accounts_app_is_not_there(
    acme_app: OAuthApp, other_api: Client, method: str, action: str, content: str
) -> None:
    """D01: identical to the answer for an id that nobody has."""
    foreign, unknown = (
        other_api.generic(method, f"/v1/oauth-apps/{one}{action}", content, content_type="application/json")
        for one in (acme_app.id, uuid.uuid4())
    )

    assert without_request_id(foreign) == without_request_id(unknown)
    assert foreign.status_code == 404
    assert foreign.json()["code"] == "not_found"
    assert OAuthApp.objects.get().name == "Spice"


@pytest.mark.parametrize("query", [{}, {"provider": "acme"}, {"metadata": "{}"}, {"health.status": "ok"}])
def test_another_accounts_app_is_in_no_list(acme_app: OAuthApp, other_api: Client, query: dict[str, str]) -> None:
    """D01"""
    assert other_api.get("/v1/oauth-apps", query).json() == {"data": [], "next_cursor": None}


@pytest.mark.parametrize("spelling", ["{%s}", "urn:uuid:%s", "%s.", "%s "])
def test_an_id_has_one_spelling(acme_app: OAuthApp, api: Client, spelling: str) -> None:
    """D12"""
    others = [spelling % acme_app.id, str(acme_app.id).upper(), acme_app.id.hex]

    assert [api.get(f"/v1/oauth-apps/{one}").status_code for one in others] == [404, 404, 404]
    assert api.get(f"/v1/oauth-apps/{others[0]}").json()["code"] == "not_found"


# ---- what is no OAuth app -----------------------------------------------------------------------------------------


def test_it_names_every_field_that_is_missing(api: Client) -> None:
    response = api.post("/v1/oauth-apps", {}, content_type="application/json")

    assert errors(response) == {
        "provider": ["This field is required."],
        "name": ["This field is required."],
        "client_id": ["This field is required."],
    }


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("provider", "nobody", "Is not in the catalogue: GET /v1/providers lists it."),
        ("provider", None, "This field may not be null."),
        ("provider", ["acme"], "Must be a string."),
        ("name", "", "Must not be empty."),
        ("name", " \u00a0", "Must not be empty."),
        ("name", 5, "Must be a string."),
        ("name", "x" * 201, "Ensure this field has no more than 200 characters."),
        ("name", "Spice\x1b[2J", "Must not hold line breaks or other control characters."),
        ("client_id", "a\r\nX-Evil: 1", "Must not hold line breaks or other control characters."),
        ("client_id", "x" * 1025, "Ensure this field has no more than 1024 characters."),
        ("client_secret", "a\nb", "Must not hold line breaks or other control characters."),
        ("client_secret", "", "Must not be empty."),
        ("client_secret", None, "Is required: this provider takes no clients without a secret."),
        ("client_secret", "*" * 10, "Is the mask that stands for the secret, not a secret."),
        ("client_secret", "*" * 11, "Is the mask that stands for the secret, not a secret."),
        ("client_secret", "x" * 8193, "Ensure this field has no more than 8192 characters."),
        ("enabled", "true", "Must be true or false."),
        ("enabled", 1, "Must be true or false."),
        ("own_callback", None, "This field may not be null."),
        ("environment", "production", "Must be live or sandbox."),
        ("default_scopes", "read", 'Expected a list of items but got type "str".'),
        ("default_scopes", ["x" * 2048, "y" * 2048], "All scopes together have at most 4096 characters."),
        ("variables", ["eu"], 'Expected a dictionary of items but got type "list".'),
        ("metadata", [], "Must be a JSON object."),
        ("metadata", None, "This field may not be null."),
        ("metadata", {"a": "x" * 16_380}, "Has at most 16 KiB, written without spaces."),
        ("metadata", {"a": "ü" * 8_190}, "Has at most 16 KiB, written without spaces."),
    ],
)
def test_it_names_field_and_rule(api: Client, field: str, value: Any, reason: str) -> None:
    """D04, D13, F16"""
    assert errors(created(api, **{field: value})) == {field: [reason]}
    assert not OAuthApp.objects.exists()


def test_metadata_may_be_large_and_deep(api: Client) -> None:
    deep: dict[str, Any] = {}
    for _ in range(31):
        deep = {"": deep}

    assert created(api, metadata={"a": "ü" * 8_188}).status_code == 201
    assert created(api, metadata=deep).json()["metadata"] == deep
    assert list(errors(created(api, metadata={"": deep}))) == ["metadata"]


@pytest.mark.parametrize("scope", ["a b", "a,b", 'a"b', "a\\b", "ä", "a\x7f"])
def test_a_scope_is_one_scope(api: Client, scope: str) -> None:
    """A12"""
    assert set(errors(created(api, default_scopes=["read", scope]))) <= {"default_scopes", "default_scopes.1"}


@pytest.mark.parametrize(
    "field",
    ["id", "created_at", "updated_at", "health", "callback_url", "account", "account_id", "health_status", "nonsense"],
)
def test_it_takes_no_field_that_is_not_the_developers(api: Client, acme_app: OAuthApp, field: str) -> None:
    """D05"""
    assert list(errors(created(api, **{field: "x"}))) == [field]
    assert list(errors(patched(api, acme_app, **{field: "x"}))) == [field]


def test_an_odd_field_is_refused_and_not_repeated(api: Client) -> None:
    assert errors(created(api, **{"<script>": 1, "client secret": 2})) == {"body": ["Is no field here."] * 2}


@pytest.mark.parametrize("path", ["name", "client_id", "client_secret", "metadata", "default_scopes", "variables"])
@pytest.mark.parametrize("poison", [r"\u0000", r"\ud800"])
def test_no_field_takes_what_the_database_cannot_hold(api: Client, path: str, poison: str) -> None:
    """D13"""
    value = {"metadata": {"k": ["POISON"]}, "default_scopes": ["POISON"], "variables": {"shop": "POISON"}}.get(
        path, "POISON"
    )
    content = json.dumps(SOUND | {path: value}).replace("POISON", f"x{poison}y")

    response = api.post("/v1/oauth-apps", content, content_type="application/json")

    assert errors(response) == {path: ["Text must not hold NUL or half of a surrogate pair."]}


# ---- variables ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("provider", "variables", "named"),
    [
        ("acme", {"shop": "x"}, "variables.shop"),
        ("acme-shops", {"shop": "evil.example/"}, "variables.shop"),
        ("acme-shops", {"shop": "a@b"}, "variables.shop"),
        ("acme-shops", {"shop": "x#"}, "variables.shop"),
        ("acme-shops", {"shop": "my-shop\n"}, "variables.shop"),
        ("acme-shops", {"shop": "evil.com\\"}, "variables.shop"),
        ("acme-shops", {"shop": "{0.__class__}"}, "variables.shop"),
        ("acme-shops", {"shop": 5}, "variables.shop"),
        ("acme-shops", {"region": "mars"}, "variables.region"),
        ("acme-shops", {"visit": "v1"}, "variables.visit"),
        ("acme-hosted", {"domain": "127.0.0.1"}, "variables.domain"),
        ("acme-hosted", {"domain": "localhost"}, "variables.domain"),
        ("acme-hosted", {"domain": "a.example:8443"}, "variables.domain"),
        ("acme-keys", {}, "variables.key_id"),
    ],
)
def test_a_variable_keeps_to_its_rule(api: Client, provider: str, variables: dict[str, Any], named: str) -> None:
    """F01, F16"""
    assert list(errors(created(api, provider=provider, variables=variables))) == [named]


def test_a_variable_is_kept_in_its_canonical_spelling(api: Client) -> None:
    response = created(api, provider="acme-shops", variables={"shop": "My-Shop.acme.example"})

    assert response.json()["variables"] == {"shop": "my-shop"}


def test_a_secret_that_is_a_key_file_has_lines(api: Client) -> None:
    pem = "-----BEGIN PRIVATE KEY-----\r\nMIGH\n-----END PRIVATE KEY-----\n"

    response = created(api, provider="acme-keys", variables={"key_id": "ABC123"}, client_secret=pem)

    assert response.status_code == 201
    assert OAuthApp.objects.get().client_secret == pem
    assert errors(created(api, provider="acme-keys", variables={"key_id": "A"}, client_secret=f"{pem}\x1b"))


# ---- the callback URL, the environment ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fields",
    [
        {"provider": "acme-public", "client_secret": None},
        {"provider": "acme-hosted", "variables": {"domain": "login.customer.example"}},
        {"provider": "acme-hosted"},
    ],
)
def test_the_callback_names_the_app_where_it_must(api: Client, fields: dict[str, Any]) -> None:
    """B06"""
    refused = created(api, own_callback=False, **fields)
    response = created(api, **fields)

    assert list(errors(refused)) == ["own_callback"]
    assert response.json()["own_callback"] is True
    assert response.json()["callback_url"] == (
        f"http://127.0.0.1:8000/link/oauth2/callback/{fields['provider']}/{response.json()['id']}"
    )


def test_an_app_that_loses_its_secret_gets_a_callback_of_its_own(api: Client, new_app: NewApp) -> None:
    oauth_app = new_app(provider="acme-public")

    refused = patched(api, oauth_app, client_secret=None, own_callback=False)
    response = patched(api, oauth_app, client_secret=None)

    assert list(errors(refused)) == ["own_callback"]
    assert response.json()["client_secret"] is None
    assert response.json()["own_callback"] is True
    assert list(errors(patched(api, oauth_app, own_callback=False))) == ["own_callback"]


def test_an_app_on_a_customers_host_keeps_its_own_callback(api: Client, new_app: NewApp) -> None:
    """B06"""
    in_the_cloud = new_app(provider="acme-anywhere", variables={"domain": "eu.acme.example"}, own_callback=True)
    elsewhere = new_app(provider="acme-anywhere", variables={"domain": "login.customer.example"}, own_callback=True)

    assert patched(api, in_the_cloud, own_callback=False).json()["own_callback"] is False
    assert list(errors(patched(api, elsewhere, own_callback=False))) == ["own_callback"]
    assert patched(api, in_the_cloud, variables=elsewhere.variables).json()["own_callback"] is True


def test_the_sandbox_may_be_switched_off(api: Client, acme_app: OAuthApp, settings: Settings) -> None:
    settings.SANDBOX = False

    assert errors(created(api, environment="sandbox")) == {"environment": ["The sandbox is switched off here."]}
    assert list(errors(patched(api, acme_app, environment="sandbox"))) == ["environment"]


# ---- squatting ----------------------------------------------------------------------------------------------------


def test_a_second_account_is_warned_about_a_shared_registration(api: Client, other_api: Client) -> None:
    """D20"""
    first = created(api).json()
    second = created(other_api).json()

    assert first["health"] == {"status": "ok", "notes": [], "time": first["created_at"]}
    assert second["health"]["status"] == "warn"
    assert "Another account has registered the same client ID" in second["health"]["notes"][0]
    assert second["callback_url"] == "http://127.0.0.1:8000/link/oauth2/callback/acme"


def test_a_second_account_without_the_secret_gets_its_own_callback(api: Client, other_api: Client) -> None:
    """D20"""
    created(api, provider="acme-public")
    second = created(other_api, provider="acme-public", client_secret=None).json()

    assert second["callback_url"].endswith(f"/link/oauth2/callback/acme-public/{second['id']}")
    assert second["health"]["status"] == "warn"


@pytest.mark.parametrize(
    "fields",
    [
        {"client_id": "acme-2"},
        {"provider": "acme-public"},
        {"provider": "acme-shops", "variables": {"shop": "mine"}},
        {"environment": "sandbox"},
    ],
)
def test_another_registration_warns_nobody(api: Client, other_api: Client, fields: dict[str, Any]) -> None:
    created(api)
    created(api, provider="acme-shops", variables={"shop": "theirs"})

    assert created(other_api, **fields).json()["health"]["status"] == "ok"
    assert created(api).json()["health"]["status"] == "ok"


def test_moving_onto_anothers_host_is_squatting_too(api: Client, other_api: Client) -> None:
    created(api, provider="acme-shops", variables={"shop": "theirs"})
    mine = created(other_api, provider="acme-shops", variables={"shop": "mine"}).json()

    moved = other_api.patch(
        f"/v1/oauth-apps/{mine['id']}", {"variables": {"shop": "theirs"}}, content_type="application/json"
    )

    assert moved.json()["health"]["status"] == "warn"


# ---- create -------------------------------------------------------------------------------------------------------


def test_it_creates_an_app(api: Client, account: Account) -> None:
    response = created(api, metadata={"team": "spice", "big": 10**300, "deep": [[1.5, None, True]]})

    assert response.status_code == 201
    answer = response.json()
    assert list(answer.items())[1:] == [
        ("provider", "acme"),
        ("name", "Spice"),
        ("client_id", "acme-1"),
        ("client_secret", "**********"),
        ("metadata", {"team": "spice", "big": 10**300, "deep": [[1.5, None, True]]}),
        ("health", {"status": "ok", "notes": [], "time": answer["created_at"]}),
        ("created_at", answer["created_at"]),
        ("updated_at", answer["updated_at"]),
        ("callback_url", "http://127.0.0.1:8000/link/oauth2/callback/acme"),
        ("own_callback", False),
        ("enabled", True),
        ("default_scopes", []),
        ("variables", {}),
        ("environment", "live"),
    ]
    oauth_app = OAuthApp.objects.get(pk=answer["id"])
    assert (oauth_app.account, oauth_app.client_secret) == (account, SECRET)
    assert answer["created_at"] == oauth_app.created_at.strftime("%Y-%m-%dT%H:%M:%SZ")


def test_it_creates_an_app_with_everything(api: Client) -> None:
    fields = {
        "provider": "acme-shops",
        "default_scopes": ["read", "https://acme.example/scope:write"],
        "variables": {"shop": "my-shop", "region": "us"},
        "environment": "sandbox",
        "enabled": False,
        "own_callback": True,
        "metadata": {},
    }

    answer = created(api, **fields).json()

    assert {name: answer[name] for name in fields} == fields


@pytest.mark.parametrize("secret", ["s", SECRET, "x" * 5000])
def test_a_secret_never_comes_back(api: Client, secret: str) -> None:
    """D03"""
    answer = created(api, client_secret=secret)
    path = f"/v1/oauth-apps/{answer.json()['id']}"
    changed = api.patch(path, {"client_secret": secret[::-1]}, content_type="application/json")
    answers = [answer, changed, api.get(path)]

    assert [one.json()["client_secret"] for one in answers] == ["*" * 10] * 3
    assert api.get("/v1/oauth-apps").json()["data"][0]["client_secret"] == "*" * 10
    refused = created(api, client_secret=f"canary{secret}", name="")
    assert "canary" not in refused.content.decode()


# ---- read ---------------------------------------------------------------------------------------------------------


def test_it_gets_one(api: Client, acme_app: OAuthApp) -> None:
    response = api.get(f"/v1/oauth-apps/{acme_app.id}")

    assert response.status_code == 200
    assert response["Cache-Control"] == "no-store"
    assert not [header for header in response.headers if header.startswith("Access-Control-")]
    assert response.json() == api.get("/v1/oauth-apps").json()["data"][0]


def test_it_filters(api: Client, new_app: NewApp) -> None:
    plain = new_app()
    marked = new_app(metadata={"team": {"name": "spice", "size": 3}, "tags": ["a", "b"]})
    shop = new_app(provider="acme-shops", environment="sandbox", health_status="error")

    def ids(**query: str) -> set[str]:
        return {row["id"] for row in api.get("/v1/oauth-apps", query).json()["data"]}

    assert ids() == {str(plain.id), str(marked.id), str(shop.id)}
    assert ids(provider="acme-shops") == {str(shop.id)}
    assert ids(provider="nobody") == set()
    assert ids(environment="live") == {str(plain.id), str(marked.id)}
    assert ids(**{"health.status": "error"}) == {str(shop.id)}
    assert ids(metadata='{"team": {"size": 3}}') == {str(marked.id)}
    assert ids(metadata='{"tags": ["b"]}', provider="acme") == {str(marked.id)}
    assert ids(metadata='{"team": "spice"}') == set()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("metadata", "{"),
        ("metadata", "[]"),
        ("metadata", "1"),
        ("metadata", ""),
        ("metadata", '{"a": NaN}'),
        ("metadata", r'{"a": "\u0000"}'),
        ("metadata", '{"a": 1, "a": 2}'),
        ("metadata", '{"a":' * 300 + "1" + "}" * 300),
        ("metadata", "{}\x00"),
        ("health.status", "fine"),
        ("environment", "mars"),
        ("provider", "ac\x00me"),
        ("limit", "0"),
        ("limit", "-1"),
        ("limit", "501"),
        ("limit", "1e2"),
        ("limit", "٣"),
        ("limit", "9" * 5000),
        ("limit", ""),
        ("limit", "10\x00"),
        ("cursor", "x"),
        ("cursor", ""),
        ("cursor", "ä"),
        ("cursor", "\x00"),
        ("provder", "acme"),
    ],
)
def test_it_refuses_a_filter_that_it_cannot_read(api: Client, name: str, value: str) -> None:
    """D11, D13"""
    assert list(errors(api.get("/v1/oauth-apps", {name: value}))) == [name]


def test_it_refuses_a_filter_that_is_given_twice(api: Client) -> None:
    assert errors(api.get("/v1/oauth-apps?provider=acme&provider=x")) == {"provider": ["Must be given once."]}


def test_one_broken_secret_breaks_no_list(api: Client, new_app: NewApp) -> None:
    """E07"""
    broken, sound = new_app(), new_app()
    with connection.cursor() as cursor:
        cursor.execute("UPDATE oauth_apps_oauthapp SET client_secret = 'garbage' WHERE id = %s", [broken.id])

    rows = api.get("/v1/oauth-apps").json()["data"]

    assert [(row["id"], row["client_secret"]) for row in rows] == [
        (str(sound.id), "*" * 10),
        (str(broken.id), "*" * 10),
    ]


@pytest.mark.parametrize("path", ["/v1/oauth-apps", "/v1/oauth-apps/{id}"])
def test_reading_takes_two_statements(api: Client, new_app: NewApp, path: str) -> None:
    """The token with its account, and the rows; and once a minute, after the answer, the use of the token."""
    path = path.replace("{id}", str([new_app() for _ in range(5)][-1].id))
    api.get("/v1/providers")

    with CaptureQueriesContext(connection) as statements:
        response = api.get(path)

    assert response.status_code == 200
    assert len(statements) == 2


# ---- change -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("field", "value"), [("provider", "acme-public"), ("client_id", "acme-2")])
def test_some_things_never_change(api: Client, acme_app: OAuthApp, field: str, value: str) -> None:
    """D05, D18"""
    assert errors(patched(api, acme_app, **{field: value})) == {field: ["Never changes: register another OAuth app."]}
    assert patched(api, acme_app, **{field: getattr(acme_app, field)}).status_code == 200


def test_a_mask_is_never_written_back(api: Client, acme_app: OAuthApp) -> None:
    """D04"""
    answer = api.get(f"/v1/oauth-apps/{acme_app.id}").json()

    assert list(errors(patched(api, acme_app, client_secret=answer["client_secret"]))) == ["client_secret"]
    assert OAuthApp.objects.get().client_secret == "s3"


def test_it_changes_what_was_sent_and_nothing_else(api: Client, acme_app: OAuthApp) -> None:
    before = api.get(f"/v1/oauth-apps/{acme_app.id}").json()

    answer = patched(api, acme_app, name="Water", metadata={"a": 1}, enabled=False).json()

    assert answer == before | {
        "name": "Water",
        "metadata": {"a": 1},
        "enabled": False,
        "updated_at": answer["updated_at"],
    }
    assert api.get(f"/v1/oauth-apps/{acme_app.id}").json() == answer
    assert OAuthApp.objects.get().client_secret == "s3"


def test_a_new_secret_takes_the_place_of_the_old(api: Client, acme_app: OAuthApp) -> None:
    """D19"""
    ciphertext = raw_secret(acme_app)

    patched(api, acme_app, client_secret="new")

    assert OAuthApp.objects.get().client_secret == "new"
    assert raw_secret(acme_app) != ciphertext


def raw_secret(oauth_app: OAuthApp) -> bytes:
    with connection.cursor() as cursor:
        cursor.execute("SELECT client_secret FROM oauth_apps_oauthapp WHERE id = %s", [oauth_app.id])
        return bytes(cursor.fetchone()[0])


@pytest.mark.parametrize(
    "content", ["", "[]", "null", '"x"', "{", "{'a': 1}", '{"name": "a", "name": "b"}', "[" * 100_000]
)
def test_it_refuses_a_body_that_is_no_object(api: Client, acme_app: OAuthApp, content: str) -> None:
    response = api.patch(f"/v1/oauth-apps/{acme_app.id}", content, content_type="application/json")

    assert response.status_code in {400, 422}
    assert response.json()["code"] in {"empty_body", "invalid_json", "validation_failed", "duplicate_name"}


# ---- delete, and what is no method --------------------------------------------------------------------------------


def test_it_deletes(api: Client, acme_app: OAuthApp) -> None:
    """D15"""
    path = f"/v1/oauth-apps/{acme_app.id}"

    response = api.delete(path)

    assert (response.status_code, response.json()) == (200, {"id": str(acme_app.id), "deleted": True})
    assert api.get(path).status_code == 404
    assert api.delete(path).status_code == 404


@pytest.mark.parametrize("cascade", ["yes", "", "1", "True"])
def test_cascade_is_true_or_false(api: Client, acme_app: OAuthApp, cascade: str) -> None:
    response = api.delete(f"/v1/oauth-apps/{acme_app.id}?cascade={cascade}")

    assert errors(response) == {"cascade": ["Must be true or false."]}
    assert OAuthApp.objects.exists()


@pytest.mark.parametrize("method", ["PUT", "OPTIONS", "TRACE", "PROPFIND", "POST"])
def test_it_knows_no_other_method(api: Client, acme_app: OAuthApp, method: str) -> None:
    """H10"""
    headers = {"X-HTTP-Method-Override": "PATCH", "X-Method-Override": "PATCH"}
    path = f"/v1/oauth-apps/{acme_app.id}?_method=PATCH"

    response = api.generic(method, path, '{"name": "x"}', content_type="application/json", headers=headers)

    assert (response.status_code, response.json()["code"]) == (405, "method_not_allowed")
    assert response["Allow"] == "GET, PATCH, DELETE, HEAD"
    assert OAuthApp.objects.get().name == "Spice"


def test_both_spellings_of_a_path_answer_alike(api: Client, acme_app: OAuthApp) -> None:
    one, other = (api.get(f"/v1/oauth-apps/{acme_app.id}{slash}") for slash in ("", "/"))
    posted = api.post("/v1/oauth-apps/", SOUND, content_type="application/json")

    assert one.content == other.content
    assert posted.status_code == 201
    assert api.get("/v1/oauth-apps//").status_code == 404


def test_it_has_a_head(api: Client, acme_app: OAuthApp) -> None:
    assert api.head("/v1/oauth-apps?limit=1").status_code == 200
