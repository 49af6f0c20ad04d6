"""How a sync is doing, in three parts: its credential, its provider, its destination. The worst of them wins."""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.db.models import Q
from django.utils import timezone

from oauth_apps.models import HealthStatus
from syncs import collections
from syncs.models import Progress, Stop, Sync, SyncQuerySet

if TYPE_CHECKING:
    from syncs.engine import Outcome

ENOUGH = 5  # failures in a row; then it is an error
LIMITED_FOR_LONG = timedelta(minutes=10)
LATE = 3  # intervals without a pass, or without a slice
NO_WORKER = timedelta(minutes=10)  # that a slice is overdue
NO_WORKER_NOTE = "No worker has looked at this sync since {since}. Start one: `manage.py worker --queues syncs`."
OVERDUE_NOTE = "A slice is due since {since}: others come first, or the one under way takes long."
LATE_PASS_NOTE = "The last pass of {name} ended at {since}; one is due every {every} seconds."
OF_LATENESS = tuple(note.partition("{")[0] for note in (NO_WORKER_NOTE, OVERDUE_NOTE, LATE_PASS_NOTE))
RANK = {HealthStatus.OK: 0, HealthStatus.WARN: 1, HealthStatus.ERROR: 2}
Part = dict[str, Any]


def changes_after(sync: Sync, outcome: "Outcome", failures: int, now: datetime, progress: Progress) -> dict[str, Any]:
    """The columns, after a slice that has led to `progress`."""
    parts = {
        "credential": of_credential(sync, outcome, now),
        "provider": of_provider(sync, outcome, failures, now),
        "destination": of_destination(sync, outcome, now),
    }
    own = [of_rows(sync, outcome), of_ourselves(outcome, failures)]
    if not failures:  # else it is told why
        own.append(of_passes(sync, progress, now))
    return columns(parts, now, *own)


def columns(parts: dict[str, Part], now: datetime, *own: Part) -> dict[str, Any]:
    every = [*parts.values(), *own]
    worst = max((HealthStatus(part["status"]) for part in every), key=RANK.__getitem__)
    return {
        "health_status": worst,
        "health_notes": [note for part in every for note in part["notes"]],
        "health_parts": parts,
        "health_time": now,
    }


def part(status: str, *notes: str, time: datetime | None = None) -> Part:
    found: Part = {"status": str(status), "notes": list(notes)}
    return found | ({"time": stamp(time)} if time else {})


def stamp(time: datetime) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")


def of_credential(sync: Sync, outcome: "Outcome", now: datetime) -> Part:
    if outcome.stop == Stop.UNAUTHORIZED:
        note = f"{outcome.note} Nothing is fetched since {stamp(sync.failing_since or now)}. {what_to_do(sync)}"
        return part(HealthStatus.ERROR, note, time=now)
    return part(HealthStatus.OK, time=now)


def what_to_do(sync: Sync) -> str:
    """A link is a secret of its own, which no note keeps: it is made when somebody asks for it."""
    if sync.credential.oauth_app_id is None:
        return "Post the credential anew, with a token or key that is good; the sync then goes on by itself."
    path = f"/v1/credentials/{sync.credential_id}/reconnect"
    return f"Send the end user to the link that POST {path} answers; the sync then goes on by itself."


def of_provider(sync: Sync, outcome: "Outcome", failures: int, now: datetime) -> Part:
    """What this account's own syncs see of the provider."""
    if outcome.stop in {Stop.PROVIDER_ERROR, Stop.BAD_DATA}:
        status = HealthStatus.ERROR if failures >= ENOUGH else HealthStatus.WARN
        again = "It is tried again by itself." if failures < ENOUGH else f"It has failed {failures} times in a row."
        return part(status, f"{outcome.note} {again}")
    if outcome.stop == Stop.RATE_LIMITED and is_limited_for_long(sync, now):
        return part(HealthStatus.WARN, f"Limited for more than ten minutes. {outcome.note} A lower frequency helps.")
    refused = [f"{name}: {told.error}" for name, told in outcome.told.items() if told.stop == Stop.FORBIDDEN]
    if refused:
        return part(HealthStatus.WARN, *refused)
    return part(HealthStatus.OK, *unverified(sync, outcome))


def is_limited_for_long(sync: Sync, now: datetime) -> bool:
    ended = sync.runs.filter(ended_at__isnull=False)
    other = ended.exclude(stop=Stop.RATE_LIMITED)
    return ended.exists() and not other.filter(started_at__gt=now - LIMITED_FOR_LONG).exists()


def unverified(sync: Sync, outcome: "Outcome") -> list[str]:
    """Until a live pass has succeeded, nobody has seen that the declaration is right. The simulator is no proof."""
    if sync.credential.oauth_app is not None and sync.credential.oauth_app.sandbox_url:
        return []
    unseen = [
        name
        for name in sync.bare_ids()
        if (found := collections.of_name(sync, name)) is not None
        and not found.verified
        and not sync.progress.get(name, {}).get("backfilled")
        and not (name in outcome.told and outcome.told[name].state.get("full"))
    ]
    return [
        f"{', '.join(unseen)}: declaration not verified against the vendor, until the first pass has succeeded."
    ] * (bool(unseen))


