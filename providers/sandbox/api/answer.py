"""A page of a list, to whom holds a live access token."""

import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables

from providers.placeholders import filled as filled_in
from providers.sandbox import quirks
from providers.sandbox.answers import document, refused, wider
from providers.sandbox.api import feed
from providers.sandbox.api.asking import Asked, Query, Token, is_placed
from providers.sandbox.api.moving import Data, Selection
from providers.sandbox.api.records import ABSENT, Source, filled
from providers.sandbox.api.vocabulary import Listing
from providers.sandbox.bearer import bearer_of
from providers.sandbox.models import Grant, Outcome
from providers.sandbox.reading import Refuse
from providers.sandbox.script import Simulated
from providers.sandbox.tokens import values_of

LIMITED = (10, 2)  # of so many seconds, the first so many are closed to an account whose API is rate-limited
RETRY_AFTER = 2  # seconds


@sensitive_variables()
def serve(
    request: HttpRequest, player: Simulated, collection: str, listing: Listing, parts: dict[str, str]
) -> HttpResponse:
    """Answer for a list: of a collection, or of the events if `collection` is empty."""
    try:
        grant, parts = bearer_of(request, player, listing.token, parts)
        _trouble(grant, listing)
        if listing.needs_scope and not {listing.needs_scope, *_wider(player, listing)} & {*grant.scopes}:
            raise Refuse("bad_request", f"The token lacks {listing.needs_scope}.", refusal=listing.refusals.forbidden)
        account = Account(player, grant, parts, timezone.now().timestamp())
        page = account.events(request) if collection == "" else account.page(request, collection, listing)
    except Refuse as exc:
        content, refusal = refused(player.script, exc)
        page = document(content, status=refusal.status)
        page["Sandbox-Reason"] = exc.why
        for name, value in exc.headers.items():
            page[name] = value
    return page


def _trouble(grant: Grant, listing: Listing) -> None:
    """What the end user has chosen to go wrong."""
    if grant.outcome == Outcome.SLOW:
        time.sleep(grant.delay)
    if grant.outcome == Outcome.API_FAILS:
        raise Refuse("bad_request", "The API is broken, as was chosen.", refusal=listing.refusals.broken)
    if grant.outcome == Outcome.RATE_LIMITED and timezone.now().timestamp() % LIMITED[0] < LIMITED[1]:
        refuse = Refuse("bad_request", "The API is rate-limited, as was chosen.", refusal=listing.refusals.limited)
        refuse.headers["Retry-After"] = str(RETRY_AFTER)
        raise refuse


def _wider(player: Simulated, listing: Listing) -> set[str]:
    return wider(listing.needs_scope, player.script.scopes.included_in)


