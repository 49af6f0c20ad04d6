"""
Processes that live and die together: when one ends, or we do, all end, `kill -9` of ourselves included. One of which it
was said so is started again instead, unless it ends as soon as it has begun.

One that is the product itself is forked (`fork`) instead of started: it has Django and the catalogue then, which take a
second of processor time to read, and shares the memory that they lie in.

For `kill -9` a watch stands beside us. It reads from a pipe whose other end is ours, and when the kernel closes
that, it ends whom we have started. Until it is done, it holds a lock that the next start waits for.
"""

import contextlib
import fcntl
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import FrameType, TracebackType
from typing import IO, Any, Final, NoReturn, Protocol, Self

import psutil

GRACE: Final = 15.0  # seconds to finish what is under way; no call to a provider takes longer than ten
LOOKING_EVERY: Final = 0.1  # seconds
AT_ONCE: Final = 5.0  # seconds: what ends within them cannot run as it is set up, and starting it again is no help

INTERRUPTS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
LONGEST_NAME: Final = 15  # bytes that Linux keeps

logger = logging.getLogger(__name__)


class AlreadyRunning(Exception):
    """Another start holds the lock. The message is what it has left there."""


class ProcessEnded(Exception):
    """One that ought to run has ended."""

    def __init__(self, name: str, status: int) -> None:
        super().__init__(f"The {name} has ended ({how_it_ended(status)}), and everything else with it.")
        self.name = name


class InChild(BaseException):
    """Raised by `fork` in the child, past all that is its parent's, to where `work` is called: in `manage.py`."""

    def __init__(self, work: Callable[[], object]) -> None:
        super().__init__("a forked process has to begin its work")
        self.work = work


class Running(Protocol):
    """What we ask of those whom we have started or forked; subprocess.Popen's."""

    @property
    def pid(self) -> int: ...

    def poll(self) -> int | None: ...

    def wait(self) -> int: ...


class Forked:
    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._status: int | None = None

    def poll(self) -> int | None:
        return self._look(os.WNOHANG)

    def wait(self) -> int:
        status = self._look(0)
        assert status is not None  # noqa: S101 - it has waited
        return status

    def _look(self, options: int) -> int | None:
        if self._status is None:
            pid, status = os.waitpid(self.pid, options)
            self._status = os.waitstatus_to_exitcode(status) if pid else None
        return self._status


