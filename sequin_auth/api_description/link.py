"""The endpoints that are no views of Django REST framework: the hosted trip, the hot path, the probes."""

from typing import Any

from credentials.api.access_token import LONGEST_LEFT, SHORTEST_LEFT
from sequin_auth.api_description.examples import APP_ID
from sequin_auth.api_description.operation import JSON, Answer
from sequin_auth.api_description.refusals import EVERYWHERE, HEADERS, name_of, refusal
from sequin_auth.api_description.schemas import FLAG, HTML, ID, NOTHING, SCOPES, STRING, Schema, an_object, ref

FORM = "application/x-www-form-urlencoded"
SLUG: Schema = {"type": "string", "pattern": "^[a-z0-9-]+$"}

SECURITY_SCHEMES: Schema = {
    "api_token": {
        "type": "http",
        "scheme": "bearer",
        "description": "An API token of an account. Its scopes are `read`, `write`, `reveal` and `proxy`.",
    },
    "api_token_of_a_client": {
        "type": "http",
        "scheme": "bearer",
        "description": "An API token with the scope `reveal`, in place of the client secret: then the body has no"
        " `client_secret`. A scheme of its own, so that a token entered for /v1 is not sent beside one.",
    },
    "client_secret_basic": {
        "type": "http",
        "scheme": "basic",
        "description": "The id of an OAuth app, and its client secret (RFC 6749, 2.3.1). As `client_secret_post` both"
        " are `client_id` and `client_secret` of the body.",
    },
    "oauth2": {
        "type": "oauth2",
        "description": "What a stock OAuth library is configured with.",
        "flows": {
            "authorizationCode": {
                "authorizationUrl": "/link/oauth2/start",
                "tokenUrl": "/link/oauth2/token",
                "refreshUrl": "/link/oauth2/token",
                "scopes": {},
            }
        },
    },
}
BY_THE_BODY: Schema = {}  # client_secret_post
BY_A_CLIENT = [{"client_secret_basic": []}, {"api_token_of_a_client": ["reveal"]}, BY_THE_BODY]


def parameter(name: str, schema: Schema, words: str, *, where: str = "query", is_required: bool = False) -> Schema:
    required = {"required": True} if is_required or where == "path" else {}
    return {"name": name, "in": where, "description": words, "schema": schema, **required}


def refused(*statuses: int, scope: str = "") -> Schema:
    return {str(status): {"$ref": f"#/components/responses/{name_of(status, scope)}"} for status in statuses}


def oauth_error(status: int, **errors: str) -> Schema:
    """By RFC 6749's code what is said in words."""
    examples = {
        error: {"error": error, "error_description": words, "summary": words} for error, words in errors.items()
    }
    answer = Answer(next(iter(errors.values())), ref("OAuthError"), headers=HEADERS.get(status, {}), examples=examples)
    return {str(status): answer.as_dict()}


def page(words: str, title: str) -> Schema:
    example = f'<!doctype html>\n<html lang="en">\n<head><title>{title}</title></head>\n<body>…</body>\n</html>\n'
    return Answer(words, HTML, example, media_type="text/html").as_dict()


def redirect(words: str, example: str) -> Schema:
    return {"description": words, "headers": {"Location": {"schema": STRING, "example": example}}}


def body_of(schema: Schema, example: Any) -> Schema:
    """JSON, or the same as a form. JSON is first: Swagger UI fills in a form by itself, and not by the example."""
    content = {"schema": schema, "example": example}
    return {"required": True, "content": {JSON: content, FORM: content}}


# ---- the hot path ----------------------------------------------------------------------------------------------------

ACCESS_TOKEN: Schema = {
    "operationId": "getAccessToken",
    "tags": ["Credentials"],
    "summary": "An access token that is good now",
    "description": "Ask before every call of the provider's API; it is refreshed first if need be.",
    "security": [{"api_token": ["reveal"]}],
    "parameters": [
        parameter("credential_id", ID, "", where="path"),
        parameter(
            "min_ttl",
            {"type": "integer", "minimum": 0, "maximum": LONGEST_LEFT, "default": SHORTEST_LEFT},
            "Seconds that it is to last at least.",
        ),
        parameter("force_refresh", FLAG | {"default": False}, "Refreshes it even if it would last."),
    ],
    "responses": {
        "200": Answer(
            "The token, and how it is sent.",
            ref("AccessToken"),
            {
                "access_token": "the-access-token",
                "token_type": "Bearer",
                "expires_at": "2026-11-22T10:00:00Z",
                "scope": "read_only",
                "api": {"base_url": "https://api.stripe.com", "header": "Authorization", "scheme": "Bearer"},
            },
        ).as_dict(),
        **refused(*EVERYWHERE, 404, scope="reveal"),
        **{str(status): refusal(status, "getAccessToken") for status in (409, 500, 502, 503)},
    },
}

