"""The embedded server: who may reach it, what it writes down, and what it survives."""

import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import psycopg
import pytest
from django.conf import settings
from django.db import DatabaseError, OperationalError
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.utils import ConnectionHandler
from procrastinate.contrib.django import utils as procrastinate
from pytest_django import DjangoDbBlocker

from sequin_auth.lib.embedded_postgres.base import DatabaseWrapper
from sequin_auth.lib.embedded_postgres.server import Server, ServerError, server_in

USE_IT = """
import sys
from pathlib import Path
from sequin_auth.lib.embedded_postgres.server import server_in

server = server_in(Path(sys.argv[1]))
server.start()
print((server.data / "postmaster.pid").read_text().split()[0], flush=True)
sys.stdin.read()
"""


class User:
    """Another process that uses the server of a directory, until it is told to leave or killed."""

    def __init__(self, directory: Path) -> None:
        command = [sys.executable, "-c", USE_IT, str(directory)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=settings.BASE_DIR, text=True
        )
        assert self.process.stdout is not None
        self.server_pid = int(self.process.stdout.readline())

    def leave(self) -> None:
        self.process.communicate(timeout=30)

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate(timeout=30)


@pytest.fixture
def empty() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="pg-"))
    yield path / "postgres"
    Server(path / "postgres").stop()
    shutil.rmtree(path)


@pytest.fixture(scope="module")
def stopped() -> Iterator[Path]:
    """A directory whose server ran once; making one takes a second, copying it does not."""
    path = Path(tempfile.mkdtemp(prefix="pg-"))
    server_in(path / "postgres").start()
    server_in(path / "postgres").stop()
    yield path / "postgres"
    shutil.rmtree(path)


@pytest.fixture
def directory(empty: Path, stopped: Path) -> Path:
    subprocess.run(["cp", "-a", stopped, empty], check=True)
    return empty


@pytest.fixture
def server(directory: Path) -> Iterator[Server]:
    server = server_in(directory)
    server.start()
    yield server
    server.stop()


Connect = Callable[..., BaseDatabaseWrapper]


@pytest.fixture
def connect(server: Server, django_db_blocker: DjangoDbBlocker) -> Iterator[Connect]:
    """Django's connection to a database of the server, pooled as the product's."""
    pool = settings.DATABASES["default"]["OPTIONS"]["pool"] | {"timeout": 3}
    embedded = {"ENGINE": "sequin_auth.lib.embedded_postgres", "NAME": "spare", "DATA_DIR": server.directory}
    handlers: list[ConnectionHandler] = []

    def connection(**changes: object) -> BaseDatabaseWrapper:
        if not handlers:
            entry = embedded | {"OPTIONS": {"pool": pool}} | changes
            handlers.append(ConnectionHandler({"default": {}, "spare": entry}))
        wrapper: BaseDatabaseWrapper = handlers[0]["spare"]
        return wrapper

    with django_db_blocker.unblock():
        yield connection
        for handler in handlers:
            handler["spare"].close()
            handler["spare"].close_pool()  # type: ignore[attr-defined]


def pid_of(server: Server) -> int:
    return int((server.data / "postmaster.pid").read_text().split()[0])


def is_running(pid: int) -> bool:
    """A server that has ended may stay as a zombie, where nobody waits for it."""
    process = psutil.Process(pid)
    return bool(process.name() == "postgres" and process.status() != psutil.STATUS_ZOMBIE)


def kill(server: Server) -> None:
    process = psutil.Process(pid_of(server))
    backends = process.children()
    process.kill()
    psutil.wait_procs(backends, timeout=10)


