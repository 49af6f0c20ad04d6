"""
Dockerfile, compose.yaml and the systemd unit, without an engine: they are read, held to rules, and what they run is run
in a directory that holds just what the image would.
"""

import os
import re
import shlex
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
import pytest
import yaml
from django.core.management import get_commands

from sequin_auth.lib.embedded_postgres.server import BINARIES, server_in
from sequin_auth.management.commands.worker import QUEUES, SYNCS
from sequin_auth.processes import Processes
from tests.documentation.blocks import blocks_of
from tests.real.gateway import new_keys, processes_in
from tests.real.machine import BASE_DIR, free_ports, is_lacking, until, uv
from tests.real.migrated import put_migrated_database
from tests.settings import VAR

ENVIRONMENT = BASE_DIR / "var" / "test" / "image"  # of all runs: uv makes of it what the Dockerfile asks for
DOCKERFILE = (BASE_DIR / "Dockerfile").read_text()
COMPOSE = yaml.safe_load((BASE_DIR / "compose.yaml").read_text())
UNIT = BASE_DIR / "examples" / "systemd" / "sequin-auth.service"
OURS = ("migrate", "web", "worker", "sync-worker")
OF_PYTHON = {"PATH", "PYTHONDONTWRITEBYTECODE"}
PINNED = re.compile(r"[a-z0-9./-]+:\d+\.\d+(\.\d+)?[a-z0-9.-]*")


def instructions() -> list[tuple[str, str]]:
    joined = re.sub(r"\\\n\s*", "", "\n".join(line for line in DOCKERFILE.splitlines() if not line.startswith("#")))
    return [(line.split(" ", 1)[0], line.split(" ", 1)[1]) for line in joined.splitlines() if line.strip()]


def values(name: str) -> list[str]:
    return [value for instruction, value in instructions() if instruction == name]


def exec_form(text: str) -> list[str]:
    """["program", "argument"]: no shell stands in between, which would keep SIGTERM to itself."""
    command: list[str] = yaml.safe_load(text[text.index("[") :])
    return command


def settings() -> set[str]:
    source = (BASE_DIR / "sequin_auth" / "settings.py").read_text()
    return set(re.findall(r'(?:env\.\w+|required|database_of)\(\s*"([A-Z_]+)"', source))


def environment_of_the_image() -> dict[str, str]:
    pairs = [pair.split("=", 1) for value in values("ENV")[-1:] for pair in shlex.split(value)]
    return {name: value for name, value in pairs if name != "PATH"}


# ---- Dockerfile ------------------------------------------------------------------------------------------------------


def test_each_base_is_pinned_and_the_same() -> None:
    bases = [value.split(" AS ")[0] for value in values("FROM")]

    assert all(PINNED.fullmatch(base) for base in bases)
    assert len(set(bases)) == 1


def test_what_is_installed_is_pinned() -> None:
    """hadolint DL3013, DL3042; the rest is what uv.lock says"""
    run = " ".join(values("RUN"))

    assert re.search(r"pip install .*--no-cache-dir.* uv==[0-9.]+", run)
    assert "uv sync --frozen" in run
    assert not re.search(r"\b(apt-get|curl|wget|sudo)\b", run)


def test_it_ends_as_somebody_without_rights() -> None:
    """hadolint DL3002; by number, which Kubernetes' runAsNonRoot can judge"""
    assert values("USER") == ["10001:10001"]
    after_user = [name for name, _ in instructions()[[name for name, _ in instructions()].index("USER") :]]
    assert not {"RUN", "COPY", "ADD"} & set(after_user)


def test_it_adds_nothing_from_elsewhere_and_names_each_thing() -> None:
    """hadolint DL3020, DL3021; and no secret of a checkout comes along"""
    assert values("ADD") == []
    assert not [value for value in values("COPY") if value.split()[0] in {".", "./"}]
    assert set(values("WORKDIR")) == {"/app"}


def test_commands_need_no_shell() -> None:
    """hadolint DL3025"""
    assert exec_form(values("CMD")[0]) == ["python", "manage.py", "serve"]
    assert exec_form(values("HEALTHCHECK")[0]) == ["python", "examples/container/healthy.py"]
    assert len(values("CMD")) == len(values("HEALTHCHECK")) == 1


