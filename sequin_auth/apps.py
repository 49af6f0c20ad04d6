import gc

from django.apps import AppConfig

from .lib import reporting
from .lib.encryption import key_ring


class SequinAuthConfig(AppConfig):
    name = "sequin_auth"
    verbose_name = "Sequin Auth"

    def ready(self) -> None:
        """No key, no start: whatever is started, server, worker or command, ends here with ImproperlyConfigured."""
        key_ring()
        reporting.begin()
        from . import checks  # noqa: F401 - registers them; needs the models, which are loaded by now

        gc.freeze()  # what has been read by now stays to the end: the collector need not walk through it
        gc.enable()
