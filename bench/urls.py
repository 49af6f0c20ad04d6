"""The product's URLs, and a view that does nothing but ask the database as often as it is told."""

from django.http import HttpRequest, JsonResponse
from django.urls import path

from oauth_apps.models import Account
from sequin_auth import urls

handler400, handler404, handler500 = urls.handler400, urls.handler404, urls.handler500


def bare(request: HttpRequest, statements: int) -> JsonResponse:
    for _ in range(statements):
        Account.objects.order_by("pk").first()
    return JsonResponse({"statements": statements})


urlpatterns = [*urls.urlpatterns, path("bare/<int:statements>", bare)]