def of_destination(sync: Sync, outcome: "Outcome", now: datetime) -> Part:
    destination = sync.destination
    if outcome.stop == Stop.DESTINATION:
        note = f"{outcome.note} Nothing is lost: it is tried again."
        destination.observe(HealthStatus.ERROR, [note])
        return part(HealthStatus.ERROR, note, time=now)
    if outcome.got_further and destination.health_status != HealthStatus.OK:
        destination.observe(HealthStatus.OK, [])
    return part(destination.health_status, *destination.health_notes, time=destination.health_time)


def of_rows(sync: Sync, outcome: "Outcome") -> Part:
    """What is odd about the rows themselves."""
    notes = []
    for name in sync.bare_ids():
        told = outcome.told.get(name)
        before = sync.progress.get(name, {})
        skipped = told.state.get("skipped", 0) if told else before.get("skipped", 0)
        too_many = before.get("too_many_gone", 0) if told is None or told.marked is None else told.too_many_gone
        if skipped:
            notes.append(
                f"{name}: {skipped} rows had no key, and were left out. While that is so, none is marked as deleted."
            )
        if too_many:
            notes.append(
                f"{name}: {too_many} rows, more than half, were not in the last full pass. They are kept as they were:"
                " ask for a full refresh once the provider shows them again, or make a new sync."
            )
    return part(HealthStatus.WARN if notes else HealthStatus.OK, *notes)


def of_ourselves(outcome: "Outcome", failures: int) -> Part:
    if outcome.stop != Stop.FAILED:
        return part(HealthStatus.OK)
    status = HealthStatus.ERROR if failures >= ENOUGH else HealthStatus.WARN
    return part(status, f"{outcome.note} It is tried again by itself; the worker's log says more.")


# ---- lateness --------------------------------------------------------------------------------------------------------


def of_passes(sync: Sync, progress: Progress, now: datetime) -> Part:
    """Collections whose last pass ended too long ago. Of one that has an error that is told."""
    notes = []
    for name in sync.bare_ids():
        told = progress.get(name, {})
        ended_at = told.get("last_synced_at")
        if not ended_at or told.get("error"):
            continue
        collection = collections.of_name(sync, name)
        every = sync.every(collection) if collection else sync.interval
        walked_at = max(datetime.fromisoformat(ended_at), datetime.fromtimestamp(told.get("turn", 0.0), UTC))
        if walked_at < now - LATE * every:  # a long pass that goes on is not late
            notes.append(LATE_PASS_NOTE.format(name=name, since=ended_at, every=int(every.total_seconds())))
    return part(HealthStatus.WARN if notes else HealthStatus.OK, *notes)


def is_overdue(sync: Sync, now: datetime) -> bool:
    """Whether its slice should have been done by now, be it under way."""
    return sync.next_at < now - min(LATE * sync.interval, NO_WORKER)


def unheard_of(now: datetime) -> SyncQuerySet:
    """Active syncs that nobody has looked at for as long as makes them late, since none of their slices is due."""
    silent = Q()
    for frequency in Sync.Frequency.values:
        silent |= Q(sync_frequency=frequency, health_time__lt=now - LATE * Sync(sync_frequency=frequency).interval)
    well = Sync.objects.active().exclude(health_status=HealthStatus.ERROR).filter(failures=0, next_at__gt=now)
    return well.filter(silent).order_by("health_time")


def note_late(sync: Sync, now: datetime) -> None:
    """What no slice can tell, since none has come to its end."""
    overdue = [OVERDUE_NOTE.format(since=stamp(sync.next_at))] if is_overdue(sync, now) else []
    note_own(sync, now, part(HealthStatus.WARN if overdue else HealthStatus.OK, *overdue))


def note_without_worker(sync: Sync) -> None:
    """Nobody works on it, though it is due since long."""
    note_own(sync, timezone.now(), part(HealthStatus.WARN, NO_WORKER_NOTE.format(since=stamp(sync.next_at))))


def note_own(sync: Sync, now: datetime, own: Part) -> None:
    """What else is told of itself stays, but for what was told before of its lateness."""
    parts = sync.health_parts or {name: part(HealthStatus.OK) for name in ("credential", "provider", "destination")}
    of_parts = {note for told in parts.values() for note in told["notes"]}
    kept = [note for note in sync.health_notes if note not in of_parts and not note.startswith(OF_LATENESS)]
    before = part(HealthStatus.WARN if kept else HealthStatus.OK, *kept)
    changes = columns(parts, now, before, own, of_passes(sync, sync.progress, now))
    Sync.objects.filter(pk=sync.pk, next_at=sync.next_at).update(**changes)
