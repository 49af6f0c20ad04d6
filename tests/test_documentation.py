"""docs/openapi.json is what the views are, and what `/v1/openapi.json` and `/docs/` show."""

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver
from jsonschema import Draft202012Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from credentials.link.errors import TokenError
from sequin_auth.api_description import generator, parameter_examples, words
from tests.settings import BASE_DIR

DOCUMENT: dict[str, Any] = json.loads(generator.DOCUMENT.read_text())
OPERATIONS = [
    (f"{method.upper()} {path}", operation)
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
]
OPENAPI = Registry().with_resource("", Resource.from_contents(DOCUMENT, default_specification=DRAFT202012))


def validator(schema: dict[str, Any]) -> Draft202012Validator:
    return Draft202012Validator(schema, registry=OPENAPI)


def test_it_is_what_the_views_are() -> None:
    """If not: manage.py openapi"""
    assert generator.text() == generator.DOCUMENT.read_text()


def test_a_rule_for_a_field_that_is_gone_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(generator.RULES, ("OAuthAppSerializer", "gone"), {"type": "string"})

    with pytest.raises(LookupError, match=r"\('OAuthAppSerializer', 'gone'\).* stand in RULES"):
        generator.document()


# ---- complete --------------------------------------------------------------------------------------------------------


def routes(resolver: URLResolver, before: str = "") -> Iterator[tuple[str, URLPattern]]:
    for entry in resolver.url_patterns:
        route = before + str(entry.pattern)
        if isinstance(entry, URLResolver):
            yield from routes(entry, route)
        else:
            yield route, entry


def test_every_path_of_the_api_is_described() -> None:
    """Django REST framework's by themselves; this is about plain views among them."""
    there = {
        "/" + route.replace("<canonical_uuid:", "{").replace("<str:", "{").replace("<", "{").replace(">", "}")
        for route, _ in routes(get_resolver())
        if route.startswith("v1/") and not route.endswith("/")
    }

    described = {path for path in DOCUMENT["paths"] if path.startswith("/v1/")}

    assert described == there


def test_every_other_path_for_programs_is_described() -> None:
    """Of what is no page for people. The hosted trip's paths are patterns, and stand here by name."""
    for_people = ("admin/", "sandbox/", "providers/", "docs", "v1/")
    there = {
        f"/{route}"
        for route, _ in routes(get_resolver())
        if route and "^" not in route and "<" not in route and not route.startswith(for_people)
    }
    trip = {f"/link/oauth2/{name}" for name in ("start", "start/{token}", "token", "revoke", "callback/{provider}")}

    described = {path for path in DOCUMENT["paths"] if not path.startswith("/v1/")}

    assert described == there | trip | {"/link/oauth2/callback/{provider}/{oauth_app_id}"}


@pytest.mark.parametrize(("name", "operation"), OPERATIONS, ids=[name for name, _ in OPERATIONS])
def test_each_operation_says_all_there_is_to_say(name: str, operation: dict[str, Any]) -> None:
    assert operation["summary"]
    assert operation["tags"][0] in generator.SECTIONS
    assert "security" in operation
    assert any(status < "400" for status in operation["responses"])
    for answer in operation["responses"].values():
        found = DOCUMENT["components"]["responses"][answer["$ref"].rpartition("/")[2]] if "$ref" in answer else answer
        assert found["description"]
        assert all(body.keys() & {"example", "examples"} for body in found.get("content", {}).values())
    if "requestBody" in operation:
        assert all("example" in body for body in operation["requestBody"]["content"].values())
    if name.partition(" ")[2].startswith("/v1/") and operation["security"]:
        assert {"401", "403", "422", "429", "500", "503"} <= operation["responses"].keys()
        assert name.startswith("GET ") or "409" in operation["responses"]
    names = [parameter["name"] for parameter in operation.get("parameters", [])]
    assert all(f"{{{parameter}}}" not in name or parameter in names for parameter in names)


