"""What a request for a list asks for: which records, in which order, from where on."""

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, cast

import msgspec
from django.http import HttpRequest, QueryDict

from providers.collection import looked_up
from providers.sandbox.api.moving import Bound, Field, Key
from providers.sandbox.api.records import Source, read_time
from providers.sandbox.api.vocabulary import Listing, Order
from providers.sandbox.reading import Refuse

LARGEST_NUMBER = 10**9


@dataclass(frozen=True, slots=True)
class Query:
    """`offset`: so many records on; `behind`: the record that is passed, instead. `size`: of a page. `fields`: what the
    answer is to hold, each with what it is to hold of it; nothing: all.
    """

    by: Field
    descending: bool
    size: int
    bounds: tuple[Bound, ...] = ()
    offset: int = 0
    behind: Key | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)


class Token(msgspec.Struct, frozen=True, array_like=True):
    """What the token of a next page says: behind whom it goes on, and the query, if it stands for that too."""

    behind: Key
    by: Field | None = None
    descending: bool = False
    bounds: tuple[Bound, ...] = ()
    lists_gone: bool = False

    def __str__(self) -> str:
        return base64.urlsafe_b64encode(msgspec.json.encode(self)).rstrip(b"=").decode()


@dataclass(frozen=True)
class Asked:
    """A request, as the declaration of a list reads it. `source`: the records that it is about. Raises Refuse."""

    request: HttpRequest
    parts: Mapping[str, str]
    listing: Listing
    source: Source

    # ---- parameters ------------------------------------------------------------------------------------------------

    def text(self, param: str) -> str:
        """What a parameter says; empty if it is not there, or no text or number."""
        value = self.value(param)
        return "" if value is None or isinstance(value, dict | list) else str(value)

    def value(self, param: str) -> Any:
        """See providers.sandbox.api.vocabulary."""
        place, _, name = param.partition(":") if is_placed(param) else ("query", "", param)
        match place:
            case "json":
                return looked_up(self.document, name) if name else None
            case "form":
                return self.form.get(name)
            case "header":
                return self.request.headers.get(name)
            case "part":
                return self.parts.get(name)
            case _:
                return self.request.GET.get(name) if name else None

    @cached_property
    def document(self) -> Any:
        if not self.request.body:
            return {}
        try:
            return msgspec.json.decode(self.request.body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError) as exc:
            raise self.refuse("The body is not JSON.") from exc

    @cached_property
    def form(self) -> Mapping[str, str]:
        return QueryDict(self.request.body, encoding="utf-8").dict()

    def refuse(self, why: str) -> Refuse:
        return Refuse("bad_request", why, refusal=self.listing.refusals.bad_request)

    # ---- what they mean --------------------------------------------------------------------------------------------

    def is_meant(self) -> bool:
        """Whether it is this list that is asked for, of several at the address."""
        try:
            return all(re.search(pattern, self.text(name)) for name, pattern in self.listing.when.items())
        except Refuse:
            return False

    def demand(self) -> None:
        """What the documentation says must be there, and what must not."""
        listing = self.listing
        if not self.is_meant():
            raise self.refuse(f"{next(iter(listing.when))} names no list that is here.")
        if missing := [name for name in listing.headers if not self.request.headers.get(name)]:
            raise self.refuse(f"The header {missing[0]} must be there.")
        for name, value in listing.params.items():
            if not self.text(name) or (value and self.text(name) != value):
                raise self.refuse(f"{name} must be {value or 'there'}.")
        if listing.known_params is not None:
            unknown = [name for name in self.request.GET if name not in {*listing.known_params, *self._read}]
            if unknown:
                raise self.refuse(f"There is no parameter {unknown[0][:100]!r} here.")

    @property
    def _read(self) -> set[str]:
        listing = self.listing
        sorting = [listing.sorting.param, listing.sorting.direction_param] if listing.sorting else []
        return {
            *listing.params,
            *listing.gone_params,
            *sorting,
            *(one.param for one in listing.filters),
            listing.paging.param,
            listing.paging.size_param,
        }

    def asks_for_the_gone(self) -> bool:
        paging = self.listing.paging
        if paging.keeps_query and (position := self.text(paging.param)):
            return self.token(position).lists_gone
        return self.listing.gone == "listed" and all(
            self.text(name) == value for name, value in self.listing.gone_params.items()
        )

    def query(self) -> Query:
        """As the parameters say; see `reader` of a Listing for what they cannot."""
        paging = self.listing.paging
        by, descending = self.order()
        query = Query(by, descending, self.size(), tuple(self.bounds()))
        position = self.text(paging.param)
        if not position or paging.by == "none":
            return query
        if paging.by == "token":
            return self.from_token(query, position)
        if paging.by == "after_id":
            number = self.source.number_of(self.listing.key, position)
            if number is None or not self.source.data.has_been(number):
                raise self.refuse(f"{paging.param} names no record of this list.")
            return replace(query, behind=self.source.data.key(number, by))
        place = self.number(paging.param, position) - paging.counted_from
        if place < 0:
            raise self.refuse(f"{paging.param} must be {paging.counted_from} at least.")
        return replace(query, offset=place * (query.size if paging.by == "page" else 1))

    def order(self) -> tuple[Field, bool]:
        """By what the records come, and whether the latest comes first."""
        order: Order = self.listing.order
        direction = ""
        if sorting := self.listing.sorting:
            asked = self.text(sorting.param)
            if asked and asked not in sorting.values:
                raise self.refuse(f"{sorting.param} must be one of {', '.join(sorting.values)}.")
            order = sorting.values[asked] if asked else order
            direction = self.text(sorting.direction_param).lower()
        by: Field = "updated" if order.endswith("updated") else "created"
        return by, direction == "desc" if direction else order.startswith("-")

    def bounds(self) -> list[Bound]:
        found = []
        for one in self.listing.filters:
            if text := self.text(one.param):
                try:
                    found.append(Bound(one.field, one.operator, read_time(text, one.format)))
                except ValueError as exc:
                    raise self.refuse(f"{one.param} is no time as it is written here ({one.format}).") from exc
        return found

    def size(self) -> int:
        paging = self.listing.paging
        text = self.text(paging.size_param)
        size = self.number(paging.size_param, text) if text else paging.size
        if size < 1 or (size > paging.largest and paging.too_large == "refused"):
            raise self.refuse(f"{paging.size_param} must be a number from 1 to {paging.largest}.")
        return min(size, paging.largest)

    def number(self, param: str, text: str) -> int:
        if not (text.isascii() and text.isdigit() and int(text[:20]) < LARGEST_NUMBER):
            raise self.refuse(f"{param} must be a number.")
        return int(text)

    def from_token(self, query: Query, text: str) -> Query:
        token = self.token(text)
        if token.by is None:
            return replace(query, behind=token.behind)
        return replace(query, behind=token.behind, by=token.by, descending=token.descending, bounds=token.bounds)

    def token(self, text: str) -> Token:
        try:
            padded = text.encode("ascii") + b"=" * (-len(text) % 4)
            return msgspec.json.decode(base64.b64decode(padded, altchars=b"-_", validate=True), type=Token)
        except (binascii.Error, msgspec.DecodeError, ValueError) as exc:
            raise self.refuse("The page's token was not made here.") from exc


def is_meant(request: HttpRequest, parts: Mapping[str, str], listing: Listing) -> bool:
    """See `when` of a Listing."""
    return not listing.when or Asked(request, parts, listing, cast(Source, None)).is_meant()  # no record is looked at


def is_placed(param: str) -> bool:
    return param.partition(":")[0] in {"json", "form", "header", "part"} and ":" in param