def test_no_secret_is_an_argument_or_a_default() -> None:
    assert values("ARG") == ["EXTRAS="]
    assert set(environment_of_the_image()) - OF_PYTHON <= settings()
    assert not set(environment_of_the_image()) & {"SECRET_KEY", "ENCRYPTION_KEYS", "DATABASE_URL"}


# ---- compose.yaml ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", COMPOSE["services"])
def test_each_container_can_do_little(name: str) -> None:
    service = COMPOSE["services"][name]

    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert PINNED.fullmatch(service["image"])
    assert service["healthcheck"] if name != "web" else "healthcheck" not in service
    assert not service.get("privileged")


@pytest.mark.parametrize("name", OURS)
def test_each_setting_exists_and_no_secret_stands_there(name: str) -> None:
    service = COMPOSE["services"][name]

    assert set(service["environment"]) <= settings()
    for setting in ("SECRET_KEY", "ENCRYPTION_KEYS", "PUBLIC_URL"):
        assert service["environment"][setting] == f"${{{setting}:?set {setting}}}"
    assert "${POSTGRES_PASSWORD:?" in service["environment"]["DATABASE_URL"]
    of_the_image = set(environment_of_the_image()) | {"DEBUG"}
    assert settings() - of_the_image == set(service["environment"])
    required = {"SECRET_KEY", "ENCRYPTION_KEYS", "PUBLIC_URL", "DATABASE_URL"}
    for name in service["environment"].keys() - required:
        assert service["environment"][name] == (f"${{{name}:-2}}" if name == "WEB_CONCURRENCY" else f"${{{name}:-}}")


def test_the_database_is_reached_from_inside_alone() -> None:
    assert COMPOSE["services"]["postgres"]["networks"] == ["inside"]
    assert COMPOSE["networks"]["inside"] == {"internal": True}
    assert "ports" not in COMPOSE["services"]["postgres"]
    assert COMPOSE["services"]["web"]["ports"] == ["127.0.0.1:8000:8000"]


def test_the_parts_are_those_that_one_command_runs() -> None:
    commands = {name: COMPOSE["services"][name]["command"] for name in OURS}

    assert commands == {
        "migrate": ["python", "manage.py", "migrate"],
        "web": ["python", "-m", "gunicorn"],
        "worker": ["python", "manage.py", "worker"],
        "sync-worker": ["python", "manage.py", "worker", "--queues", "syncs"],
    }
    assert SYNCS not in QUEUES


def test_what_the_page_shows_names_services_and_commands_that_there_are() -> None:
    shown = "\n".join(block.text for block in blocks_of("docs/operating.md") if "docker compose" in block.text)

    named = re.findall(r"docker compose (?:exec|run)(?: -\S+)* (\S+)", shown)
    named += [name for names in re.findall(r"docker compose stop (.+)", shown) for name in names.split()]
    assert len(named) > 8
    assert set(named) <= COMPOSE["services"].keys()
    assert set(re.findall(r"manage\.py (\S+)", shown)) == {"create_account", "doctor", "move_database"}
    assert {"create_account", "doctor", "move_database"} <= get_commands().keys()


# ---- what would be in the image, at work -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def python() -> Path:
    """With the libraries that the Dockerfile installs and no other."""
    (said,) = [value for value in values("RUN") if value.startswith("uv sync")]
    words = shlex.split(said.partition(" ${EXTRAS")[0])
    options = [word for word in words[2:] if word != "--no-cache"]
    given = {"UV_PROJECT_ENVIRONMENT": str(ENVIRONMENT), "PATH": os.environ["PATH"], "HOME": os.environ["HOME"]}
    subprocess.run([uv(), "sync", *options, "--quiet", "--python", sys.executable], cwd=BASE_DIR, env=given, check=True)
    return ENVIRONMENT / "bin" / "python"


@pytest.fixture(scope="module")
def image(python: Path) -> Iterator[Path]:
    """A directory with what COPY names and .dockerignore lets through, which nobody may write to."""
    top = Path(tempfile.mkdtemp(prefix="container-", dir=VAR))
    top.chmod(0o711)
    app = top / "app"
    app.mkdir()
    for value in values("COPY"):
        *sources, target = value.split()
        for source in sources if not sources[0].startswith("--") else []:
            put(BASE_DIR / source, app / (target if len(sources) == 1 and target != "./" else source))
    (compiling,) = [exec_form(value) for value in values("RUN") if "compileall" in value]
    subprocess.run([python, *compiling[1:]], cwd=app, check=True)
    for path in [app, *app.rglob("*")]:
        path.chmod(stat.S_IMODE(path.stat().st_mode) & ~0o222)
    yield app
    for path in [app, *app.rglob("*")]:
        path.chmod(stat.S_IMODE(path.stat().st_mode) | 0o200)
    shutil.rmtree(top)


