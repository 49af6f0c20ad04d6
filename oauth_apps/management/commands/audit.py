"""`manage.py audit verify [--account ID]`"""

from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, CommandParser

from oauth_apps.audit_verification import Verification

MOST_TOLD = 1000


class Command(BaseCommand):
    help = (
        "Walks along every chain of audit events, or those of one account, and says what was changed, removed or put in"
        " between. Exits with 1 if anything was. The product may run meanwhile."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("action", choices=["verify"])
        parser.add_argument("--account", metavar="ID", type=UUID, help="the id of one account")

    def handle(self, *args: Any, account: UUID | None, **options: Any) -> None:
        verification, found = Verification(account), 0
        for fault in verification.faults():
            found += 1
            if found <= MOST_TOLD:
                self.stderr.write(fault)
        if found:
            raise CommandError(f"The audit log is not whole: {found} faults in {verification.events} events.")
        chains = "chain" if verification.chains == 1 else "chains"
        counts = [f"{verification.events} events in {verification.chains} {chains} are whole."]
        if verification.forgotten:
            counts.append(f"{verification.forgotten} older ones were removed by the retention.")
        if verification.without_chain:
            counts.append(f"{verification.without_chain} are older than chains are, and cannot be proved.")
        self.stdout.write(" ".join(counts))
