import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "sequin_auth.settings")
django_application = get_wsgi_application()

# Here, since they read the settings and need the models
from credentials.api.fast_lane import FastLane  # noqa: E402
from sequin_auth.lib.api.requests import with_readable_content_type  # noqa: E402

application = FastLane(with_readable_content_type(django_application))
