"""The console's form for an OAuth app. What must be true of one is asked in registration.py, as the API does."""

from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.forms.fields import InvalidJSONInput, JSONField
from unfold.widgets import UnfoldAdminPasswordWidget

from oauth_apps import registration
from oauth_apps.models import OAuthApp
from sequin_auth.lib.api.errors import ApiError
from sequin_auth.lib.api.parsing import parse_json


class StrictJSONField(JSONField):
    """Takes what the API takes, and no more."""

    def to_python(self, value: Any) -> Any:
        if isinstance(value, str) and value.strip():
            try:
                return parse_json(value.encode())
            except ApiError as exc:
                raise ValidationError(exc.reason) from exc
        return super().to_python(value)

    def bound_data(self, data: Any, initial: Any) -> Any:
        """What the page shows again of a refused form; Django's own would parse it once more, with Python's limits."""
        if data is None or self.disabled:
            return super().bound_data(data, initial)
        return InvalidJSONInput(data)


class OAuthAppForm(forms.ModelForm[OAuthApp]):
    """The client secret is write-only: left empty, it stays as it is."""

    new_client_secret = forms.CharField(
        label="Client secret",
        required=False,
        strip=False,
        max_length=registration.MAX_SECRET,
        widget=UnfoldAdminPasswordWidget(render_value=False, attrs={"autocomplete": "new-password"}),
        help_text="Never shown again. Leave it empty to keep the one that is stored.",
    )

    class Meta:
        model = OAuthApp
        field_classes = {"default_scopes": StrictJSONField, "variables": StrictJSONField, "metadata": StrictJSONField}
        fields = (
            "account", "provider", "name", "client_id", "environment", "enabled", "own_callback",
            "default_scopes", "variables", "metadata",
        )  # fmt: skip

    def clean_default_scopes(self) -> list[str]:
        scopes = self.cleaned_data["default_scopes"]
        if not isinstance(scopes, list) or not all(isinstance(scope, str) for scope in scopes):
            raise ValidationError("Must be a JSON list of strings.")
        return scopes

    def clean_variables(self) -> dict[str, str]:
        variables = self.cleaned_data["variables"]
        if not isinstance(variables, dict) or not all(isinstance(value, str) for value in variables.values()):
            raise ValidationError("Must be a JSON object whose values are strings.")
        return variables

    def clean_metadata(self) -> dict[str, Any]:
        metadata = self.cleaned_data["metadata"]
        if not isinstance(metadata, dict):
            raise ValidationError("Must be a JSON object.")
        return metadata

    def clean(self) -> dict[str, Any]:
        data = super().clean() or self.cleaned_data
        slug = data.get("provider") or self.instance.provider
        if not slug:
            return data
        self.instance.provider = slug
        provider = self.instance.definition
        self._accepted("default_scopes", registration.accept_scopes)
        self._accepted("variables", lambda variables: registration.accept_variables(provider, variables))
        stored = registration.has_client_secret(self.instance)
        secret = data.get("new_client_secret") or None
        if secret or not stored:
            self._accepted("new_client_secret", lambda _: registration.accept_client_secret(provider, secret))
            self._accepted("new_client_secret", lambda _: self._fitting(secret))
        self._accepted("environment", lambda environment: registration.accept_environment(provider, environment))
        if provider.needs_own_callback(data.get("variables") or {}, has_secret=bool(secret or stored)):
            data["own_callback"] = True
        moved = [name for name in ("variables", "environment") if name in self.changed_data]
        if moved and not self.instance._state.adding:
            try:
                registration.demand_freedom_to_move(self.instance)
            except registration.MustStay as exc:
                self.add_error(moved[0], str(exc))
        return data

    def _fitting(self, secret: str | None) -> str | None:
        registration.accept_authentication(self.cleaned_data.get("variables") or {}, secret)
        return secret

    def _accepted(self, name: str, accept: Any) -> None:
        if name not in self.cleaned_data:
            return
        try:
            self.cleaned_data[name] = accept(self.cleaned_data[name])
        except ValidationError as exc:
            self.add_error(name, exc.messages)

    def save(self, commit: bool = True) -> OAuthApp:
        if secret := self.cleaned_data.get("new_client_secret"):
            self.instance.client_secret = secret
        if self.instance._state.adding or {"variables", "environment"} & {*self.changed_data}:
            registration.begin_health(self.instance)
        return super().save(commit)