def undescribed(part: Any, where: str = "") -> Iterator[str]:
    """Parameters, headers and properties without a description."""
    if isinstance(part, list):
        for number, inner in enumerate(part):
            yield from undescribed(inner, f"{where}/{number}")
    elif isinstance(part, dict):
        if "in" in part and "name" in part and not part.get("description"):
            yield f"{where} {part['name']}"
        for key, inner in part.items():
            if key in {"properties", "headers"}:
                for name, one in inner.items():
                    if not one.get("description"):
                        yield f"{where}/{key}/{name}"
                    yield from undescribed(one, f"{where}/{key}/{name}")
            elif key not in {"example", "examples", "default"}:
                yield from undescribed(inner, f"{where}/{key}")


def test_every_parameter_and_field_is_described() -> None:
    assert list(undescribed(DOCUMENT)) == []


def test_a_field_without_words_is_missed() -> None:
    assert list(undescribed({"properties": {"a": {"type": "string"}, "b": {"description": "Is b."}}})) == [
        "/properties/a"
    ]


def test_every_parameter_has_an_example_of_its_schema() -> None:
    found = list(parameter_examples.parameters(DOCUMENT))

    without = [parameter["name"] for parameter in found if not parameter["schema"].get("examples")]
    wrong = [
        f"{parameter['name']}: {error.message}"
        for parameter in found
        for example in parameter["schema"].get("examples", ())
        for error in validator(parameter["schema"]).iter_errors(example)
    ]

    assert (without, wrong) == ([], [])
    assert len(found) > 100


def test_a_parameter_without_an_example_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    left = {name: value for name, value in parameter_examples.EXAMPLES.items() if name != "keep_data"}
    monkeypatch.setattr(parameter_examples, "EXAMPLES", left)

    with pytest.raises(LookupError, match="keep_data has no example"):
        generator.document()


