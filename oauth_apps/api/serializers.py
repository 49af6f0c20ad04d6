"""The bodies of `/v1/oauth-apps` and `/v1/redirect-uris`, in and out."""

from typing import Any

from django.core.exceptions import ValidationError
from rest_framework import serializers

from oauth_apps import registration
from oauth_apps.models import OAuthApp
from oauth_apps.redirect_uris import MAX_LENGTH, validate_redirect_uri
from providers import catalogue
from providers.provider import Provider
from sequin_auth.lib.api import SECRET_MASK
from sequin_auth.lib.api.fields import FlagField, MetadataField, StrictSerializer, TextField, TimestampField, timestamp


class ClientSecretField(TextField):
    """Write-only: it reads as the mask, or as null for an app without one, and no seal is opened for that."""

    def __init__(self, **rest: Any) -> None:
        super().__init__(single_line=False, max_length=registration.MAX_SECRET, allow_null=True, default=None, **rest)

    def get_attribute(self, instance: OAuthApp) -> str | None:
        return SECRET_MASK if registration.has_client_secret(instance) else None


class HealthField(serializers.Field[Any, Any, Any, Any]):
    def __init__(self, **rest: Any) -> None:
        super().__init__(read_only=True, source="*", **rest)

    def to_representation(self, value: OAuthApp) -> dict[str, Any]:
        time = timestamp(value.health_time)
        return {"status": value.health_status, "notes": value.health_notes, "time": time}


class OAuthAppSerializer(StrictSerializer):
    """An OAuth app. `validated_data` can be set on the model as it is."""

    id = serializers.UUIDField(read_only=True)
    provider = TextField(max_length=100)
    name = TextField(max_length=200)
    client_id = TextField(max_length=1024)
    client_secret = ClientSecretField()
    metadata = MetadataField(default=dict)
    health = HealthField()
    created_at = TimestampField()
    updated_at = TimestampField()
    callback_url = serializers.CharField(read_only=True)
    own_callback = FlagField(default=False)
    enabled = FlagField(default=True)
    default_scopes = serializers.ListField(child=TextField(), default=list)
    variables = serializers.DictField(child=TextField(), default=dict)
    environment = TextField(default=OAuthApp.Environment.LIVE)

    def validate_provider(self, name: str) -> str:
        """An alias is understood, and the slug is kept."""
        provider = catalogue.find(name)
        return self._unchanged("provider", provider.slug if provider else name)

    def validate_client_id(self, client_id: str) -> str:
        return self._unchanged("client_id", client_id)

    def _unchanged(self, field: str, value: str) -> str:
        if self.instance is not None and value != getattr(self.instance, field):
            raise serializers.ValidationError("Never changes: register another OAuth app.")
        return value

    def validate_default_scopes(self, scopes: list[str]) -> list[str]:
        try:
            return registration.accept_scopes(scopes)
        except ValidationError as exc:
            raise serializers.ValidationError(exc.messages) from exc

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        try:
            provider = registration.accept_provider(self.instance.provider if self.instance else attrs["provider"])
        except ValidationError as exc:
            raise serializers.ValidationError({"provider": exc.messages}) from exc
        errors: dict[str, Any] = {}
        for field, accept in (
            ("client_secret", registration.accept_client_secret),
            ("variables", registration.accept_variables),
            ("environment", registration.accept_environment),
        ):
            if field in attrs:
                try:
                    attrs[field] = accept(provider, attrs[field])
                except ValidationError as exc:
                    errors[field] = exc.message_dict if hasattr(exc, "error_dict") else exc.messages
        if not errors and attrs.get("client_secret"):
            variables = attrs.get("variables", self.instance.variables if self.instance else {})
            try:
                registration.accept_authentication(variables, attrs["client_secret"])
            except ValidationError as exc:
                errors["client_secret"] = exc.messages
        if errors:
            raise serializers.ValidationError(errors)
        self._settle_own_callback(attrs, provider)
        return attrs

    def _settle_own_callback(self, attrs: dict[str, Any], provider: Provider) -> None:
        """True where it must be; whoever asks for false there hears why."""
        has_secret = registration.has_client_secret(self.instance) if self.instance else False
        if "client_secret" in attrs:
            has_secret = attrs["client_secret"] is not None
        variables = attrs.get("variables", self.instance.variables if self.instance else {})
        if not provider.needs_own_callback(variables, has_secret=has_secret):
            return
        if self.initial_data.get("own_callback") is False:
            raise serializers.ValidationError(
                {
                    "own_callback": "Must be true: the callback URL has to name an OAuth app that has no secret, "
                    "or whose provider's host the customer chooses."
                }
            )
        attrs["own_callback"] = True


class RedirectURISerializer(StrictSerializer):
    id = serializers.UUIDField(read_only=True)
    redirect_uri = TextField(max_length=MAX_LENGTH, validators=[validate_redirect_uri])
    created_at = TimestampField()
