"""Processes that live and die together. The children here only wait."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from sequin_auth.processes import AlreadyRunning, ProcessEnded, Processes, is_alive

ROOT = Path(__file__).resolve().parent.parent
WAITS = [sys.executable, "-S", "-c", "import time; print(flush=True); time.sleep(600)"]
STUBBORN = [
    sys.executable,
    "-S",
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(600)",
]
STARTER = """
import subprocess, sys
from pathlib import Path
from sequin_auth.processes import Processes
with Processes(Path(sys.argv[1]), grace=0.1) as processes:
    child = processes.start("child", sys.argv[2:], stdout=subprocess.PIPE)
    child.stdout.readline()
    print(child.pid, flush=True)
    processes.wait()
"""


def started(running: Processes, name: str, command: list[str]) -> psutil.Process:
    """The child, once it has said that it is there."""
    child = running.start(name, command, stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.readline()
    return psutil.Process(child.pid)


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    return tmp_path / "run.lock"


def test_when_one_ends_it_says_how_and_the_others_are_ended(lock: Path) -> None:
    with Processes(lock) as running:
        other = started(running, "long one", WAITS)
        running.start("short one", [sys.executable, "-S", "-c", "raise SystemExit(3)"])

        with pytest.raises(ProcessEnded, match=r"^The short one has ended \(exit 3\), and everything else with it\.$"):
            running.wait()

    assert not is_alive(other)


def test_whoever_does_not_end_when_asked_is_killed(lock: Path) -> None:
    with Processes(lock, grace=0.1) as running:
        stubborn = started(running, "stubborn", STUBBORN)

    assert not is_alive(stubborn)


def test_a_second_one_is_refused_and_hears_what_the_first_has_said(lock: Path) -> None:
    with Processes(lock) as running:
        running.say("at http://127.0.0.1:8000")

        with pytest.raises(AlreadyRunning, match=r"^at http://127\.0\.0\.1:8000$"), Processes(lock):
            pass

    with Processes(lock):
        pass  # after the first there may be another


@pytest.mark.parametrize("command", [WAITS, STUBBORN])
def test_kill_9_takes_the_children_along_before_anybody_starts_again(command: list[str], lock: Path) -> None:
    starter = subprocess.Popen(
        [sys.executable, "-c", STARTER, str(lock), *command], cwd=ROOT, stdout=subprocess.PIPE, start_new_session=True
    )
    assert starter.stdout is not None
    child = psutil.Process(int(starter.stdout.readline()))

    os.killpg(starter.pid, signal.SIGKILL)
    starter.wait()

    with Processes(lock):
        assert not is_alive(child)


def test_a_ctrl_c_is_not_the_childrens(lock: Path) -> None:
    """A terminal sends it to the whole group; they are told by us, in good order."""
    with Processes(lock) as running:
        child = started(running, "child", WAITS)

        assert os.getpgid(child.pid) == child.pid != os.getpgid(0)
        assert os.getsid(child.pid) != os.getsid(0)


def test_they_do_not_inherit_the_lock(lock: Path) -> None:
    """Else a child that outlives its start would keep the next one from starting."""
    with Processes(lock) as running:
        child = started(running, "child", WAITS)

        assert str(lock) not in [file.path for file in child.open_files()]


def test_waiting_ends_when_the_condition_holds(lock: Path) -> None:
    started_at = time.monotonic()

    with Processes(lock) as running:
        started(running, "child", WAITS)
        running.wait(until=lambda: time.monotonic() - started_at > 0.2)

    assert time.monotonic() - started_at > 0.2
