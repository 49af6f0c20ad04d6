"""What is taken away again: the schemas of deleted syncs, and what dlt piles up beside the rows of the living."""

import uuid

import psycopg
import structlog
from django.utils import timezone
from psycopg import sql

from syncs import destinations
from syncs.models import DroppedSchema, Sync

log = structlog.get_logger("syncs")

LONGEST = 60.0  # seconds, of clearing up after one sync


def drop_all() -> None:
    """Whatever is still to be dropped; a destination that is away is asked again later, once for all its schemas."""
    away = set[uuid.UUID]()
    for dropped in DroppedSchema.objects.select_related("destination").order_by("created_at"):
        if dropped.destination_id in away:
            continue
        try:
            destinations.drop(dropped.destination, dropped.schema)
        except destinations.DestinationUnavailable:
            away.add(dropped.destination_id)
            continue
        note(dropped)
    destinations.erase_what_is_left()


def note(dropped: DroppedSchema) -> None:
    now = timezone.now()
    if dropped.created_at < now - DroppedSchema.KEPT:
        dropped.delete()
    elif dropped.dropped_at is None:
        DroppedSchema.objects.filter(pk=dropped.pk).update(dropped_at=now)
        log.info("sync_schema_dropped", count=1)


def prune(sync: Sync) -> None:
    """Of dlt's loads and states only the newest state row and its load are needed: a slice begins from there."""
    try:
        with (
            destinations.connect(destinations.target_of(sync.destination)) as connection,
            destinations.cut_off_after(LONGEST, connection),
            connection.transaction(),
        ):
            for statement in statements(sync.schema):
                connection.execute(statement)
    except (psycopg.Error, destinations.DestinationUnavailable):
        return


def statements(schema: str) -> list[sql.Composed]:
    state, loads = sql.Identifier(schema, "_dlt_pipeline_state"), sql.Identifier(schema, "_dlt_loads")
    newest = sql.SQL(
        "(SELECT s._dlt_load_id FROM {} s JOIN {} l ON l.load_id = s._dlt_load_id AND l.status = 0"
        " ORDER BY l.load_id DESC LIMIT 1)"
    ).format(state, loads)
    return [
        sql.SQL("DELETE FROM {} WHERE _dlt_load_id < {}").format(state, newest),
        sql.SQL("DELETE FROM {} WHERE load_id < {}").format(loads, newest),
    ]
