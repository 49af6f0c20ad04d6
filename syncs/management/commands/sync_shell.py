"""`manage.py sync_shell [SYNC] [-c SELECT]`: psql, where the rows of a sync are."""

import shutil
import subprocess
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db.models import Q

from sequin_auth.lib.api.paths import canonical_uuid
from sequin_auth.lib.embedded_postgres.server import BINARIES
from syncs import destinations
from syncs.models import Sync

TERMINAL = {"TERM": "xterm", "LANG": "C.UTF-8"}


class Command(BaseCommand):
    help = "Opens psql where the rows of a sync are, as the role that may only read them; its schema comes first."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("sync", nargs="?", default="", metavar="SYNC", help="Its id or name; default: the newest.")
        parser.add_argument("-c", dest="statement", default="", metavar="SELECT", help="Runs this, and ends.")

    def handle(self, *args: Any, sync: str, statement: str, **options: Any) -> None:
        found = self.found(sync)
        if not found.destination.is_builtin:
            raise CommandError("Its rows are in a database of the customer's own: connect there as you always do.")
        try:
            told = destinations.reader(found.destination)
        except (destinations.NoReader, destinations.DestinationUnavailable) as exc:
            raise CommandError(str(exc)) from exc
        psql = BINARIES / "psql"
        command = [str(psql) if psql.exists() else shutil.which("psql") or "psql", "--no-psqlrc", "--pset=pager=off"]
        command += ["-h", told["host"], "-p", str(told["port"]), "-U", told["username"], told["database"]]
        command += ["-c", statement] if statement else []
        environment = {
            "PGPASSWORD": told["password"],
            "PGSSLMODE": told["sslmode"],
            "PGOPTIONS": f"-csearch_path={found.schema}",
        }
        ended = subprocess.run(command, env=TERMINAL | environment, check=False)  # noqa: S603 - no shell
        raise SystemExit(ended.returncode)

    def found(self, name: str) -> Sync:
        by_id = canonical_uuid(name)
        named = Q(pk=by_id) if by_id else Q(name=name) if name else Q()
        found = Sync.objects.select_related("destination").filter(named).order_by("-created_at").first()
        if found is None:
            raise CommandError("There is no such sync." if name else "There is no sync yet.")
        return found
