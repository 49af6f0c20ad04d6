from django.apps import AppConfig
from django.db.models.signals import pre_delete


class CredentialsConfig(AppConfig):
    name = "credentials"
    verbose_name = "Connections"

    def ready(self) -> None:
        from credentials.counting import count_trips_of
        from credentials.deletion import revoke_later
        from credentials.link.giving_back import give_back_pending
        from credentials.models import Credential
        from oauth_apps.models import OAuthApp

        pre_delete.connect(give_back_pending, sender=OAuthApp)
        pre_delete.connect(give_back_pending, sender=Credential)
        pre_delete.connect(count_trips_of, sender=OAuthApp)
        pre_delete.connect(count_trips_of, sender=Credential)
        pre_delete.connect(revoke_later, sender=Credential)