def request(connection: BaseDatabaseWrapper) -> int:
    """What a request does: a connection from the pool, a statement, and back."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 42")
            return int(cursor.fetchone()[0])
    finally:
        connection.close()


def test_a_command_without_database_starts_nothing(empty: Path) -> None:
    connection = ConnectionHandler(
        {"default": {"ENGINE": "sequin_auth.lib.embedded_postgres", "NAME": "spare", "DATA_DIR": empty}}
    )["default"]

    assert connection.vendor == "postgresql"
    assert not empty.exists()


def test_it_refuses_the_socket_directory_that_somebody_else_has_put_there(empty: Path) -> None:
    server = server_in(empty / ("long/" * 20) / "postgres")
    assert server.socket_directory.parent == Path("/tmp")  # noqa: S108
    server.socket_directory.mkdir(mode=0o777)
    server.socket_directory.chmod(0o777)

    try:
        with pytest.raises(ServerError, match="not ours alone"):
            server.start()
    finally:
        server.socket_directory.rmdir()
        server.stop()


def test_it_refuses_data_of_another_user(empty: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("gives a directory away, which only root can")
    empty.mkdir()
    os.chown(empty, 12345, 12345)

    with pytest.raises(ServerError, match="another user"):
        server_in(empty).start()

    assert list(empty.iterdir()) == []


def test_nobody_else_can_reach_data_or_socket(server: Server) -> None:
    paths = [server.directory, server.data, server.socket_directory, server.socket_directory / ".s.PGSQL.5432"]

    assert [stat.S_IMODE(path.stat().st_mode) for path in paths] == [0o700] * 4
    assert stat.S_IMODE(server.log.stat().st_mode) == 0o600
    assert len({path.stat().st_uid for path in paths}) == 1
    with psycopg.connect(server.uri("postgres")) as connection:
        assert connection.execute("SHOW listen_addresses").fetchone() == ("",)


def test_the_server_knows_no_secret_of_its_starter(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    server.stop()
    monkeypatch.setenv("ENCRYPTION_KEYS", "canary-key")

    server.start()

    assert psutil.Process(pid_of(server)).environ().keys() & os.environ.keys() <= {"LC_ALL", "PWD", "OLDPWD", "SHLVL"}
    assert "canary-key" not in psutil.Process(pid_of(server)).environ().values()


def test_the_log_shows_no_value_of_a_failing_statement(connect: Connect, server: Server) -> None:
    """E02: Django writes the values into the statement, and PostgreSQL would log it."""
    failing = [
        "INSERT INTO box VALUES (%s), (%s)",  # the DETAIL would name the value that is there twice
        "INSERT INTO box VALUES (%s || %s), (NULL)",  # and this one the row
        "SELECT %s::text || %s::uuid::text",  # this one is named by the message itself
        "SELECT %s, %s FROM nowhere",
    ]
    with connect().cursor() as cursor:
        cursor.execute("CREATE TABLE box (secret text UNIQUE NOT NULL)")
        for statement in failing:
            with pytest.raises(DatabaseError):
                cursor.execute(statement, ["canary-value", "canary-value"])

    connect().close()
    server.stop()  # all is written

    assert "database system is shut down" in server.log.read_text()
    assert "canary" not in server.log.read_text()


def test_the_database_is_made_by_the_first_connection(connect: Connect) -> None:
    with connect().cursor() as cursor:
        cursor.execute("SELECT current_database(), datlocprovider FROM pg_database WHERE datname = current_database()")

        assert cursor.fetchone() == ("spare", "b")


def test_the_second_finds_the_server_of_the_first_and_the_last_to_leave_stops_it(directory: Path) -> None:
    first = User(directory)
    second = User(directory)
    assert first.server_pid == second.server_pid

    first.leave()
    assert is_running(second.server_pid)
    second.leave()

    assert not (directory / "data" / "postmaster.pid").exists()
    assert list((directory / "socket").iterdir()) == []


def test_a_stopped_server_is_started_again_with_its_data(server: Server) -> None:
    server.create_database("kept")
    first = pid_of(server)
    server.stop()

    server.start()

    assert pid_of(server) != first
    with psycopg.connect(server.uri("kept")) as connection:
        assert connection.execute("SELECT current_database()").fetchone() == ("kept",)


def test_a_killed_user_is_not_counted(directory: Path) -> None:
    first, second = User(directory), User(directory)

    first.kill()
    second.leave()

    assert not (directory / "data" / "postmaster.pid").exists()


def test_a_forked_child_that_ends_leaves_the_server_to_its_parent(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forking = USE_IT.replace("server.start()", "server.start()\nimport os\nif os.fork() == 0: sys.exit()\nos.wait()")
    monkeypatch.setitem(globals(), "USE_IT", forking)

    parent = User(directory)  # whose child has ended by now

    assert is_running(parent.server_pid)
    parent.leave()
    assert not (directory / "data" / "postmaster.pid").exists()


@pytest.mark.parametrize("left_behind", ["another process", "another server", "nobody", "nothing"])
def test_a_crash_of_everything_is_survived(directory: Path, stopped: Path, left_behind: str) -> None:
    """postmaster.pid stays, and its number may be anybody's by the time of the next start."""
    user = User(directory)
    os.kill(user.server_pid, signal.SIGKILL)
    user.kill()
    another = server_in(stopped)
    another.start()
    pids = {"another process": os.getpid(), "another server": pid_of(another), "nobody": 2**22 - 1, "nothing": ""}
    stale = directory / "data" / "postmaster.pid"
    rest = stale.read_text().split("\n", 1)[1]
    stale.write_text(f"{pids[left_behind]}\n{rest}" if left_behind != "nothing" else "")

    next_user = User(directory)

    another.stop()
    assert is_running(next_user.server_pid)
    next_user.leave()


