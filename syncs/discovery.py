"""
Collections that a customer makes, such as the tables of a base: found by asking the provider, with a credential.

It needs neither dlt nor a worker; a request waits for it, so that it is bounded in time and in number.
"""

import re
import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urljoin

from django.views.decorators.debug import sensitive_variables

from credentials.api_auth import ApiAuth, CannotCall
from providers.collection import BadData, Cursor, Discovery, Step, looked_up
from providers.discovered import Discovered, made
from providers.placeholders import filled
from syncs.models import Stop
from syncs.session import SessionStop, SyncSession

SECONDS = 10.0
BUCKET = "discovery"
MOST = 1_000  # collections, and items of a step
ID = re.compile(r"[A-Za-z0-9_-]{1,100}", re.ASCII)  # what stands in an address as it is
LONGEST_NAME = 200
NOT_TEXT = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")  # PostgreSQL stores not all of it
NOT_ALLOWED = "The credential may not ask which collections there are."


class NotDiscovered(Exception):
    """The provider does not tell. `is_refused`: it does not accept the credential, so that another try is in vain."""

    def __init__(self, message: str, *, is_refused: bool = False, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.is_refused = is_refused
        self.retry_after = retry_after


@dataclass(frozen=True)
class Item:
    """What a walk has come to: the ids by their steps' names, and what the customer calls them."""

    parts: Mapping[str, str] = field(default_factory=dict)
    names: tuple[str, ...] = ()


def collections_of(credential_id: uuid.UUID, wanted: Collection[str] | None = None) -> list[Discovered]:
    """All that the credential opens, or those of `wanted`, which are bare ids; in the order of their ids.

    To be called in no transaction. Raises NotDiscovered.
    """
    try:
        auth = ApiAuth(credential_id)
        session = SyncSession(auth, seconds=SECONDS)
        found = [one for discovery in auth.provider.discover for one in _found(session, discovery, auth.names, wanted)]
    except CannotCall as exc:
        raise NotDiscovered(str(exc), is_refused=not exc.may_pass) from exc
    except SessionStop as exc:
        is_refused = exc.stop in {Stop.UNAUTHORIZED, Stop.FORBIDDEN}
        note = NOT_ALLOWED if exc.stop == Stop.FORBIDDEN else exc.note
        raise NotDiscovered(note, is_refused=is_refused, retry_after=exc.retry_after) from exc
    except BadData as exc:
        raise NotDiscovered(str(exc)) from exc
    return sorted(found, key=lambda one: one.id)[:MOST]


def _found(
    session: SyncSession, discovery: Discovery, names: Mapping[str, str], wanted: Collection[str] | None
) -> Iterator[Discovered]:
    session.paced_as(discovery.rate_limit, bucket=BUCKET)
    paths = None if wanted is None else [discovery.parts_of(one) for one in wanted]
    items = [Item()]
    for step in discovery.steps:
        items = [one for item in items for one in _items(session, step, item, names) if _leads_to(paths, one)][:MOST]
    for item in items:
        yield made(discovery, item.parts, name=" / ".join(item.names)[:LONGEST_NAME])


def _leads_to(paths: Sequence[Mapping[str, str]] | None, item: Item) -> bool:
    return paths is None or any(item.parts.items() <= path.items() for path in paths)


def _items(session: SyncSession, step: Step, below: Item, names: Mapping[str, str]) -> Iterator[Item]:
    for row in _rows(session, step, {**names, **below.parts}):
        found, name = looked_up(row, step.id), NOT_TEXT.sub("", str(looked_up(row, step.name) or ""))
        is_wanted = all(looked_up(row, path) == value for path, value in step.only.items())
        if is_wanted and isinstance(found, str) and ID.fullmatch(found):
            yield Item({**below.parts, step.called: found}, (*below.names, name or found))


def _rows(session: SyncSession, step: Step, names: Mapping[str, str]) -> Iterator[Any]:
    url, params, read = urljoin(session.prefix, filled(step.path, names)), dict[str, str](), 0
    while read < MOST:
        document = _document(session, url, params)
        rows = looked_up(document, step.select)
        if not isinstance(rows, list):
            raise BadData(f"The answer has no list at {step.select}.")
        read += len(rows)
        yield from rows
        if not isinstance(step.paginator, Cursor) or not rows:
            return
        following = looked_up(document, step.paginator.cursor_path)
        if not following or params.get(step.paginator.cursor_param) == str(following):
            return
        params = {step.paginator.cursor_param: str(following)}


@sensitive_variables()
def _document(session: SyncSession, url: str, params: Mapping[str, str]) -> Any:
    try:
        return session.get(url, params=params).json()
    except ValueError as exc:
        raise BadData("The answer is no JSON.") from exc
