"""
One slice: a bounded piece of a sync's work, whose next request is committed together with its rows.

The only package that knows dlt, and for the worker of syncs alone: importing it takes the better part of a second. Of
dlt we take the paginators, the normalising and the merging; the loop is ours, since dlt's own loads all or nothing.
Here is the slice; `surroundings`: what dlt may see and trust; `paginators`: dlt's, and ours; `rows`: what a table can
hold; `tables`: what is done in them afterwards. Where a pass stands is known to syncs/walk.py, without dlt.
"""

import contextlib
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, cast
from urllib.parse import quote

import dlt
import psycopg
import psycopg2
import structlog
from django.db import Error as ProductDatabaseError
from dlt.destinations.impl.postgres.configuration import PostgresCredentials
from dlt.extract import DltResource, DltSource
from dlt.pipeline.exceptions import PipelineStepFailed
from dlt.sources.helpers.rest_client.client import RESTClient
from psycopg import sql

from providers.collection import BadData, Collection, Row, looked_up
from providers.placeholders import filled
from syncs import starting
from syncs.destinations import DestinationUnavailable, Target, connect, cut_off_after
from syncs.destinations.schemas import both
from syncs.engine import tables
from syncs.engine.paginators import paginator_of, says_that_there_is_more
from syncs.engine.rows import cleaned, named
from syncs.engine.surroundings import settle, this_long
from syncs.models import Stop
from syncs.session import RequestRefused, SessionStop, SyncSession, stopping
from syncs.walk import State, Step, Terms, TooMuchNews, Walk, columns, following

__all__ = ["Budget", "Outcome", "Told", "Work", "credentials", "named", "run", "settle"]

log = structlog.get_logger("syncs")

SECONDS = 20.0  # of fetching, in a slice
ROWS = 5_000
LONGEST = 360.0  # seconds that a slice may take at its destination, and the fetching in between
TIDYING = 60.0  # seconds, of that after the merge
# What a load fails with that the rows are to blame for, beside what PostgreSQL calls an error of data (class 22)
OF_THE_ROWS = {"TooManyColumns", "DuplicateColumn", "NotNullViolation", "UniqueViolation", "ProgramLimitExceeded"}
OF_A_PARENT = {404, 409, 410}  # it has gone meanwhile, or has no such children: an empty repository, say
OF_ONE_COLLECTION = {Stop.FORBIDDEN, Stop.BAD_DATA}  # what says nothing about the others
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.]{0,254}", re.ASCII)  # of a field that a provider tells us


# ---- what a slice may cost, and what came of it ----------------------------------------------------------------------


@dataclass
class Budget:
    """What is left of a slice. `goes_on`: asked before each page; the sync may have been disabled meanwhile."""

    rows: int = ROWS
    seconds: float = SECONDS
    goes_on: Callable[[], bool] = lambda: True
    began_at: float = field(default_factory=time.monotonic)
    ended: SessionStop | None = None

    @property
    def is_spent(self) -> bool:
        return self.ended is not None or self.rows <= 0 or time.monotonic() - self.began_at > self.seconds

    def may_go_on(self) -> bool:
        if self.is_spent:
            return False
        if stopping.is_set():
            self.ended = SessionStop(Stop.TIME, "")
        elif not self.goes_on():
            self.ended = SessionStop(Stop.DISABLED, "The sync was disabled.")
        return self.ended is None


@dataclass
class Told:
    """Of one collection, after a slice. `error`: a sentence of ours; empty if nothing is wrong with it."""

    state: State
    fetched: int = 0
    rows: int | None = None  # in the table, alive; None: not counted
    error: str = ""
    stop: Stop | None = None
    was_walked: bool = False  # it had its turn in this slice
    began_again: bool = False
    gone: int = 0
    too_many_gone: int = 0
    marked: int | None = None  # the full pass whose deletions were looked at; None: none was

    @property
    def is_open(self) -> bool:
        """Whether a pass waits to be gone on with."""
        return bool(self.state.get("next") or self.state.get("parents"))

    @property
    def got_further(self) -> bool:
        return self.was_walked and (not self.error or (self.fetched > 0 and not self.began_again))


