from django.apps import AppConfig

from .lib.encryption import key_ring


class SequinAuthConfig(AppConfig):
    name = "sequin_auth"
    verbose_name = "Sequin Auth"

    def ready(self) -> None:
        """No key, no start: whatever is started, server, worker or command, ends here with ImproperlyConfigured."""
        key_ring()
        from . import checks  # noqa: F401 - registers them; needs the models, which are loaded by now
