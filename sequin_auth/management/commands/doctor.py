"""`manage.py doctor [--hosts used|all|none] [--json]`"""

import json
import logging
import sys
import textwrap
from collections.abc import Callable, Iterator
from typing import Any, Final

import structlog
from django.core.management.base import BaseCommand, CommandParser
from django.db import DatabaseError, connection

from sequin_auth.doctor import (
    AT_FAULT,
    Finding,
    Level,
    Look,
    configuration,
    database,
    error,
    keys,
    outbound,
    outside,
    storage,
    working,
)

log = structlog.get_logger("doctor")

WIDTH: Final = 120
HOSTS: Final[dict[str, Callable[[], set[str]]]] = {"used": outbound.hosts_in_use, "all": outbound.all_hosts}


class Command(BaseCommand):
    help = (
        "Looks at the settings, the database, keys, workers, the disk, the way to the providers and the way in, and"
        " says for everything that is not as it should be how to mend it. Changes nothing; exits with 1 if there is an"
        " error. The product may run meanwhile, and should."
    )
    requires_system_checks = []  # it runs them itself, and goes on

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--hosts",
            choices=[*HOSTS, "none"],
            default="used",
            help="which hosts of providers to try: those of live OAuth apps (default), the whole catalogue's, or none",
        )
        parser.add_argument("--json", action="store_true", help="the findings as one JSON document")

    def handle(self, *args: Any, hosts: str, json: bool, **options: Any) -> None:
        logging.getLogger("psycopg").setLevel(logging.CRITICAL)  # what is wrong there is a finding
        found = list(findings(hosts))
        self.stdout.write(as_json(found) if json else as_text(found))
        if any(one.level == Level.ERROR for _, one in found):
            sys.exit(1)


def findings(hosts: str = "used") -> Iterator[tuple[str, Finding]]:
    """By the subject. Without a database, nothing is said of what is in it."""
    yield from taken("settings", configuration.look)
    yield from taken("storage", storage.look)
    if (problem := database.answers()) is not None:
        yield "database", problem
    else:
        yield from taken("database", database.look)
        yield from taken("keys", keys.look)
        yield from taken("work", working.look)
    wanted = HOSTS.get(hosts)
    if wanted is not None and (problem is None or hosts == "all"):
        yield from taken("providers", lambda: outbound.look(wanted()))
    connection.close()  # nothing waits for whoever is asked now
    yield from taken("way in", outside.look)


def taken(subject: str, look: Look) -> Iterator[tuple[str, Finding]]:
    """The findings of one look. One that fails spoils no other."""
    try:
        for finding in look():
            yield subject, finding
    except DatabaseError as exc:
        fix = "Run `manage.py migrate` if migrations wait; else PostgreSQL's log has the reason."
        yield subject, error(f"The database refused a question ({type(exc).__name__}).", fix)
        connection.close()
    except Exception as exc:
        log.exception("look_failed")
        yield subject, error(AT_FAULT.format(name=type(exc).__name__), "The log has where.")


def as_json(found: list[tuple[str, Finding]]) -> str:
    rows = [{"subject": subject, "level": one.level, "what": one.what, "fix": one.fix} for subject, one in found]
    return json.dumps({"ok": not any(one.level == Level.ERROR for _, one in found), "findings": rows}, indent=2)


def as_text(found: list[tuple[str, Finding]]) -> str:
    """Three columns; below what is not well, how to mend it."""
    lines: list[str] = []
    last = ""
    for subject, one in found:
        head = f"{subject if subject != last else '':10}{one.level:9}"
        lines += textwrap.wrap(one.what, WIDTH, initial_indent=head, subsequent_indent=" " * len(head))
        if one.fix:
            lines += textwrap.wrap(one.fix, WIDTH, initial_indent=" " * 19 + "→ ", subsequent_indent=" " * 21)
        last = subject
    counts = {level: sum(one.level == level for _, one in found) for level in (Level.ERROR, Level.WARNING)}
    said = [f"{number} {level}{'' if number == 1 else 's'}" for level, number in counts.items() if number]
    return "\n".join([*lines, "", ", ".join(said) + "." if said else "All is well."])
