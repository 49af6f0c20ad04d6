"""
Processes that live and die together: when one ends, or we do, all end, `kill -9` of ourselves included.

For that last case a watch stands beside us. It reads from a pipe whose other end is ours, and when the kernel closes
that, it ends whom we have started. Until it is done, it holds a lock that the next start waits for.
"""

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import FrameType, TracebackType
from typing import IO, Any, Final, Self

import psutil

GRACE: Final = 15.0  # seconds to finish what is under way; no call to a provider takes longer than ten
LOOKING_EVERY: Final = 0.1  # seconds


class AlreadyRunning(Exception):
    """Another start holds the lock. The message is what it has left there."""


class ProcessEnded(Exception):
    """One that ought to run has ended."""

    def __init__(self, name: str, status: int) -> None:
        how = f"exit {status}" if status >= 0 else f"signal {-status}"
        super().__init__(f"The {name} has ended ({how}), and everything else with it.")
        self.name = name


class Processes:
    """A context: inside it processes are started, on leaving it they are stopped. Not for use from several threads."""

    def __init__(self, lock: Path, *, grace: float = GRACE) -> None:
        self._lock = lock
        self._grace = grace
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        """Raises AlreadyRunning. Waits for a watch that is still clearing up after a killed start."""
        self._held = self._take_lock()
        self._watch, self._to_watch = self._start_watch()
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        try:
            running = [psutil.Process(process.pid) for process in self._running.values() if process.poll() is None]
            end(running, grace=self._grace)
        finally:
            for process in self._running.values():
                process.wait()
            os.close(self._to_watch)
            self._watch.wait()
            os.close(self._held)

    def start(self, name: str, command: Sequence[str], **how: Any) -> subprocess.Popen[bytes]:
        """Start `command` in a session of its own, so that a Ctrl-C of the terminal is ours alone to pass on."""
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True, **how)  # noqa: S603
        self._running[name] = process
        os.write(self._to_watch, f"{process.pid}\n".encode())
        return process

    def wait(self, until: Callable[[], bool] = lambda: False) -> None:
        """Return when `until` holds. Raises ProcessEnded as soon as one of ours has ended."""
        while not until():
            for name, process in self._running.items():
                if (status := process.poll()) is not None:
                    raise ProcessEnded(name, status)
            time.sleep(LOOKING_EVERY)

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
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)


def interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def watch(pids: IO[bytes], *, grace: float) -> None:
    """Wait until our other half is gone; then end whoever it has named, one number a line, and left behind."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
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
