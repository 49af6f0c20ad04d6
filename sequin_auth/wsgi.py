import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "sequin_auth.settings")

from sequin_auth.lib.api.requests import with_readable_content_type  # here, since it reads the settings

application = with_readable_content_type(get_wsgi_application())