def put(source: Path, target: Path) -> None:
    found = [source] if source.is_file() else [path for path in source.rglob("*") if path.is_file()]
    taken = [path for path in found if is_sent(path.relative_to(BASE_DIR))]
    assert taken, f"COPY {source.name} finds nothing"
    for path in taken:
        place = target / path.relative_to(source) if path != source else target
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, place)


def is_sent(path: Path) -> bool:
    """Whether .dockerignore lets it through: the last line counts that fits it or a folder that it is in."""
    lines = (BASE_DIR / ".dockerignore").read_text().splitlines()
    found = True
    for line in lines:
        pattern = line.removeprefix("!").removeprefix("**/")
        within = [str(Path(*path.parts[:number])) for number in range(1, len(path.parts) + 1)]
        names = path.parts if "**/" in line else within
        if not line.startswith("#") and any(fnmatch(name, pattern) for name in names):
            found = line.startswith("!")
    return found


@pytest.mark.parametrize(
    "path",
    ["var/development.env", ".git/config", ".env", "sequin_auth/canary.env", "syncs/__pycache__/a.pyc", "tests/a.py"],
)
def test_what_is_nobody_elses_is_not_sent(path: str) -> None:
    assert not is_sent(Path(path))


@pytest.fixture(scope="module")
def processes(image: Path) -> Iterator[Processes]:
    with processes_in(image.parent) as processes:
        yield processes


@pytest.fixture(scope="module")
def environment(image: Path) -> dict[str, str]:
    """What the image gives, and an operator; for `serve` with an embedded database."""
    given = environment_of_the_image() | new_keys() | {"PATH": os.environ["PATH"], "PORT": str(free_ports())}
    del given["PYTHONDONTWRITEBYTECODE"]  # of libraries, so that the next run of these tests need not compile them
    return given | {
        "VAR_DIR": str(image.parent / "var"),
        "PUBLIC_URL": "https://auth.example.com",
        "TRUSTED_PROXIES": "10.0.0.7",
    }


@pytest.fixture(scope="module")
def composed(image: Path, environment: dict[str, str]) -> Iterator[dict[str, str]]:
    """The environment of compose.yaml's containers, with a database that owner.sql has made."""
    put_migrated_database(image.parent / "postgres", environment)
    postgres = server_in(image.parent / "postgres")
    postgres.start()
    postgres_itself = postgres.uri("postgres")
    given = environment | {"POSTGRES_PASSWORD": "canary-'password"}
    owner = str(BASE_DIR / "examples" / "container" / "owner.sql")
    made = [str(BINARIES / "psql"), "-v", "ON_ERROR_STOP=1", "-f", owner, postgres_itself]
    with psycopg.connect(postgres_itself, autocommit=True) as there:
        there.execute("DROP DATABASE sequin_auth")
    subprocess.run(made, env=given, check=True, capture_output=True)
    url = f"postgres://sequin@/sequin_auth?host={quote(str(postgres.socket_directory), safe='')}&sslmode=disable"
    said = COMPOSE["services"]["web"]["environment"].items()
    passed_on = {name: value.partition(":-")[2].removesuffix("}") for name, value in said}  # where nothing is set
    own = {"DATABASE_URL": url, "VAR_DIR": str(image.parent / "composed"), "PORT": str(free_ports())}
    Path(own["VAR_DIR"]).mkdir(mode=0o700)
    yield passed_on | environment | own
    postgres.stop()


class Container:
    """A command, at the Python of the image."""

    def __init__(self, name: str, command: list[str], image: Path, environment: dict[str, str], processes: Processes):
        self.log = image.parent / f"log of {name}"
        with self.log.open("wb") as log:
            how: dict[str, Any] = {"cwd": image, "env": environment, "stdout": log, "stderr": subprocess.STDOUT}
            self.process = processes.start(name, [str(ENVIRONMENT / "bin" / "python"), *command[1:]], **how)

    @property
    def said(self) -> str:
        return self.log.read_text()

    def wait_for(self, condition: Callable[[], bool], what: str) -> None:
        until(lambda: self.process.poll() is not None or condition(), what=what)
        assert self.process.poll() is None, self.said[-3000:]

    def end(self) -> int:
        self.process.terminate()
        return self.process.wait()


