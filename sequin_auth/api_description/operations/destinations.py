"""`/v1/destinations`: the databases that syncs write to, and how to read what they have written."""

from collections.abc import Mapping

from sequin_auth.api_description.examples import DESTINATION_ID, MADE, WELL
from sequin_auth.api_description.operation import Operation, deleted, made, one, pages
from sequin_auth.api_description.schemas import ANY_OBJECT, SINGLE_LINE, an_object, one_of
from syncs.api.destinations import DestinationSerializer

NEW_DESTINATION = {
    "name": "Warehouse",
    "connection": {
        "host": "warehouse.example.com",
        "port": 5432,
        "database": "syncs",
        "username": "sequin",
        "password": "the-password",
        "sslmode": "verify-full",
    },
}
DESTINATION = {
    "id": DESTINATION_ID,
    "kind": "postgres",
    "name": "Warehouse",
    "connection": {**NEW_DESTINATION["connection"], "password": "***********"},  # type: ignore[dict-item]
    "metadata": {},
    "health": WELL,
    "created_at": MADE,
    "updated_at": MADE,
}
DESTINATION_CONNECTION = {
    "host": "db.example.com",
    "port": 5432,
    "database": "sequin_syncs",
    "username": "sequin_syncs_reader_0d6e2f9a31a1",
    "password": "the-password",
    "sslmode": "require",
    "schemas": ["sync_4f7c1e2a9b3d"],
    "url": "all of these in one, as psql and most drivers take it",
}

WORD = {"type": "string", "minLength": 1, "pattern": SINGLE_LINE}
DESTINATION_CHANGES = an_object(
    {
        "name": WORD | {"maxLength": 200},
        "connection": an_object(
            {
                "username": WORD | {"maxLength": 63},
                "password": WORD | {"maxLength": 1024},
                "sslmode": one_of("require", "verify-full", "disable"),
            },
            optional=("username", "password", "sslmode"),
            additionalProperties=False,
        ),
        "metadata": ANY_OBJECT,
    },
    optional=("name", "connection", "metadata"),
    additionalProperties=False,
)

OPERATIONS: Mapping[tuple[str, str], Operation] = {
    ("GET", "/v1/destinations"): Operation(
        "listDestinations", "Syncs", "List destinations", pages("DestinationPage", DESTINATION)
    ),
    ("POST", "/v1/destinations"): Operation(
        "createDestination",
        "Syncs",
        "Add a PostgreSQL database",
        made("Destination", DESTINATION),
        "It is connected to before it is kept, and a refusal says which `GRANT` is missing.",
        body=DestinationSerializer,
        example=NEW_DESTINATION,
        is_idempotent=True,
    ),
    ("GET", "/v1/destinations/{destination_id}"): Operation(
        "getDestination", "Syncs", "One destination", one("Destination", DESTINATION), errors=(404,)
    ),
    ("PATCH", "/v1/destinations/{destination_id}"): Operation(
        "updateDestination",
        "Syncs",
        "Change a destination",
        one("Destination", DESTINATION),
        "Host, port and database never change. Of the built-in one the name and the metadata do.",
        body=DESTINATION_CHANGES,
        example={"connection": {"username": "sequin", "password": "another-password"}},
        errors=(404, 409),
    ),
    ("DELETE", "/v1/destinations/{destination_id}"): Operation(
        "deleteDestination",
        "Syncs",
        "Delete a destination",
        deleted(DESTINATION_ID),
        "While syncs use it it is refused (409). The built-in one stays.",
        errors=(404, 409),
    ),
    ("GET", "/v1/destinations/{destination_id}/connection"): Operation(
        "revealDestinationConnection",
        "Syncs",
        "How to read what was synced",
        one("DestinationConnection", DESTINATION_CONNECTION, "A role that may read the account's schemas alone."),
        "Of the built-in destination; the connection of another one is your own.",
        errors=(404, 409),
    ),
}
