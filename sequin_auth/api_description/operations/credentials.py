"""`/v1/credentials`: what is kept of end users' accounts. How an access token is read is in link.py."""

import json
from collections.abc import Mapping

from credentials.api.ndjson_import import MEDIA_TYPE
from credentials.api.reconnect import ReconnectSerializer
from credentials.api.serializers import ChangesSerializer, CredentialSerializer, RowSerializer
from credentials.api.start_auth import StartAuthSerializer
from sequin_auth.api_description.examples import APP_ID, CREDENTIAL_ID, MADE, START_LINK
from sequin_auth.api_description.operation import Answer, Operation, deleted, made, one, pages
from sequin_auth.api_description.operations.oauth_apps import APP
from sequin_auth.api_description.schemas import ref

NEW_CREDENTIAL = {
    "oauth_app_id": APP_ID,
    "properties": {
        "kind": "stripe_oauth2",
        "access_token": "the-access-token",
        "refresh_token": "the-refresh-token",
        "stripe_user_id": "acct_1032D82eZvKYlo2C",
        "livemode": True,
    },
    "metadata": {"customer": "arrakis"},
}
CREDENTIAL = {
    "id": CREDENTIAL_ID,
    "provider": "stripe",
    "kind": "stripe_oauth2",
    "name": "",
    "oauth_app_id": APP_ID,
    "oauth_app": APP,
    "properties": {
        "kind": "stripe_oauth2",
        "access_token": "***********",
        "refresh_token": "***********",
        "stripe_user_id": "acct_1032D82eZvKYlo2C",
        "livemode": True,
        "token_type": "Bearer",
    },
    "scopes": {"requested": [], "granted": ["read_only"], "missing": []},
    "expires_at": None,
    "expires_at_source": None,
    "health": {"status": "ok", "notes": [], "time": MADE},
    "metadata": {"customer": "arrakis"},
    "created_at": MADE,
    "updated_at": MADE,
}
EXPORTED = {
    "id": CREDENTIAL_ID,
    "provider": "stripe",
    "kind": "stripe_oauth2",
    "name": "",
    "oauth_app_id": APP_ID,
    "metadata": {"customer": "arrakis"},
    "properties": {
        "kind": "stripe_oauth2",
        "access_token": "the-access-token",
        "refresh_token": "the-refresh-token",
        "stripe_user_id": "acct_1032D82eZvKYlo2C",
        "livemode": True,
        "token_type": "Bearer",
    },
    "created_at": MADE,
}
NEW_KEY = {
    "properties": {"kind": "stripe_key", "secret": "the-key-at-stripe"},
    "metadata": {"customer": "harkonnen"},
}

OPERATIONS: Mapping[tuple[str, str], Operation] = {
    ("GET", "/v1/credentials"): Operation(
        "listCredentials", "Credentials", "List credentials", pages("CredentialPage", CREDENTIAL)
    ),
    ("POST", "/v1/credentials"): Operation(
        "importCredential",
        "Credentials",
        "Keep a credential",
        made("Credential", CREDENTIAL)
        | {200: Answer("It was known: the newer tokens are kept.", ref("Credential"), CREDENTIAL)},
        "Takes the `credential` of the token endpoint as it is. The same account at the provider is one credential,"
        " however often it is sent.",
        body=CredentialSerializer,
        example=NEW_CREDENTIAL,
        is_idempotent=True,
    ),
    ("GET", "/v1/credentials/{credential_id}"): Operation(
        "getCredential", "Credentials", "One credential", one("Credential", CREDENTIAL), errors=(404,)
    ),
    ("PATCH", "/v1/credentials/{credential_id}"): Operation(
        "updateCredential",
        "Credentials",
        "Change the name or the metadata",
        one("Credential", CREDENTIAL),
        body=ChangesSerializer,
        example={"name": "Arrakis", "metadata": {"customer": "arrakis"}},
        errors=(404,),
    ),
    ("DELETE", "/v1/credentials/{credential_id}"): Operation(
        "deleteCredential",
        "Credentials",
        "Delete a credential",
        deleted(CREDENTIAL_ID),
        "It is revoked at the provider where that can be done, and its secrets are erased. While syncs use it it is"
        " refused (409), unless they go too.",
        errors=(404, 409),
    ),
    ("POST", "/v1/credentials/{credential_id}/check"): Operation(
        "checkCredential",
        "Credentials",
        "Ask the provider whether it is still good",
        one("Credential", CREDENTIAL, "What the provider says is in `health`."),
        errors=(404,),
    ),
    ("POST", "/v1/credentials/{credential_id}/reconnect"): Operation(
        "reconnectCredential",
        "Credentials",
        "Make a start link that keeps this credential",
        {201: Answer("Single use, for five minutes.", ref("StartLink"), START_LINK)},
        "Its owner agrees again, and the credential keeps its id. Another account at the provider is refused, unless"
        " `identity` is `any`. Without a redirect URI the trip ends on a page of the gateway.",
        body=ReconnectSerializer,
        example={"redirect_url": "https://app.example.com/oauth/callback/stripe"},
        errors=(404, 409),
    ),
    ("POST", "/v1/credentials/start-auth"): Operation(
        "startAuth",
        "Credentials",
        "Make a start link",
        {201: Answer("Single use, for five minutes.", ref("StartLink"), START_LINK)},
        "Nothing that it was made with can be changed by whoever opens it. `redirect_uri` is another name for"
        " `redirect_url`. `state` may be any JSON of at most 5,000 bytes; the token endpoint returns it.",
        body=StartAuthSerializer,
        example={
            "oauth_app_id": APP_ID,
            "redirect_url": "https://app.example.com/oauth/callback/stripe",
            "state": {"user": 42},
        },
    ),
    ("GET", "/v1/credentials/export"): Operation(
        "exportCredentials",
        "Credentials",
        "Export credentials with their secrets",
        {200: Answer("One JSON object a line.", ref("ExportedCredential"), EXPORTED, media_type=MEDIA_TYPE)},
        "A credential that cannot be opened is a line with its `id` and an `error`.",
    ),
    ("POST", "/v1/credentials/import"): Operation(
        "importCredentials",
        "Credentials",
        "Take an export in again",
        one(
            "ImportReport",
            {"lines": 2, "created": 2, "updated": 0, "refused": 0, "errors": [], "errors_left_out": 0},
            "What became of the lines. What is wrong with one keeps no other from being written.",
        ),
        "One JSON object a line, in a body of any length; a line has at most 1 MiB.",
        body=RowSerializer,
        example="".join(f"{json.dumps(line)}\n" for line in (EXPORTED, NEW_KEY)),
        media_type=MEDIA_TYPE,
    ),
}
