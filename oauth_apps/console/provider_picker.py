"""The providers to choose one from: found by name, by an alias or by category; those that somebody knows first."""

import functools
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlencode

from django.http import HttpRequest

from oauth_apps.console.choice import choice_of
from oauth_apps.models import OAuthApp
from providers import catalogue
from providers.provider import Provider
from providers.showing import logo

BEST_KNOWN = 24  # those that most other catalogues confirm, without the products of one house
LONGEST_ABBREVIATION = 3  # CRM, HR
LONGEST_QUERY = 100


@dataclass(frozen=True)
class Lead:
    """Where a card leads, and what it says of that beside the category."""

    url: str
    note: str = ""


@dataclass(frozen=True)
class Card:
    """One provider as it is offered. `words`: what it is found by, in small letters."""

    slug: str
    name: str
    category: str
    words: str
    url: str
    note: str
    is_found: bool


@dataclass(frozen=True)
class Picker:
    """What `parts/providers.html` shows. `kept`: what of the page's query the search sends along."""

    cards: list[Card]
    query: str
    kept: Mapping[str, str] = field(default_factory=dict)

    @property
    def number_found(self) -> int:
        return sum(card.is_found for card in self.cards)

    @property
    def kept_in_url(self) -> str:
        return urlencode(self.kept)


def picker_of(
    request: HttpRequest, lead: Callable[[Provider], Lead], *, kept: Mapping[str, str] | None = None
) -> Picker:
    """All providers; found are those that have every word of `?q=`, and a browser with JavaScript finds others."""
    query = request.GET.get("q", "")[:LONGEST_QUERY]
    wanted = query.lower().split()
    cards = [_card(provider, lead(provider), wanted) for provider in in_order(first=slugs_here(request))]
    return Picker(cards, query, kept or {})


def _card(provider: Provider, lead: Lead, wanted: Sequence[str]) -> Card:
    category = category_of(provider)
    words = " ".join([provider.name, provider.slug, *provider.aliases, category]).lower()
    is_found = all(word in words for word in wanted)
    return Card(provider.slug, provider.name, category, words, lead.url, lead.note, is_found)


def in_order(*, first: Collection[str] = ()) -> list[Provider]:
    """Those of `first`, then the best known ones, then all others from A to Z."""
    by_name = sorted(catalogue.load().values(), key=lambda provider: provider.name.lower())
    mine = [provider for provider in by_name if provider.slug in first]
    others = [provider for provider in by_name if provider.slug not in first]
    houses = [provider for provider in others if not provider.extends]
    best_known = sorted(houses, key=lambda one: (-one.confirmed_by, one.slug not in with_icons()))[:BEST_KNOWN]
    ahead = {provider.slug for provider in best_known}
    return [*mine, *best_known, *(provider for provider in others if provider.slug not in ahead)]


def slugs_here(request: HttpRequest) -> set[str]:
    """The providers of the OAuth apps of the account that is worked in, else of all that are offered."""
    here = choice_of(request)
    accounts = [here.chosen] if here.chosen else here.offered
    return set(OAuthApp.objects.filter(account__in=accounts).order_by().values_list("provider", flat=True).distinct())


@functools.cache
def with_icons() -> frozenset[str]:
    return frozenset(path.stem for path in logo.FOLDER.glob("*.svg"))


def slugs_named(query: str) -> list[str]:
    """The providers whose name, slug or alias has `query` in it."""
    wanted = query.lower().strip()
    if not wanted:
        return []
    return [
        provider.slug
        for provider in catalogue.load().values()
        if any(wanted in name.lower() for name in (provider.name, provider.slug, *provider.aliases))
    ]


def name_of(slug: str) -> str:
    """Its name; the slug itself if an operator has taken the provider out of the catalogue."""
    provider = catalogue.find(slug)
    return provider.name if provider else slug


def category_of(provider: Provider) -> str:
    """Its category as words: `CRM`, `Developer tools`."""
    words = provider.category.replace("-", " ")
    return words.upper() if len(words) <= LONGEST_ABBREVIATION else words.capitalize()
