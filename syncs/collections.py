"""
What of a provider can be synced, and by which names: `acme:customer` is the collection `customer` of provider `acme`.

What a customer makes has an id with a dot, such as `app1.tbl1`. Only the provider knows it; what it told is
kept on the sync, as `Sync.discovered`: by the bare id, the ids that it consists of, its name, and its table.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from credentials.api_auth import ApiAuth
from credentials.models import Credential
from providers import catalogue
from providers.collection import Collection
from providers.discovered import Discovered, made
from providers.provider import Provider
from providers.tokens import missing_scopes
from syncs.models import Sync


class NotAccepted(Exception):
    """What was asked for cannot be synced. `errors`: the reasons by field, none of which repeats a value."""

    def __init__(self, errors: Mapping[str, Sequence[str]]) -> None:
        super().__init__("; ".join(f"{field}: {' '.join(reasons)}" for field, reasons in errors.items()))
        self.errors = {field: list(reasons) for field, reasons in errors.items()}


class NotLookedUp(Exception):
    """Some of them are of the kind that only the provider knows, and nobody has asked it yet: see syncs.discovery."""

    def __init__(self, credential: Credential, names: Sequence[str]) -> None:
        super().__init__("The provider has to be asked which collections there are.")
        self.credential_id = credential.pk
        self.names = names  # bare ids


def declared(provider: Provider) -> list[Collection]:
    return provider.collections


def has_any(provider: Provider) -> bool:
    return bool(declared(provider) or provider.discover)


def find(provider: Provider | str, name: str) -> Collection | None:
    """By its id in the provider's file. `provider`: itself, or its slug."""
    found = catalogue.load().get(provider) if isinstance(provider, str) else provider
    return None if found is None else next((one for one in declared(found) if one.id == name), None)


def bare_id(provider: Provider, name: str) -> str:
    """Of the name that a developer gives it: the provider, by its slug or an alias, stands in front of the colon."""
    prefix, _, bare = name.partition(":")
    is_of_it = prefix == provider.slug or catalogue.find(prefix) is provider
    return bare if is_of_it else ""


def of_name(sync: Sync, name: str) -> Collection | None:
    """One of a sync's, by its bare id."""
    provider = catalogue.load().get(sync.provider)
    return None if provider is None else find(provider, name) or remembered(provider, name, sync.discovered)


def remembered(provider: Provider, name: str, discovered: Mapping[str, Any]) -> Discovered | None:
    """One that was discovered, as it was then; None if it was not, or is not declared any more."""
    if (told := discovered.get(name)) is None:
        return None
    parts = told["parts"]
    of_it = (one for one in provider.discover if one.id_of(parts) == name)
    return next((made(one, parts, name=told["name"], table=told["table"]) for one in of_it), None)


def of_sync(sync: Sync, auth: ApiAuth) -> list[Collection]:
    """Those of its collections that there still are, in its order; `auth`: of its credential."""
    found = [of_name(sync, name) for name in sync.bare_ids()]
    return [collection for collection in found if collection is not None]


def parents_of(collection: Collection, auth: ApiAuth) -> dict[str, Collection]:
    """What is walked before it, by its id."""
    if collection.parent is None:
        return {}
    parent = find(auth.credential.provider, collection.parent.collection)
    return {parent.id: parent} if parent else {}


def name_of(provider: Provider, collection: Collection) -> str:
    return f"{provider.slug}:{collection.id}"


def provider_of(name: str) -> Provider:
    """The provider with that slug or alias. Raises NotAccepted: there is none, or nothing of it can be synced."""
    provider = catalogue.find(name)
    if provider is None:
        raise NotAccepted({"provider": ["Is not in the catalogue: GET /v1/providers lists it."]})
    if not has_any(provider):
        having = sorted(slug for slug, other in catalogue.load().items() if has_any(other))
        raise NotAccepted({"provider": [f"Has no collections to sync. There are some of: {', '.join(having)}."]})
    return provider


@dataclass(frozen=True)
class Accepted:
    """`names`: as they are kept; `discovered`: what a sync remembers of them. See Sync."""

    names: list[str]
    discovered: dict[str, Any]


def accept(
    provider: Provider,
    credential: Credential,
    names: Sequence[str],
    *,
    found: Sequence[Discovered] | None = None,
    discovered: Mapping[str, Any] | None = None,
) -> Accepted:
    """`found`: what the provider told, if it was asked; `discovered`: what the sync remembers already.

    Raises NotAccepted: one is unknown, stands there twice, or asks for more than the end user has granted the
    credential. Raises NotLookedUp.
    """
    errors: dict[str, list[str]] = {}
    kept: list[str] = []
    remembers = dict(discovered or {})
    told = {one.id: one for one in found or ()}
    for place, name in enumerate(names):
        field, bare = f"collection_ids.{place}", bare_id(provider, name)
        collection = find(provider, bare) or remembered(provider, bare, remembers) or told.get(bare)
        if collection is None and found is None and "." in bare and provider.discover:
            raise NotLookedUp(credential, [bare_id(provider, one) for one in names])
        if collection is None:
            hint = "" if errors else f" {hint_at(provider)}"  # once is enough
            errors[field] = [f"Is no collection of {provider.name}.{hint}"]
        elif name_of(provider, collection) in kept:
            errors[field] = ["Stands there twice."]
        elif lacking := lacking_scopes(provider, credential, collection):
            errors[field] = [f"Needs what this credential was not granted: {', '.join(lacking)}."]
        else:
            kept.append(name_of(provider, collection))
            if isinstance(collection, Discovered):
                remembers[bare] = memory_of(provider, collection)
    if errors:
        raise NotAccepted(errors)
    return Accepted(kept, remembers)


def hint_at(provider: Provider) -> str:
    there = ", ".join(name_of(provider, one) for one in declared(provider))
    of_customers = f"GET /v1/providers/{provider.slug}/collections?credential_id= lists what a credential opens."
    return " ".join(filter(None, [there and f"There are: {there}.", of_customers if provider.discover else ""]))


def memory_of(provider: Provider, collection: Discovered) -> dict[str, Any]:
    """See `remembered`."""
    for discovery in provider.discover:
        if parts := discovery.parts_of(collection.id):
            return {"parts": parts, "name": collection.name, "table": collection.table}
    raise LookupError(collection.id)


def lacking_scopes(provider: Provider, credential: Credential, collection: Collection) -> list[str]:
    """Those that the collection needs and the credential is known not to have."""
    granted = credential.scopes_granted
    return missing_scopes(provider, collection.scopes, granted) if granted else []
