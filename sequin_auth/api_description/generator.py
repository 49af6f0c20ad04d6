"""drf-spectacular's reading of the views of `/v1`, completed by what stands in the tables beside it."""

import copy
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

from django.conf import settings
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.settings import patched_settings
from drf_spectacular.utils import Direction, OpenApiParameter
from rest_framework.views import APIView

from credentials.api.ndjson_import import MEDIA_TYPE as LINES
from credentials.api.serializers import PropertiesField
from credentials.api.start_auth import StateField
from oauth_apps.api.authentication import READING_METHODS
from oauth_apps.api.webhooks import LONGEST_OVERLAP
from oauth_apps.redirect_uris import MAX_LENGTH
from oauth_apps.webhooks import urls as webhook_urls
from oauth_apps.webhooks.events import EVENTS
from sequin_auth.api_description import link
from sequin_auth.api_description.codes import OF_ONE_OPERATION as CODES_OF_ONE_OPERATION
from sequin_auth.api_description.operation import Operation
from sequin_auth.api_description.operations import OPERATIONS
from sequin_auth.api_description.operations.webhooks import WEBHOOKS
from sequin_auth.api_description.parameter_examples import put_examples
from sequin_auth.api_description.parameters import OF_ONE_OPERATION, PARAMETERS
from sequin_auth.api_description.refusals import (
    EVERYWHERE,
    REFUSALS,
    SCOPES_OF_TOKENS,
    WITH_A_BODY,
    WRITING,
    name_of,
    refusal,
)
from sequin_auth.api_description.schemas import (
    ANY_OBJECT,
    ID,
    ID_OR_NULL,
    NAME_IN_THE_CATALOGUE,
    NOT_BLANK,
    SCHEMAS,
    SCOPE_TOKEN,
    SCOPES,
    SINGLE_LINE,
    SINGLE_LINE_OR_BLANK,
    Schema,
    one_of,
)
from sequin_auth.api_description.words import put_words
from sequin_auth.lib.api.fields import MetadataField, StrictSerializer, TextField
from sequin_auth.lib.api.views import ApiView
from syncs.api.serializers import LONGEST_COLLECTION, MOST_COLLECTIONS, IdField, NumberField, OneOfField

DOCUMENT = Path(settings.BASE_DIR) / "docs" / "openapi.json"
SECTIONS = {
    "OAuth apps": "Your registrations at providers.",
    "Redirect URIs": "Where end users return to.",
    "Providers": "What the catalogue says.",
    "Credentials": "What is kept of your end users' accounts, and their access tokens.",
    "Syncs": "Providers' collections as PostgreSQL tables, kept fresh; docs/syncs.md begins at the beginning.",
    "Webhooks": "What we notify you of, and where.",
    "Audit log": "Who did what. Read-only; docs/audit.md says what stands in it.",
    "Link": "The hosted trip: an OAuth 2.0 authorization server (RFC 6749, 7009, 8414).",
    "Probes": "Is it alive, and can it work?",
}
WORDS = (
    "A self-hosted OAuth gateway and credential vault. Ids are UUIDs in lower case, times are UTC. Objects of other"
    " accounts answer 404. Unknown fields and parameters are refused."
)
HOW = {
    "OAS_VERSION": "3.1.0",
    "TITLE": "Sequin Auth",
    "VERSION": "1",
    "DESCRIPTION": WORDS,
    "SERVERS": [{"url": "/", "description": "This gateway."}],
    "TAGS": [{"name": name, "description": words} for name, words in SECTIONS.items()],
    "COMPONENT_SPLIT_REQUEST": True,
    "SCHEMA_PATH_PREFIX": "/v1",
    "PATH_CONVERTER_OVERRIDES": {"canonical_uuid": ID},
    "POSTPROCESSING_HOOKS": [],
    "PREPROCESSING_HOOKS": ["sequin_auth.api_description.generator.once_each"],
}
WEBHOOK_URL = r"^https?://[A-Za-z0-9._~:/?\[\]!$&'()*+,;=%-]+$"
# Rules that stand in the methods of serializers
RULES: dict[tuple[str, str], Schema] = {
    ("OAuthAppSerializer", "environment"): one_of("live", "sandbox") | {"default": "live"},
    ("OAuthAppSerializer", "default_scopes"): {"type": "array", "items": {"type": "string", "pattern": SCOPE_TOKEN}},
    ("OAuthAppSerializer", "variables"): {
        "type": "object",
        "additionalProperties": {"type": "string", "pattern": SINGLE_LINE},
        "description": "What the provider asks for and is the same for all end users: GET /v1/providers names them.",
    },
    ("RedirectURISerializer", "redirect_uri"): {
        "type": "string",
        "maxLength": MAX_LENGTH,
        "pattern": r"^(https://|http://(127\.0\.0\.1|\[::1\]|localhost)([:/?]|$))[A-Za-z0-9._~:/?\[\]@!$&'()+,;=%-]*$",
    },
    ("CredentialSerializer", "oauth_app_id"): ID_OR_NULL,
    ("WebhookEndpointSerializer", "url"): {
        "type": "string",
        "maxLength": webhook_urls.MAX_LENGTH,
        "pattern": WEBHOOK_URL,
    },
    ("WebhookEndpointSerializer", "events"): {"type": "array", "items": one_of(*EVENTS), "default": []},
    ("OverlapSerializer", "overlap_seconds"): {"type": "integer", "minimum": 0, "maximum": LONGEST_OVERLAP},
    ("RowSerializer", "id"): ID,
    ("RowSerializer", "created_at"): {"type": ["string", "number"], "description": "ISO 8601, or seconds since 1970."},
    ("StartAuthSerializer", "oauth_app_id"): ID,
    ("ReconnectSerializer", "identity"): one_of("same_account", "any") | {"default": "same_account"},
    ("StartLinkSerializer", "scope"): {"type": "string", "minLength": 1, "maxLength": 4096, "pattern": SCOPES},
}
RULES |= {
    (serializer, field): {
        "type": "array",
        "minItems": 1,
        "maxItems": MOST_COLLECTIONS,
        "items": {"type": "string", "minLength": 1, "maxLength": LONGEST_COLLECTION, "pattern": SINGLE_LINE},
        "description": "As `GET /v1/providers/{slug}/collections` names them.",
    }
    for serializer, field in (
        ("SyncSerializer", "collection_ids"),
        ("SyncChangesSerializer", "collection_ids"),
        ("SyncRefreshSerializer", "collections"),
    )
}
# Without contentMediaType: Swagger UI would ask for a file, and show no example
A_LINE_EACH = "One JSON object a line; the schema is that of each."
NEVER_ALIKE = (502,)  # each operation has its own
used_rules: set[tuple[str, str]] = set()  # while a document is made
PROPERTIES: Schema = {
    "type": "object",
    "required": ["kind"],
    "properties": {
        "kind": {"type": "string", "pattern": NAME_IN_THE_CATALOGUE},
        "name": {"type": "string", "maxLength": 200, "pattern": SINGLE_LINE_OR_BLANK},
    },
    "additionalProperties": True,
    "description": "By the `kind`: GET /v1/providers has the schema of each.",
}


