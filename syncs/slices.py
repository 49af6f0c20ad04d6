"""
The journey of one slice: what is due, the engine's run, what came of it, and when the next one is.

Where a pass stands is known beside the rows alone. What is told of it here decides order and intervals, so that losing
it costs work, and never rows.
"""

import contextlib
import random
import time
import traceback
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import structlog
from django.db import IntegrityError, connection
from django.utils import timezone

from credentials.api_auth import ApiAuth, CannotCall
from providers.collection import Collection
from providers.vocabulary import RateLimit
from sequin_auth.lib.postgres.locks import one_of
from syncs import collections, destinations, health, measures, turns
from syncs.models import Stop, Sync, SyncRun
from syncs.session import SyncSession, places
from syncs.walk import Terms

if TYPE_CHECKING:
    from syncs.engine import Outcome, Told

log = structlog.get_logger("syncs")

BACKOFF = tuple(timedelta(minutes=minutes) for minutes in (1, 2, 4, 8, 16, 32, 60))
JITTER = 0.1
CROWDED = timedelta(seconds=5)  # until the next look, where the credential is called as often at once as it may be
LONGEST_LIMITED = 7  # refusals in a row after which the pause between them grows no more: 5 s doubled, up to 5 minutes
LOOK_AGAIN = timedelta(minutes=5)  # where one collection alone is refused
BACKFILL_SLICES = 3  # in a row; then those collections have their turn that are complete


@dataclass(frozen=True)
class BrokenOff:
    """As engine.Outcome, where the engine has come to none."""

    note: str
    stop: Stop = Stop.FAILED
    told: dict[str, "Told"] = field(default_factory=dict)
    retry_after: float | None = None
    got_further: bool = False
    is_open: bool = False


def run_slice(sync_id: uuid.UUID) -> datetime | None:
    """Do one slice of the sync, if it is due; when its next one is, or None if it has none. What fails is noted."""
    return run_slice_in_turn(sync_id)[0]


def run_slice_in_turn(sync_id: uuid.UUID) -> tuple[datetime | None, bool]:
    """As run_slice; and whether it was done: its account may have as many slices under way as it may."""
    sync = Sync.objects.whole().filter(pk=sync_id).first()
    if sync is None or not sync.is_active:
        return None, False
    if sync.next_at > timezone.now():
        return sync.next_at, False
    try:
        run = turns.begin(sync)
    except IntegrityError:  # the sync was deleted meanwhile
        return None, False
    if isinstance(run, datetime):
        return run, False
    began = time.monotonic()
    try:
        outcome, session = worked(sync, run)
        next_at = noted(sync, run, outcome, session, seconds=time.monotonic() - began)
    except KeyboardInterrupt:
        raise
    except BaseException as exc:  # noqa: BLE001 - a library may end what it believes to be its own process
        next_at = broken_off(sync, run, exc, seconds=time.monotonic() - began)
    turns.hand_on(sync)
    return next_at, True


def broken_off(sync: Sync, run: SyncRun, exc: BaseException, *, seconds: float) -> datetime | None:
    """Nobody has foreseen it. What it says may quote a row, so only its kind and place are told."""
    if not connection.in_atomic_block:
        connection.close_if_unusable_or_obsolete()
    place = traceback.extract_tb(exc.__traceback__)[-1]
    log.error(
        "sync_slice_broken_off",
        sync=str(sync.pk),
        reason=f"{type(exc).__name__} at {Path(place.filename).name}:{place.lineno}",
    )
    note = f"An error of our own broke it off ({type(exc).__name__})."
    return noted(sync, run, cast("Outcome", BrokenOff(note)), None, seconds=seconds)


def worked(sync: Sync, run: SyncRun) -> "tuple[Outcome, SyncSession | None]":
    from syncs import engine  # the worker alone has dlt, and pays for it

    try:
        auth = ApiAuth(sync.credential_id)
        session = SyncSession(auth, own_limit=limit_of(sync))
    except CannotCall as exc:
        stop = Stop.PROVIDER_ERROR if exc.may_pass else Stop.UNAUTHORIZED
        return engine.Outcome({}, stop, str(exc)), None
    declared = collections.of_sync(sync, auth)
    if not declared:
        return engine.Outcome({}, Stop.BAD_DATA, "The catalogue does not know its collections any more."), session
    try:
        destinations.prepare(sync.destination, sync.schema)
        target = destinations.target_of(sync.destination)
    except destinations.DestinationUnavailable as exc:
        return engine.Outcome({}, Stop.DESTINATION, str(exc)), session
    with place_of(sync) as has_place:
        if not has_place:
            return engine.Outcome({}, Stop.RATE_LIMITED, "As many calls at once as are allowed are under way."), session
        work = engine.Work(
            schema=sync.schema,
            target=target,
            session=session,
            collections=in_turn(sync, declared),
            terms={one.id: terms_of(sync, one, auth, declared) for one in declared},
            budget=engine.Budget(goes_on=lambda: Sync.objects.active().filter(pk=sync.pk).exists()),
            marked={name: told.get("marked", 0) for name, told in sync.progress.items()},
        )
        return engine.run(work), session


