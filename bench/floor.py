"""
The floor: a bare Django view with one query on pooled PostgreSQL, and nothing that it does not need. No middleware, no
app. COMMAND starts it under gunicorn as the product is, with FLOOR_DATABASE in the environment.
"""

import os
import sys
import uuid
from typing import Any
from urllib.parse import parse_qs, urlsplit

from django.conf import settings
from django.core.wsgi import get_wsgi_application

COMMAND = [sys.executable, "-m", "gunicorn", "-c", "/dev/null", "-k", "gthread", "--threads", "16", "--preload"]
COMMAND += ["bench.floor:application"]


def database(url: str) -> dict[str, Any]:
    parts = urlsplit(url)
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": parts.path[1:],
        "USER": parts.username,
        "HOST": parse_qs(parts.query)["host"][0],
        "OPTIONS": {"pool": {"min_size": 1, "max_size": 20}},
    }


def app() -> Any:
    settings.configure(
        ALLOWED_HOSTS=["127.0.0.1"],
        DATABASES={"default": database(os.environ["FLOOR_DATABASE"])},
        INSTALLED_APPS=[],
        MIDDLEWARE=[],
        ROOT_URLCONF="bench.floor",
        SECRET_KEY="none",  # it signs nothing
        USE_TZ=True,
    )
    return get_wsgi_application()


if "FLOOR_DATABASE" in os.environ and not settings.configured:
    application = app()

    from django.db import models
    from django.http import HttpRequest, JsonResponse
    from django.urls import path

    class Row(models.Model):  # noqa: DJ008 - nobody prints it
        credential_id: "models.UUIDField[uuid.UUID, uuid.UUID]" = models.UUIDField(primary_key=True)
        token_type = models.CharField(max_length=50)
        expires_at = models.DateTimeField()

        class Meta:
            app_label = "floor"
            db_table = "credentials_token"
            managed = False

    def view(request: HttpRequest, pk: uuid.UUID) -> JsonResponse:
        row = Row._default_manager.get(pk=pk)
        response = JsonResponse({"token_type": row.token_type, "expires_at": row.expires_at})
        response["Content-Length"] = len(response.content)  # else it is sent in chunks, which costs more
        return response

    urlpatterns = [path("rows/<uuid:pk>", view)]
