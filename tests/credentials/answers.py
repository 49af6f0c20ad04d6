"""How tests ask `/v1/credentials`, and what they look at in its answers."""

import json
from typing import Any

from django.test import Client

from credentials.models import Credential

CREDENTIALS = "/v1/credentials"
JSON = "application/json"
NDJSON = "application/x-ndjson"


def path(credential: Any, action: str = "") -> str:
    """`credential`: one of ours, an answer that shows it, or an id."""
    pk = credential["id"] if isinstance(credential, dict) else getattr(credential, "pk", credential)
    return f"{CREDENTIALS}/{pk}{action}"


def post(api: Client, **content: Any) -> Any:
    return api.post(CREDENTIALS, content, content_type=JSON)


def posted(api: Client, **content: Any) -> Any:
    """The answer to an import that is accepted."""
    response = post(api, **content)
    assert response.status_code in {200, 201}, response.content
    return response.json()


def errors(response: Any) -> Any:
    """The reasons by field, of a 422."""
    assert response.status_code == 422, response.content
    answer = response.json()
    assert answer["code"] == "validation_failed"
    assert answer["request_id"] == response["X-Request-Id"]
    return answer["validation_errors"]


def without_request_id(response: Any) -> tuple[int, Any]:
    return response.status_code, response.json() | {"request_id": None}


def rows(response: Any) -> list[Any]:
    """The rows of an export."""
    assert response.status_code == 200, response.content
    return [json.loads(line) for line in b"".join(response.streaming_content).splitlines()]


def upload(api: Client, *lines: Any, content_type: str = NDJSON) -> Any:
    """POST rows to the import; what is no string is written as JSON."""
    body = "".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines)
    return api.post(f"{CREDENTIALS}/import", body.encode(), content_type=content_type)


def secrets_of(credential: Credential) -> dict[str, Any]:
    token = Credential.objects.whole().get(pk=credential.pk).token
    return {"access_token": token.access_token, "refresh_token": token.refresh_token}
