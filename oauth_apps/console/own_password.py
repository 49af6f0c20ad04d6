"""The own password once more, before secrets are shown or somebody is let in: whoever finds a console open does not
have it.
"""

from datetime import timedelta
from typing import Any

from django import forms
from django.contrib.auth.models import User
from django.db import transaction
from django.http import HttpRequest
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables

from oauth_apps import audit
from oauth_apps.console.base import actor_of
from oauth_apps.models import Account, AuditEvent

REFUSED = "password.refused"  # in the audit log, which counts them: no new session and no other worker starts anew
MOST_WRONG, WITHIN = 5, timedelta(minutes=15)

WRONG = "That is not your password."
TOO_MANY = "Too many wrong passwords. Wait 15 minutes, then try again."


class OwnPasswordForm(forms.Form):
    """Of whoever is signed in. `account`: whose secrets are asked for; None for those of several, or of none."""

    password = forms.CharField(
        label="Your password",
        strip=False,
        max_length=4096,
        widget=forms.PasswordInput(attrs={"autocomplete": "current-password"}),
        help_text="The one you sign in to this console with.",
    )

    def __init__(self, *args: Any, request: HttpRequest, account: Account | None, **rest: Any) -> None:
        super().__init__(*args, **rest)
        self.request, self.account = request, account

    @sensitive_variables()
    def clean(self) -> dict[str, Any]:
        data = super().clean() or self.cleaned_data
        password = data.pop("password", None)
        if not password or self.errors:
            return data
        if problem := refusal_of(self.request, password, account=self.account):
            self.add_error("password", problem)
        return data


def user_of(request: HttpRequest) -> User:
    """Who is signed in; no page of the console is shown to anybody else."""
    assert isinstance(request.user, User)  # noqa: S101
    return request.user


@sensitive_variables()
def refusal_of(request: HttpRequest, password: str, *, account: Account | None = None) -> str:
    """Why `password` does not do for whoever is signed in; empty if it is his."""
    return refusal(user_of(request), password, account=account, by=actor_of(request), place=request.path)


@sensitive_variables()
def refusal(user: User, password: str, *, account: Account | None, by: audit.Actor, place: str) -> str:
    """Why `password` does not do; empty if it is the user's. A wrong one is counted, one after the other.

    `place`: the path of the page that asks, for the audit log.
    """
    with transaction.atomic():
        user = User.objects.select_for_update().get(pk=user.pk)
        wrong = AuditEvent.objects.filter(user=user, action=REFUSED, created_at__gt=timezone.now() - WITHIN)
        if wrong.count() >= MOST_WRONG:
            return TOO_MANY
        if user.check_password(password):
            return ""
        audit.record(REFUSED, by=by, account=account, to=user, detail=place[:200])
    return WRONG