@dataclass
class Outcome:
    """What came of a slice. `is_open`: passes wait to be gone on with. `is_package_lost`: no table took the rows."""

    told: dict[str, Told]
    stop: Stop
    note: str = ""
    retry_after: float | None = None
    got_further: bool = False
    is_open: bool = False
    is_package_lost: bool = False

    @property
    def is_failure(self) -> bool:
        return self.stop not in {Stop.DONE, Stop.TIME, Stop.RATE_LIMITED, Stop.DISABLED}


@dataclass(frozen=True)
class Work:
    """A slice's task: the collections in the order in which they have their turn."""

    schema: str
    target: Target
    session: SyncSession
    collections: Sequence[Collection]
    terms: Mapping[str, Terms]  # by collection
    budget: Budget
    marked: Mapping[str, int] = field(default_factory=dict)  # the full pass whose deletions have been marked


# ---- the slice -------------------------------------------------------------------------------------------------------


def run(work: Work) -> Outcome:
    """Fetch, merge and commit one slice. Never raises for what a provider or a destination does."""
    settle()
    with this_long(LONGEST):
        outcome = run_together(work)
        if not outcome.is_package_lost or len(work.collections) == 1:
            return outcome
        return put_together([run_together(replace(work, collections=[one])) for one in work.collections])


def put_together(alone: Sequence[Outcome]) -> Outcome:
    """Where the rows of one collection are such that nothing they are part of can be loaded, each has its own turn."""
    told = {name: one for outcome in alone for name, one in outcome.told.items()}
    worst = next((one for one in alone if one.is_failure), alone[-1])
    return replace(
        worst,
        told=told,
        got_further=any(one.got_further for one in alone),
        is_open=any(one.is_open for one in alone),
        is_package_lost=False,
    )


def run_together(work: Work) -> Outcome:
    told: dict[str, Told] = {}
    with starting.folder() as working:
        pipeline = dlt.pipeline(
            pipeline_name=work.schema,
            pipelines_dir=str(working),
            destination=dlt.destinations.postgres(credentials=credentials(work.target), create_indexes=False),
            dataset_name=work.schema,
        )
        try:
            info = pipeline.run(source(work, told))
        except PipelineStepFailed as exc:
            return failed(exc, work, told)
        got_further = bool(info.loads_ids) and any(one.got_further for one in told.values())
    try:
        with connect(work.target) as connection, cut_off_after(TIDYING, connection):
            for collection in work.collections:
                if collection.id in told and not tables.tidy(connection, work, collection, told[collection.id]):
                    mend(work)
    except (psycopg.OperationalError, DestinationUnavailable):
        return Outcome(told, Stop.DESTINATION, "The destination ended the connection.", got_further=got_further)
    except psycopg.Error as exc:  # the rows are there; what failed is looked at again after the next slice
        log.warning("sync_not_tidied", reason=type(exc).__name__)
    ended = work.budget.ended or ended_by_themselves(told)
    is_open = any(one.is_open and not one.error for one in told.values())
    if ended is not None:
        return Outcome(told, ended.stop, ended.note, ended.retry_after, got_further, is_open)
    return Outcome(told, Stop.TIME if is_open else Stop.DONE, got_further=got_further, is_open=is_open)


def ended_by_themselves(told: dict[str, Told]) -> SessionStop | None:
    """What keeps single collections from going on; one that may not be read is no failure, unless there is no other."""
    bad = [name for name, one in told.items() if one.stop == Stop.BAD_DATA]
    if bad:
        return SessionStop(Stop.BAD_DATA, f"{bad[0]}: {told[bad[0]].error}")
    if told and all(one.stop == Stop.FORBIDDEN for one in told.values()):
        return SessionStop(Stop.FORBIDDEN, "The credential may read none of the collections.")
    return None