def is_healthy(image: Path, environment: dict[str, str]) -> bool:
    """HEALTHCHECK needs nothing but the standard library, so the quickest Python does."""
    command = [sys.executable, "-IS", *exec_form(values("HEALTHCHECK")[0])[1:]]
    return subprocess.run(command, cwd=image, env=environment, check=False).returncode == 0


def test_the_healthcheck_says_no_where_nothing_answers(image: Path, environment: dict[str, str]) -> None:
    assert not is_healthy(image, environment)


def test_the_very_command_serves_from_a_checkout_that_it_leaves_alone(
    image: Path, environment: dict[str, str], processes: Processes
) -> None:
    before = listing(image)

    serving = Container("serve", exec_form(values("CMD")[0]), image, environment, processes)
    serving.wait_for(lambda: is_healthy(image, environment), "it is healthy")

    assert listing(image) == before
    assert serving.end() == 0


def test_each_part_of_compose_runs_as_an_owner_without_rights(
    image: Path, composed: dict[str, str], processes: Processes
) -> None:
    commands: dict[str, list[str]] = {name: COMPOSE["services"][name]["command"] for name in OURS}
    database = psycopg.connect(composed["DATABASE_URL"], autocommit=True)

    migrating = Container("migrate", commands["migrate"], image, composed, processes)
    assert migrating.process.wait() == 0, migrating.said[-3000:]
    parts = {name: Container(name, commands[name], image, composed, processes) for name in OURS[1:]}

    counted = "SELECT count(*) FROM oauth_apps_process WHERE queues <> ''"
    parts["web"].wait_for(lambda: is_healthy(image, composed), "the web server is healthy")
    for name in ("worker", "sync-worker"):
        parts[name].wait_for(lambda: database.execute(counted).fetchone() == (2,), "both workers are there")
    assert "no_sync_database" not in parts["sync-worker"].said
    database.close()
    assert [part.end() for part in parts.values()] == [0, 0, 0]


def test_the_owner_is_no_superuser_and_the_superuser_has_no_password(composed: dict[str, str]) -> None:
    rights = "SELECT rolname, rolsuper, rolcreatedb, rolcreaterole, rolpassword LIKE 'SCRAM-SHA-256$%' FROM pg_authid"
    wanted = " WHERE rolname IN ('postgres', 'sequin') ORDER BY rolname"
    with psycopg.connect(composed["DATABASE_URL"].replace("//sequin@", "//postgres@")) as there:
        found = there.execute(rights + wanted).fetchall()

    assert found == [("postgres", True, True, True, None), ("sequin", False, True, True, True)]


def listing(directory: Path) -> dict[str, float]:
    return {str(path): path.stat().st_mtime for path in directory.rglob("*")}


# ---- systemd ---------------------------------------------------------------------------------------------------------


def directives() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in UNIT.read_text().splitlines():
        if "=" in line and not line.startswith("#"):
            name, value = line.split("=", 1)
            found.setdefault(name, []).append(value)
    return found


def test_the_unit_runs_the_same_command_with_few_rights() -> None:
    said = directives()

    assert said["ExecStart"] == ["/opt/sequin-auth/.venv/bin/python manage.py serve"]
    for name in ("DynamicUser", "NoNewPrivileges", "ProtectHome", "PrivateTmp", "PrivateDevices", "RestrictSUIDSGID"):
        assert said[name] == ["yes"]
    assert said["ProtectSystem"] == ["strict"]
    assert said["CapabilityBoundingSet"] == [""]
    given = {pair.split("=")[0] for pair in said["Environment"][0].split()}
    assert given - OF_PYTHON <= settings()


def test_systemd_reads_the_unit(tmp_path: Path) -> None:
    if not (analyze := shutil.which("systemd-analyze")):
        is_lacking("The program systemd-analyze")
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace("/opt/sequin-auth/.venv/bin/python", sys.executable))

    verified = subprocess.run([analyze, "verify", unit], capture_output=True, text=True, check=False)

    assert (verified.returncode, verified.stderr) == (0, "")