# ---- the hosted trip -------------------------------------------------------------------------------------------------

STATE: Schema = {"type": "string", "maxLength": 2048}
CHALLENGE: Schema = {"type": "string", "pattern": "^[A-Za-z0-9_-]{43}$"}
ASKED = page(
    "A page asks the end user first: for what the provider needs, or whether to go on.", "Connect your Stripe account"
)
START_ANSWERS: Schema = {
    "200": ASKED,
    "204": {"description": "To HEAD and to a browser that only looks ahead: no trip has begun."},
    "302": redirect("To the provider; or back to the redirect URI with `error`.", "https://provider.example/authorize"),
    "400": page(
        "A page that ends the trip: who asks, or where to go back to, is not known. Never a redirect.",
        "This link does not work",
    ),
    "404": page("There is no such link.", "There is nothing here"),
    "429": page("Too many trips have begun; the header Retry-After says how long to wait.", "Too many at once"),
    "503": page("The provider or the database does not answer.", "Not available right now"),
}
START: Schema = {
    "operationId": "start",
    "tags": ["Link"],
    "summary": "Begin a trip",
    "description": "For a browser. Beside these, the variables of the provider may be given, as `shop` or `subdomain`.",
    "security": [],
    "parameters": [
        parameter("client_id", ID, "The id of the OAuth app.", is_required=True),
        parameter("redirect_uri", STRING, "One that is registered, byte by byte.", is_required=True),
        parameter("state", STATE, "Comes back as it is."),
        parameter("scope", {"type": "string", "maxLength": 4096, "pattern": SCOPES}, "By spaces or commas."),
        parameter("debug", {"type": "string"}, "`true` explains what is wrong in the browser."),
        parameter("response_type", {"type": "string", "enum": ["code"]}, "`code`, or absent."),
        parameter("code_challenge", CHALLENGE, "Your own PKCE (RFC 7636)."),
        parameter("code_challenge_method", {"type": "string", "enum": ["S256"]}, "`S256` alone."),
    ],
    "responses": START_ANSWERS,
}
START_BY_LINK: Schema = {
    "operationId": "startByLink",
    "tags": ["Link"],
    "summary": "Begin the trip of a start link",
    "description": "`POST /v1/credentials/start-auth` makes them. Nothing in it can be changed, and it works once.",
    "security": [],
    "parameters": [
        parameter("token", {"type": "string", "pattern": "^[A-Za-z0-9_-]{43}$"}, "Of the link.", where="path")
    ],
    "responses": START_ANSWERS,
}
CALLBACK_ANSWERS: Schema = {
    "302": redirect(
        "To the redirect URI, with `code` and `state`; or with `error`.", "https://app.example.com/callback?code=…"
    ),
    "400": page(
        "The state is missing, unknown, used, expired, or of another browser, provider or OAuth app.",
        "We do not know this connection",
    ),
    "404": page("The path is none of a callback.", "There is nothing here"),
    "503": page("The database does not answer.", "Not available right now"),
}


def callback(operation_id: str, *parameters: Schema) -> Schema:
    return {
        "operationId": operation_id,
        "tags": ["Link"],
        "summary": "Where the provider sends the end user back to",
        "description": "Called by a browser, never by you.",
        "security": [],
        "parameters": [
            *parameters,
            parameter("state", STRING, "The one that the provider was given."),
            parameter("code", STRING, "The provider's."),
            parameter("error", STRING, "Why there is no code."),
            parameter("error_description", STRING, ""),
            parameter("iss", STRING, "Who answers (RFC 9207)."),
        ],
        "responses": CALLBACK_ANSWERS,
    }


POSTED: Schema = {
    "type": "object",
    "properties": {
        "code": STRING | {"description": "The provider's."},
        "state": STRING | {"description": "The one that the provider was given."},
        "error": STRING | {"description": "Why there is no code."},
        "error_description": STRING | {"description": "The same in words."},
        "iss": STRING | {"description": "Who answers (RFC 9207)."},
        "scope": STRING | {"description": "What was granted."},
    },
    "additionalProperties": True,
}


