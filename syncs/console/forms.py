"""What is asked of whoever makes or changes a sync; the same as the API takes."""

from collections.abc import Sequence
from typing import Any

from django import forms
from django.db.models import Q
from django.template.loader import render_to_string
from django.utils.safestring import SafeString

from credentials.models import Credential
from providers import catalogue
from providers.collection import Collection
from providers.discovered import Discovered
from sequin_auth.lib.api.paths import canonical_uuid
from syncs import collections
from syncs.api.serializers import (
    LONGEST_INTERVAL,
    MOST_AT_ONCE,
    MOST_COLLECTIONS,
    MOST_REQUESTS,
    OLDEST,
)
from syncs.collections import NotAccepted
from syncs.console import asking, words
from syncs.console.asking import NOT_ASKED, Told
from syncs.models import Destination, Sync

NOT_THERE = "It is not in the catalogue any more."
NOT_NAMED = "The provider does not name it any more."
NONE_CHOSEN = "Choose at least one."
TOO_MANY = f"Choose at most {MOST_COLLECTIONS}."
HOW_MANY = "Say how many requests, too."
OURS = "builtin"
MANY = 20  # collections, among which one would rather search
ADVANCED = ("max_age_days", "allowed_requests", "interval", "max_concurrent_requests")
# How the fields are called that the journeys name
FIELDS = {"collection_ids": "collections", "credential_id": "", "destination_id": "destination", "status": ""}


