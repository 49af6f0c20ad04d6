"""To which account something new belongs: asked alike wherever something is made."""

from django import forms
from django.http import HttpRequest

from oauth_apps.console.choice import choice_of, my_accounts
from oauth_apps.models import Account


def account_field(request: HttpRequest) -> "forms.ModelChoiceField[Account]":
    """The one that is worked in; nobody is asked who has one alone."""
    here = choice_of(request)
    return forms.ModelChoiceField(
        queryset=my_accounts(request),
        label="Account",
        initial=here.chosen or next(iter(here.offered), None),
        empty_label=None,
        widget=forms.Select() if here.is_needed else forms.HiddenInput(),
    )
