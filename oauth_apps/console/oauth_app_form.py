"""The console's forms for an OAuth app: they ask just what its provider needs.

What must be true of one is asked in registration.py, as the API does; each refusal lands at its field.
"""

import functools
from collections.abc import Callable
from typing import Any, ClassVar
from uuid import UUID

from django import forms
from django.conf import settings
from django.core.exceptions import ValidationError
from django.forms.fields import InvalidJSONInput, JSONField
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString

from oauth_apps import registration
from oauth_apps.console import oauth_app_ids
from oauth_apps.console.account_field import account_field
from oauth_apps.console.oauth_app_page import steps
from oauth_apps.console.variable_field import variable_field
from oauth_apps.models import OAuthApp
from providers import kinds
from providers.catalogue.client_rules import SETTINGS
from providers.provider import Provider
from providers.sandbox.keys import made_up_private_key, needs_private_key
from providers.sandbox.script import simulated
from providers.showing import facts
from sequin_auth.lib.api.errors import ApiError
from sequin_auth.lib.api.parsing import parse_json

PREFIX = "variable_"


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


class WriteOnlyTextarea(forms.Textarea):
    """Never shows what it was given, not even that of a refused form."""

    def format_value(self, value: Any) -> str:
        return ""


class MadeUpInput(forms.TextInput):
    """Shows the made-up value whatever was entered, so that a refused form shows nobody's secret."""

    def __init__(self, made_up: str) -> None:
        super().__init__(attrs={"autocomplete": "off", "spellcheck": "false"})
        self.made_up = made_up

    def format_value(self, value: Any) -> str:
        return self.made_up


class MadeUpTextarea(WriteOnlyTextarea):
    """As MadeUpInput. The value is made each time that it is shown, and kept nowhere until somebody saves it."""

    def __init__(self, make_up: Callable[[], str]) -> None:
        super().__init__(attrs={"autocomplete": "off", "spellcheck": "false", "rows": 6})
        self.make_up = make_up

    def format_value(self, value: Any) -> str:
        return self.make_up()


