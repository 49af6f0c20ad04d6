"""Fields of the bodies that `/v1` reads. They take values of their own type and convert nothing."""

import json
import re
from datetime import UTC, datetime
from typing import Any, cast

from django.db.models import QuerySet
from rest_framework import serializers
from rest_framework.validators import ProhibitSurrogateCharactersValidator

from sequin_auth.lib.api.errors import ApiError, Invalid
from sequin_auth.lib.api.parsing import parse_json

MAX_METADATA = 16 * 1024
CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class TextField(serializers.CharField):
    """A string as it was sent: nothing trimmed, no number taken for one. `single_line`: no control characters in it."""

    default_error_messages = {
        "invalid": "Must be a string.",
        "blank": "Must not be empty.",
        "control": "Must not hold line breaks or other control characters.",
    }

    def __init__(self, *, single_line: bool = True, **rest: Any) -> None:
        super().__init__(trim_whitespace=False, **rest)
        self.single_line = single_line
        # The parser has looked for them already, and this one does so character by character
        self.validators = [one for one in self.validators if not isinstance(one, ProhibitSurrogateCharactersValidator)]

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        if self.single_line and CONTROL.search(data):
            self.fail("control")
        return super().to_internal_value(data)

    def run_validation(self, data: Any = serializers.empty) -> Any:
        if isinstance(data, str) and not data.strip() and not self.allow_blank:
            self.fail("blank")
        return super().run_validation(data)


class FlagField(serializers.BooleanField):
    default_error_messages = {"invalid": "Must be true or false."}

    def to_internal_value(self, data: Any) -> bool:
        if not isinstance(data, bool):
            self.fail("invalid")
        return data


class MetadataField(serializers.JSONField):
    """The developer's own: any object of at most 16 KiB. The parser has seen to its depth and its characters."""

    default_error_messages = {
        "invalid": "Must be a JSON object.",
        "too_large": "Has at most 16 KiB, written without spaces.",
    }

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        if not isinstance(data, dict):
            self.fail("invalid")
        if len(json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode()) > MAX_METADATA:
            self.fail("too_large")
        return data


class TimestampField(serializers.DateTimeField):
    """Written by the server: ISO 8601, UTC, seconds, `Z`."""

    def __init__(self, **rest: Any) -> None:
        super().__init__(read_only=True, **rest)

    def to_representation(self, value: datetime) -> str:
        return timestamp(value)


def timestamp(time: datetime) -> str:
    """ISO 8601, UTC, seconds, `Z`. A list of 100 has 500 of them: a field's own way takes ten times as long."""
    return f"{time.astimezone(UTC).replace(tzinfo=None).isoformat(timespec='seconds')}Z"


class StrictSerializer(serializers.Serializer[Any]):
    """Refuses fields that it does not have, and those that only the server writes."""

    def to_internal_value(self, data: Any) -> Any:
        if not isinstance(data, dict):
            raise serializers.ValidationError(["Must be a JSON object."])
        errors: dict[str, list[str]] = {}
        for name in data:
            if name not in self.fields:
                errors[name] = ["Is no field here."]
            elif self.fields[name].read_only:
                errors[name] = ["Is written by the server alone."]
        try:
            values = super().to_internal_value(data)
        except serializers.ValidationError as exc:
            raise serializers.ValidationError({**cast(dict[str, Any], exc.detail), **errors}) from exc
        if errors:
            raise serializers.ValidationError(errors)
        return values


def with_metadata(queryset: QuerySet[Any], text: str | None) -> QuerySet[Any]:
    """The rows whose `metadata` contains the JSON object `text`; all of them without one. Raises Invalid."""
    if text is None:
        return queryset
    try:
        wanted = parse_json(text.encode())
    except Invalid as exc:
        raise Invalid({"metadata": [reason for reasons in exc.errors.values() for reason in reasons]}) from exc
    except ApiError as exc:
        raise Invalid({"metadata": ["Must be a JSON object as text."]}) from exc
    if not isinstance(wanted, dict):
        raise Invalid({"metadata": ["Must be a JSON object as text."]})
    return queryset.filter(metadata__contains=wanted)
