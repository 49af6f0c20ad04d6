"""How operations refuse: which statuses, under which name, with an example of each code (codes.py)."""

from collections.abc import Mapping

from sequin_auth.api_description.codes import codes_of, error
from sequin_auth.api_description.examples import REQUEST_ID, START_LINK
from sequin_auth.api_description.operation import Answer
from sequin_auth.api_description.schemas import COUNT, STRING, Schema, ref

SCOPES_OF_TOKENS = ("read", "write", "reveal")
EVERYWHERE = (400, 401, 403, 414, 422, 429, 500, 503)
WITH_A_BODY = (413, 415)
WRITING = (409,)  # what it belongs to may be deleted at that moment
REFUSALS: Mapping[int, str] = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    405: "MethodNotAllowed",
    409: "Conflict",
    413: "TooLarge",
    414: "URLTooLong",
    415: "NotJSON",
    422: "Invalid",
    429: "TooManyRequests",
    500: "InternalError",
    502: "BadGateway",
    503: "Unavailable",
}
SCHEMA_OF: Mapping[int, str] = {422: "ValidationError"}
HEADERS: Mapping[int, Mapping[str, Schema]] = {
    401: {"WWW-Authenticate": STRING},
    405: {"Allow": STRING},
    429: {"Retry-After": COUNT},
    503: {"Retry-After": COUNT},
}


def name_of(status: int, scope: str) -> str:
    """Of a refusal that many operations share. `scope`: the one that the operation needs, which 403 tells."""
    return f"{REFUSALS[status]}Without{scope.capitalize()}" if status == 403 else REFUSALS[status]


def refusal(status: int, operation_id: str = "", *, scope: str = "") -> Schema:
    """With an example of each code that may be told."""
    codes = {code: summary.replace("{scope}", scope) for code, summary in codes_of(status, operation_id).items()}
    examples = {code: error(code, summary, REQUEST_ID) for code, summary in codes.items()}
    if "needs_reauthorization" in examples:
        examples["needs_reauthorization"]["reconnect_url"] = START_LINK["start_url"]
        schema = "NeedsReauthorization"
    else:
        schema = SCHEMA_OF.get(status, "Error")
    summary = next(iter(codes.values()))
    return Answer(summary, ref(schema), headers=HEADERS.get(status, {}), examples=examples).as_dict()
