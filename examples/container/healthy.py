"""
Exit status 0 if the web server of this container answers: for HEALTHCHECK, in an image without curl.

/healthz and not /readyz: a database that is away is no reason to restart what waits for it.
"""

import os
import sys
from http.client import HTTPConnection
from urllib.parse import urlsplit

port = int(os.environ.get("PORT") or 8000)
host = urlsplit(os.environ.get("PUBLIC_URL") or f"http://127.0.0.1:{port}").netloc
connection = HTTPConnection("127.0.0.1", port, timeout=4)
try:
    connection.request("GET", "/healthz", headers={"Host": host})
    sys.exit(connection.getresponse().status != 200)
except OSError:
    sys.exit(1)