def codes_in(tree: ast.AST) -> Iterator[str]:
    """Each `code` that an error of the API may tell: of a class, or of the call that makes one."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) not in NOT_OF_THE_API:
            values = [word.value for word in node.keywords if word.arg == "code"]
        elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "code":
            values = [node.value]
        else:
            continue
        yield from (value.value for value in values if isinstance(value, ast.Constant) and isinstance(value.value, str))


NOT_OF_THE_API = {"ValidationError"}  # of fields: of the reasons no code is told
NEVER_TOLD = {"bad_gateway"}  # of a class that is always raised with another


def test_every_code_that_the_code_can_tell_is_documented() -> None:
    files = [
        path
        for package in ("sequin_auth/lib/api", "oauth_apps", "credentials", "syncs")
        for path in (BASE_DIR / package).rglob("*.py")
        if not {"console", "migrations", "link"} & {*path.parts}
    ]

    told = {code for path in files for code in codes_in(ast.parse(path.read_text()))}

    text = generator.DOCUMENT.read_text()
    assert (
        sorted(code for code in told - NEVER_TOLD if f'"code": "{code}"' not in text and f"`{code}`" not in text) == []
    )
    assert len(told) > 30


def test_every_error_of_the_token_endpoints_is_documented() -> None:
    told = {one.error for one in every_kind_of(TokenError)} - {""}

    text = generator.DOCUMENT.read_text()

    assert sorted(error for error in told if f'"error": "{error}"' not in text) == []


def every_kind_of(kind: type[TokenError]) -> Iterator[type[TokenError]]:
    yield kind
    for one in kind.__subclasses__():
        yield from every_kind_of(one)


def test_no_two_operations_have_one_name() -> None:
    names = [operation["operationId"] for _, operation in OPERATIONS]

    assert len(names) == len(set(names))


# ---- sound -----------------------------------------------------------------------------------------------------------


def bodies(part: Any) -> Iterator[dict[str, Any]]:
    """Everything that has a schema and an example of it."""
    if isinstance(part, dict):
        if "schema" in part and "example" in part:
            yield part
        if "schema" in part and "examples" in part:
            yield from ({"schema": part["schema"], "example": one["value"]} for one in part["examples"].values())
        for inner in part.values():
            yield from bodies(inner)
    elif isinstance(part, list):
        for inner in part:
            yield from bodies(inner)


def test_every_example_is_of_its_schema() -> None:
    found = list(bodies(DOCUMENT))

    wrong = [
        f"{error.json_path}: {error.message}"
        for body in found
        for error in validator(resolved(body["schema"])).iter_errors(body["example"])
    ]
    wrong += [
        f"{error.json_path}: {error.message}"
        for body in found
        if "contentSchema" in body["schema"]
        for line in body["example"].splitlines()
        for error in validator(resolved(body["schema"]["contentSchema"])).iter_errors(json.loads(line))
    ]

    assert wrong == []
    assert len(found) > 150


def resolved(schema: dict[str, Any]) -> dict[str, Any]:
    """With its reference as one into the whole document."""
    return {**schema, "components": DOCUMENT["components"]}


def test_every_reference_leads_somewhere_and_nothing_lies_about() -> None:
    text = generator.DOCUMENT.read_text()
    referenced = {part.split('"', 1)[0] for part in text.split('"$ref": "#/components/')[1:]}
    there = {f"{kind}/{name}" for kind in ("schemas", "responses") for name in DOCUMENT["components"][kind]}

    assert referenced <= there
    assert there - referenced == set()


def test_a_token_that_is_entered_for_the_api_is_not_sent_beside_a_client_secret() -> None:
    """Swagger UI sends whatever was entered for a scheme that the operation names, and both at once are refused."""
    for name in ("token", "revoke"):
        (operation,) = (one for _, one in OPERATIONS if one["operationId"] == name)
        schemes = {scheme for way in operation["security"] for scheme in way}
        assert schemes == {"client_secret_basic", "api_token_of_a_client"}
    assert DOCUMENT["components"]["securitySchemes"]["api_token_of_a_client"]["scheme"] == "bearer"


# ---- served ----------------------------------------------------------------------------------------------------------


def test_it_is_served_to_everybody_as_it_is(client: Client) -> None:
    """E15; and it asks no database."""
    answer = client.get("/v1/openapi.json")

    assert answer.status_code == 200
    assert answer["Content-Type"] == "application/json"
    assert answer.content == generator.DOCUMENT.read_bytes()
    refused = client.post("/v1/openapi.json")
    assert (refused.status_code, refused["Allow"], refused.json()["code"]) == (405, "GET, HEAD", "method_not_allowed")


def test_it_tells_nothing_of_this_place() -> None:
    """E15"""
    text = generator.DOCUMENT.read_text()

    assert [word for word in ("127.0.0.1:8000", "psycopg", "SECRET_KEY=", "Django", "gunicorn") if word in text] == []
    assert DOCUMENT["servers"] == [{"url": "/", "description": "This gateway."}]
    assert DOCUMENT["openapi"] == "3.1.0"
    assert DOCUMENT["info"]["version"] == "1"  # of the interface


def test_the_page_has_a_policy_without_exceptions(client: Client) -> None:
    page = client.get("/docs/")

    policy = dict(part.strip().partition(" ")[::2] for part in page["Content-Security-Policy"].split(";"))

    assert page.status_code == 200
    assert policy["default-src"] == "'none'"
    assert (policy["script-src"], policy["style-src"], policy["connect-src"]) == ("'self'", "'self'", "'self'")
    assert b"<script>" not in page.content
    assert b"style=" not in page.content
    assert client.get("/docs")["Location"] == "/docs/"


def test_a_sentence_for_a_field_that_is_gone_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(words.WORDS, "OAuthApp.gone", "It was here.")

    with pytest.raises(LookupError, match=r"\['OAuthApp.gone'\] stand in words.py"):
        generator.document()


def test_serving_does_not_load_what_writes_the_document() -> None:
    told = subprocess.run(
        [
            sys.executable,
            "-c",
            "import os, sys; os.environ['DJANGO_SETTINGS_MODULE'] = 'tests.settings'\n"
            "import sequin_auth.wsgi\n"
            "from django.urls import get_resolver\n"
            "get_resolver().url_patterns\n"
            "print([name for name in sys.modules if name == 'drf_spectacular' or 'api_description' in name])",
        ],
        cwd=BASE_DIR,
        capture_output=True,
        text=True,
        check=True,
    ).stdout

    assert told.strip() == "[]"
