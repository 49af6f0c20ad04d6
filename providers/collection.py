"""
A collection: what a provider's API lists, as its catalogue file describes it, and how a list is walked.

`[[collections]]`, in the words of the library that reads them (dlt): paginators, selectors and columns are its own.
Times are seconds since 1970 on our side, and in the provider's format on the wire.

`Collection` is the declaration, and makes the requests that begin a pass; a `Paginator` of it makes those that follow.
What changed since is asked for as `Incremental` says, or read from a feed, as `Changes` does. `Parent`: it is walked
once for each row of another one. `Described`: its fields are asked for first. `Discovery`: collections that a customer
makes, found by walking `Step` by `Step`; providers/discovered.py makes them.
"""

import datetime
import json
import re
from collections.abc import Mapping
from copy import deepcopy
from typing import Annotated, Any, Literal, TypedDict

import msgspec

from providers.placeholders import PLACEHOLDER, filled
from providers.vocabulary import RateLimit, Seconds

OVERLAP = 60  # seconds that a pass looks back behind the last one's latest row: merging takes a row twice
PATH = re.compile(r"\$|[A-Za-z0-9_@-]+(\.[A-Za-z0-9_@-]+)*")
SINCE = "{since}"
DAY = 86_400
Scalar = str | int | bool
Row = dict[str, Any]
ColumnType = Literal["text", "bigint", "double", "bool", "timestamp", "date", "json", "decimal"]


class Request(TypedDict):
    """The next request of a walk, as it is kept: `url` is below the API's base URL, or a whole one."""

    url: str
    params: dict[str, Any]
    json: Any


class BadData(Exception):
    """The provider's answer is not what the declaration says; the message is a sentence of our own."""


# ---- paginators: dlt's, each with its own words ----------------------------------------------------------------------


class Paginator(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, tag_field="type"):
    """How the next page is found."""

    def arguments(self, at: Request) -> dict[str, Any]:
        """What makes dlt's paginator of this type go on from the request `at`."""
        declared: dict[str, Any] = msgspec.to_builtins(self)
        return declared


class HeaderLink(Paginator, frozen=True, forbid_unknown_fields=True, tag="header_link"):
    """The next page's URL stands in the `Link` header. Source: RFC 8288."""

    links_next_key: str = "next"


class JSONLink(Paginator, frozen=True, forbid_unknown_fields=True, tag="json_link"):
    """The next page's URL stands in the body, at `next_url_path`."""

    next_url_path: str = "next"


class HeaderCursor(Paginator, frozen=True, forbid_unknown_fields=True, tag="header_cursor"):
    """A header of the answer holds what the next request's `cursor_param` is."""

    cursor_key: str = "next"
    cursor_param: str = "cursor"


class Cursor(Paginator, frozen=True, forbid_unknown_fields=True, tag="cursor"):
    """The body holds, at `cursor_path`, what the next request's `cursor_param` (or place in the body) is."""

    cursor_path: str
    cursor_param: str = ""
    cursor_body_path: str = ""
    has_more_path: str = ""


class Offset(Paginator, frozen=True, forbid_unknown_fields=True, tag="offset"):
    """Rows are skipped: `offset_param` says how many."""

    limit: int
    offset_param: str = ""
    limit_param: str = ""
    offset_body_path: str = ""
    limit_body_path: str = ""
    total_path: str = ""
    has_more_path: str = ""
    maximum_offset: int = 0

    def arguments(self, at: Request) -> dict[str, Any]:
        return _counting(self) | {"offset": _number(at, self.offset_param, self.offset_body_path, 0)}


class PageNumber(Paginator, frozen=True, forbid_unknown_fields=True, tag="page_number"):
    """Pages are counted, from `base_page` on. `limit`: rows of a page, where the total is one of rows."""

    base_page: int = 0
    limit: int = 0
    page_param: str = ""
    page_body_path: str = ""
    total_path: str = ""
    has_more_path: str = ""
    maximum_page: int = 0

    def arguments(self, at: Request) -> dict[str, Any]:
        return _counting(self) | {"page": _number(at, self.page_param, self.page_body_path, self.base_page)}


