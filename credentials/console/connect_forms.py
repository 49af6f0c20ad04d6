"""The forms by which an account is connected, made from the catalogue: variables first, then what the kind consists of.

What is typed is judged where the API judges it; here is only how it is asked for.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from django import forms
from django.views.decorators.debug import sensitive_variables

from credentials.api.serializers import CredentialSerializer, OAuthAppsOf
from credentials.api.start_auth import accepted_variables
from credentials.imported import Import
from oauth_apps.console.variable_field import TYPED_AS_IT_IS, variable_field
from oauth_apps.models import Account, OAuthApp
from oauth_apps.registration import MAX_SCOPE, accept_scopes
from providers.kinds import CredentialKind
from providers.variables import Variable
from providers.vocabulary import Property
from sequin_auth.lib.api.errors import Invalid

ALTERNATIVES = re.compile(r"[A-Za-z0-9_-]+(\|[A-Za-z0-9_-]+)+")  # a pattern that is a choice of words
AS_WRITTEN = {"id": "ID", "url": "URL", "uid": "UID", "api": "API"}
NOT_SAID = "—"


# ---- by an OAuth trip ------------------------------------------------------------------------------------------------


class TripForm(forms.Form):
    """Where the account is, and what is asked for there."""

    def __init__(self, *args: Any, oauth_app: OAuthApp, **rest: Any) -> None:
        super().__init__(*args, **rest)
        self.oauth_app, self.provider = oauth_app, oauth_app.definition
        self.asked = {name: v for name, v in self.provider.variables.items() if self._is_asked(name, v)}
        for name, variable in self.asked.items():
            self.fields[f"variable_{name}"] = variable_field(
                variable, required=variable.required and not variable.default, provider_name=self.provider.name
            )
        scopes = oauth_app.default_scopes or self.provider.default_scopes
        self.fields["scope"] = forms.CharField(
            label="Scopes",
            required=False,
            initial=" ".join(scopes),
            max_length=MAX_SCOPE,
            widget=forms.Textarea(attrs={"rows": 3, "spellcheck": "false"}),
            help_text="Separated by spaces. Left empty, the OAuth app's own are asked for.",
        )

    def _is_asked(self, name: str, variable: Variable) -> bool:
        return name not in self.oauth_app.variables and variable.sources != ["app"]

    @property
    def cannot_start(self) -> str:
        """What has to be changed on the OAuth app first; empty if nothing."""
        fixed = self.oauth_app.variables
        for name, variable in self.provider.variables.items():
            if variable.required and not variable.default and name not in fixed and name not in self.asked:
                return f"{variable.label} is not set. It can be set on the OAuth app alone."
        return ""

    def clean_scope(self) -> str:
        given = self.cleaned_data["scope"]
        return " ".join(accept_scopes([scope for scope in given.replace(",", " ").split() if scope]))

    def clean(self) -> dict[str, Any]:
        data = super().clean() or self.cleaned_data
        given = {name: data.get(f"variable_{name}", "") for name in self.asked}
        accepted: dict[str, str] = {}
        for name, value in given.items():
            if not value:
                continue
            try:
                accepted |= accepted_variables(self.oauth_app, {name: value})
            except Invalid as exc:
                reasons = [reason for reasons in exc.errors.values() for reason in reasons]
                self.add_error(f"variable_{name}", [said_of_value(name, reason) for reason in reasons])
        data["variables"] = accepted
        return data


def said_of_value(name: str, reason: str) -> str:
    """A reason that begins with the name, which stands above the field already."""
    return f"It {reason.removeprefix(f'{name} ')}" if reason.startswith(f"{name} ") else reason


# ---- by what somebody types ------------------------------------------------------------------------------------------


class TypedForm(forms.Form):
    """A key, a password, a client's id and secret, an installation. `given` is then what is to be kept."""

    def __init__(
        self, *args: Any, kind: CredentialKind, oauth_app: OAuthApp | None, accounts: Iterable[Account], **rest: Any
    ) -> None:
        super().__init__(*args, **rest)
        self.kind, self.oauth_app, self.accounts = kind, oauth_app, list(accounts)
        self.given: Import | None = None
        for name in in_order(kind):
            self.fields[f"property_{name}"] = property_field(kind, name, fixed=oauth_app.variables if oauth_app else {})
        self.fields["name"] = forms.CharField(
            label="Name", required=False, max_length=200, help_text="For you alone. No provider sees it."
        )
        if oauth_app is None and len(self.accounts) > 1:
            self.fields["account"] = forms.ChoiceField(
                label="Account", choices=[(str(account.pk), account.name) for account in self.accounts]
            )

    @property
    def account(self) -> Account:
        """To which the credential will belong. Only of a form that is valid."""
        if self.oauth_app is not None:
            return self.oauth_app.account
        chosen = self.cleaned_data.get("account")
        return next(account for account in self.accounts if chosen in {None, str(account.pk)})

    @sensitive_variables()
    def clean(self) -> dict[str, Any]:
        data = super().clean() or self.cleaned_data
        if self.errors:
            return data
        if self.oauth_app is None and not self.accounts:
            raise forms.ValidationError("You belong to no account yet. Ask whoever runs this to make you a member.")
        body: dict[str, Any] = {"properties": {"kind": self.kind.name, **self._properties(data)}}
        if data.get("name"):
            body["name"] = data["name"]
        if self.oauth_app is not None:
            body["oauth_app_id"] = str(self.oauth_app.pk)
        serializer = CredentialSerializer(data=body, context={"oauth_apps": OAuthAppsOf(self.account)})
        if serializer.is_valid():
            self.given = serializer.validated_data
        else:
            self.refuse(serializer.errors)
        return data

    @sensitive_variables()
    def _properties(self, data: Mapping[str, Any]) -> dict[str, Any]:
        typed = {name: data.get(f"property_{name}", "") for name in self.kind.properties}
        return {name: as_typed(self.kind.properties[name], text) for name, text in typed.items() if text != ""}

    def refuse(self, errors: Mapping[str, Any]) -> None:
        """Say each reason at its field; what belongs to none, above them all."""
        for name, reasons in errors.items():
            if name == "properties" and isinstance(reasons, Mapping):
                self.refuse(reasons)
                continue
            field = next((f for f in (f"property_{name}", name) if f in self.fields), None)
            told = [str(reason) for reason in (reasons if isinstance(reasons, list | tuple) else [reasons])]
            self.add_error(field, told if field else [f"{name}: {reason}" for reason in told])


