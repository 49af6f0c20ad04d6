"""Is it alive, and can it work? Open to everybody, so they say nothing else."""

import time
from typing import Final

from django.db import DatabaseError
from django.http import HttpRequest, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe

from credentials.models import FingerprintKey
from oauth_apps.models import AuditKey
from sequin_auth.lib import schema
from sequin_auth.lib.encryption import Unreadable

FITTING_FOR: Final = 60.0  # seconds; the keys of a process never change, but a database may be put in another's place


class Keys:
    """Whether they open the two rows that every installation has; what fits is not asked again for a minute."""

    def __init__(self) -> None:
        self.fitting_until = 0.0

    def fit(self) -> bool:
        """Two statements, or none. Raises DatabaseError."""
        if time.monotonic() < self.fitting_until:
            return True
        try:
            for model in (FingerprintKey, AuditKey):
                for row in model._default_manager.all():
                    bool(row.key)  # what is read is opened
        except Unreadable:
            return False
        self.fitting_until = time.monotonic() + FITTING_FOR
        return True


keys = Keys()


@csrf_exempt
@require_safe
def alive(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"status": "ok"})


@csrf_exempt
@require_safe
def ready(request: HttpRequest) -> JsonResponse:
    """503 until the database answers and every migration has run, and where `move_database` has not finished."""
    try:
        is_behind = schema.is_behind()
    except schema.HalfMoved:
        return JsonResponse({"status": "error", "reason": "move"}, status=503)
    except DatabaseError:
        return JsonResponse({"status": "error", "reason": "database"}, status=503)
    if is_behind:
        return JsonResponse({"status": "error", "reason": "migrations"}, status=503)
    try:
        do_fit = keys.fit()
    except DatabaseError:
        return JsonResponse({"status": "error", "reason": "database"}, status=503)
    if not do_fit:
        return JsonResponse({"status": "error", "reason": "keys"}, status=503)
    return JsonResponse({"status": "ok"})