def posted_callback(operation_id: str, *parameters: Schema) -> Schema:
    return {
        "operationId": operation_id,
        "tags": ["Link"],
        "summary": "The same, of a provider that answers by a form",
        "description": "`form_post`: called by a browser, never by you. A post from another site carries no cookie, so"
        " it goes on to the same address with GET, where the trip is looked at.",
        "security": [],
        "parameters": [*parameters],
        "requestBody": {
            "required": True,
            "content": {
                FORM: {"schema": POSTED, "example": {"code": "the-code-of-the-provider", "state": "ZTA5N2UxYjQ"}}
            },
        },
        "responses": {
            "303": redirect(
                "To the same address, with what was posted in the query.",
                "/link/oauth2/callback/apple?code=the-code-of-the-provider&state=ZTA5N2UxYjQ",
            ),
            "400": page("The form could not be read, or is longer than 1 MiB.", "This request cannot be answered"),
            "404": page("The path is none of a callback.", "There is nothing here"),
            "405": {
                "description": "The provider is unknown, or does not answer by a form.",
                "headers": {"Allow": {"schema": STRING}},
            },
        },
    }


TOKEN_REQUEST: Schema = {
    "type": "object",
    "properties": {
        "grant_type": {"type": "string", "enum": ["authorization_code", "refresh_token"]},
        "code": STRING,
        "redirect_uri": STRING | {"description": "If it is sent, the one of the start."},
        "code_verifier": STRING | {"description": "Demanded if the start had a challenge."},
        "refresh_token": STRING,
        "client_id": STRING | {"description": "The id of the OAuth app."},
        "client_secret": STRING | {"description": "The provider's secret of that OAuth app."},
    },
}
CLIENT_ERRORS: Schema = {
    **oauth_error(401, invalid_client="The client is unknown, or its secret or API token is wrong."),
    **oauth_error(413, invalid_request="The body is too large."),
    **oauth_error(414, invalid_request="A URL has at most 8,190 bytes."),
    **oauth_error(415, invalid_request="The body must be application/x-www-form-urlencoded or application/json."),
    **oauth_error(429, slow_down="Too many failures of this client from this address."),
    **oauth_error(500, server_error="Something went wrong here. The log has more under this request_id."),
    **oauth_error(503, temporarily_unavailable="The provider does not answer."),
}
TOKEN: Schema = {
    "operationId": "token",
    "tags": ["Link"],
    "summary": "Exchange a code, or refresh",
    "description": "RFC 6749, 4.1.3 and 6. Without `grant_type` it is a code. The exchange keeps no credential: post"
    " `credential` to /v1/credentials.",
    "security": BY_A_CLIENT,
    "requestBody": body_of(
        TOKEN_REQUEST,
        {"grant_type": "authorization_code", "code": "the-code", "client_id": APP_ID, "client_secret": "the-secret"},
    ),
    "responses": {
        "200": Answer(
            "The tokens.",
            ref("Tokens"),
            {
                "access_token": "the-access-token",
                "token_type": "Bearer",
                "expires_in": 3600,
                "refresh_token": "the-refresh-token",
                "scope": "read write",
                "credential": {
                    "oauth_app_id": APP_ID,
                    "properties": {
                        "kind": "linear_oauth2",
                        "access_token": "the-access-token",
                        "refresh_token": "the-refresh-token",
                        "expires_at": "2026-11-22T10:00:00Z",
                        "scope": "read write",
                        "token_type": "Bearer",
                        "linear_org_id": "f4d2c1b0",
                        "linear_org_name": "Arrakis Inc.",
                        "linear_user_id": "muaddib",
                    },
                },
                "state": "ZTA5N2Ux",
            },
        ).as_dict(),
        **oauth_error(
            400,
            invalid_grant="The code is unknown, used, expired or bound to something else.",
            invalid_request="The parameter code is missing.",
            unsupported_grant_type="The grant_type must be authorization_code or refresh_token.",
            invalid_scope="The provider refused the refresh.",
        ),
        **CLIENT_ERRORS,
    },
}
REVOKE_REQUEST: Schema = {
    "type": "object",
    "required": ["token"],
    "properties": {
        "token": {"type": "string", "minLength": 1},
        "token_type_hint": {"type": "string"},
        "client_id": STRING,
        "client_secret": STRING,
    },
}
REVOKE: Schema = {
    "operationId": "revoke",
    "tags": ["Link"],
    "summary": "Revoke a token",
    "description": "RFC 7009. An unknown token is no error.",
    "security": BY_A_CLIENT,
    "requestBody": body_of(
        REVOKE_REQUEST, {"token": "the-refresh-token", "client_id": APP_ID, "client_secret": "the-secret"}
    ),
    "responses": {
        "200": Answer("It is no good any more.", NOTHING, {}).as_dict(),
        **oauth_error(
            400,
            invalid_request="The parameter token is missing.",
            unsupported_token_type="The provider cannot revoke tokens of this type.",
        ),
        **CLIENT_ERRORS,
    },
}
METADATA: Schema = {
    "operationId": "metadata",
    "tags": ["Link"],
    "summary": "What the authorization server can do",
    "security": [],
    "responses": {
        "200": Answer(
            "RFC 8414.",
            ref("Metadata"),
            {
                "issuer": "https://auth.example.com",
                "authorization_endpoint": "https://auth.example.com/link/oauth2/start",
                "token_endpoint": "https://auth.example.com/link/oauth2/token",
                "revocation_endpoint": "https://auth.example.com/link/oauth2/revoke",
                "response_types_supported": ["code"],
                "response_modes_supported": ["query"],
                "grant_types_supported": ["authorization_code", "refresh_token"],
                "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
                "revocation_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
                "code_challenge_methods_supported": ["S256"],
            },
        ).as_dict(),
        **refused(405),
    },
}


