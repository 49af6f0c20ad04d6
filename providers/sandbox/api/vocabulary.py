"""
What a provider's documentation says of its lists, in `[sandbox.collections]`, `[sandbox.lists]` and `[sandbox.feed]`.

A parameter is a name of the query, or `<place>:<name>` with the place `json` (`.` goes into an object, a number into a
list), `form`, `header` or `part` (of the address).
"""

from typing import Any, Literal

import msgspec

Order = Literal["created", "-created", "updated", "-updated"]


class Refusal(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How one thing is refused. `body`: instead of the one that all of the provider's refusals share."""

    error: str
    description: str = ""
    status: int = 400
    body: dict[str, Any] | None = None


class ListRefusals(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the API refuses, and how; a token that is not good is refused as `errors.bad_access_token` says."""

    bad_request: Refusal = Refusal("invalid_request", "A parameter is missing, unknown or malformed.")
    forbidden: Refusal = Refusal("insufficient_scope", "The access token lacks a scope.", 403)
    not_found: Refusal = Refusal("not_found", "There is nothing at this address.", 404)
    limited: Refusal = Refusal("rate_limited", "Too many requests.", 429)
    broken: Refusal = Refusal("unavailable", "The service is unavailable.", 503)


class Paging(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How pages follow each other: which place the request's `param` names.

    `after_id`: behind the record with this key. `token`: what the page before gave, which goes on behind its last
    record wherever that has got to. `offset`, `page`: so many records, or pages, on. `keeps_query`: a token also
    stands for filters and order, which need not be said again. `window`: beyond so many records nothing is
    answered.
    """

    by: Literal["none", "after_id", "token", "offset", "page"] = "none"
    param: str = ""
    first: int | None = None  # the number of the first page, if not 1, or of the first record, if not 0
    keeps_query: bool = False
    size_param: str = ""
    size: int = 100  # if nothing is said
    largest: int = 100
    too_large: Literal["clamped", "refused"] = "clamped"
    window: int = 0

    @property
    def counted_from(self) -> int:
        return (self.by == "page") if self.first is None else self.first


class Filter(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A parameter that leaves records out, by a time."""

    param: str
    field: Literal["created", "updated"] = "updated"
    operator: Literal["gte", "gt", "lte", "lt"] = "gte"
    format: str = "iso"


class Sorting(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The parameter that says the order. `direction_param`: the one that turns it, by `asc` or `desc`."""

    param: str = ""
    values: dict[str, Order] = {}
    direction_param: str = ""


class Above(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The collection to one of whose records the list belongs: that whose member `field` is `value`, which names parts
    of the address, or is what the parameter `param` says.
    """

    collection: str
    field: str = "id"
    value: str = ""
    param: str = ""


class EventNames(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the feed calls it that a record was made, changed, or has gone; it does not tell what has no name."""

    created: str = ""
    updated: str = ""
    deleted: str = ""


class Listing(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One collection: where and how it is listed, and what a record is. What it leaves out, `[sandbox.lists]` says.

    `url`, `token`, `needs_scope`, `headers`, `params`: as in `[[sandbox.calls]]`. `when`: of several lists at one
    address, it is the one that is meant where each of these parameters holds its regular expression. `empty_page`: the
    answer where nothing is found, if it is not `page`. `records`: how many there are at first, instead of as many as
    the account has. `pace`: how many times slower they move. `gone`: whether records that go are still listed, and
    `gone_params`: only if these say so.
    """

    url: str | list[str] = []
    method: Literal["GET", "POST"] = "GET"
    token: str = "bearer"
    needs_scope: str = ""
    headers: list[str] = []
    params: dict[str, str] = {}
    when: dict[str, str] = {}
    known_params: list[str] | None = None  # then any other is refused
    paging: Paging = Paging()
    filters: list[Filter] = []
    order: Order = "created"
    sorting: Sorting | None = None
    reader: str = ""  # a function of sandbox/quirks.py, where the query is a language
    above: Above | None = None
    page: Any = "{records}"
    empty_page: Any = None
    answer_headers: dict[str, str] = {}
    record: dict[str, Any] = {}
    key: str = "id"
    records: int = 0
    pace: int = 1
    fixed: bool = False  # records are made, and then neither change nor go
    gone: Literal["absent", "listed"] = "absent"
    gone_params: dict[str, str] = {}
    events: EventNames = EventNames()
    refusals: ListRefusals = ListRefusals()
    also: list["Listing"] = []  # other addresses that list the same; what they leave out is said here


class Feed(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A list of what happened to the records of all collections that name `events`, the latest first.

    `listing`: as of a collection; its `record` is an event, with `{event}` and `{object}`. `days`: as far it goes back.
    """

    listing: Listing
    days: int = 30
    type_param: str = ""  # one name; `*` is any text
    types_param: str = ""  # several of them: `name[]` or `name[0]`, `name[1]` …


def in_full(listing: Listing, shared: Listing) -> Listing:
    """`listing`, with what it leaves out, as `shared` says it."""
    left_out = {}
    for field in msgspec.structs.fields(Listing):
        default = field.default_factory() if field.default_factory is not msgspec.NODEFAULT else field.default
        if field.name != "also" and getattr(listing, field.name) == default:
            left_out[field.name] = getattr(shared, field.name)
    return msgspec.structs.replace(listing, **left_out)
