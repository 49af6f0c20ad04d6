"""docs/openapi.json: each request example is sent, and what comes back is as the examples of the answers say."""

import json
import uuid
from typing import Any
from urllib.parse import urlencode

import pytest
from django.test import Client
from responses import RequestsMock

from credentials.models import Credential
from credentials.models.token import Failure
from oauth_apps.models import Account, OAuthApp, RedirectURI
from sequin_auth.api_description.examples import (
    APP_ID,
    CREDENTIAL_ID,
    DESTINATION_ID,
    ENDPOINT_ID,
    REDIRECT_URI_ID,
    SYNC_ID,
)
from sequin_auth.api_description.operations.redirect_uris import REDIRECT_URI
from syncs.api import destinations as api_destinations
from tests.documentation.world import World
from tests.lib.conftest import Names
from tests.lib.conftest import names as names  # the name server
from tests.providers.trip import REDIRECT_URI as IN
from tests.providers.trip import Browser
from tests.syncs.conftest import sync_database as sync_database
from tests.test_documentation import DOCUMENT, resolved, validator

OPERATIONS = {
    operation["operationId"]: (method.upper(), path, operation)
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
}
V1 = [name for name, (_, path, operation) in OPERATIONS.items() if path.startswith("/v1/") and operation["security"]]
IDS = {
    "oauth_app_id": APP_ID,
    "redirect_uri_id": REDIRECT_URI_ID,
    "credential_id": CREDENTIAL_ID,
    "sync_id": SYNC_ID,
    "destination_id": DESTINATION_ID,
    "endpoint_id": ENDPOINT_ID,
    "slug": "stripe",
}
JSON = "application/json"
# Members that hold what their owner, the provider or the catalogue likes
FREE = {"metadata", "variables", "schema", "kinds", "columns", "rows", "api", "validation_errors"}
NOT_OURS = {"scopes"}  # of providers; of a credential it is a fixed object


def path_of(operation_id: str, **ids: str) -> str:
    return str(OPERATIONS[operation_id][1]).format_map(IDS | ids)


def body_of(operation_id: str) -> tuple[str, str]:
    """The example of the request: as it is sent, and its media type."""
    content = OPERATIONS[operation_id][2].get("requestBody", {}).get("content", {})
    for media_type, body in content.items():
        example = body["example"]
        return example if isinstance(example, str) else json.dumps(example), media_type
    return "", "application/json"


def send(client: Client, operation_id: str, path: str = "", content: str | None = None, **extra: Any) -> Any:
    method = OPERATIONS[operation_id][0]
    body, media_type = body_of(operation_id)
    return client.generic(
        method,
        path or path_of(operation_id),
        body if content is None else content,
        content_type=extra.pop("content_type", media_type),
        **extra,
    )


def read(answer: Any) -> Any:
    """The body as JSON; of lines the first."""
    content = b"".join(answer.streaming_content) if answer.streaming else answer.content
    kind = answer["Content-Type"]
    content = content.splitlines()[0] if "ndjson" in kind else content
    return json.loads(content) if "json" in kind else content.decode()


def documented(operation_id: str, status: int) -> dict[str, Any]:
    """What the document says of that answer, its reference followed."""
    responses = OPERATIONS[operation_id][2]["responses"]
    assert str(status) in responses, f"{operation_id} answers {status}, which is not documented"
    found: dict[str, Any] = responses[str(status)]
    if "$ref" in found:
        found = DOCUMENT["components"]["responses"][found["$ref"].rpartition("/")[2]]
    return found


