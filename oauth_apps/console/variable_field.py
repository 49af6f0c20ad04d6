"""How a variable of a provider is asked for: of a developer on his OAuth app, of whoever connects an account."""

from django import forms

from providers.showing.facts import hint
from providers.variables import Variable

MAX_VARIABLE = 4096  # a list of scopes; what the others may have the catalogue says, which judges all
ON_OR_OFF = {"true": "On", "false": "Off"}
TYPED_AS_IT_IS = {"autocomplete": "off", "spellcheck": "false", "autocapitalize": "none"}


def variable_field(
    variable: Variable, *, required: bool, provider_name: str, label: str = "", is_asked_later: bool = False
) -> forms.Field:
    """`is_asked_later`: of the end user, if it is left empty here."""
    label = label or variable.label
    if variable.values:
        nothing = "Choose one" if required else _nothing_chosen(variable, is_asked_later, provider_name)
        called = ON_OR_OFF if variable.values == list(ON_OR_OFF) else {}
        choices = [("", nothing), *((value, called.get(value, value)) for value in variable.values)]
        return forms.ChoiceField(label=label, required=required, choices=choices)
    if_empty = "" if required else _if_empty(variable, is_asked_later)
    is_list = variable.kind == "scopes"
    return forms.CharField(
        label=label,
        required=required,
        max_length=MAX_VARIABLE,
        help_text=" ".join(sentence for sentence in (hint(variable), if_empty) if sentence),
        widget=forms.Textarea(attrs=TYPED_AS_IT_IS | {"rows": 2}) if is_list else forms.TextInput(attrs=TYPED_AS_IT_IS),
    )


def _nothing_chosen(variable: Variable, is_asked_later: bool, provider_name: str) -> str:
    if variable.default:
        return f"{variable.default}, unless something else is said"
    return "The end user says it" if is_asked_later else f"Leave it to {provider_name}"


def _if_empty(variable: Variable, is_asked_later: bool) -> str:
    if variable.default:
        return f"Left empty, it is {variable.default}."
    if is_asked_later:
        return "Leave it empty to let the end user say it."
    return "Leave it empty if you do not need it."