def probe(operation_id: str, summary: str, *, can_fail: bool) -> Schema:
    failed = Answer("Not now.", ref("Probe"), {"status": "error", "reason": "database"}).as_dict()
    return {
        "operationId": operation_id,
        "tags": ["Probes"],
        "summary": summary,
        "security": [],
        "responses": {"200": Answer("Yes.", ref("Probe"), {"status": "ok"}).as_dict()}
        | ({"503": failed} if can_fail else {}),
    }


METRICS: Schema = {
    "operationId": "metrics",
    "tags": ["Probes"],
    "summary": "What is done, in numbers",
    "description": "Prometheus' text format. No number says whose it is.",
    "security": [],
    "responses": {
        "200": Answer(
            "All numbers.", STRING, 'sync_active{health="ok"} 3.0\n', media_type="text/plain; version=0.0.4"
        ).as_dict(),
        "503": Answer("The database does not answer.", STRING, "database\n", media_type="text/plain").as_dict(),
    },
}
OPENAPI = an_object(
    {
        "openapi": STRING | {"description": "The version of OpenAPI."},
        "info": {"type": "object", "description": "What this is."},
        "paths": {"type": "object", "description": "The endpoints."},
    }
)
DESCRIPTION: Schema = {
    "operationId": "describe",
    "tags": ["Probes"],
    "summary": "This document",
    "security": [],
    "responses": {
        "200": Answer(
            "OpenAPI 3.1.", OPENAPI, {"openapi": "3.1.0", "info": {"title": "Sequin Auth", "version": "1"}, "paths": {}}
        ).as_dict(),
        **refused(405),
    },
}
PROVIDER = parameter("provider", SLUG, "Its slug.", where="path")
OWN = parameter("oauth_app_id", ID, "", where="path")
PATHS: Schema = {
    "/v1/credentials/{credential_id}/access-token": {"get": ACCESS_TOKEN},
    "/v1/openapi.json": {"get": DESCRIPTION},
    "/link/oauth2/start": {"get": START},
    "/link/oauth2/start/{token}": {"get": START_BY_LINK},
    "/link/oauth2/callback/{provider}": {
        "get": callback("callback", PROVIDER),
        "post": posted_callback("postedCallback", PROVIDER),
    },
    "/link/oauth2/callback/{provider}/{oauth_app_id}": {
        "get": callback("ownCallback", PROVIDER, OWN),
        "post": posted_callback("postedOwnCallback", PROVIDER, OWN),
    },
    "/link/oauth2/token": {"post": TOKEN},
    "/link/oauth2/revoke": {"post": REVOKE},
    "/.well-known/oauth-authorization-server": {"get": METADATA},
    "/healthz": {"get": probe("alive", "Is it alive?", can_fail=False)},
    "/readyz": {"get": probe("ready", "Can it work?", can_fail=True)},
    "/metrics": {"get": METRICS},
}