def in_order(kind: CredentialKind) -> list[str]:
    """What tells where the account is, then the rest as the catalogue has it."""
    first = [name for name in kind.properties if variable_of(kind, name)]
    return [*first, *(name for name in kind.properties if name not in first)]


def variable_of(kind: CredentialKind, name: str) -> Variable | None:
    """The variable whose value the property holds."""
    variables = kind.provider.variables
    return variables.get(kind.properties[name].variable or name)


def property_field(kind: CredentialKind, name: str, *, fixed: Mapping[str, str]) -> forms.Field:
    prop, variable = kind.properties[name], variable_of(kind, name)
    label = label_of(kind, name, prop, variable)
    is_required = any([name] in demand for demand in kind.demands if len(demand) == 1)
    if variable is not None:
        holder = prop.variable or name
        must = is_required and holder not in fixed
        return variable_field(variable, label=label, required=must, provider_name=kind.provider.name)
    if prop.secret:
        return forms.CharField(
            label=label,
            required=is_required,
            strip=kind.auth != "password",
            widget=forms.PasswordInput(render_value=False, attrs={"autocomplete": "new-password"}),
            help_text="Kept encrypted, and not shown again.",
        )
    if choices := choices_of(prop):
        offered = [("", NOT_SAID if not prop.told_by else "As the value above says"), *choices]
        return forms.ChoiceField(label=label, required=is_required, choices=offered)
    help_text = "Separated by commas." if prop.type == "array" else ""
    numeric = {"inputmode": "numeric"} if prop.type == "integer" else {}
    return forms.CharField(
        label=label,
        required=is_required,
        help_text=help_text,
        widget=forms.TextInput(attrs={**TYPED_AS_IT_IS, **numeric}),
    )


def choices_of(prop: Property) -> list[tuple[str, str]]:
    if prop.type == "boolean":
        return [("true", "Yes"), ("false", "No")]
    values = prop.values or (prop.pattern.split("|") if ALTERNATIVES.fullmatch(prop.pattern) else [])
    return [(value, value) for value in values]


def label_of(kind: CredentialKind, name: str, prop: Property, variable: Variable | None) -> str:
    if variable is not None:
        return variable.label
    if prop.secret and sum(other.secret for other in kind.properties.values()) == 1 and kind.auth == "key":
        return kind.label
    first, *rest = [AS_WRITTEN.get(word, word) for word in name.split("_")]
    return " ".join([first[0].upper() + first[1:], *rest])


def as_typed(prop: Property, text: str) -> Any:
    """What was typed, as JSON would say it; what cannot be read stays text, which is then refused in words."""
    match prop.type:
        case "boolean":
            return {"true": True, "false": False}.get(text, text)
        case "integer":
            return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else text
        case "array":
            return [item.strip() for item in text.split(",") if item.strip()]
    return text
