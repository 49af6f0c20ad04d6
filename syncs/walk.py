"""
A pass over one collection, request by request: where it stands, and where it goes on.

What is remembered is a plain dictionary, `State`, which the engine keeps beside the rows and commits with them. Its
`next` is the whole of the next request, so that a walk can be cut anywhere and gone on with by another process.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypedDict, cast

from providers import collection as collections
from providers.collection import BadData, Changes, Collection, Parent, Request, Row, looked_up, text_of

FED_AT_MOST = 5_000  # rows that a pass over a feed takes; what changed more is walked in full
CIRCLE = 64  # requests that are remembered, to notice a walk that goes round
PAGES = 64  # likewise pages, by what they hold
EMPTY = 500  # pages in a row without a row, after which nobody believes that more will come
LONGEST_KEY = 500  # characters; PostgreSQL's indexes take no more than some thousand bytes
CONTROL = "\x00"


class Parents(TypedDict):
    """Where the walk over the parents stands. `next`: their next page; `left`: those of the present one."""

    next: Request | None
    left: list[str]
    met: list[str]


class State(TypedDict, total=False):
    """Times are seconds since 1970.

    `number`: of the pass. `since`: from when on the open pass asks for rows. `watermark`: from when on the next one
    may. `high`: the latest time that was seen in it. `n`: rows since the window began. `fed`: the keys that a pass over
    the feed has met, the newest first. `full_at`, `ended_at`: when the last full pass, and the last at all, ended.
    `full`: the number of the last full pass that ended. `met`: digests of the latest requests. `empty`: pages in a row
    that had no row. `skipped`: rows without a key since the last full pass began.
    """

    number: int
    is_full: bool
    is_feed: bool
    since: float | None
    watermark: float | None
    high: float | None
    began_at: float
    n: int
    next: Request | None
    parents: Parents | None
    parent: str
    fields: str
    fed: list[str]
    met: list[str]
    seen: list[str]
    empty: int
    full_at: float
    full: int
    ended_at: float
    skipped: int


@dataclass(frozen=True)
class Terms:
    """What a sync wants of a pass. `names`: what addresses may name. `now`: seconds since 1970."""

    names: Mapping[str, str]
    now: float
    interval: float  # seconds between two passes
    rows: int = 0  # that the table holds, as far as is known
    max_age: float | None = None  # seconds
    asked_at: float = 0.0  # a pass that ended before is due again
    full_asked_at: float = 0.0
    parents: Mapping[str, Collection] = field(default_factory=dict)


@dataclass(frozen=True)
class Step:
    """The next request of a walk, and who asks: the collection itself, or its parent."""

    request: Request
    method: str
    selector: str
    of_parent: bool = False


class Walk:
    """One collection's pass. `state` is changed in place."""

    def __init__(self, collection: Collection, state: State, terms: Terms) -> None:
        self.collection = collection
        self.state = state
        self.terms = terms
        self.parent = terms.parents.get(collection.parent.collection) if collection.parent else None

    # ---- passes ------------------------------------------------------------------------------------------------------

    @property
    def is_open(self) -> bool:
        return bool(self.state.get("next") or self.state.get("parents"))

    @property
    def is_due(self) -> bool:
        """Whether there is a pass to go on with, or to begin."""
        ended_at = self.state.get("ended_at")
        if self.is_open or ended_at is None:
            return True
        asked_at = max(self.terms.asked_at, self.terms.full_asked_at)
        return ended_at < asked_at or self.terms.now >= ended_at + self.terms.interval

    @property
    def is_backfilled(self) -> bool:
        return self.state.get("full") is not None

    def begin(self, *, in_full: bool = False, fields: str = "") -> None:
        """Open a pass: a full one, one from the watermark on, or one over the feed of changes. `fields`: what stands
        for `{fields}` in its requests.
        """
        state, terms, watermark = self.state, self.terms, self.state.get("watermark")
        state["number"] = state.get("number", 0) + 1
        state["began_at"], state["high"], state["n"], state["met"], state["fed"] = terms.now, None, 0, [], []
        state["seen"] = []
        feed = self.collection.changes
        state["fields"] = fields
        too_late = feed is not None and watermark is not None and terms.now - watermark >= feed.retention
        state["is_full"] = in_full or watermark is None or too_late or self._is_full_due()
        state["empty"] = 0
        if state["is_full"]:
            state["skipped"] = 0
        state["is_feed"] = feed is not None and not state["is_full"]
        state["since"] = self._oldest() if state["is_full"] else watermark
        self._first()

    def _is_full_due(self) -> bool:
        full_at = self.state.get("full_at", 0.0)
        every = self.collection.full_pass_every(self.terms.rows)
        return full_at < self.terms.full_asked_at or (every == 0 or self.terms.now >= full_at + every)

    def _oldest(self) -> float | None:
        """From when on a full pass asks, where old rows are not wanted and the API can leave them out."""
        inc = self.collection.incremental
        if self.terms.max_age is None or inc is None or self._filters_by_age:
            return None
        return self.terms.now - self.terms.max_age

    @property
    def _filters_by_age(self) -> bool:
        """Whether rows that are too old are left out here, since the API cannot do it."""
        return self.terms.max_age is not None and not self.collection.asks_since

    def _first(self) -> None:
        if self.parent is None:
            self.state["next"] = self._first_request()
            return
        self.state["next"] = None
        self.state["parents"] = {"next": self.parent.first_request(None, self.terms.names), "left": [], "met": []}

    def _first_request(self, parent: str = "") -> Request:
        names = {**self.terms.names, "fields": self.state.get("fields", ""), **({"parent": parent} if parent else {})}
        since = self.state.get("since")
        if inc := self.collection.incremental:
            names["until"] = str(collections.written(self.terms.now + collections.DAY, inc.format))
        if self.state.get("is_feed"):
            return self.collection.first_of_changes(since or 0.0, names)
        return self.collection.first_request(since, names)

    def begin_again(self) -> bool:
        """Drop the checkpoint that the provider refused; False if the first request itself was refused."""
        if not self.state.get("n"):
            return False
        self.begin(fields=self.state.get("fields", ""))
        return True

    def pass_over(self) -> bool:
        """Go on with the next parent, since this one's first request was refused; False if that is not where we are."""
        if self.parent is None or self.state.get("met") or self.state.get("next") is None:
            return False
        self.page([], None)
        return True

    # ---- steps -------------------------------------------------------------------------------------------------------

    def step(self) -> Step | None:
        """What to ask for next; None if the pass is over, which `page` has noted by then."""
        state = self.state
        if state.get("next") is None and (parents := state.get("parents")) is not None:
            if parents["left"]:
                state["parent"] = parents["left"].pop(0)
                state["next"], state["met"] = self._first_request(state["parent"]), []
            elif parents["next"] is not None:
                assert self.parent is not None  # noqa: S101 - there are parents
                return Step(parents["next"], self.parent.method, self.parent.data_selector, of_parent=True)
        request = state.get("next")
        if request is None:
            return None
        if state.get("is_feed"):
            return Step(request, "GET", self.collection.data_selector)
        since = state.get("since")
        return Step(request, self.collection.method_at(since), self.collection.selector_at(since))

    def paginator(self, step: Step) -> dict[str, Any]:
        if step.of_parent and self.parent:
            return self.parent.paginator.arguments(step.request)
        return self.collection.paginator_at(self.state.get("since")).arguments(step.request)

    def met_parents(self, page: Sequence[Any], following: Request | None) -> None:
        """A page of parents has come, and what comes after it."""
        declared, state = cast(Parent, self.collection.parent), self.state
        values = [looked_up(row, declared.field) for row in page if isinstance(row, dict)]
        left = [text_of(value) for value in values if value is not None and not isinstance(value, dict | list)]
        left = [value for value in left if value]
        before = cast(Parents, state["parents"])
        met = refuse_circle(before.get("met", []), before["next"], following)
        state["parents"] = {"next": following, "left": left, "met": met}
        if not left and following is None:
            self._end()

    def page(self, page: Sequence[Any], following: Request | None) -> list[Row]:
        """The rows of a page, ready to be kept; the state is what it is once they are, or as before on BadData."""
        state = cast(dict[str, Any], self.state)
        before = {**state, "fed": list(state.get("fed", []))}
        try:
            return self._page(page, following)
        except BadData:
            state.clear()
            state.update(before)
            raise

    def _page(self, page: Sequence[Any], following: Request | None) -> list[Row]:
        state = self.state
        rows = [row for row in (self._row(item) for item in page) if row is not None]
        state["seen"] = refuse_repetition(state.get("seen", []), page) if following is not None else []
        state["n"] = state.get("n", 0) + len(page)
        if following is None or self._is_window_full():
            following = self._next_window() if self._is_window_full() else following
        state["met"] = refuse_circle(state.get("met", []), state["next"], following)
        state["empty"] = 0 if page else state.get("empty", 0) + 1
        if following is not None and state["empty"] >= EMPTY:
            raise BadData("The provider has answered nothing but empty pages for too long.")
        state["next"] = following
        if following is None and self._has_no_parents_left():
            self._end()
        return rows

    def _has_no_parents_left(self) -> bool:
        parents = self.state.get("parents")
        return parents is None or (not parents["left"] and parents["next"] is None)

    def _is_window_full(self) -> bool:
        inc = self.collection.incremental
        is_of_the_other = inc is not None and bool(inc.path) and self.state.get("since") is None
        return bool(self.collection.window) and not is_of_the_other and self.state.get("n", 0) >= self.collection.window

    def _next_window(self) -> Request:
        """The first request again, from the latest time on: the vendor answers no more of this one."""
        state, high = self.state, self.state.get("high")
        high = None if high is None else min(high, state["began_at"])  # a row may be of the far future
        if high is None or (state.get("since") is not None and high <= cast(float, state["since"])):
            raise BadData("More rows have the same time than the provider answers to one query.")
        state["since"], state["n"], state["seen"] = high, 0, []
        return self._first_request(state.get("parent", ""))

    def _end(self) -> None:
        """The pass is over. Only now the watermark moves, by what it has seen; never beyond our own clock."""
        state, inc = self.state, self.collection.incremental
        overlap = inc.overlap if inc else collections.OVERLAP
        high = state.get("high")
        if self.collection.changes is not None:
            state["watermark"] = state["began_at"] - overlap
        elif high is not None:
            state["watermark"] = min(high, state["began_at"]) - overlap
        if state["is_full"]:
            state["full_at"], state["full"] = self.terms.now, state["number"]
        state["ended_at"] = self.terms.now
        state["next"] = state["parents"] = None
        state["fed"] = state["met"] = state["seen"] = []

    # ---- rows --------------------------------------------------------------------------------------------------------

    def _row(self, item: Any) -> Row | None:
        """The item as it is kept; None if it has no key, is too old, or an older word about a row that came already."""
        feed = self.collection.changes if self.state.get("is_feed") else None
        found = looked_up(item, feed.select) if feed else item
        if not isinstance(found, dict):
            return None
        row = dict(found)
        if self.collection.parent and self.collection.parent.keep:
            row[self.collection.parent.keep] = self.state.get("parent", "")
        for name in self.collection.keys:
            value = row.get(name)
            if value is None or value == "" or isinstance(value, dict | list):
                self.state["skipped"] = self.state.get("skipped", 0) + 1
                return None
            row[name] = key = text_of(value).replace(CONTROL, "")
            if not key or len(key) > LONGEST_KEY:
                self.state["skipped"] = self.state.get("skipped", 0) + 1
                return None
        if feed is not None and not self._is_news(row):
            return None
        time = self.collection.time_of(row)
        if time is not None and (self.state.get("high") is None or time > cast(float, self.state["high"])):
            self.state["high"] = time
        if self._filters_by_age and time is not None and time < self.terms.now - cast(float, self.terms.max_age):
            return None
        now = datetime.fromtimestamp(self.terms.now, UTC)
        is_gone = bool(feed and is_deletion(feed, item)) or bool(
            self.collection.flag and looked_up(row, self.collection.flag) is True
        )
        gone_at = now if time is None or time > self.terms.now else datetime.fromtimestamp(time, UTC)
        row["_pass"], row["_deleted_at"] = self.state["number"], gone_at if is_gone else None
        return row

    def _is_news(self, row: Row) -> bool:
        """Whether nothing newer has come about the same row: a feed tells the latest first."""
        fed = self.state.setdefault("fed", [])
        key = "\n".join(str(row[name]) for name in self.collection.keys)
        if key in fed:
            return False
        fed.append(key)
        if len(fed) > FED_AT_MOST:
            raise TooMuchNews
        return True


