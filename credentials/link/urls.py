"""The server half of OAuth, as a developer's client library and an end user's browser see it."""

from django.urls import re_path

from credentials.link import views

UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"

urlpatterns = [
    re_path(r"^start/?$", views.start, name="start"),
    re_path(r"^start/(?P<token>[A-Za-z0-9_-]{43})/?$", views.start, name="start_by_link"),
    re_path(rf"^callback/(?P<slug>[a-z0-9-]+)/(?P<oauth_app_id>{UUID})/?$", views.callback, name="own_callback"),
    re_path(r"^callback/(?P<slug>[a-z0-9-]+)/?$", views.callback, name="callback"),
    re_path(r"^continue/?$", views.go_on, name="continue"),
    re_path(r"^ended/?$", views.cancelled, name="cancelled"),
    re_path(rf"^ended/(?P<authorization_id>{UUID})/?$", views.ended, name="ended"),
    re_path(r"^token/?$", views.token, name="token"),
    re_path(r"^revoke/?$", views.revoke, name="revoke"),
]
