"""
A provider in a process of its own, on the loopback: it answers each refresh with new tokens, after 200 ms.

    python -m bench.provider PORT

`GET /calls` says how many token requests have come so far.
"""

import asyncio
import json
import secrets
import sys
from pathlib import Path

TAKES = 0.2  # seconds
SLUG = "loopback"
KIND = f"{SLUG}_oauth2"
CATALOGUE = """
slug = "{slug}"
name = "Loopback"
docs = "https://example.com/"
checked = 2026-11-22

authorization_endpoint = "http://127.0.0.1:{port}/authorize"
token_endpoint = "http://127.0.0.1:{port}/token"
token_endpoint_auth_methods_supported = ["client_secret_post"]
default_scopes = ["read"]
refresh_token_rotates = "always"

[credential]
sub = {{ token_response = "sub", identity = true }}
"""

calls = 0


def put_into_catalogue(directory: Path, *, port: int) -> dict[str, str]:
    """Make it a provider; the settings that a gateway needs for that."""
    directory.mkdir(exist_ok=True)
    (directory / f"{SLUG}.toml").write_text(CATALOGUE.format(slug=SLUG, port=port))
    return {"PROVIDERS_DIR": str(directory), "EGRESS_ALLOW": f"127.0.0.1:{port}"}


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One connection, for as many requests as the client likes."""
    global calls  # noqa: PLW0603 - one number of one process
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            names = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if line)
            await reader.readexactly(int(names.get("content-length", "0")))
            if head.startswith("GET /calls"):
                body = str(calls).encode()
            else:
                calls += 1
                await asyncio.sleep(TAKES)
                tokens = {"access_token": secrets.token_urlsafe(32), "refresh_token": secrets.token_urlsafe(32)}
                body = json.dumps(tokens | {"token_type": "Bearer", "expires_in": 3600}).encode()
            told = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
            writer.write(told.encode() + body)
            if names.get("connection") == "close":
                return
    except (asyncio.IncompleteReadError, ConnectionError):
        return
    finally:
        writer.close()


async def main(port: int) -> None:
    async with await asyncio.start_server(serve, "127.0.0.1", port, backlog=512) as server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
