import sys

from django.apps import AppConfig


class ProvidersConfig(AppConfig):
    name = "providers"
    verbose_name = "Providers"

    def ready(self) -> None:
        from providers import catalogue

        if sys.argv[1:3] != ["providers", "lint"]:  # which tells all that is wrong, not the first of it
            catalogue.load()  # a file that cannot be read stops the process here, not the first user
