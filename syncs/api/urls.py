"""Below `/v1/`."""

from sequin_auth.lib.api.paths import with_and_without_slash as both
from syncs.api import destinations, views

ONE = "syncs/<canonical_uuid:sync_id>"
DESTINATION = "destinations/<canonical_uuid:destination_id>"

app_name = "syncs"
urlpatterns = [
    *both("syncs", views.SyncList.as_view(), name="syncs"),
    *both(ONE, views.SyncDetail.as_view(), name="sync"),
    *both(f"{ONE}/refresh", views.SyncRefresh.as_view(), name="sync-refresh"),
    *both(f"{ONE}/runs", views.SyncRunList.as_view(), name="sync-runs"),
    *both("providers/<str:slug>/collections", views.CollectionList.as_view(), name="collections"),
    *both("destinations", destinations.DestinationList.as_view(), name="destinations"),
    *both(DESTINATION, destinations.DestinationDetail.as_view(), name="destination"),
    *both(f"{DESTINATION}/connection", destinations.DestinationConnection.as_view(), name="destination-connection"),
]