def document() -> Schema:
    """The whole document. Raises LookupError for an endpoint of `/v1` that nobody has described, and for a description
    of an endpoint or a field that is gone.
    """
    used_rules.clear()
    with patched_settings(HOW):
        found: Schema = Generator().get_schema(public=True)  # type: ignore[no-untyped-call]
    undescribed = OPERATIONS.keys() - {
        (method.upper(), path) for path, methods in found["paths"].items() for method in methods
    }
    if undescribed:
        raise LookupError(f"{sorted(undescribed)} are described in operations/, and there is no view for them.")
    if unused := RULES.keys() - used_rules:
        raise LookupError(f"{sorted(unused)} stand in RULES, and no body has such a field.")
    found["paths"] |= link.PATHS
    found["webhooks"] = WEBHOOKS
    components = found["components"]
    components["schemas"] |= SCHEMAS
    components["responses"] = {
        name_of(status, scope): refusal(status, scope=scope)
        for status in REFUSALS
        if status not in NEVER_ALIKE
        for scope in SCOPES_OF_TOKENS
    }
    components["securitySchemes"] = link.SECURITY_SCHEMES
    found = copy.deepcopy(found)  # parts of it stand in the tables, and in several places
    put_words(found)
    put_examples(found)
    return found


def text() -> str:
    """As it is committed."""
    return json.dumps(document(), indent=1, ensure_ascii=False) + "\n"


def once_each(endpoints: Iterable[tuple[str, str, str, Any]]) -> list[tuple[str, str, str, Any]]:
    """Each path without its second spelling, the one with a slash at its end."""
    return [endpoint for endpoint in endpoints if endpoint[0].startswith("/v1/") and not endpoint[0].endswith("/")]


class Generator(SchemaGenerator):
    def create_view(self, callback: Any, method: str, request: Any = None) -> APIView:
        view: APIView = super().create_view(callback, method, request)  # type: ignore[no-untyped-call]
        self._set_schema_to_view(view, Description())  # type: ignore[no-untyped-call]
        return view


