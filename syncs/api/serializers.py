"""The bodies of `/v1/syncs`, in. What goes out stands in representation.py."""

from collections.abc import Sequence
from typing import Any

from rest_framework import serializers

from credentials.api.serializers import CredentialSerializer
from providers.provider import Provider
from sequin_auth.lib.api.fields import FlagField, MetadataField, StrictSerializer, TextField
from sequin_auth.lib.api.paths import canonical_uuid
from syncs import collections
from syncs.collections import NotAccepted
from syncs.models import Sync

MOST_COLLECTIONS = 100
LONGEST_COLLECTION = 200
MOST_REQUESTS, LONGEST_INTERVAL, MOST_AT_ONCE = 100_000, 86_400, 1_000  # the first two as vocabulary.RateLimit has them
OLDEST = 3650  # days
ONE_OF_BOTH = "Give one of credential and credential_id, and not both."
NEVER_CHANGES = "Never changes: make another sync."
NEVER_CHANGING = ("provider", "credential", "credential_id", "destination", "destination_id", "stream_id")


class NumberField(serializers.Field[int, Any, int, Any]):
    """A whole number, within bounds that count among it."""

    def __init__(self, *, least: int, most: int, **rest: Any) -> None:
        super().__init__(**rest)
        self.least, self.most = least, most

    def to_internal_value(self, data: Any) -> int:
        if not isinstance(data, int) or isinstance(data, bool) or not self.least <= data <= self.most:
            raise serializers.ValidationError(f"Must be a whole number from {self.least} to {self.most}.")
        return data


class OneOfField(TextField):
    def __init__(self, choices: Sequence[str], **rest: Any) -> None:
        super().__init__(**rest)
        self.choices = choices

    def to_internal_value(self, data: Any) -> str:
        if data not in self.choices:
            raise serializers.ValidationError(f"Must be one of {', '.join(self.choices)}.")
        return str(data)


class IdField(TextField):
    """An id, as we spell ids; null is none."""

    def to_internal_value(self, data: Any) -> Any:
        found = canonical_uuid(super().to_internal_value(data))
        if found is None:
            raise serializers.ValidationError("Must be an id: a UUID in lower case.")
        return found


class RateLimitSerializer(StrictSerializer):
    """`interval`: seconds; `max_concurrent_requests`: 0 is no limit."""

    allowed_requests = NumberField(least=1, most=MOST_REQUESTS)
    interval = NumberField(least=1, most=LONGEST_INTERVAL, default=1)
    max_concurrent_requests = NumberField(least=0, most=MOST_AT_ONCE, default=0)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        return dict(attrs)  # JSON, as the row keeps it


def collections_field(**rest: Any) -> serializers.ListField:
    names = TextField(max_length=LONGEST_COLLECTION)
    told = f"Must be a list of 1 to {MOST_COLLECTIONS} collections, each as provider:collection."
    errors: dict[str, Any] = dict.fromkeys(("not_a_list", "empty", "min_length", "max_length"), told)
    return serializers.ListField(
        child=names, min_length=1, max_length=MOST_COLLECTIONS, allow_empty=False, error_messages=errors, **rest
    )


def text_or_null(**rest: Any) -> TextField:
    return TextField(max_length=200, required=False, allow_null=True, **rest)


class SyncSerializer(StrictSerializer):
    """A sync that is posted; `validated_data` are the arguments of creation.create(). `context["oauth_apps"]`: those of
    its account.
    """

    provider = TextField(max_length=100)
    name = TextField(max_length=200)
    collection_ids = collections_field()
    credential = CredentialSerializer(required=False, allow_null=True)
    credential_id = IdField(required=False, allow_null=True)
    destination_id = IdField(required=False, allow_null=True, default=None)
    rate_limit = RateLimitSerializer(required=False, allow_null=True)
    max_age_days = NumberField(least=1, most=OLDEST, required=False, allow_null=True)
    sync_frequency = OneOfField(Sync.Frequency.values, required=False)
    metadata = MetadataField(required=False)
    external_id = text_or_null()
    stream_id = text_or_null()

    def validate_provider(self, name: str) -> Provider:
        try:
            return collections.provider_of(name)
        except NotAccepted as exc:
            raise serializers.ValidationError(exc.errors["provider"]) from exc

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        given: list[Any] = [attrs.pop(name, None) for name in ("credential", "credential_id")]
        linked = [one for one in given if one is not None]
        if len(linked) != 1:
            raise serializers.ValidationError(dict.fromkeys(("credential", "credential_id"), ONE_OF_BOTH))
        return without_nulls(attrs) | {"credential": linked[0]}


class SyncChangesSerializer(StrictSerializer):
    """What a PATCH may change; `validated_data` can be given to creation.change()."""

    name = TextField(max_length=200, required=False)
    collection_ids = collections_field(required=False)
    rate_limit = RateLimitSerializer(required=False, allow_null=True)
    max_age_days = NumberField(least=1, most=OLDEST, required=False, allow_null=True)
    sync_frequency = OneOfField(Sync.Frequency.values, required=False)
    metadata = MetadataField(required=False)
    external_id = text_or_null()
    status = OneOfField(Sync.Status.values, required=False)

    def to_internal_value(self, data: Any) -> Any:
        if never := [name for name in NEVER_CHANGING if name in data]:
            raise serializers.ValidationError(dict.fromkeys(never, NEVER_CHANGES))
        return super().to_internal_value(data)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        return without_nulls(attrs)


class SyncRefreshSerializer(StrictSerializer):
    """`collections`: those of the sync alone, `context["sync"]`; absent: all."""

    collections = collections_field(required=False)
    full = FlagField(default=False)

    def validate_collections(self, names: list[str]) -> list[str]:
        mine = self.context["sync"].collection_ids
        wrong = {
            str(place): [f"Is no collection of this sync. It has: {', '.join(mine)}."]
            for place, name in enumerate(names)
            if name not in mine
        }
        if wrong:
            raise serializers.ValidationError(wrong)
        return list(dict.fromkeys(names))


def without_nulls(attrs: dict[str, Any]) -> dict[str, Any]:
    """A text that was sent as null is kept as an empty one."""
    return attrs | {name: attrs[name] or "" for name in ("external_id", "stream_id") if name in attrs}