class TextOffset(Paginator, frozen=True, forbid_unknown_fields=True, tag="text_offset"):
    """Rows are skipped by a number within a query language: the first group of `pattern` in the parameter `param`, or
    at `body_path` in the body. A page of fewer rows than `limit` is the last.
    """

    pattern: str
    limit: int
    param: str = ""
    body_path: str = ""


class SinglePage(Paginator, frozen=True, forbid_unknown_fields=True, tag="single_page"):
    """There is one page."""


AnyPaginator = HeaderLink | JSONLink | HeaderCursor | Cursor | Offset | PageNumber | TextOffset | SinglePage


def _counting(paginator: Offset | PageNumber) -> dict[str, Any]:
    """dlt looks for a total where none is named, unless it is told that there is none."""
    return {"total_path": None, **msgspec.to_builtins(paginator)}


def _number(at: Request, param: str, body_path: str, default: int) -> int:
    found = at["params"].get(param) if param else looked_up(at["json"], body_path)
    return default if found is None else int(found)


# ---- the declaration -------------------------------------------------------------------------------------------------


class Incremental(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How rows are found that are new or changed since the last pass.

    `cursor_path`: the time in a row. `start_param`: the parameter that asks for rows from a time on; without it, and
    without `params` and `json` below, `{since}` stands in the collection's own. `{until}`: the day after now, where an
    end has to be said. `params`, `json`: what is added to the collection's, or replaces members of it, in a pass that
    has a time to start from. `format`: of these times, in the words of `strftime` if it holds a `%`. `order`: in which
    the rows then come. `start_format`: of the time that is asked for, if it is written otherwise than in a row. `path`,
    `method`, `paginator`: where such a pass is another request altogether; `window` is said of that one then.
    """

    cursor_path: str
    start_param: str = ""
    format: str = "iso8601"  # iso8601, date, unix, unix_ms, or strftime's
    start_format: str = ""
    order: Literal["asc", "desc", ""] = ""
    overlap: Annotated[int, msgspec.Meta(ge=0, le=86_400)] = OVERLAP
    sees: Literal["created", "updated"] = "updated"
    path: str = ""
    method: Literal["", "GET", "POST"] = ""
    params: dict[str, Scalar] = {}
    json: Any = None
    data_selector: str = ""
    paginator: AnyPaginator | None = None


class Changes(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A feed of what happened, where the list itself does not tell what changed.

    It is paged as the collection is, the latest first. `select`: the row in an event. `start_param`, `format`: how
    events are asked for from a time on. `retention`: how far back they go, in seconds; whoever comes later makes a full
    pass. `deleted`: how the type of an event, at `type_path`, ends whose row is gone.
    """

    path: str
    select: str
    retention: Seconds
    params: dict[str, Scalar] = {}
    type_path: str = "type"
    deleted: str = ""
    start_param: str = "created[gte]"
    format: str = "unix"


class Parent(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The collection that is walked first: `{parent}` in path, parameters and body is each of its rows' `field`.

    `keep`: the column in which a row keeps it.
    """

    collection: str
    field: str
    keep: str = ""


class Described(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A list of names that is asked for before each pass, and stands in it as `{fields}`, joined by `joined_by`.

    `select`: the list in the answer; `name`: in each of its items; `unless`: paths, each with the values that leave an
    item out.
    """

    path: str
    select: str
    name: str = "name"
    joined_by: str = ","
    unless: dict[str, list[str]] = {}


class Collection(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The typed reading of one `[[collections]]`.

    `path`, `params`, `json` and `headers` may name properties of the credential. `window`: after so many rows the
    vendor answers no more, so that the walk begins anew from the latest time that was seen. `empty_path`: what is there
    instead of the selector's list where nothing is listed; `empty_text`: what it must hold then. `deletes`: whether
    rows that go are found by a full pass, by a member of the row (`flag:<path>`), or not at all. `verified`: when a
    person saw a live pass.
    """

    id: str
    name: str = ""
    method: Literal["GET", "POST"] = "GET"
    path: str
    params: dict[str, Scalar] = {}
    json: Any = None
    headers: dict[str, str] = {}
    data_selector: str = "$"
    empty_path: str = ""
    empty_text: str = ""
    primary_key: str | list[str] = "id"
    paginator: AnyPaginator
    columns: dict[str, ColumnType] = {}
    incremental: Incremental | None = None
    window: Annotated[int, msgspec.Meta(ge=0)] = 0
    full_refresh: Seconds | None = None  # seconds between two full passes
    every: Seconds | None = None  # the shortest time between two passes, where the vendor asks for patience
    deletes: str = "full_pass"
    changes: Changes | None = None
    parent: Parent | None = None
    described: Described | None = None
    rate_limit: RateLimit | None = None
    scopes: list[str] = []
    docs: str
    checked: datetime.date
    verified: datetime.date | Literal[False] = False

    @property
    def table(self) -> str:
        """The name of its table. What a customer named is a slug and a hash; see providers.discovered."""
        return self.id.replace(".", "__")

    @property
    def title(self) -> str:
        return self.name or self.id.replace("_", " ").capitalize()

    @property
    def keys(self) -> list[str]:
        return [self.primary_key] if isinstance(self.primary_key, str) else self.primary_key

    @property
    def sees(self) -> str:
        """What a pass between two full ones finds: `updated`, `created`, or nothing."""
        if self.changes:
            return "updated"
        return self.incremental.sees if self.incremental else "nothing"

    @property
    def asks_since(self) -> bool:
        """Whether a request can ask for rows from a time on."""
        inc = self.incremental
        if inc is None:
            return False
        said = f"{self.path}{self.params}{self.json}"
        return bool(inc.start_param or inc.params or inc.json is not None or inc.path) or SINCE in said

    @property
    def flag(self) -> str:
        """The member by which a row says that it is gone; empty if none does."""
        return self.deletes.removeprefix("flag:") if self.deletes.startswith("flag:") else ""

    def full_pass_every(self, rows: int) -> int:
        """Seconds between two full passes over so many rows."""
        if self.incremental is None and self.changes is None:
            return 0  # each is one
        return self.full_refresh or (86_400 if rows < 10_000 else 604_800)

    # ---- requests ----------------------------------------------------------------------------------------------------

    def first_request(self, since: float | None, names: Mapping[str, str]) -> Request:
        """Of a pass that begins at `since`; None: at the beginning. `names`: what the templates may name."""
        path, params, body = self.path, dict(self.params), deepcopy(self.json)
        told = dict(names)
        if (inc := self.incremental) is not None:
            start = written(0.0 if since is None else since, inc.start_format or inc.format)
            told["since"] = str(start)
            if since is not None:
                path, params = inc.path or path, {**({} if inc.path else params), **inc.params}
                body = _laid_over(body, inc.json)
                if inc.start_param:
                    params[inc.start_param] = start
        return {
            "url": filled(path, told),
            "params": {name: with_names(value, told) for name, value in params.items()},
            "json": with_names(body, told),
        }

    def first_of_changes(self, since: float, names: Mapping[str, str]) -> Request:
        assert self.changes is not None  # noqa: S101 - whoever calls has looked
        feed = self.changes
        params = {name: with_names(value, names) for name, value in feed.params.items()}
        return {
            "url": filled(feed.path, names),
            "params": {**params, feed.start_param: written(since, feed.format)},
            "json": None,
        }

    def method_at(self, since: float | None) -> str:
        return (self.incremental.method if self.incremental and since is not None else "") or self.method

    def selector_at(self, since: float | None) -> str:
        selector = self.incremental.data_selector if self.incremental and since is not None else ""
        return selector or self.data_selector

    def paginator_at(self, since: float | None) -> AnyPaginator:
        return (self.incremental.paginator if self.incremental and since is not None else None) or self.paginator

    # ---- answers -----------------------------------------------------------------------------------------------------

    def check(self, rows: list[Any], document: Any, selector: str) -> None:
        """Raises BadData, if what was answered is no page of this collection: above all an error told with status 200,
        which would else be an empty last page.
        """
        if any(not isinstance(row, dict) for row in rows):
            if rows == [None] or not looked_up(document, selector):
                rows = []
            else:
                raise BadData(f"The answer's {selector} holds something else than objects.")
        found = looked_up(document, selector)
        if rows and not self._is_something_else(found):
            return
        if isinstance(found, list) or self._tells_that_nothing_is_listed(document):
            return
        raise BadData(f"The answer has no list at {selector}.")

    def _is_something_else(self, found: Any) -> bool:
        """Whether one object stands where rows should, and is none of them: it may tell an error."""
        kept = self.parent.keep if self.parent else ""
        return isinstance(found, dict) and any(found.get(name) is None for name in self.keys if name != kept)

    def _tells_that_nothing_is_listed(self, document: Any) -> bool:
        found = looked_up(document, self.empty_path) if self.empty_path else None
        return found is not None and (not self.empty_text or self.empty_text in str(found))

    def time_of(self, row: Row) -> float | None:
        """The row's time; None if it has none, or one that is not in the declared format."""
        return (
            None
            if self.incremental is None
            else read(looked_up(row, self.incremental.cursor_path), self.incremental.format)
        )


# ---- collections that a customer makes -------------------------------------------------------------------------------


class Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, rename={"called": "as"}):
    """A list that is asked for, once for each item of the step before, whose ids stand in `path` as `{as}`.

    `select`: the list in the answer; `id` and `name`: in each of its items; `only`: members, each with the value that
    an item must have.
    """

    called: str
    path: str
    select: str
    id: str = "id"
    name: str = "name"
    only: dict[str, Scalar] = {}
    paginator: Cursor | SinglePage = SinglePage()


class Discovery(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How they are found. In the texts of `collection`, the items' ids stand by their steps' names. `rate_limit`: of
    finding them, where it is another than that of reading them.
    """

    steps: list[Step]
    collection: Collection
    rate_limit: RateLimit | None = None

    def id_of(self, parts: Mapping[str, str]) -> str:
        return filled(self.collection.id, parts)

    def parts_of(self, collection_id: str) -> dict[str, str]:
        """The items' ids, by their steps' names; empty if the collection is none of these."""
        pieces = PLACEHOLDER.split(self.collection.id)
        pattern = "".join(f"(?P<{piece}>[^.]+)" if at % 2 else re.escape(piece) for at, piece in enumerate(pieces))
        found = re.fullmatch(pattern, collection_id)
        return found.groupdict() if found else {}


def looked_up(document: Any, path: str) -> Any:
    """What stands at `path`; `$` is the document itself."""
    if path in {"", "$"}:
        return document
    for name in path.removeprefix("$.").split("."):
        if isinstance(document, dict):
            document = document.get(name)
        elif isinstance(document, list) and name.isdigit() and int(name) < len(document):
            document = document[int(name)]
        else:
            return None
    return document


# ---- times -----------------------------------------------------------------------------------------------------------


def read(value: Any, how: str) -> float | None:
    """Seconds since 1970; None for what is not in the format `how`."""
    try:
        if how in {"unix", "unix_ms"}:
            number = float(value) / (1000 if how == "unix_ms" else 1)
            return number if 0 <= number < 32_503_680_000 else None
        if "%" in how:
            found = datetime.datetime.strptime(str(value), how)  # noqa: DTZ007 - what has no zone is UTC, below
        else:
            found = datetime.datetime.fromisoformat(str(value))
        return (found if found.tzinfo else found.replace(tzinfo=datetime.UTC)).timestamp()
    except (TypeError, ValueError, OverflowError):
        return None


def written(seconds: float, how: str) -> str | int:
    """A time in the format `how`."""
    if how == "unix":
        return int(seconds)
    if how == "unix_ms":
        return int(seconds * 1000)
    moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    if how == "date":
        return moment.date().isoformat()
    return moment.strftime(how) if "%" in how else moment.strftime("%Y-%m-%dT%H:%M:%SZ")


# ---- templates -------------------------------------------------------------------------------------------------------


def with_names(value: Any, names: Mapping[str, str]) -> Any:
    """`value` with its texts filled in; names that are not known stay as they are."""
    if isinstance(value, dict):
        return {name: with_names(member, names) for name, member in value.items()}
    if isinstance(value, list):
        return [with_names(item, names) for item in value]
    if value == SINCE and names.get("since", "").isdigit():
        return int(names["since"])  # alone, it keeps its type
    return filled(value, names) if isinstance(value, str) else value


def _laid_over(body: Any, added: Any) -> Any:
    if isinstance(body, dict) and isinstance(added, dict):
        return {**body, **{name: _laid_over(body.get(name), value) for name, value in added.items()}}
    return body if added is None else deepcopy(added)


def text_of(key: Any) -> str:
    """A key as the text that it is kept as."""
    return key if isinstance(key, str) else json.dumps(key, separators=(",", ":"))
