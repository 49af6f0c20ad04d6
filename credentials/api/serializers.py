"""The bodies of `/v1/credentials`, in."""

import json
from typing import Any

from django.core.exceptions import ValidationError
from rest_framework import serializers

from credentials.link.forms import canonical_uuid
from oauth_apps.redirect_uris import MAX_LENGTH
from oauth_apps.registration import accept_scopes
from sequin_auth.lib.api.fields import StrictSerializer, TextField

MOST_STATE = 5_000  # bytes of JSON


class StateField(serializers.Field[Any, Any, Any, Any]):
    """Any JSON. The parser has seen to its depth and its characters."""

    default_error_messages = {"too_large": f"Has at most {MOST_STATE} bytes as JSON."}

    def to_internal_value(self, data: Any) -> Any:
        if len(json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode()) > MOST_STATE:
            self.fail("too_large")
        return data


class StartAuthSerializer(StrictSerializer):
    """What a start link is to do. `redirect_url` is Sequin's name for `redirect_uri`."""

    oauth_app_id = TextField()
    redirect_url = TextField(max_length=MAX_LENGTH, required=False)
    redirect_uri = TextField(max_length=MAX_LENGTH, required=False)
    credential_kind = TextField(max_length=120, required=False)
    state = StateField(required=False, allow_null=True)
    scope = TextField(max_length=4096, required=False)
    variables = serializers.DictField(child=TextField(max_length=253), required=False, default=dict)

    def validate_oauth_app_id(self, value: str) -> str:
        if canonical_uuid(value) is None:
            raise serializers.ValidationError("Must be the id of an OAuth app: a UUID in lower case.")
        return value

    def validate_scope(self, value: str) -> str:
        try:
            return " ".join(accept_scopes(value.replace(",", " ").split(" ")))
        except ValidationError as exc:
            raise serializers.ValidationError(exc.messages) from exc

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        given = [attrs.pop(name) for name in ("redirect_url", "redirect_uri") if name in attrs]
        if len(given) != 1:
            raise serializers.ValidationError(
                {"redirect_url": "Is required, once: as redirect_url or as redirect_uri."}
            )
        return {**attrs, "redirect_uri": given[0]}