def limit_of(sync: Sync) -> RateLimit | None:
    limit = sync.rate_limit or {}
    if not limit.get("allowed_requests"):
        return None
    return RateLimit(allowed_requests=limit["allowed_requests"], interval=limit.get("interval") or 1)


@contextlib.contextmanager
def place_of(sync: Sync) -> Iterator[bool]:
    """One of the places that a credential's calls have at the same time; each slice makes one call at a time."""
    most = (sync.rate_limit or {}).get("max_concurrent_requests") or 0
    if not most:
        yield True
        return
    with one_of(connection, places(sync.credential_id, most)) as place:
        yield place is not None


def in_turn(sync: Sync, declared: list[Collection]) -> list[Collection]:
    """Those that had their turn the longest ago come first; while some backfill, the complete ones come in between."""
    told = {one.id: sync.progress.get(one.id, {}) for one in declared}
    declared = sorted(declared, key=lambda one: told[one.id].get("turn", 0.0))
    backfilling = [one for one in declared if not told[one.id].get("backfilled") and not told[one.id].get("error")]
    others = [one for one in declared if one not in backfilling]
    if not backfilling or not others:
        return declared
    is_turn_of_others = sync.runs.filter(ended_at__isnull=False).count() % (BACKFILL_SLICES + 1) == BACKFILL_SLICES
    return [*others, *backfilling] if is_turn_of_others else backfilling


def terms_of(sync: Sync, collection: Collection, auth: ApiAuth, declared: list[Collection]) -> Terms:
    asked, asked_in_full = sync.refresh_asked_at, sync.full_refresh_asked_at
    if sync.refresh_collections and collection.id not in sync.refresh_collections:
        asked = asked_in_full = None
    return Terms(
        names=auth.names,
        now=time.time(),
        interval=sync.every(collection).total_seconds(),
        rows=sync.progress.get(collection.id, {}).get("rows") or 0,
        max_age=None if sync.max_age_days is None else sync.max_age_days * 86_400.0,
        asked_at=asked.timestamp() if asked else 0.0,
        full_asked_at=asked_in_full.timestamp() if asked_in_full else 0.0,
        parents=collections.parents_of(collection, auth),
    )


# ---- what came of it -------------------------------------------------------------------------------------------------


def noted(
    sync: Sync, run: SyncRun, outcome: "Outcome", session: SyncSession | None, *, seconds: float
) -> datetime | None:
    """Write down a slice, and when the next one is."""
    now = timezone.now()
    run.ended_at, run.stop, run.note = now, outcome.stop, outcome.note[:300]
    run.rows = {name: told.fetched for name, told in outcome.told.items() if told.fetched}
    if session is not None:
        run.requests, run.waited_ms = session.tally.requests, int(session.tally.waited * 1000)
    progress = progress_after(sync, outcome, now)
    failed = is_failure(outcome)
    failures = 0 if not failed else 1 if outcome.got_further else sync.failures + 1
    refusals = refusals_in_a_row(sync, run) if outcome.stop == Stop.RATE_LIMITED and not outcome.got_further else 0
    next_at = next_after(sync, outcome, progress, failures, now, refusals)
    changes: dict[str, Any] = {
        "progress": progress,
        "failures": failures,
        "failure": outcome.stop if failed else "",
        "failing_since": None if not failed else (sync.failing_since or now),
        "next_at": next_at,
    }
    if sync.initial_backfill_completed_at is None and is_backfilled(sync, progress):
        changes["initial_backfill_completed_at"] = now
    of_collections = [one.get("failures", 0) for one in progress.values()] if outcome.stop == Stop.BAD_DATA else []
    changes |= health.changes_after(sync, outcome, max(failures, *of_collections, 0), now, progress)
    # What was asked for meanwhile (another refresh, a collection more) is not overwritten
    undisturbed = Sync.objects.filter(pk=sync.pk, next_at=sync.next_at)
    if not undisturbed.update(**changes):
        Sync.objects.filter(pk=sync.pk).update(**{name: value for name, value in changes.items() if name != "next_at"})
        next_at = now
    ended = ("ended_at", "stop", "note", "rows", "requests", "waited_ms")
    SyncRun.objects.filter(pk=run.pk).update(**{name: getattr(run, name) for name in ended})  # if it still is there
    measures.add(
        sync.provider,
        rows=run.rows,
        statuses=session.tally.statuses if session else {},
        waited=session.tally.waited if session else 0.0,
        seconds=seconds,
    )
    log.info(
        "sync_slice",
        sync=str(sync.pk),
        provider=sync.provider,
        stop=str(outcome.stop),
        rows=sum(run.rows.values()),
        requests=run.requests,
        waited_ms=run.waited_ms,
        seconds=round(seconds, 3),
    )
    return next_at