def failed(exc: PipelineStepFailed, work: Work, told: dict[str, Told]) -> Outcome:
    """What was told of the collections has not happened: neither rows nor states were committed. dlt's own words quote
    statements and rows, so they are not repeated. Raises what our own database does.
    """
    root = root_of(exc)
    if exc.step == "extract" and isinstance(found := cause_of(exc, ProductDatabaseError), ProductDatabaseError):
        raise found
    if is_of_the_rows(exc, root):
        note = f"The rows could not be kept ({type(root).__name__})."
        lost = {name: Told(cast(State, {}), error=note, stop=Stop.BAD_DATA) for name in told}
        return Outcome(lost, Stop.BAD_DATA, note, is_package_lost=True)
    if type(root).__name__ in {"UndefinedTable", "UndefinedColumn", "InvalidSchemaName"}:
        mend(work)
    return Outcome({}, Stop.DESTINATION, f"The destination did not take the rows ({type(root).__name__}).")


def is_of_the_rows(exc: PipelineStepFailed, root: BaseException) -> bool:
    """Whether the provider is to blame, and not the destination."""
    if exc.step in {"extract", "normalize"} and not is_of_database(exc):
        return True
    return isinstance(root, psycopg2.DataError) or type(root).__name__ in OF_THE_ROWS


def mend(work: Work) -> None:
    """Somebody has taken away what was there: have dlt look at the tables anew, and fetch every row again."""
    statements = [
        *(("UPDATE {} SET version_hash = ''", name, "_dlt_version") for name in both(work.schema)),
        ("DELETE FROM {}", work.schema, "_dlt_pipeline_state"),
    ]
    with contextlib.suppress(psycopg.Error, DestinationUnavailable), connect(work.target) as connection:
        for statement, schema, table in statements:
            if tables.exists(connection, schema, table):
                connection.execute(sql.SQL(statement).format(sql.Identifier(schema, table)))


def root_of(exc: BaseException) -> BaseException:
    while (cause := exc.__cause__ or getattr(exc, "exception", None)) is not None and cause is not exc:
        exc = cause
    return exc


def cause_of(exc: BaseException | None, kind: type[BaseException]) -> BaseException | None:
    while exc is not None and not isinstance(exc, kind):
        exc = exc.__cause__ or exc.__context__
    return exc


def is_of_database(exc: BaseException) -> bool:
    return type(root_of(exc)).__module__.partition(".")[0] in {"psycopg2", "psycopg"}


def credentials(target: Target) -> PostgresCredentials:
    """Explicit in every part, so that nothing is looked up."""
    parts = dict(target.parameters())
    made = PostgresCredentials()
    made.host, made.port = quote(str(parts.pop("host")), safe=""), int(parts.pop("port"))  # or a socket's folder
    made.database, made.username = str(parts.pop("dbname")), str(parts.pop("user"))
    made.password = cast(Any, str(parts.pop("password", "") or "-"))
    made.connect_timeout = int(parts.pop("connect_timeout", 10))
    made.query = {name: str(value) for name, value in parts.items()}
    made.resolve()
    return made


def source(work: Work, told: dict[str, Told]) -> DltSource:
    """All collections, one after the other, on one budget."""

    @dlt.source(name=work.schema, max_table_nesting=0)
    def collections() -> Iterator[DltResource]:
        for collection in work.collections:
            yield pages(collection, work, told)

    return collections()