class Description(AutoSchema):
    def get_operation(self, path: str, path_regex: str, path_prefix: str, method: str, registry: Any) -> Schema:
        if (method, path) not in OPERATIONS:
            raise LookupError(f"{method} {path} is not described: sequin_auth/api_description/operations/")
        self.operation: Operation = OPERATIONS[method, path]
        found = super().get_operation(path, path_regex, path_prefix, method, registry) or {}
        statuses = {*EVERYWHERE, *self.operation.errors, *(WITH_A_BODY if self.operation.body else ())}
        statuses |= set(WRITING if method != "GET" else ())
        refusals = {
            str(status): refusal(status, self.operation.id)
            if (self.operation.id, status) in CODES_OF_ONE_OPERATION
            else {"$ref": f"#/components/responses/{name_of(status, self.scope())}"}
            for status in sorted(statuses)
        }
        answers = {str(status): answer.as_dict() for status, answer in self.operation.answers.items()}
        return found | {"responses": answers | refusals}

    # ---- in words ----------------------------------------------------------------------------------------------------

    def get_operation_id(self) -> str:
        return self.operation.id

    def get_tags(self) -> list[str]:
        return [self.operation.tag]

    def get_summary(self) -> str:
        return self.operation.summary

    def get_description(self) -> str:  # type: ignore[override]  # as in drf-spectacular
        return self.operation.description

    def get_auth(self) -> list[Schema]:
        return [{"api_token": [self.scope()]}]

    def scope(self) -> str:
        return getattr(self.view, "scope", None) or ("read" if self.method in READING_METHODS else "write")

    def _get_response_bodies(self, direction: Direction = "response") -> Schema:
        return {}  # those of OPERATIONS

    def _is_list_view(self, serializer: Any = None) -> bool:
        return False  # whose pages and filters would be guessed

    def _insert_field_validators(self, field: Any, schema: Schema) -> None:
        """`of_text` and RULES say it all."""

    # ---- what is sent ------------------------------------------------------------------------------------------------

    def get_override_parameters(self) -> list[Any]:
        view = cast(ApiView, self.view)
        found = [self._query(name) for name in view.query_parameters.get(self.method, ())]
        if self.operation.is_idempotent:
            words = "A create that is sent again with the same key happens once, and is answered as before."
            schema = {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[ -~]*$"}
            found.append(OpenApiParameter("Idempotency-Key", schema, OpenApiParameter.HEADER, description=words))
        return found

    def _query(self, name: str) -> OpenApiParameter:
        words, schema = PARAMETERS[name]
        schema = OF_ONE_OPERATION.get((self.operation.id, name), schema)
        return OpenApiParameter(name, schema, OpenApiParameter.QUERY, description=words)

    def _get_request_body(self, direction: Direction = "request") -> Schema | None:
        body = self.operation.body
        if body is None:
            return None
        if isinstance(body, dict):
            schema = body
        else:
            serializer = body(partial=self.method == "PATCH")
            schema = self.resolve_serializer(serializer, direction).ref
        if self.operation.media_type == LINES:
            schema = {"type": "string", "contentSchema": schema, "description": A_LINE_EACH}
        content = {"schema": schema, "example": self.operation.example}
        return {"required": not self.operation.is_body_optional, "content": {self.operation.media_type: content}}

    def _map_basic_serializer(self, serializer: Any, direction: str) -> Schema:
        found: Schema = super()._map_basic_serializer(serializer, direction)  # type: ignore[no-untyped-call]
        found.pop("description", None)
        return found | ({"additionalProperties": False} if isinstance(serializer, StrictSerializer) else {})

    def _map_serializer_field(self, field: Any, direction: str, bypass_extensions: bool = False) -> Schema:
        for kind in type(field.parent).__mro__:
            if (rule := RULES.get((kind.__name__, field.field_name))) is not None:
                used_rules.add((kind.__name__, field.field_name))
                return dict(rule)
        match field:
            case OneOfField():
                return one_of(*field.choices)
            case IdField():
                return dict(ID_OR_NULL if field.allow_null else ID)
            case NumberField():
                bounds: Schema = {"minimum": field.least, "maximum": field.most}
                return {"type": ["integer", "null"] if field.allow_null else "integer", **bounds}
            case TextField():
                return of_text(field)
            case MetadataField():
                return ANY_OBJECT | {"description": "Yours: at most 16 KiB as JSON, and 32 levels deep."}
            case StateField():
                return {"description": "Any JSON of at most 5,000 bytes."}
            case PropertiesField():
                return dict(PROPERTIES)
        if field.read_only:
            return {"readOnly": True}
        found = super()._map_serializer_field(field, direction, bypass_extensions)  # type: ignore[no-untyped-call]
        return dict(found or {})


def of_text(field: TextField) -> Schema:
    """A string as TextField accepts it."""
    found: Schema = {"type": ["string", "null"] if field.allow_null else "string"}
    if not field.allow_blank:
        found["minLength"] = 1
    if field.max_length:
        found["maxLength"] = field.max_length
    if field.single_line:
        found["pattern"] = SINGLE_LINE_OR_BLANK if field.allow_blank else SINGLE_LINE
    elif not field.allow_blank:
        found["pattern"] = NOT_BLANK
    return found