def test_a_data_directory_that_was_cut_off_half_way_is_made_anew(empty: Path) -> None:
    (empty / "data.unfinished").mkdir(parents=True)
    (empty / "data.unfinished" / "PG_VERSION").write_text("18\n")

    user = User(empty)

    assert is_running(user.server_pid)
    user.leave()


def test_two_projects_have_two_servers(empty: Path) -> None:
    deep = empty / ("long/" * 20) / "postgres"  # too long for a socket
    servers = [server_in(empty / "one"), server_in(deep)]

    try:
        for number, server in enumerate(servers):
            server.start()
            server.create_database(f"only_in_{number}")
        names = []
        for server in servers:
            with psycopg.connect(server.uri("postgres")) as connection:
                rows = connection.execute("SELECT datname FROM pg_database WHERE datname LIKE 'only%'").fetchall()
                names.append(rows)
    finally:
        for server in servers:
            server.stop()
        shutil.rmtree(servers[1].socket_directory)

    assert names == [[("only_in_0",)], [("only_in_1",)]]


def test_after_a_crash_no_pooled_connection_fails(connect: Connect, server: Server) -> None:
    """G13."""
    fill_the_pool(connect, 8)

    kill(server)

    assert [request(connect()) for _ in range(12)] == [42] * 12


def test_a_server_elsewhere_that_comes_back_is_used_at_once(connect: Connect, server: Server) -> None:
    """G13, by DATABASE_URL: there nobody but the operator starts the server."""
    server.create_database("spare")
    elsewhere = {"ENGINE": "sequin_auth.lib.postgres", "HOST": str(server.socket_directory), "USER": "postgres"}
    connect(**elsewhere)
    fill_the_pool(connect, 8)

    server.stop()
    with pytest.raises(OperationalError):
        request(connect())
    server.start()

    assert [request(connect()) for _ in range(12)] == [42] * 12


def fill_the_pool(connect: Connect, size: int) -> None:
    together = threading.Barrier(size)

    def use() -> None:
        connection = connect()
        connection.ensure_connection()
        together.wait(timeout=10)
        connection.close()

    threads = [threading.Thread(target=use) for _ in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert connect().pool.get_stats()["pool_available"] == size  # type: ignore[attr-defined]


def test_procrastinate_and_psql_get_the_same_server(
    connect: Connect, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(procrastinate, "connections", {"default": connect()})

    with psycopg.connect(**procrastinate.connector_params()) as worker:
        assert worker.execute("SELECT current_database()").fetchone() == ("spare",)
    arguments, _ = DatabaseWrapper.client_class.settings_to_cmd_args_env(connect().settings_dict, ["-Atc", "SELECT 42"])
    assert subprocess.check_output(arguments, text=True) == "42\n"