def pages(collection: Collection, work: Work, told: dict[str, Told]) -> DltResource:
    """One collection from its checkpoint on, until its pass ends, the budget is spent or the provider says no."""

    @dlt.resource(
        name=collection.table,
        primary_key=collection.keys,
        columns=cast(Any, columns(collection)),
        max_table_nesting=0,
        write_disposition=cast(Any, {"disposition": "merge", "strategy": "delete-insert"}),
    )
    def resource() -> Iterator[list[Row]]:
        state = cast(State, dlt.current.resource_state())
        mine = told[collection.id] = Told(state)
        walk = Walk(collection, state, work.terms[collection.id])
        if not walk.is_due or not work.budget.may_go_on():
            return
        mine.was_walked = True
        try:
            yield from walked(walk, work, mine)
        except (SessionStop, BadData) as exc:
            # told, never raised across dlt: a raised error drops the whole package
            stop = exc if isinstance(exc, SessionStop) else SessionStop(Stop.BAD_DATA, str(exc))
            mine.error, mine.stop = stop.note, stop.stop
            if stop.stop not in OF_ONE_COLLECTION:
                work.budget.ended = stop

    return resource


def walked(walk: Walk, work: Work, told: Told) -> Iterator[list[Row]]:
    work.session.paced_as(walk.collection.rate_limit, bucket=walk.collection.id)
    client = RESTClient(base_url=work.session.prefix, session=work.session)
    if not walk.is_open:
        walk.begin(fields=fields_of(walk.collection, client, work.terms[walk.collection.id]))
    was_resumed = True
    while (step := walk.step()) is not None:
        if not work.budget.may_go_on():
            return
        try:
            page = fetched(client, walk, step)
        except RequestRefused as exc:
            if exc.status in OF_A_PARENT and walk.pass_over():
                continue
            if not was_resumed or not walk.begin_again():
                raise
            was_resumed, told.began_again = False, True
            continue
        was_resumed = False
        after = work.session.kept(following(page.request)) if page.paginator.has_next_page else None
        if step.of_parent:
            walk.met_parents(page, after)
            yield []
            continue
        try:
            rows = walk.page(cleaned(page, page.response.content, walk.collection), after)
        except TooMuchNews:
            walk.begin(in_full=True, fields=walk.state.get("fields", ""))
            continue
        synced_at = datetime.now(UTC)
        for row in rows:
            row["_synced_at"] = synced_at
        work.budget.rows -= len(page)
        told.fetched += len(rows)
        yield rows


def fields_of(collection: Collection, client: RESTClient, terms: Terms) -> str:
    """What stands for `{fields}` in the pass that begins."""
    described = collection.described
    if described is None:
        return ""
    answer = client.get(filled(described.path, terms.names), hooks={"response": []})
    try:
        found = looked_up(answer.json(), described.select)
    except ValueError as exc:
        raise BadData("The answer that tells the fields is no JSON.") from exc
    items = [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []
    wanted = [
        item for item in items if not any(looked_up(item, path) in values for path, values in described.unless.items())
    ]
    names = [str(item.get(described.name, "")) for item in wanted]
    names = [name for name in names if NAME.fullmatch(name)]
    if not names:
        raise BadData("The answer that tells the fields tells none.")
    return described.joined_by.join(names)


def fetched(client: RESTClient, walk: Walk, step: Step) -> Any:
    """One page. A paginator is made for each, so that nothing but the request is remembered between two."""
    request = step.request
    headers = walk.collection.headers
    try:
        page = next(
            client.paginate(
                request["url"],
                method=cast(Any, step.method),
                params=dict(request["params"]),
                json=deepcopy(request["json"]),  # which paginators change in place
                headers=headers or None,
                paginator=paginator_of(walk.paginator(step)),
                data_selector=step.selector,
                hooks={"response": []},
            )
        )
        document = page.response.json()
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as exc:
        raise BadData("The answer is no JSON, or its pages cannot be found as declared.") from exc
    walked_one = walk.parent if step.of_parent and walk.parent else walk.collection
    walked_one.check(list(page), document, step.selector)
    if not page.paginator.has_next_page and says_that_there_is_more(walk.paginator(step), document):
        raise BadData("The provider says that there are more rows, and not where.")
    if list(page) == [None] or any(not isinstance(row, dict) for row in page):
        page.clear()
    return page