def assert_documented(operation_id: str, answer: Any) -> Any:
    """Its media type, its schema, and the keys of the example."""
    found = documented(operation_id, answer.status_code)
    media_type = answer["Content-Type"].partition(";")[0]
    content = {name.partition(";")[0]: body for name, body in found["content"].items()}
    body = read(answer)
    assert media_type in content, (operation_id, media_type)
    errors = [error.message for error in validator(resolved(content[media_type]["schema"])).iter_errors(body)]
    assert errors == [], operation_id
    examples = {name: one["value"] for name, one in content[media_type].get("examples", {}).items()}
    if examples:
        code = body.get("error") or body["code"]
        assert code in examples, (operation_id, code)
        assert differences(examples[code], body) == [], (operation_id, code)
        assert body["summary"] == examples[code]["summary"], (operation_id, code)
    else:
        assert differences(content[media_type]["example"], body) == [], operation_id
    return body


def differences(example: Any, found: Any, where: str = "") -> list[str]:
    """Members that one has and the other has not."""
    if isinstance(example, dict) and isinstance(found, dict):
        if where.rpartition(".")[2] in FREE:
            return []
        odd = [f"{where}.{name}" for name in sorted(example.keys() ^ found.keys())]
        return odd + [
            text
            for name in example.keys() & found.keys()
            if not (name in NOT_OURS and "setup" in example)
            for text in differences(example[name], found[name], f"{where}.{name}")
        ]
    if isinstance(example, list) and isinstance(found, list):
        if where.rpartition(".")[2] in FREE:
            return []
        return [
            text for one, other in zip(example[:1], found[:1], strict=False) for text in differences(one, other, where)
        ]
    return []


@pytest.fixture
def world(request: pytest.FixtureRequest, account: Account, responses: RequestsMock, names: Names) -> World:
    """For the operation that the test is about. No provider answers, and one host has an address."""
    names.addresses["app.example.com"] = ["93.184.215.14"]
    return World(account, request.getfixturevalue("operation_id"))


@pytest.mark.parametrize("operation_id", [name for name in V1 if name != "revealDestinationConnection"])
def test_a_request_example_gets_the_answer_of_its_example(
    operation_id: str, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api_destinations, "check", lambda *_, **__: None)  # nobody is there to connect to
    client = world.client()
    if operation_id == "listEvents":
        send(client, "deleteRedirectURI")

    answer = send(client, operation_id)

    assert answer.status_code in {200, 201}, read(answer)
    body = assert_documented(operation_id, answer)
    assert not isinstance(body, dict) or body.get("data") != []
    if OPERATIONS[operation_id][0] == "POST" and "200" in OPERATIONS[operation_id][2]["responses"]:
        assert_documented(operation_id, send(client, operation_id))


@pytest.mark.django_db(transaction=True)  # roles are made by another connection
@pytest.mark.parametrize("operation_id", ["revealDestinationConnection"])
def test_the_connection_is_told_as_in_its_example(operation_id: str, sync_database: str, world: World) -> None:
    answer = send(world.client(), operation_id)

    assert answer.status_code == 200
    assert_documented(operation_id, answer)


QUERIES = [
    (name, parameter["name"])
    for name in V1
    for parameter in OPERATIONS[name][2].get("parameters", ())
    if parameter["in"] == "query" and parameter["name"] != "cursor"  # which a list alone gives out
]


@pytest.mark.parametrize(("operation_id", "parameter"), QUERIES)
def test_the_example_of_a_parameter_is_accepted(operation_id: str, parameter: str, world: World) -> None:
    (found,) = (one for one in OPERATIONS[operation_id][2]["parameters"] if one["name"] == parameter)
    (example,) = found["schema"]["examples"]
    text = json.dumps(example) if isinstance(example, bool) else str(example)

    answer = send(world.client(), operation_id, f"{path_of(operation_id)}?{urlencode({parameter: text})}")

    nobody_answers = 503 if parameter == "force_refresh" else 200
    assert answer.status_code == nobody_answers, read(answer)