class OAuthAppForm(forms.ModelForm[OAuthApp]):
    """What may be changed of an app. `provider`: None if an operator has taken it out of the catalogue."""

    provider: ClassVar[Provider | None] = None
    request: ClassVar[HttpRequest]

    metadata = StrictJSONField(
        required=False,
        initial=dict,
        widget=forms.Textarea(attrs={"rows": 4, "spellcheck": "false"}),
        help_text="A JSON object for your own use. No secrets: it is shown as it is.",
    )

    class Meta:
        model = OAuthApp
        fields: tuple[str, ...] = ("name", "enabled", "asks_first", "purpose", "own_callback", "metadata")
        labels = {
            "enabled": "Enabled",
            "asks_first": "Ask the end user on a page of ours first",
            "purpose": "What for",
            "own_callback": "A callback URL of its own",
        }
        help_texts = {
            "enabled": "A disabled OAuth app starts no trips and hands over no tokens.",
            "asks_first": "It says who asks, and what for, before the end user goes on to the provider.",
            "purpose": "A sentence for that page: “to show your invoices in Arrakis”.",
            "own_callback": "Its callback URL then names the OAuth app; register that one at the provider instead.",
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.provider is None:
            return
        self.entries = {entry.name: entry for entry in facts.needs_of(kinds.get(self.provider.kind)).oauth_app}
        if self.provider.tenant_hosted:
            del self.fields["own_callback"]  # it has one, whatever anybody ticks
        self._ask_for_secret(self.provider)
        self._ask_for_variables(self.provider)
        self._ask_for_scopes(self.provider)

    # ---- the fields --------------------------------------------------------------------------------------------------

    def _ask_for_secret(self, provider: Provider) -> None:
        if takes_no_secret(provider) and not self.has_secret:
            return
        attrs = {"autocomplete": "new-password", "spellcheck": "false"}
        widget: forms.Widget = forms.PasswordInput(attrs=attrs)
        if provider.takes_private_keys:
            widget = WriteOnlyTextarea(attrs={**attrs, "rows": 4, "class": "sq-secret"})
        self.fields["new_client_secret"] = forms.CharField(
            label=self.entries["client_secret"].label,
            required=self.entries["client_secret"].required and not self.has_secret,
            max_length=registration.MAX_SECRET,
            widget=widget,
            help_text=self._about_the_secret(provider),
        )

    def _about_the_secret(self, provider: Provider) -> str:
        if self.has_secret:
            return "Left empty, the stored one stays. What you enter is never shown again."
        whole = " Paste a private key whole, with its line breaks." if provider.takes_private_keys else ""
        optional = " This provider also takes apps that have none (public clients): then leave it empty."
        return f"Stored sealed, and never shown again.{whole}{optional if provider.takes_public_clients else ''}"

    def _ask_for_variables(self, provider: Provider) -> None:
        for name, variable in provider.variables.items():
            if entry := self.entries.get(name):
                self.fields[f"{PREFIX}{name}"] = variable_field(
                    variable,
                    label=entry.label,
                    required=entry.required,
                    is_asked_later=variable.is_askable and variable.required,
                    provider_name=provider.name,
                )
                self.initial.setdefault(f"{PREFIX}{name}", self.instance.variables.get(name, ""))

    def _ask_for_scopes(self, provider: Provider) -> None:
        known = facts.known_scopes(provider)
        offered = {scope: words for scope, words in known.items() if scope not in provider.required_scopes}
        asked = self.instance.default_scopes or provider.default_scopes
        if offered:
            said = [(scope, format_html("<code>{}</code> {}", scope, words)) for scope, words in offered.items()]
            self.fields["scopes"] = forms.MultipleChoiceField(
                label="Default scopes", required=False, widget=forms.CheckboxSelectMultiple, choices=said
            )
            self.initial.setdefault("scopes", [scope for scope in asked if scope in offered])
        self.fields["other_scopes"] = forms.CharField(
            label="Other scopes" if offered else "Default scopes",
            required=False,
            max_length=registration.MAX_SCOPE,
            widget=forms.TextInput(attrs={"spellcheck": "false", "autocomplete": "off"}),
            help_text="Names from the provider's documentation, separated by spaces or commas.",
        )
        others = [scope for scope in asked if scope not in offered and scope not in provider.required_scopes]
        self.initial.setdefault("other_scopes", " ".join(others))

    @property
    def has_secret(self) -> bool:
        return not self.instance._state.adding and registration.has_client_secret(self.instance)

    @property
    def variable_fields(self) -> list[forms.BoundField]:
        """What tells where the app is, and whatever has to be said."""
        return [self[name] for name in self.fields if name.startswith(PREFIX) and not self._is_setting(name)]

    @property
    def setting_fields(self) -> list[forms.BoundField]:
        """How the app speaks with its provider, which most leave as it is."""
        return [self[name] for name in self.fields if self._is_setting(name)]

    def _is_setting(self, name: str) -> bool:
        return name.removeprefix(PREFIX) in SETTINGS and not self.fields[name].required

    @property
    def is_advanced_wrong(self) -> bool:
        """Whether something is to be mended among what is folded away."""
        folded = {"enabled", "own_callback", "metadata", *(field.name for field in self.setting_fields)}
        return not folded.isdisjoint(self.errors)

    @property
    def fixed_scopes(self) -> list[tuple[str, str]]:
        """Those that are always asked for, each with its sentence."""
        if self.provider is None:
            return []
        known = facts.known_scopes(self.provider)
        return [(scope, known[scope]) for scope in self.provider.required_scopes]

    # ---- what came ---------------------------------------------------------------------------------------------------

    def clean_metadata(self) -> dict[str, Any]:
        metadata = self.cleaned_data["metadata"]
        if metadata is None:
            return {}
        if not isinstance(metadata, dict):
            raise ValidationError("Must be a JSON object.")
        return metadata

    def clean(self) -> dict[str, Any]:
        data = super().clean() or self.cleaned_data
        if self.provider is None:
            return data
        self._clean_scopes(self.provider)
        self._clean_variables(self.provider)
        self._clean_secret(self.provider)
        if self.provider.needs_own_callback(self._variables(), has_secret=self._will_have_secret):
            self.instance.own_callback = True
            data |= {"own_callback": True} if "own_callback" in self.fields else {}
        return data

    def _clean_scopes(self, provider: Provider) -> None:
        if not {"scopes", "other_scopes"} & {*self.changed_data}:
            return
        others = self.cleaned_data.get("other_scopes", "").replace(",", " ").split()
        scopes = list(dict.fromkeys([*self.cleaned_data.get("scopes", []), *others]))
        try:
            scopes = registration.accept_scopes(scopes)
        except ValidationError as exc:
            self.add_error("other_scopes", exc.messages)
            return
        # the provider's own are not written down, so that an app follows what the catalogue says
        usual = {*provider.default_scopes} - {*provider.required_scopes}
        self.instance.default_scopes = [] if {*scopes} == usual else scopes

    def _clean_variables(self, provider: Provider) -> None:
        changed = [name for name in self.changed_data if name.startswith(PREFIX)]
        if not (changed or self.instance._state.adding):
            return
        try:
            variables = registration.accept_variables(provider, self._variables())
        except ValidationError as exc:
            for name, reasons in exc.message_dict.items():
                field = f"{PREFIX}{name}"
                if field not in self.errors:
                    self.add_error(field if field in self.fields else None, reasons)
            return
        if changed and not self.instance._state.adding:
            try:
                registration.demand_freedom_to_move(self.instance)
            except registration.MustStay as exc:
                self.add_error(changed[0], str(exc))
                return
        self.instance.variables = variables

    def _variables(self) -> dict[str, str]:
        """Those that have a value: of the form, and what is stored where the form does not ask."""
        asked = {name.removeprefix(PREFIX): value for name, value in self.cleaned_data.items() if PREFIX in name}
        known = {} if self.provider is None else self.provider.variables
        stored = {name: value for name, value in self.instance.variables.items() if name in known}
        return {name: value for name, value in {**stored, **asked}.items() if value}

    def _clean_secret(self, provider: Provider) -> None:
        secret = self.cleaned_data.get("new_client_secret") or None
        if "new_client_secret" in self.errors or (secret is None and self.has_secret):
            return
        try:
            registration.accept_client_secret(provider, secret)
            registration.accept_authentication(self._variables(), secret)
        except ValidationError as exc:
            self.add_error("new_client_secret" if "new_client_secret" in self.fields else None, exc.messages)

    @property
    def _will_have_secret(self) -> bool:
        return bool(self.cleaned_data.get("new_client_secret")) or self.has_secret

    def save(self, commit: bool = True) -> OAuthApp:
        secret = self.cleaned_data.get("new_client_secret")
        if secret:
            self.instance.client_secret = secret
        is_elsewhere = any(name.startswith(PREFIX) for name in self.changed_data)
        if secret or is_elsewhere or self.instance._state.adding:
            registration.begin_health(self.instance)
        return super().save(commit)


class NewOAuthAppForm(OAuthAppForm):
    """A registration at `provider`. `promised`: brings the id that the page showed in the callback URL."""

    provider: ClassVar[Provider]

    promised = forms.CharField(widget=forms.HiddenInput, required=False)
    environment = forms.CharField(widget=forms.HiddenInput, required=False)  # a link on the page leads to the other
    client_id = forms.CharField(
        max_length=1024,
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
        help_text="It cannot be changed later.",
    )

    class Meta(OAuthAppForm.Meta):
        fields = ("account", "environment", "client_id", *OAuthAppForm.Meta.fields)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.instance.provider = self.provider.slug
        self.is_ours = self._take_promise()
        self.fields["account"] = account_field(self.request)
        self._ask_for_environment()
        self.fields["client_id"].label = self.entries["client_id"].label
        name = self.provider.name
        self.initial.setdefault("name", f"{name} (sandbox)" if self.is_for_sandbox else name)

    def _take_promise(self) -> bool:
        """Whether the id came back as it was given out. If not, or at first, there is a new one."""
        try:
            self.instance.pk = oauth_app_ids.promised(self.request.user.pk, self.data.get("promised", ""))
        except oauth_app_ids.NotOurs:
            self.instance.pk, self.promise = oauth_app_ids.promise(self.request.user.pk)
            return False
        self.promise = self.data["promised"]
        return True

    def _ask_for_environment(self) -> None:
        self.initial.setdefault("environment", OAuthApp.Environment.LIVE)
        if not self.is_for_sandbox:
            return
        client_id, secret = oauth_app_ids.made_up(UUID(str(self.instance.pk)))
        self.initial["client_id"] = client_id
        self.fields["client_id"].help_text = "Made up: the sandbox takes any. It cannot be changed later."
        if secret_field := self.fields.get("new_client_secret"):
            self._make_up_a_secret(secret_field, secret)
        for name, variable in self.provider.variables.items():
            if (entry := self.entries.get(name)) and entry.required:
                self.initial[f"{PREFIX}{name}"] = variable.example or next(iter(variable.values), "")

    def _make_up_a_secret(self, field: forms.Field, secret: str) -> None:
        if needs_private_key(self.provider):
            field.widget = MadeUpTextarea(functools.partial(made_up_private_key, self.provider))
            field.help_text = "Made up: the sandbox takes any key. It is not shown again."
        else:
            field.widget = MadeUpInput(secret)
            field.help_text = (
                "Made up: the sandbox takes any. Copy it for your token requests, since it is not shown again."
            )

    @property
    def is_for_sandbox(self) -> bool:
        said = self.data.get("environment") if self.is_bound else self.initial["environment"]
        return said == OAuthApp.Environment.SANDBOX and can_be_simulated(self.provider)

    @property
    def callback_url(self) -> str:
        """The one that most apps of this provider get."""
        shown = OAuthApp(id=self.instance.pk, provider=self.provider.slug)
        shown.own_callback = self.provider.tenant_hosted or takes_no_secret(self.provider)
        return shown.callback_url

    @property
    def steps(self) -> list[SafeString]:
        return steps(self.provider, self.callback_url)

    @property
    def own_callback_url(self) -> str:
        """The one that names the app."""
        return OAuthApp(id=self.instance.pk, provider=self.provider.slug, own_callback=True).callback_url

    def clean_environment(self) -> str:
        environment = self.cleaned_data["environment"] or OAuthApp.Environment.LIVE
        return registration.accept_environment(self.provider, environment)

    def clean(self) -> dict[str, Any]:
        data = super().clean()
        if not self.is_ours:
            raise ValidationError(
                "This page was not made for you, or was changed on the way. Its callback URL is another one now:"
                " look at it again, enter the secret again, and save.",
                code="promise",
            )
        return data


def takes_no_secret(provider: Provider) -> bool:
    return provider.token_endpoint_auth_methods_supported == ["none"] and not provider.takes_private_keys


def can_be_simulated(provider: Provider) -> bool:
    return settings.SANDBOX and simulated(provider.slug) is not None
