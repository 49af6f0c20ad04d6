"""
What serializers and views do not say of the endpoints of `/v1`: a page for each resource, with its examples.

The document lists the resources in the order in which they stand here.
"""

from collections.abc import Mapping

from sequin_auth.api_description.operation import Operation
from sequin_auth.api_description.operations import (
    audit_log,
    credentials,
    destinations,
    oauth_apps,
    providers,
    redirect_uris,
    syncs,
    webhooks,
)

OPERATIONS: Mapping[tuple[str, str], Operation] = {
    **oauth_apps.OPERATIONS,
    **redirect_uris.OPERATIONS,
    **audit_log.OPERATIONS,
    **providers.OPERATIONS,
    **credentials.OPERATIONS,
    **syncs.OPERATIONS,
    **destinations.OPERATIONS,
    **webhooks.OPERATIONS,
}
