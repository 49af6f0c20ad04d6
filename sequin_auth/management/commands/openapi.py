from typing import Any

from django.core.management.base import BaseCommand


class Command(BaseCommand):
    help = "Writes docs/openapi.json: what /v1/openapi.json and /docs/ show."

    def handle(self, *args: Any, **options: Any) -> None:
        from sequin_auth.api_description.generator import DOCUMENT, text  # takes half a second, for this alone

        DOCUMENT.write_text(text())
        self.stdout.write(str(DOCUMENT))
