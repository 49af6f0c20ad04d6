from django.apps import AppConfig
from django.db.models.signals import pre_delete


class CredentialsConfig(AppConfig):
    name = "credentials"
    verbose_name = "Connections"

    def ready(self) -> None:
        from credentials.announcing import deleted
        from credentials.deleted_trips import count_trips_of
        from credentials.deletion import revoke_later
        from credentials.link.giving_back import give_back_pending
        from credentials.models import Credential
        from oauth_apps.models import OAuthApp

        # First, for it locks the trips: one that is granted just then has its tokens given back by one or the other
        pre_delete.connect(count_trips_of, sender=OAuthApp)
        pre_delete.connect(count_trips_of, sender=Credential)
        pre_delete.connect(give_back_pending, sender=OAuthApp)
        pre_delete.connect(give_back_pending, sender=Credential)
        pre_delete.connect(revoke_later, sender=Credential)
        pre_delete.connect(deleted, sender=Credential)
