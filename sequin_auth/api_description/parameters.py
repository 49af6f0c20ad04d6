"""What the parameters of a query mean, and what they take. What each looks like: parameter_examples.py."""

from collections.abc import Mapping

from oauth_apps.api.events import ACTION, OBJECT_ID
from sequin_auth.api_description.operation import JSON
from sequin_auth.api_description.schemas import FLAG, ID, NAME_IN_THE_CATALOGUE, STRING, TIME, Schema, one_of
from sequin_auth.lib.api.pagination import DEFAULT_LIMIT, MAX_LIMIT

PARAMETERS: Mapping[str, tuple[str, Schema]] = {
    "limit": (
        "How many a page holds.",
        {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT},
    ),
    "cursor": ("The `next_cursor` of the page before.", STRING),
    "provider": ("Of this provider alone.", {"type": "string", "pattern": NAME_IN_THE_CATALOGUE}),
    "kind": ("Of this kind alone.", {"type": "string", "pattern": NAME_IN_THE_CATALOGUE}),
    "action": (
        "This action alone; or all of a thing: its word and the dot, as in `credential.`.",
        {"type": "string", "pattern": f"^{ACTION.pattern}$"},
    ),
    "object_id": ("What was done to this object.", {"type": "string", "pattern": f"^{OBJECT_ID.pattern}$"}),
    "api_token": ("What was done with this API token.", ID),
    "credential": ("Reads of this credential.", ID),
    "since": ("Not before that time, as `2026-11-22T12:00:00Z`.", TIME),
    "until": ("Before that time.", TIME),
    "health.status": ("In this health alone.", one_of("ok", "warn", "error")),
    "environment": ("Of this environment alone.", one_of("live", "sandbox")),
    "metadata": (
        "A JSON object as text: those alone whose metadata contains it.",
        {"type": "string", "contentMediaType": JSON},
    ),
    "oauth_app_id": ("Of this OAuth app alone.", ID),
    "cascade": (
        "Deletes what depends on it too: the credentials of an OAuth app, and the syncs of a credential with their"
        " tables.",
        FLAG | {"default": False},
    ),
    "name": ("With exactly this name.", {"type": "string", "minLength": 1, "maxLength": 200}),
    "external_id": ("With exactly this id of yours.", {"type": "string", "minLength": 1, "maxLength": 200}),
    "status": ("In this status alone.", one_of("active", "disabled")),
    "credential_id": ("Of this credential alone.", ID),
    "keep_data": ("Leaves what was written to the database.", FLAG | {"default": False}),
}
OF_ONE_OPERATION: Mapping[tuple[str, str], Schema] = {
    ("listOAuthApps", "provider"): STRING,  # of whatever name: what is not in the catalogue has no apps
}