class Account:
    """What one account holds at a provider, at one moment. `parts`: of the address that is asked for."""

    def __init__(self, player: Simulated, grant: Grant, parts: Mapping[str, str], now: float) -> None:
        self.player = player
        self.script = player.script
        self.grant = grant
        self.parts = parts
        self.now = now
        self.start = int(grant.created_at.timestamp())
        self.values = {**values_of(player.script, grant), **parts}

    # ---- records ---------------------------------------------------------------------------------------------------

    def data(self, collection: str, *, lists_gone: bool = False) -> Data:
        listing = self.script.collections[collection]
        size = listing.records or self.grant.records
        if listing.above:  # an account's records are spread over what they belong to
            size = max(1, size // self.data(listing.above.collection).size)
        return Data.at(
            self.now, size=size, start=self.start, pace=listing.pace, fixed=listing.fixed, lists_gone=lists_gone
        )

    def source(self, collection: str, *, above: str = "", lists_gone: bool = False) -> Source:
        """`above`: the key of the record that they belong to, in one collection that belongs to another."""
        listing = self.script.collections[collection]
        named = filled_in(collection, self.parts)  # of those that a customer makes, the name says which
        seed = "/".join([self.player.slug, named, self.grant.account, *([above] if above else [])])
        data = self.data(collection, lists_gone=lists_gone)
        values = {**self.values, **({"parent": above} if above else {})}
        return Source(
            seed, listing.record, data, values, {name: self._key_of(name) for name in self.script.collections}
        )

    def _key_of(self, collection: str) -> Callable[[int], Any]:
        """The key of one of those records that never go."""

        def key(number: int) -> Any:
            source = self.source(collection)
            stayers = self.data(collection).stayers
            return source.member(self.script.collections[collection].key, 2 * (number % stayers))

        return key

    def above(self, listing: Listing, asked: Asked) -> str:
        """The key of the record that the list belongs to. Raises Refuse if there is none."""
        if listing.above is None:
            return ""
        said = asked.text(listing.above.param) if listing.above.param else filled_in(listing.above.value, self.parts)
        source = self.source(listing.above.collection)
        number = source.number_of(listing.above.field, said)
        if number is None or not self.data(listing.above.collection).is_there(number):
            raise Refuse("bad_request", "The list belongs to nothing there is.", refusal=listing.refusals.not_found)
        return said

    # ---- pages -----------------------------------------------------------------------------------------------------

    def page(self, request: HttpRequest, collection: str, listing: Listing) -> HttpResponse:
        asked = Asked(request, self.parts, listing, self.source(collection))
        asked.demand()
        above, lists_gone = self.above(listing, asked), asked.asks_for_the_gone()
        source = self.source(collection, above=above, lists_gone=lists_gone)
        asked = Asked(request, self.parts, listing, source)
        query: Query = getattr(quirks, listing.reader)(asked) if listing.reader else asked.query()
        selection = Selection(self.data(collection, lists_gone=lists_gone), query.by, query.bounds, query.descending)
        offset = query.offset if query.behind is None else selection.behind(query.behind)
        _within_the_window(asked, offset + query.size)
        numbers = selection.page(offset, query.size)
        has_more = offset + len(numbers) < len(selection) and bool(numbers)
        return _document(asked, query, numbers, offset=offset, total=len(selection), has_more=has_more)

    def events(self, request: HttpRequest) -> HttpResponse:
        wanted = self.script.feed
        assert wanted is not None  # noqa: S101 - it has an address
        told = {
            name: (listing.events, self.source(name, lists_gone=True), self.data(name))
            for name, listing in self.script.collections.items()
            if not listing.above
        }
        happened = feed.Events.of(told)
        seed = f"{self.player.slug}/events/{self.grant.account}"
        more = {
            "event": lambda number: happened.event(number)[0],
            "object": lambda number: self._object(happened, number),
        }
        source = Source(seed, wanted.listing.record, happened, self.values, more=more)
        asked = Asked(request, self.parts, wanted.listing, source)
        asked.demand()
        query = asked.query()
        numbers, has_more = feed.page(wanted, query, happened.named(feed.is_wanted(wanted, asked)), self.now)
        return _document(asked, query, numbers, offset=0, total=None, has_more=has_more)

    def _object(self, happened: feed.Events, number: int) -> Any:
        """The record that an event is about, as it was then."""
        _, source, record = happened.event(number)
        data = source.data
        assert isinstance(data, Data)  # noqa: S101
        return source.as_of(data.as_of(happened.created(number))).record(record)


def _within_the_window(asked: Asked, last: int) -> None:
    window = asked.listing.paging.window
    if window and last > window:
        raise asked.refuse(f"No more than the first {window} records are listed.")


def _document(
    asked: Asked, query: Query, numbers: list[int], *, offset: int, total: int | None, has_more: bool
) -> HttpResponse:
    following = _following(asked, query, numbers, offset + len(numbers)) if has_more else None
    values: dict[str, Any] = {
        **asked.source.values,
        "records": [asked.source.record(number) for number in numbers],
        "has_more": has_more,
        "next": following,
        "total": total,
        "count": len(numbers),
        "offset": offset,
        "size": query.size,
        "page": offset // query.size + asked.listing.paging.counted_from,
        "pages": None if total is None else -(-total // query.size),
        "api_path": api_path(asked.request.path),
    }
    if following is not None:
        values["next_path"] = _next_path(asked, str(following))
        values["next_url"] = f"{settings.PUBLIC_URL}{asked.request.path}?{values['next_path'].partition('?')[2]}"

    def value(name: str, argument: str) -> Any:
        found = values.get(name)
        if found == [] and argument == "some":
            return ABSENT
        return (None if argument == "null" else ABSENT) if found is None else found

    answer = document(chosen(filled(page_of(asked.listing, numbers), value), query.fields))
    for name, template in asked.listing.answer_headers.items():
        if (text := filled(template, value)) is not ABSENT:
            answer[name] = str(text)
    return answer


def page_of(listing: Listing, numbers: list[int]) -> Any:
    return listing.page if numbers or listing.empty_page is None else listing.empty_page


def chosen(value: Any, fields: Mapping[str, Any]) -> Any:
    """What was asked for; see Query."""
    if isinstance(value, list):
        return [chosen(item, fields) for item in value]
    if not fields or not isinstance(value, dict):
        return value
    return {name: chosen(value[name], inner) for name, inner in fields.items() if name in value}


def _following(asked: Asked, query: Query, numbers: list[int], place: int) -> str | int | None:
    """What the position parameter is, of the next page."""
    paging, last = asked.listing.paging, numbers[-1]
    match paging.by:
        case "after_id":
            return asked.source.member(asked.listing.key, last)  # type: ignore[no-any-return]
        case "token":
            behind = asked.source.data.key(last, query.by)
            if not paging.keeps_query:
                return str(Token(behind))
            return str(Token(behind, query.by, query.descending, query.bounds, asked.asks_for_the_gone()))
        case "offset":
            return place + paging.counted_from
        case "page":
            return place // query.size + paging.counted_from
    return None


def _next_path(asked: Asked, following: str) -> str:
    """Where the next page is, below the provider's host."""
    listing = asked.listing
    names = [listing.paging.param, listing.paging.size_param]
    query = {
        name: values
        for name, values in asked.request.GET.lists()
        if name != listing.paging.param and (not listing.paging.keeps_query or name in names)
    }
    if listing.paging.param and not is_placed(listing.paging.param):
        query[listing.paging.param] = [following]
    return f"{api_path(asked.request.path)}?{urlencode(query, doseq=True)}"


def api_path(path: str) -> str:
    """Where `/sandbox/SLUG/HOST/PATH` is at the provider: `/PATH`."""
    return f"/{path.split('/', 4)[4]}"
