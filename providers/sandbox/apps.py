import sys

from django.apps import AppConfig


class SandboxConfig(AppConfig):
    name = "providers.sandbox"
    label = "sandbox"
    verbose_name = "Sandbox"

    def ready(self) -> None:
        from providers.sandbox import script

        if sys.argv[1:3] != ["providers", "lint"]:  # which tells all that is wrong, not the first of it
            script.load()  # a part that cannot be read stops the process here, not the first who tries it