def is_failure(outcome: "Outcome") -> bool:
    return outcome.stop not in {Stop.DONE, Stop.TIME, Stop.RATE_LIMITED, Stop.DISABLED}


def refusals_in_a_row(sync: Sync, run: SyncRun) -> int:
    """How often the provider itself has said now and before, without a row in between, that it is called too often."""
    if not run.requests:
        return 0
    number = 1
    for stop, rows in (
        sync.runs.filter(ended_at__isnull=False, requests__gt=0)
        .order_by("-started_at")
        .values_list("stop", "rows")[: LONGEST_LIMITED - 1]
    ):
        if stop != Stop.RATE_LIMITED or rows:
            break
        number += 1
    return number


def next_after(
    sync: Sync, outcome: "Outcome", progress: dict[str, Any], failures: int, now: datetime, refusals: int = 0
) -> datetime:
    """When it is worth going on. A provider that says when is not called before; nor at once, if it says so, again and
    again.
    """
    if outcome.retry_after is not None:
        told = timedelta(seconds=min(outcome.retry_after, 86_400.0))
        least = CROWDED * 2 ** (refusals - 1) if refusals else timedelta()
        if failures:
            least = BACKOFF[min(failures, len(BACKOFF)) - 1]
        return now + max(told, jittered(least))
    others_go_on = outcome.is_open and outcome.got_further and outcome.stop in {Stop.BAD_DATA, Stop.FORBIDDEN}
    if failures and not others_go_on:
        return now + jittered(BACKOFF[min(failures, len(BACKOFF)) - 1])
    if outcome.stop == Stop.RATE_LIMITED:
        return now + CROWDED
    if outcome.is_open or not outcome.told:
        return now
    due = [datetime.fromisoformat(told["next_at"]) for told in progress.values() if told.get("next_at")]
    return min([jittered_from(now, moment) for moment in due] or [now + jittered(sync.interval)])


def jittered(pause: timedelta) -> timedelta:
    # nosemgrep: guessable-random - it spreads the load
    return pause * random.uniform(1.0, 1.0 + JITTER)  # noqa: S311 - nothing secret


def jittered_from(now: datetime, moment: datetime) -> datetime:
    return now + jittered(max(timedelta(), moment - now))


def progress_after(sync: Sync, outcome: "Outcome", now: datetime) -> dict[str, Any]:
    """The mirror of what the engine told, by collection; those that had no turn stay as they are."""
    progress = {name: told for name, told in sync.progress.items() if name in sync.bare_ids()}
    for name, told in outcome.told.items():
        before = progress.get(name, {})
        state = told.state
        if not state:  # nothing of what it did was committed
            failures = before.get("failures", 0) + 1
            lost = {"state": "error", "error": told.error, "turn": now.timestamp(), "failures": failures}
            progress[name] = {**before, **lost}
            continue
        ended_at = state.get("ended_at")
        is_complete = state.get("full") is not None
        error = told.error if told.was_walked else before.get("error", "")
        collection = collections.of_name(sync, name)
        every = sync.every(collection) if collection else sync.interval
        after: dict[str, Any] = {
            "state": "error" if error else "fresh" if is_complete else "backfilling",
            "rows": before.get("rows", 0) if told.rows is None else told.rows,
            "pass": state.get("number", 0),
            "backfilled": is_complete,
            "turn": now.timestamp() if told.was_walked else before.get("turn", 0.0),
            "skipped": state.get("skipped", 0),
            "too_many_gone": before.get("too_many_gone", 0) if told.marked is None else told.too_many_gone,
            "error": error,
            "failures": before.get("failures", 0) + bool(told.error) if error else 0,
            "last_synced_at": iso(ended_at) if ended_at else before.get("last_synced_at"),
            "next_at": iso(next_pass(told, now, every)),
            "marked": before.get("marked", 0) if told.marked is None else told.marked,
        }
        progress[name] = after
    return progress


def next_pass(told: "Told", now: datetime, every: timedelta) -> float:
    """When it is worth asking the provider again."""
    ended_at = told.state.get("ended_at")
    if told.error:
        return (now + max(every, LOOK_AGAIN)).timestamp()
    return now.timestamp() if told.is_open or not ended_at else ended_at + every.total_seconds()


def is_backfilled(sync: Sync, progress: dict[str, Any]) -> bool:
    return all(progress.get(name, {}).get("backfilled") for name in sync.bare_ids())


def iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
