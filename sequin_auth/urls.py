"""The whole product on one screen."""

from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView

from credentials.link import views as link
from sequin_auth import documentation, metrics, probes
from sequin_auth.lib.api import errors

admin.autodiscover()

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:index")),
    path("link/oauth2/", include("credentials.link.urls")),
    path(".well-known/oauth-authorization-server", link.metadata),
    path("v1/openapi.json", documentation.openapi, name="openapi"),
    path("docs", RedirectView.as_view(pattern_name="documentation")),
    path("docs/", documentation.page, name="documentation"),
    path("v1/", include("oauth_apps.api.urls")),
    path("v1/", include("credentials.api.urls")),
    path("v1/", include("syncs.api.urls")),
    path("providers/", include("providers.showing.urls")),
    path("sandbox/", include("providers.sandbox.urls")),
    path("admin/", admin.site.urls),
    path("healthz", probes.alive),
    path("readyz", probes.ready),
    path("metrics", metrics.metrics),
]

handler400 = errors.bad_request
handler403 = errors.permission_denied
handler404 = errors.page_not_found
handler500 = errors.server_error