# ---- refusals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("operation_id", V1)
def test_each_refusal_is_as_its_example(operation_id: str, world: World) -> None:
    """401, 403, 404, 414, 415, 422 and the malformed ones of 400: whichever this operation has."""
    client, nothing = world.client(), str(uuid.uuid4())
    needed = OPERATIONS[operation_id][2]["security"][0]["api_token"][0]
    others = {"read", "write", "reveal"} - {needed}
    has_body = "requestBody" in OPERATIONS[operation_id][2]
    path = path_of(operation_id)

    answers = [
        (send(Client(), operation_id), 401, "unauthorized"),
        (send(Client(headers={"Authorization": "Bearer sqa_unknown"}), operation_id), 401, "invalid_token"),
        (send(world.client(*others), operation_id), 403, "insufficient_scope"),
        (send(client, operation_id, f"{path}?{'x' * 8200}=1"), 414, "url_too_long"),
        (send(client, operation_id, f"{path}?no_such_parameter=1"), 422, "validation_failed"),
    ]
    if "{" in OPERATIONS[operation_id][1]:
        ids = {name: "there-is-none" if name == "slug" else nothing for name in IDS}
        answers.append((send(client, operation_id, path_of(operation_id, **ids)), 404, "not_found"))
    if has_body:
        answers.append((send(client, operation_id, content_type="text/plain"), 415, "unsupported_media_type"))
    if has_body and operation_id != "importCredentials":
        answers += [
            (send(client, operation_id, content="{"), 400, "invalid_json"),
            (send(client, operation_id, content='{"a": 1, "a": 1}'), 422, "duplicate_name"),
            (send(client, operation_id, content='{"no_such_field": 1}'), 422, "validation_failed"),
            (send(client, operation_id, content=json.dumps("x" * 1_048_577)), 413, "body_too_large"),
        ]

    for answer, status, code in answers:
        body = assert_documented(operation_id, answer)
        assert (answer.status_code, body["code"]) == (status, code)


CONFLICTS = {
    "deleteOAuthApp": "has_credentials",
    "createRedirectURI": "already_registered",
    "deleteCredential": "credential_in_use",
    "deleteDestination": "builtin_destination",
}


@pytest.mark.parametrize("operation_id", ["world"])
def test_a_conflict_is_as_its_example(operation_id: str, world: World) -> None:
    for name, code in CONFLICTS.items():
        answer = send(world.client(), name, content=json.dumps({"redirect_uri": REDIRECT_URI["redirect_uri"]}))

        assert answer.status_code == 409, name
        assert assert_documented(name, answer)["code"] == code


@pytest.mark.parametrize("operation_id", ["getAccessToken"])
def test_a_credential_that_needs_its_owner_says_so_as_its_example(operation_id: str, world: World) -> None:
    token = Credential.objects.get(pk=CREDENTIAL_ID).token
    token.failure = Failure.REFRESH_TOKEN_REFUSED
    token.save(update_fields=["failure"])

    answer = send(world.client(), operation_id)

    assert assert_documented(operation_id, answer)["code"] == "needs_reauthorization"


# ---- the hosted trip -------------------------------------------------------------------------------------------------


@pytest.fixture
def browser(account: Account, network: RequestsMock) -> Browser:
    """On its way with the OAuth app that the examples name."""
    RedirectURI.objects.create(account=account, redirect_uri=IN)
    names = {"provider": "linear", "name": "Linear", "client_id": "linear-1", "client_secret": "the-secret"}
    oauth_app = OAuthApp.objects.create(id=APP_ID, account=account, environment="sandbox", **names)
    return Browser(Client(), oauth_app)


def filled_in(operation_id: str, media_type: str, **changes: str) -> str:
    example = OPERATIONS[operation_id][2]["requestBody"]["content"][media_type]["example"] | changes
    return json.dumps(example) if media_type == JSON else urlencode(example)


