"""Every secret of a run, and the search for it where no secret may be. Sources: security requirements E01, E02."""

import base64
import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, quote_plus, urlsplit

import psycopg
from psycopg import sql

from tests.real.machine import program

SECRET_PARAMETERS = {
    "code", "state", "client_state", "code_verifier", "client_secret", "client_assertion", "token", "ticket",
}  # fmt: skip
SECRET_MEMBERS = {"access_token", "refresh_token", "id_token", "client_secret", "api_token", "state", "dpop_key"}
SHORTEST = 8  # characters; what is shorter is found by chance


class Canaries:
    def __init__(self) -> None:
        self.kinds: dict[str, str] = {}  # by value

    def __len__(self) -> int:
        return len(self.kinds)

    def add(self, kind: str, value: str) -> str:
        """Remember `value` as a secret, and return it."""
        assert len(value) >= SHORTEST, f"too short to be looked for: {kind}"
        self.kinds.setdefault(value, kind)
        return value

    def add_url(self, url: str) -> None:
        """What is secret in its query."""
        for name, value in parse_qsl(urlsplit(url).query):
            if name in SECRET_PARAMETERS:
                self.add(f"{name} of {urlsplit(url).path}", value)

    def add_document(self, document: Any) -> None:
        """What is secret in the members of a JSON answer, at any depth."""
        members = document.items() if isinstance(document, Mapping) else enumerate(document)
        for name, value in members:
            if isinstance(value, Mapping | list):
                self.add_document(value)
            elif name in SECRET_MEMBERS and isinstance(value, str):
                self.add(str(name), value)

    def found_in(self, *places: Path) -> set[str]:
        """Which kinds of secrets stand in these files and folders, in whatever spelling."""
        kinds = {spelling: kind for value, kind in self.kinds.items() for spelling in spellings(value)}
        return {kinds[spelling] for spelling in search(kinds, *places)}


def spellings(value: str) -> set[bytes]:
    """As it is, in a URL, a form, JSON, hexadecimal, and as a part of something in Base64."""
    raw = value.encode()
    as_text = {value, quote(value, safe=""), quote(value), quote_plus(value), json.dumps(value)[1:-1]}
    as_hexadecimal = {raw.hex().encode(), raw.hex().upper().encode()}
    return {text.encode() for text in as_text} | as_hexadecimal | set(inside_base64(raw))


def inside_base64(raw: bytes) -> Iterator[bytes]:
    """What Base64 makes of these bytes wherever they begin, without the characters that depend on their neighbours."""
    for offset in range(3):
        begins, ends = -(-8 * offset // 6), 8 * (offset + len(raw)) // 6
        encoded = base64.b64encode(b"\0" * offset + raw)[begins:ends]
        yield from (encoded, encoded.translate(bytes.maketrans(b"+/", b"-_")))


def search(strings: Mapping[bytes, str], *places: Path) -> set[bytes]:
    """Which of these strings stand there. By grep: it looks for thousands of them at once."""
    how = ["--recursive", "--text", "--only-matching", "--no-filename", "--fixed-strings", "--file=-"]
    searched = subprocess.run(
        [program("grep"), *how, *map(str, places)],
        input=b"\n".join(strings),
        capture_output=True,
        check=False,
        env={"LC_ALL": "C", "PATH": os.environ["PATH"]},
    )
    assert searched.returncode in {0, 1}, searched.stderr.decode()
    return set(searched.stdout.split(b"\n")) & strings.keys()


def dump(uri: str, path: Path) -> None:
    """Write all rows of all tables to `path`, as text; and have the server write its pages to its files."""
    with psycopg.connect(uri, autocommit=True) as connection, path.open("w") as file:
        tables = connection.execute(
            "SELECT table_schema, table_name FROM information_schema.tables"
            " WHERE table_type = 'BASE TABLE' AND table_schema NOT IN ('pg_catalog', 'information_schema')"
        ).fetchall()
        for schema, table in tables:
            file.write(f"\n-- {table}\n")
            statement = sql.SQL("SELECT one::text FROM {} AS one").format(sql.Identifier(schema, table))
            file.writelines(f"{row}\n" for (row,) in connection.execute(statement))
        connection.execute("CHECKPOINT")
