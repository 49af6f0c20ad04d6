"""
What schemathesis is told beside the document. Its process loads this module, which imports nothing of ours.

Every exception to a check stands here, with its reason.
"""

import itertools
import json
import os
import re
from typing import Any

import schemathesis
from schemathesis import Case, HookContext, Response, SerializationContext
from schemathesis.core.failures import AcceptedNegativeData, Failure
from schemathesis.openapi.checks import RejectedPositiveData

FACTS: dict[str, str] = json.loads(os.environ["FUZZ_FACTS"])  # what there is at the gateway
NUMBERS = itertools.count()
NOT_TEXT = re.compile(r"\\u0000|[\ud800-\udfff]")  # as JSON
NOT_TO_BE_GUESSED = {  # sound requests that are refused nevertheless: what they show was never given out
    "callback": "the state of a trip",
    "ownCallback": "the state of a trip",
    "postedCallback": "a provider that answers by a form",
    "postedOwnCallback": "a provider that answers by a form",
    "startByLink": "the token of a start link",
    "token": "a code or a refresh token",
    "createDestination": "a database that answers there",
}


@schemathesis.hook
def before_load_schema(context: HookContext, raw_schema: dict[str, Any]) -> None:
    """An answer may have no member that the document does not name."""
    for name, schema in raw_schema["components"]["schemas"].items():
        if not name.endswith("Request"):
            close(schema)
    imported = raw_schema["paths"]["/v1/credentials/import"]["post"]["requestBody"]["content"]["application/x-ndjson"]
    imported["schema"] = imported["schema"]["contentSchema"]  # one line is made up, which `lines` below writes
    imported["example"] = json.loads(imported["example"].splitlines()[0])


def close(schema: Any) -> None:
    if isinstance(schema, list):
        for part in schema:
            close(part)
    elif isinstance(schema, dict):
        if "properties" in schema and isinstance(schema["properties"], dict):
            schema.setdefault("additionalProperties", False)
        for part in schema.values():
            close(part)


@schemathesis.serializer("application/x-ndjson")
def lines(context: SerializationContext, value: Any) -> bytes:
    return json.dumps(value).encode() + b"\n"


@schemathesis.hook
def before_call(context: HookContext, case: "Case[Any]", kwargs: dict[str, Any]) -> None:
    """What this gateway alone knows goes into requests that are meant to be sound, since no schema can say it."""
    if case.meta is None or not case.meta.generation.mode.is_positive:
        return
    name = operation_id(case)
    if name == "start":
        case.query |= {"client_id": FACTS["oauth_app_id"], "redirect_uri": FACTS["redirect_uri"]}
    if name == "listCollections":
        case.query.pop("credential_id", None)  # of the provider that is asked for
    if "cursor" in case.query:
        del case.query["cursor"]  # only a list gives them out
    if "metadata" in case.query:
        case.query["metadata"] = '{"customer": "arrakis"}'  # JSON as text
    if "Idempotency-Key" in case.headers:
        case.headers["Idempotency-Key"] = f"key-{next(NUMBERS)}"  # a key goes with one body
    if isinstance(case.body, dict):
        complete(name, case.body)
    if name in {"token", "revoke"}:
        case.headers.pop("Authorization", None)  # one way to authenticate at a time: by the body


def complete(name: str, body: dict[str, Any]) -> None:
    """The body of an operation, with what only this gateway takes."""
    if "url" in body:
        body["url"] = FACTS["webhook_url"]
    if not str(body.get("scope", "read")).strip():
        del body["scope"]  # blank is empty
    if NOT_TEXT.search(json.dumps(body.get("metadata"), ensure_ascii=False)):
        body["metadata"] = {"customer": "arrakis"}  # PostgreSQL stores no NUL
    if "environment" in body:
        body["environment"] = "live"  # the provider has no simulator
    if isinstance(overlap := body.get("overlap_seconds"), float):
        body["overlap_seconds"] = int(overlap)  # JSON Schema counts 60.0 among the integers
    if name in {"token", "revoke"}:
        for member in [member for member, value in body.items() if isinstance(value, list | dict)]:
            del body[member]  # which would be written into a form as one name twice
    redirect_uri = {"redirect_url": FACTS["redirect_uri"], "redirect_uri": ...}
    changes: dict[str, dict[str, Any]] = {
        "createRedirectURI": {"redirect_uri": f"https://app.example.com/{next(NUMBERS)}"},
        "createOAuthApp": {"provider": "standin", "variables": {}, "client_secret": "a-secret"},
        "updateOAuthApp": {"provider": ..., "client_id": ..., "variables": ..., "client_secret": "another-secret"},
        "importCredential": {"oauth_app_id": ..., "properties": {"kind": "stripe_key", "secret": "a-key"}},
        "startAuth": redirect_uri | {"oauth_app_id": FACTS["oauth_app_id"], "credential_kind": ..., "variables": ...},
        "reconnectCredential": redirect_uri,
        "createSync": {
            "provider": "stripe",
            "collection_ids": ["stripe:customer"],
            "credential": ...,
            "credential_id": FACTS["credential_id"],
            "destination_id": ...,
        },
        "updateSync": {"collection_ids": ...},
        "refreshSync": {"collections": ...},
        "updateDestination": {"connection": ...},
        "token": {"client_id": FACTS["oauth_app_id"], "client_secret": FACTS["client_secret"]},
        "revoke": {"client_id": FACTS["oauth_app_id"], "client_secret": FACTS["client_secret"]},
    }
    for member, value in changes.get(name, {}).items():
        if value is ...:
            body.pop(member, None)
        else:
            body[member] = value


@schemathesis.hook
def filter_failure(context: HookContext, failure: Failure, case: "Case[Any]", response: Response) -> bool:
    """Whether it counts."""
    name = operation_id(case)
    if isinstance(failure, RejectedPositiveData) and name in NOT_TO_BE_GUESSED:
        return False
    if isinstance(failure, AcceptedNegativeData) and name == "importCredentials":
        report = json.loads(response.content)  # what is wrong with a line keeps no other out: the report refuses it
        return bool(report["refused"] != report["lines"])
    return True


def operation_id(case: "Case[Any]") -> str:
    name: str = case.operation.definition.raw["operationId"]
    return name
