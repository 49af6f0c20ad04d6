"""
The collections that only the connected account knows, on the pages that offer them: the provider is asked once, and
what it told goes along in the form, signed, so that nobody asks again when the form comes back.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.core import signing

from credentials.console import words
from credentials.models import Credential
from providers import catalogue
from providers.collection import Collection
from providers.discovered import Discovered
from syncs import collections, discovery
from syncs.models import Sync

LASTS = 3600  # seconds; what is older is asked for anew
LONGEST = 500_000  # characters that go along in a form
ASK_ANEW = "ask"  # in the place of what would be too long


@dataclass(frozen=True)
class Told:
    """`found`: in the order of their titles. `problem`: a sentence that says why the provider did not tell."""

    found: Sequence[Discovered] = ()
    problem: str = ""
    was_asked: bool = True

    @property
    def is_cut(self) -> bool:
        return len(self.found) >= discovery.MOST

    def lacks(self, collection: Collection) -> bool:
        """The provider told of all that there are, and not of this one."""
        tells_all = self.was_asked and not self.problem and not self.is_cut
        return tells_all and all(collection.id != one.id for one in self.found)


NOT_ASKED = Told(was_asked=False)


def ask(credential: Credential) -> Told:
    """To be called in no transaction; it may take as long as discovery does."""
    provider = catalogue.load().get(credential.provider)
    if provider is None or not provider.discover:
        return NOT_ASKED
    try:
        found = discovery.collections_of(credential.pk)
    except discovery.NotDiscovered as exc:
        return Told(problem=words.in_the_console(str(exc)))
    return Told(in_order(found))


def of_form(credential: Credential, text: str) -> Told:
    """What goes along in a form, as sealed() wrote it. It is asked for anew where it is too old: see ask()."""
    if not text:
        return NOT_ASKED
    try:
        kept = signing.loads(text, salt=salt_of(credential), max_age=LASTS)
    except signing.BadSignature:
        return ask(credential)
    memory = {name: {"parts": parts, "name": title, "table": table} for name, parts, title, table in kept["found"]}
    return Told(known(credential.provider, memory), kept["problem"])


def sealed(credential: Credential, told: Told) -> str:
    """Good for the credential alone."""
    if not told.was_asked:
        return ""
    provider = catalogue.load()[credential.provider]
    memories = [(one.id, collections.memory_of(provider, one)) for one in told.found]
    found = [(name, memory["parts"], memory["name"], memory["table"]) for name, memory in memories]
    text = signing.dumps({"found": found, "problem": told.problem}, salt=salt_of(credential), compress=True)
    return text if len(text) <= LONGEST else ASK_ANEW


def salt_of(credential: Credential) -> str:
    return f"syncs.told:{credential.pk}"


def remembered_by(sync: Sync) -> Sequence[Discovered]:
    """What the provider told when the sync came to have it, whether the sync still has it or not."""
    return known(sync.provider, sync.discovered)


def known(slug: str, memory: dict[str, Any]) -> Sequence[Discovered]:
    """Those that the catalogue still knows how to read."""
    if (provider := catalogue.load().get(slug)) is None:
        return ()
    found = [collections.remembered(provider, name, memory) for name in memory]
    return in_order([collection for collection in found if collection is not None])


def in_order(found: Sequence[Discovered]) -> Sequence[Discovered]:
    return tuple(sorted(found, key=lambda one: (one.title.lower(), one.id)))
