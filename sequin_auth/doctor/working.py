"""Whether workers are there and keep up, and whether the audit log is whole where it is easy to look."""

from collections.abc import Iterator
from typing import Final

from credentials.refresh import overdue
from oauth_apps import audit_seals, audit_verification
from oauth_apps.models import AuditChain, AuditEvent
from sequin_auth import queues
from sequin_auth.doctor import Finding, duration, error, ok, warning
from syncs.models import Sync

OLD: Final = 300.0  # seconds that no job ought to wait, and no refresh
VERY_OLD: Final = 3600.0
MOST_CHAINS: Final = 200  # of which the newest event is looked at
NOT_DONE: Final = {
    "refresh": "no token is refreshed ahead of time",
    "webhooks": "no webhook is delivered",
    "housekeeping": "nothing is purged or counted",
    "syncs": "no sync goes on",
}
START: Final = "Start `make serve` or `manage.py worker`; its log says why it ended."
START_SYNCS: Final = "Start `manage.py worker --queues syncs`, or another one of them."
MORE: Final = "Start another `manage.py worker`, and see in its log what takes so long."


def look() -> Iterator[Finding]:
    workers, by_name = queues.workers(), queues.queues()
    yield from of_workers(workers)
    yield from of_queues(by_name)
    yield of_refreshes()
    yield of_the_audit_log()


def of_workers(workers: dict[str, queues.Workers]) -> Iterator[Finding]:
    """One for each queue, so that those of one do not hide that another has none."""
    for name, those in workers.items():
        if those.number:
            verb = "worker was" if those.number == 1 else "workers were"
            yield ok(f"{those.number} {verb} heard of lately for the queue {name}.")
        elif name != "syncs" or Sync.objects.active().exists():
            since = "in the last hour" if those.silence is None else f"for {duration(those.silence)}"
            said = f"No worker of the queue {name} was heard of {since}: {NOT_DONE[name]}."
            yield error(said, START_SYNCS if name == "syncs" else START)


def of_queues(by_name: dict[str, queues.Queue]) -> Iterator[Finding]:
    is_late = False
    for name, queue in by_name.items():
        if queue.age > OLD:
            is_late = True
            said = f"The oldest of {queue.waiting} jobs in the queue {name} has waited for {duration(queue.age)}."
            yield warning(said, START_SYNCS if name == "syncs" else MORE)
        if queue.failed:
            yield warning(
                f"{queue.failed} jobs of the queue {name} have failed for good.",
                "Search the worker's log for their errors; the rows are in procrastinate_jobs until they are deleted.",
            )
    if not is_late:
        yield ok(f"No job has waited for more than {duration(OLD)}.")


def of_refreshes() -> Finding:
    number, seconds = overdue.refreshes()
    if seconds <= OLD:
        return ok("Refreshes are made when they are due.")
    more = "or more " if number == overdue.MOST else ""
    tell = error if seconds > VERY_OLD else warning
    return tell(f"{number} {more}refreshes are overdue, the oldest by {duration(seconds)}.", MORE)


def of_the_audit_log() -> Finding:
    """The newest event of some chains; the whole of it takes as long as reading it."""
    if fault := audit_verification.fault_of_the_key():
        return error(fault, "Put back the key that has sealed it, or restore the row from a backup.")
    heads = list(AuditChain.objects.order_by("-number")[:MOST_CHAINS])
    if not heads:
        return ok("The audit log is empty.")
    key = audit_seals.audit_key()
    if broken := sum(not is_whole(key, head) for head in heads):
        return error(
            f"{broken} of {len(heads)} chains of the audit log are not whole at their end.",
            "Somebody has written to the database: `manage.py audit verify` says where.",
        )
    return ok(f"The newest event of {len(heads)} chains of the audit log is what its chain says.")


def is_whole(key: bytes, head: AuditChain) -> bool:
    end = bytes(head.seal)
    if not audit_seals.can_be_ends(head.number, end, head.forgotten, bytes(head.forgotten_seal)):
        return False
    if head.number == head.forgotten:  # the retention has removed them all
        return True
    newest = AuditEvent.objects.filter(chain=head.name, number__gte=head.number).order_by("number").first()
    if newest is None:
        return False
    if newest.number != head.number:  # written since the head was read
        return True
    return audit_seals.masked(key, audit_seals.NEWEST, head.name, head.number, bytes(newest.seal or b"")) == end