def refuse_circle(met: Sequence[str], asked: Request | None, following: Request | None) -> list[str]:
    """What is remembered of the latest requests. Raises BadData if the walk would go where it has just been."""
    remembered = [*met, digest_of(asked)][-CIRCLE:]
    if following is not None and digest_of(following) in remembered:
        raise BadData("The provider's next page is one that came before.")
    return remembered


def refuse_repetition(seen: Sequence[str], page: Sequence[Any]) -> list[str]:
    """What is remembered of the latest pages. Raises BadData if the same rows come again, by whatever link."""
    if not page:
        return list(seen)
    digest = digest_of(page)
    if digest in seen:
        raise BadData("The provider's page holds the rows of one that came before.")
    return [*seen, digest][-PAGES:]


def digest_of(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:12]


class TooMuchNews(Exception):
    """The feed holds more than is remembered: a full pass is cheaper."""


def is_deletion(feed: Changes, event: Any) -> bool:
    return bool(feed.deleted) and str(looked_up(event, feed.type_path)).endswith(feed.deleted)


def following(page_request: Any) -> Request:
    """The request that a paginator has made ready for the next page, as it is kept."""
    return {
        "url": page_request.url,
        "params": dict(page_request.params or {}),
        "json": deepcopy(page_request.json),
    }


def columns(collection: Collection) -> dict[str, dict[str, Any]]:
    """The hints of the columns that are known beforehand."""
    keys = {name: {"data_type": "text", "nullable": False} for name in collection.keys}
    if collection.parent and collection.parent.keep:
        keys.setdefault(collection.parent.keep, {"data_type": "text"})
    own = {
        "_pass": {"data_type": "bigint"},
        "_synced_at": {"data_type": "timestamp", "dedup_sort": "desc"},
        "_deleted_at": {"data_type": "timestamp"},
    }
    declared = {name: {"data_type": kind} for name, kind in collection.columns.items()}
    return {**declared, **keys, **own}
