from django.apps import AppConfig
from django.db.models.signals import pre_delete


class OAuthAppsConfig(AppConfig):
    name = "oauth_apps"
    verbose_name = "Accounts"

    def ready(self) -> None:
        from oauth_apps import measures as kept
        from oauth_apps.models import WebhookEndpoint
        from oauth_apps.webhooks.endpoints import hold
        from sequin_auth.lib import measures, writer

        pre_delete.connect(hold, sender=WebhookEndpoint)
        measures.written_by(lambda: writer.keep_calling(kept.write))
