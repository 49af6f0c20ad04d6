"""What time has done with: unclaimed tokens, finished trips, kept answers. Idempotent; two at once do no harm."""

from django.conf import settings
from procrastinate.contrib.django import app

from credentials.link.flow.callback import give_back
from credentials.models import Authorization, StartLink
from oauth_apps.models import FailedAuthentication, IdempotencyRecord
from providers.sandbox.purge import purge as purge_sandbox

BATCH = 500


def purge() -> dict[str, int]:
    """Erase what is over; how many of what."""
    return {
        "unclaimed_tokens": erase_unclaimed(),
        "authorizations": Authorization.objects.outdated().delete()[0],
        "start_links": StartLink.objects.outdated().delete()[0],
        "idempotency_records": IdempotencyRecord.objects.outdated().delete()[0],
        "failed_authentications": FailedAuthentication.objects.outdated().delete()[0],
        "sandbox": purge_sandbox() if settings.SANDBOX else 0,
    }


def erase_unclaimed() -> int:
    """Tokens that the developer never fetched: erased first, then given back to the provider, best effort."""
    erased = 0
    for pk in list(Authorization.objects.unclaimed().values_list("pk", flat=True)[:BATCH]):
        authorization = Authorization.objects.abandon(pk)
        if authorization is None:
            continue  # another purge was faster
        erased += 1
        give_back(authorization, authorization.oauth_app)
    return erased


@app.periodic(cron="* * * * *")
@app.task(queue="housekeeping", queueing_lock="purge")
def purge_job(timestamp: int) -> None:
    purge()