class Collections(forms.CheckboxSelectMultiple):
    """Each with a sentence that says what a sync sees of it. `sentences`: by name. `closed`: what cannot be chosen."""

    sentences: dict[str, str]
    closed: frozenset[str] = frozenset()

    def _render(self, template_name: str, context: dict[str, Any], renderer: Any = None) -> SafeString:
        return render_to_string("console/syncs/collections.html", context)

    def create_option(self, name: str, value: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
        option = super().create_option(name, value, *args, **kwargs)
        words_of_it = f"{option['label']} {value}".lower()
        sentence, is_closed = self.sentences.get(str(value), ""), str(value) in self.closed
        return option | {"sentence": sentence, "words": words_of_it, "is_closed": is_closed}

    def get_context(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        context = super().get_context(*args, **kwargs)
        context["widget"]["are_many"] = len(self.sentences) > MANY
        return context


class SyncForm(forms.Form):
    name = forms.CharField(max_length=200, help_text="For you alone. No provider sees it.")
    collections = forms.MultipleChoiceField(
        widget=Collections, error_messages={"required": NONE_CHOSEN}, help_text="Each becomes a table."
    )
    sync_frequency = forms.ChoiceField(
        label="How often",
        choices=[(value, str(label).capitalize()) for value, label in Sync.Frequency.choices],
        help_text="Continuously is about once a minute, where the provider takes it.",
    )
    max_age_days = forms.IntegerField(
        label="Days back", required=False, min_value=1, max_value=OLDEST, help_text="Older rows are left out."
    )
    allowed_requests = forms.IntegerField(
        label="Requests",
        required=False,
        min_value=1,
        max_value=MOST_REQUESTS,
        help_text="At most so many within the seconds below. Left empty, the limit of the provider holds.",
    )
    interval = forms.IntegerField(
        label="Seconds", required=False, min_value=1, max_value=LONGEST_INTERVAL, help_text="1 if it is left empty."
    )
    max_concurrent_requests = forms.IntegerField(
        label="Requests at the same time", required=False, min_value=0, max_value=MOST_AT_ONCE, help_text="0: any."
    )

    def __init__(
        self,
        *args: Any,
        credential: Credential,
        kept: list[str],
        remembered: Sequence[Discovered] = (),
        told: Told = NOT_ASKED,
        **rest: Any,
    ) -> None:
        """`kept`: the names that the sync has already. `remembered`, `told`: what only the provider knows."""
        super().__init__(*args, **rest)
        self.credential, self.kept, self.told = credential, kept, told
        provider = catalogue.load().get(credential.provider)
        offered = [*collections.declared(provider), *told.found, *remembered] if provider else []
        named = {collections.name_of(provider, one): one for one in offered} if provider else {}
        self.titles = {name: one.title for name, one in named.items()}
        self.titles |= {name: name.partition(":")[2] for name in kept if name not in named}
        field = self.fields["collections"]
        field.choices = list(self.titles.items())  # type: ignore[attr-defined]
        lacking = {name: lacks for name, one in named.items() if (lacks := lacked(credential, one))}
        field.widget.closed = frozenset(lacking).difference(kept)  # what the sync has can be taken away
        field.widget.sentences = {name: words.sees(one) for name, one in named.items()} | lacking
        field.widget.sentences |= {name: NOT_THERE for name in kept if name not in named}
        if provider:
            gone = [collections.name_of(provider, one) for one in remembered if told.lacks(one)]
            field.widget.sentences |= dict.fromkeys(gone, NOT_NAMED)
        self.label_suffix = ""

    def clean_collections(self) -> list[str]:
        """In the order that they have, then in that of the page."""
        chosen = self.cleaned_data["collections"]
        if len(chosen) > MOST_COLLECTIONS:
            raise forms.ValidationError(TOO_MANY)
        return [*(name for name in self.kept if name in chosen), *(name for name in chosen if name not in self.kept)]

    def clean(self) -> dict[str, Any]:
        data = super().clean() or self.cleaned_data
        is_told = data.get("interval") is not None or bool(data.get("max_concurrent_requests"))
        if is_told and data.get("allowed_requests") is None and "allowed_requests" not in self.errors:
            self.add_error("allowed_requests", HOW_MANY)
        return data

    @property
    def values(self) -> dict[str, Any]:
        """Of a form that is valid, by the names of the row."""
        data = self.cleaned_data
        limit = None
        if data["allowed_requests"] is not None:
            limit = {
                "allowed_requests": data["allowed_requests"],
                "interval": data["interval"] or 1,
                "max_concurrent_requests": data["max_concurrent_requests"] or 0,
            }
        return {
            "name": data["name"],
            "collection_ids": data["collections"],
            "sync_frequency": data["sync_frequency"],
            "max_age_days": data["max_age_days"],
            "rate_limit": limit,
        }

    @property
    def sealed(self) -> str:
        """What the provider told, for the form to bring back."""
        return asking.sealed(self.credential, self.told)

    @property
    def advanced(self) -> list[forms.BoundField]:
        return [self[name] for name in ADVANCED]

    @property
    def is_advanced_wrong(self) -> bool:
        return any(name in self.errors for name in ADVANCED)

    def refuse(self, problem: NotAccepted) -> None:
        """Tell at its field what the journey has found."""
        for place, reasons in problem.errors.items():
            name, _, number = place.partition(".")
            for reason in reasons:
                whose = self.titles.get(self.cleaned_data["collections"][int(number)], "") if number else ""
                self.add_error(FIELDS.get(name, name) or None, f"{whose}: {reason}" if whose else reason)


class NewSyncForm(SyncForm):
    """`destination` is the id of one; None is our own database."""

    destination = forms.TypedChoiceField(
        label="Where to",
        coerce=canonical_uuid,
        initial=OURS,
        help_text="A PostgreSQL of your own is added under Destinations.",
    )
    field_order = ("name", "collections", "sync_frequency", "destination")

    def __init__(self, *args: Any, credential: Credential, told: Told, **rest: Any) -> None:
        super().__init__(*args, credential=credential, kept=[], told=told, **rest)
        own = Destination.objects.of(credential.account_id).filter(~Q(kind=Destination.Kind.BUILTIN))
        others = [(str(destination.pk), str(destination)) for destination in own.order_by("name", "pk")]
        self.fields["destination"].choices = [(OURS, "Sync database of this server"), *others]  # type: ignore[attr-defined]


def initial_of(sync: Sync) -> dict[str, Any]:
    limit = sync.rate_limit or {}
    return {
        "name": sync.name,
        "collections": sync.collection_ids,
        "sync_frequency": sync.sync_frequency,
        "max_age_days": sync.max_age_days,
        **{name: limit.get(name) for name in ("allowed_requests", "interval", "max_concurrent_requests")},
    }


def lacked(credential: Credential, collection: Collection) -> str:
    """A sentence that names the scopes which it needs and the credential has not; empty if there is none."""
    provider = catalogue.load()[credential.provider]
    lacking = collections.lacking_scopes(provider, credential, collection)
    return f"Needs what this credential was not granted: {', '.join(lacking)}." if lacking else ""