@pytest.mark.parametrize("media_type", [JSON, "application/x-www-form-urlencoded"])
def test_the_token_and_the_revocation_request_get_the_answers_of_their_examples(
    media_type: str, browser: Browser
) -> None:
    code = browser.chooses("approve")["code"]

    answer = send(Client(), "token", content=filled_in("token", media_type, code=code), content_type=media_type)
    body = assert_documented("token", answer)
    gone = filled_in("revoke", media_type, token=body["refresh_token"])

    assert answer.status_code == 200
    assert assert_documented("revoke", send(Client(), "revoke", content=gone, content_type=media_type)) == {}


def test_the_refusals_of_the_token_endpoint_are_as_their_examples(browser: Browser) -> None:
    wrong = [
        ({}, 400, "invalid_grant"),
        ({"code": ""}, 400, "invalid_request"),
        ({"grant_type": "password"}, 400, "unsupported_grant_type"),
        ({"client_secret": "wrong"}, 401, "invalid_client"),
    ]

    for changes, status, error in wrong:
        answer = send(Client(), "token", content=filled_in("token", JSON, **changes), content_type=JSON)
        assert (answer.status_code, assert_documented("token", answer)["error"]) == (status, error)
    answer = send(Client(), "token", content="code=1", content_type="text/plain")
    assert (answer.status_code, assert_documented("token", answer)["error"]) == (415, "invalid_request")


@pytest.mark.parametrize("operation_id", ["postedCallback", "postedOwnCallback"])
def test_a_posted_callback_goes_on_with_get_as_its_example(operation_id: str, db: None) -> None:
    ids = {"oauth_app_id": APP_ID}
    posted = OPERATIONS[operation_id][2]["requestBody"]["content"]["application/x-www-form-urlencoded"]["example"]
    of_a_form, of_none = (path_of(operation_id, provider=slug, **ids) for slug in ("apple", "stripe"))

    refused = Client().post(of_none, posted)
    broken = Client().post(of_a_form, f"a={'1' * 1_048_576}", content_type="application/x-www-form-urlencoded")
    answer = Client().post(of_a_form, posted)

    assert (refused.status_code, refused["Allow"], "405" in OPERATIONS[operation_id][2]["responses"]) == (
        405,
        "GET",
        True,
    )
    title = documented(operation_id, 400)["content"]["text/html"]["example"]
    title = title.partition("<title>")[2].partition("</title>")[0]
    assert (broken.status_code, f"<title>{title}</title>" in broken.content.decode()) == (400, True), broken.content
    assert (answer.status_code, answer["Location"]) == (303, f"{of_a_form}?{urlencode(posted)}")
    assert documented(operation_id, 303)["headers"]["Location"]["description"]


def test_the_pages_of_a_trip_are_as_their_examples(browser: Browser) -> None:
    pages = {
        "start": Client().get("/link/oauth2/start", {"client_id": str(uuid.uuid4()), "redirect_uri": IN}),
        "callback": Client().get("/link/oauth2/callback/linear", {"state": "unknown", "code": "1"}),
        "ownCallback": Client().get(f"/link/oauth2/callback/linear/{APP_ID}", {"state": "unknown"}),
    }

    for operation_id, answer in pages.items():
        example = documented(operation_id, answer.status_code)["content"]["text/html"]["example"]
        title = example.partition("<title>")[2].partition("</title>")[0]
        assert (answer.status_code, f"<title>{title}</title>" in answer.content.decode()) == (400, True)
    started = browser.start()
    assert started.status_code == 302
    assert documented("start", 302)["headers"]["Location"]["description"]


@pytest.mark.parametrize("operation_id", ["metadata", "alive", "ready", "metrics", "describe"])
def test_what_is_open_to_everybody_is_as_its_example(operation_id: str, db: None) -> None:
    path = OPERATIONS[operation_id][1]

    answer = Client().get(path)

    found = documented(operation_id, 200)["content"]
    (content,) = found.values()
    body = read(answer)
    assert answer.status_code == 200
    assert [error.message for error in validator(resolved(content["schema"])).iter_errors(body)] == []
    if operation_id not in {"metrics", "describe"}:
        assert differences(content["example"], body) == []
