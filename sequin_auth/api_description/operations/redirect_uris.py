"""`/v1/redirect-uris`: where end users may return to."""

from collections.abc import Mapping

from oauth_apps.api.serializers import RedirectURISerializer
from sequin_auth.api_description.examples import MADE, REDIRECT_URI_ID
from sequin_auth.api_description.operation import Operation, deleted, made, pages

REDIRECT_URI = {
    "id": REDIRECT_URI_ID,
    "redirect_uri": "https://app.example.com/oauth/callback/:provider",
    "created_at": MADE,
}

OPERATIONS: Mapping[tuple[str, str], Operation] = {
    ("GET", "/v1/redirect-uris"): Operation(
        "listRedirectURIs", "Redirect URIs", "List redirect URIs", pages("RedirectURIPage", REDIRECT_URI)
    ),
    ("POST", "/v1/redirect-uris"): Operation(
        "createRedirectURI",
        "Redirect URIs",
        "Register a redirect URI",
        made("RedirectURI", REDIRECT_URI),
        "https, or http on loopback alone. It is compared byte by byte; `:provider`, as one whole segment of the path,"
        " stands for the slug of the app's provider. It serves all OAuth apps of the account.",
        body=RedirectURISerializer,
        example={"redirect_uri": "https://app.example.com/oauth/callback/:provider"},
        errors=(409,),
        is_idempotent=True,
    ),
    ("DELETE", "/v1/redirect-uris/{redirect_uri_id}"): Operation(
        "deleteRedirectURI",
        "Redirect URIs",
        "Delete a redirect URI",
        deleted(REDIRECT_URI_ID),
        errors=(404,),
    ),
}
