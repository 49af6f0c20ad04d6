"""
PyPI's localstripe, as Stripe's API. Usage: python -m tests.syncs_live.stripe_server FILE; where it listens is written
to FILE. Started by its own command it would listen on every address, and keep its data in /tmp.
"""

import socket
import sys
from pathlib import Path

from aiohttp import web
from localstripe import resources, server


def forget(store: object) -> None:
    """Nothing is kept."""


def main(file: Path) -> None:
    resources.Store.dump_to_disk = forget
    with socket.create_server(("127.0.0.1", 0)) as listener:
        file.with_suffix(".new").write_text(f"http://127.0.0.1:{listener.getsockname()[1]}")
        file.with_suffix(".new").rename(file)
        web.run_app(server.app, sock=listener, print=None)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