class Processes:
    """A context: inside it processes are started, on leaving it they are stopped. Not for use from several threads."""

    def __init__(self, lock: Path, *, grace: float = GRACE) -> None:
        self._lock = lock
        self._grace = grace
        self._running: dict[str, Running] = {}
        self._again: dict[str, tuple[float, Callable[[], object]]] = {}  # since when it runs, and how it is started

    def __enter__(self) -> Self:
        """Raises AlreadyRunning. Waits for a watch that is still clearing up after a killed start."""
        self._held = self._take_lock()
        self._watch, self._to_watch = self._start_watch()
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        if isinstance(exc, InChild):
            return
        try:
            running = [psutil.Process(process.pid) for process in self._running.values() if process.poll() is None]
            end(running, grace=self._grace)
        finally:
            for process in self._running.values():
                process.wait()
            os.close(self._to_watch)
            self._watch.wait()
            os.close(self._held)

    def start(self, name: str, command: Sequence[str], *, again: bool = False, **how: Any) -> subprocess.Popen[bytes]:
        """Start `command` in a session of its own, so that a Ctrl-C of the terminal is ours alone to pass on.

        `again`: and start it anew if it ends while we wait, be it killed.
        """
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True, **how)  # noqa: S603
        self._tell_watch(process.pid)
        self._keep(name, process, (lambda: self.start(name, command, again=True, **how)) if again else None)
        return process

    def fork(
        self, name: str, work: Callable[[], object], *, again: bool = False, title: str = "", output: int | None = None
    ) -> Running:
        """As `start`, for work of ours: the child has all that this process has read. Raises InChild, in the child.

        No thread and no connection may be there to be cut in two. `title`: what `ps` and `top` show as its name, where
        that can be set. `output`: the descriptor of where it writes; else where we do.
        """
        sys.stdout.flush()
        sys.stderr.flush()
        again_so = lambda: self.fork(name, work, again=True, title=title, output=output)  # noqa: E731
        # Until the child is known, so that it is ended too; and none is taken by the child for its parent's
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, INTERRUPTS)
        try:
            if (pid := os.fork()) == 0:
                os.close(self._held)
                os.setsid()
                self._tell_watch(os.getpid())  # by itself: the parent may be killed before it comes to that
                os.close(self._to_watch)
                become_child(work, title=title or name, output=output, mask=mask)
            process = Forked(pid)
            self._keep(name, process, again_so if again else None)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        return process

    def _keep(self, name: str, process: Running, again: Callable[[], object] | None) -> None:
        self._running[name] = process
        if again:
            self._again[name] = time.monotonic(), again

    def _tell_watch(self, pid: int) -> None:
        os.write(self._to_watch, f"{pid}\n".encode())

    def wait(self, until: Callable[[], bool] = lambda: False) -> None:
        """Return when `until` holds. Raises ProcessEnded as soon as one of ours has ended for good."""
        while not until():
            for name, process in list(self._running.items()):
                if (status := process.poll()) is not None:
                    self._start_again(name, process, status)
            time.sleep(LOOKING_EVERY)

    def _start_again(self, name: str, process: Running, status: int) -> None:
        """Raises ProcessEnded if it is not to be, or would be in vain."""
        since, start = self._again.get(name, (time.monotonic(), None))
        if start is None or time.monotonic() - since < AT_ONCE:
            raise ProcessEnded(name, status)
        logger.error("The %s has ended (%s) and is started again.", name, how_it_ended(status))
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # what it has started itself
        start()

    def say(self, text: str) -> None:
        """What AlreadyRunning tells whoever comes next."""
        os.ftruncate(self._held, 0)
        os.pwrite(self._held, text.encode(), 0)

    def _take_lock(self) -> int:
        descriptor = os.open(self._lock, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            said = os.pread(descriptor, 1000, 0).decode()
            os.close(descriptor)
            raise AlreadyRunning(said) from None
        return descriptor

    def _start_watch(self) -> tuple[subprocess.Popen[bytes], int]:
        """The watch, and the end of the pipe that tells it whom to end. Its own lock it inherits, taken."""
        ours, to_watch = os.pipe()
        lock = os.open(self._lock.with_name(f"{self._lock.name}.watch"), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            watch = subprocess.Popen(  # noqa: S603 - ourselves
                [sys.executable, "-P", __file__, str(self._grace)],
                stdin=ours,
                stdout=subprocess.DEVNULL,
                pass_fds=[lock],
                start_new_session=True,
            )
        finally:
            os.close(lock)
            os.close(ours)
        return watch, to_watch


def become_child(work: Callable[[], object], *, title: str, output: int | None, mask: Iterable[int]) -> NoReturn:
    """What else subprocess does between fork and exec, and a name of its own."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    for descriptor in (1, 2) if output is not None else ():
        os.dup2(output or 0, descriptor)
    for number in INTERRUPTS:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    with contextlib.suppress(OSError):  # Linux alone has it
        Path("/proc/self/comm").write_bytes(title.encode()[:LONGEST_NAME])
    raise InChild(work)


def how_it_ended(status: int) -> str:
    return f"exit {status}" if status >= 0 else f"signal {-status}"


def end(processes: Sequence[psutil.Process], *, grace: float) -> None:
    """Ask each to end, and kill with all that it has started whoever has not by then; at once on another Ctrl-C."""
    signal_each(processes, signal.SIGTERM)
    deadline = time.monotonic() + grace
    try:
        while any(is_alive(process) for process in processes) and time.monotonic() < deadline:
            time.sleep(LOOKING_EVERY / 4)
    except KeyboardInterrupt:
        pass
    for process in processes:
        if is_alive(process):
            os.killpg(process.pid, signal.SIGKILL)


def signal_each(processes: Iterable[psutil.Process], number: int) -> None:
    for process in processes:
        try:
            process.send_signal(number)
        except psutil.NoSuchProcess:
            continue


def is_alive(process: psutil.Process) -> bool:
    """Whether it runs; False for a zombie, and for another process that has inherited its number."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def interrupt_on_signals() -> None:
    """Being told to end, or losing the terminal, is a Ctrl-C: it raises KeyboardInterrupt."""
    for number in INTERRUPTS:
        signal.signal(number, interrupt)


def interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def watch(pids: IO[bytes], *, grace: float) -> None:
    """Wait until our other half is gone; then end whoever it has named, one number a line, and left behind."""
    for number in INTERRUPTS:
        signal.signal(number, signal.SIG_IGN)
    processes: list[psutil.Process] = []
    for line in pids:
        try:
            processes.append(psutil.Process(int(line)))
        except psutil.NoSuchProcess:
            continue
    end([process for process in processes if is_alive(process)], grace=grace)


if __name__ == "__main__":
    watch(sys.stdin.buffer, grace=float(sys.argv[1]))
