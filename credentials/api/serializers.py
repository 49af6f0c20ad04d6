"""The bodies of `/v1/credentials` and the rows of its import, in. What goes out stands in representation.py."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.utils import timezone
from django.views.decorators.debug import sensitive_variables
from rest_framework import serializers

from credentials.imported import Import, as_posted
from credentials.link.forms import canonical_uuid
from oauth_apps.models import Account, OAuthApp
from providers import kinds
from providers.kinds import CredentialKind, PropertiesNotAccepted
from providers.properties import ValueNotAccepted, moment
from sequin_auth.lib.api.fields import MetadataField, StrictSerializer, TextField

NO_SUCH_APP = "There is no OAuth app with this id."
LONGEST_KIND = 120
CLOCKS_DIFFER = timedelta(minutes=5)


def name_field() -> TextField:
    return TextField(max_length=200, required=False, allow_blank=True)


# Those that stand among the properties, and are none
KIND_AND_NAME = (("kind", TextField(max_length=LONGEST_KIND)), ("name", name_field()))


class PropertiesField(serializers.Field[Any, Any, Any, Any]):
    """An object, with a `kind` that judges the rest."""

    default_error_messages = {"invalid": "Must be a JSON object."}

    @sensitive_variables()
    def to_internal_value(self, data: Any) -> dict[str, Any]:
        if not isinstance(data, dict):
            self.fail("invalid")
        errors = {}
        for name, field in KIND_AND_NAME:
            try:
                if name in data:
                    field.run_validation(data[name])
            except serializers.ValidationError as exc:
                errors[name] = exc.detail
        if errors:
            raise serializers.ValidationError(errors)
        return data


class OAuthAppsOf:
    """An account's OAuth apps, by their ids as they were sent; each is looked up once."""

    def __init__(self, account: Account) -> None:
        self.account = account
        self.known: dict[UUID, OAuthApp] = {}

    def get(self, text: str) -> OAuthApp | None:
        oauth_app_id = canonical_uuid(text)
        if oauth_app_id is None:
            return None
        if oauth_app_id not in self.known and (found := self._looked_up(oauth_app_id)):
            self.known[oauth_app_id] = found
        return self.known.get(oauth_app_id)

    def _looked_up(self, oauth_app_id: UUID) -> OAuthApp | None:
        return OAuthApp.objects.of(self.account).filter(pk=oauth_app_id).first()


class CredentialSerializer(StrictSerializer):
    """A credential that is posted. `context["oauth_apps"]`: those of its account; `validated_data` is an Import."""

    oauth_app_id = TextField(required=False, allow_null=True)
    properties = PropertiesField()
    name = name_field()
    metadata = MetadataField(required=False)

    @sensitive_variables()
    def validate(self, attrs: dict[str, Any]) -> Import:
        oauth_app = self._oauth_app(attrs.get("oauth_app_id"))
        kind = self._kind(attrs, with_oauth_app=oauth_app is not None)
        refuse_app_of_another_kind(kind, oauth_app)
        try:
            values = kind.accept(as_posted(attrs["properties"]), fixed=oauth_app.variables if oauth_app else {})
        except PropertiesNotAccepted as exc:
            raise serializers.ValidationError({"properties": exc.errors}) from exc
        return Import(
            kind=kind,
            values=values,
            oauth_app=oauth_app,
            name=name_of(attrs),
            metadata=attrs.get("metadata"),
            id=attrs.get("id"),
            created_at=attrs.get("created_at"),
        )

    def _oauth_app(self, text: str | None) -> OAuthApp | None:
        if text is None:
            return None
        oauth_apps: OAuthAppsOf = self.context["oauth_apps"]
        found = oauth_apps.get(text)
        if found is None:
            raise serializers.ValidationError({"oauth_app_id": NO_SUCH_APP})
        return found

    def _kind(self, attrs: dict[str, Any], *, with_oauth_app: bool) -> CredentialKind:
        return kind_named(attrs["properties"].get("kind"), with_oauth_app=with_oauth_app)


class RowSerializer(CredentialSerializer):
    """A row of an export. What says the same thing twice must say the same."""

    id = TextField(required=False)
    provider = TextField(max_length=100, required=False)
    kind = TextField(max_length=LONGEST_KIND, required=False)
    created_at = serializers.JSONField(required=False)

    def validate_id(self, value: str) -> UUID:
        if (found := canonical_uuid(value)) is None:
            raise serializers.ValidationError("Must be a UUID in lower case.")
        return found

    def validate_created_at(self, value: Any) -> datetime:
        try:
            found = datetime.fromisoformat(moment(value))
        except ValueNotAccepted as exc:
            raise serializers.ValidationError(str(exc)) from exc
        if found > timezone.now() + CLOCKS_DIFFER:
            raise serializers.ValidationError("Must not lie in the future.")
        return found

    def _kind(self, attrs: dict[str, Any], *, with_oauth_app: bool) -> CredentialKind:
        names = [name for name in (attrs["properties"].get("kind"), attrs.get("kind")) if name is not None]
        found, *again = [kind_named(name, with_oauth_app=with_oauth_app) for name in names or [None]]
        if any(kind is not found for kind in again):
            raise serializers.ValidationError({"kind": "Contradicts properties.kind."})
        if attrs.get("provider", found.provider.slug) != found.provider.slug:
            raise serializers.ValidationError({"provider": f"Is not the provider of {found.name}."})
        return found


class ChangesSerializer(StrictSerializer):
    """What a PATCH may change. Everything else is the provider's word, or changes by posting the credential again."""

    name = name_field()
    metadata = MetadataField(required=False)


def name_of(attrs: dict[str, Any]) -> str | None:
    """It may stand beside the properties or among them."""
    names = {holder["name"] for holder in (attrs, attrs["properties"]) if "name" in holder}
    if len(names) > 1:
        raise serializers.ValidationError({"name": "Contradicts properties.name."})
    return names.pop() if names else None


def kind_named(name: str | None, *, with_oauth_app: bool) -> CredentialKind:
    if name is None:
        raise serializers.ValidationError({"properties": {"kind": "Is required."}})
    try:
        return kinds.find(name, with_oauth_app=with_oauth_app)
    except PropertiesNotAccepted as exc:
        raise serializers.ValidationError({"properties": exc.errors}) from exc


def refuse_app_of_another_kind(kind: CredentialKind, oauth_app: OAuthApp | None) -> None:
    """Raises ValidationError unless `oauth_app` is what such credentials belong to."""
    if oauth_app is None and kind.needs_oauth_app:
        refusal = f"Is required: a {kind.name} belongs to an OAuth app of the provider {kind.provider.slug}."
    elif oauth_app is not None and not kind.needs_oauth_app:
        refusal = f"Is not to be given: a {kind.name} belongs to no OAuth app."
    elif oauth_app is not None and oauth_app.provider != kind.provider.slug:
        refusal = f"Belongs to another provider: a {kind.name} needs an OAuth app of {kind.provider.slug}."
    else:
        return
    raise serializers.ValidationError({"oauth_app_id": refusal})


def fields_of(exc: PropertiesNotAccepted) -> dict[str, list[str]]:
    """Why a credential was not kept, by the fields of the body. Only rows of an export have an `id`."""
    return {name if name == "id" else f"properties.{name}": reasons for name, reasons in exc.errors.items()}
