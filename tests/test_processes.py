"""Processes that live and die together. The children here only wait."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from sequin_auth import processes
from sequin_auth.processes import AlreadyRunning, ProcessEnded, Processes, is_alive
from tests.real.machine import until

ROOT = Path(__file__).resolve().parent.parent
WAITS = [sys.executable, "-S", "-c", "import time; print(flush=True); time.sleep(600)"]
STUBBORN = [
    sys.executable,
    "-S",
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(600)",
]
WAITS_FOR_A_CHILD = [
    sys.executable,
    "-S",
    "-c",
    "import subprocess, sys; subprocess.run([sys.executable, '-S', '-c', 'import time; time.sleep(600)'])",
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
FORKER = """
import os, signal, sys, time
from pathlib import Path
import psutil
from sequin_auth import processes
from sequin_auth.processes import InChild, Processes, interrupt_on_signals

lock, what = Path(sys.argv[1]), sys.argv[2]
processes.AT_ONCE = 0.0

def tell():
    files = [file.path for file in psutil.Process().open_files()]
    handled = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)]
    comm = Path("/proc/self/comm").read_text().strip()
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    stdin = os.readlink("/proc/self/fd/0")
    print(os.getpid(), os.getsid(0) == os.getpid(), str(lock) in files, handled == [signal.SIG_DFL] * 2, comm)
    print(stdin, sorted(blocked), flush=True)
    time.sleep(600)

def fail():
    raise SystemExit(3)

try:
    interrupt_on_signals()
    with Processes(lock, grace=0.1) as running:
        work = {"tell": tell, "fail": fail}[what]
        running.fork("child", work, again="again" in sys.argv, title="sequin-child-of-ours")
        running.wait()
except KeyboardInterrupt:
    sys.exit(0)
except InChild as child:
    work = child.work
work()
"""


def forker(lock: Path, *arguments: str) -> "subprocess.Popen[str]":
    """A process that forks another one."""
    command = [sys.executable, "-c", FORKER, str(lock), *arguments]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def lines_of(process: "subprocess.Popen[str]", count: int) -> list[str]:
    assert process.stdout is not None
    return [process.stdout.readline().strip() for _ in range(count)]


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


def test_one_that_is_to_run_again_does_and_what_it_had_started_is_gone(
    lock: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "AT_ONCE", 0.0)
    with Processes(lock) as running:
        other, first = started(running, "other", WAITS), running.start("worker", WAITS_FOR_A_CHILD, again=True)
        until(psutil.Process(first.pid).children, what="it has started one itself")
        (grandchild,) = psutil.Process(first.pid).children()
        first.kill()

        running.wait(until=lambda: running._running["worker"].pid != first.pid)

        until(lambda: not is_alive(grandchild), what="it is gone")
        assert is_alive(other)
        second = psutil.Process(running._running["worker"].pid)
    assert not is_alive(second)


def test_one_that_ends_at_once_is_not_started_again(lock: Path) -> None:
    with Processes(lock) as running:
        running.start("worker", [sys.executable, "-S", "-c", "raise SystemExit(3)"], again=True)

        with pytest.raises(ProcessEnded, match=r"^The worker has ended \(exit 3\)"):
            running.wait()


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


# ---- forked ----------------------------------------------------------------------------------------------------------


def test_one_that_is_forked_and_ends_at_its_first_look_is_reported(lock: Path) -> None:
    parent = forker(lock, "fail")

    _, said = parent.communicate(timeout=30)

    assert parent.returncode == 1
    assert said.splitlines()[-1] == (
        "sequin_auth.processes.ProcessEnded: The child has ended (exit 3), and everything else with it."
    )


def test_one_that_is_forked_has_nothing_of_its_parents_but_what_it_has_read(lock: Path) -> None:
    """A session of its own, no lock, no handler that would take its signals for the parent's, its own name."""
    parent = forker(lock, "tell")

    first, second = lines_of(parent, 2)
    pid = first.split()[0]
    parent.send_signal(signal.SIGTERM)
    _, said = parent.communicate(timeout=30)

    assert first == f"{pid} True False True sequin-child-of"
    assert second == "/dev/null []"
    assert (parent.returncode, said) == (0, "")
    assert not psutil.pid_exists(int(pid))


def test_one_that_is_forked_is_forked_again_when_it_dies(lock: Path) -> None:
    parent = forker(lock, "tell", "again")
    first = int(lines_of(parent, 2)[0].split()[0])

    os.kill(first, signal.SIGKILL)

    second = int(lines_of(parent, 2)[0].split()[0])
    parent.send_signal(signal.SIGTERM)
    _, said = parent.communicate(timeout=30)
    assert said == "The child has ended (signal 9) and is started again.\n"
    assert not psutil.pid_exists(second)


def test_kill_9_takes_one_that_is_forked_along(lock: Path) -> None:
    parent = forker(lock, "tell")
    child = psutil.Process(int(lines_of(parent, 2)[0].split()[0]))

    parent.kill()
    parent.communicate(timeout=30)

    with Processes(lock):
        assert not is_alive(child)


KILLED_AT_ONCE = """
import os, signal, sys, time
from pathlib import Path
from sequin_auth.processes import InChild, Processes

def tell():
    print(os.getpid(), flush=True)
    time.sleep(600)

Processes._keep = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
try:
    with Processes(Path(sys.argv[1]), grace=0.1) as running:
        running.fork("child", tell)
except InChild as child:
    work = child.work
work()
"""


def test_kill_9_takes_one_along_that_its_parent_has_told_nobody_of(lock: Path) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", KILLED_AT_ONCE, str(lock)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    child = psutil.Process(int(lines_of(parent, 1)[0]))

    parent.communicate(timeout=30)

    with Processes(lock):
        assert not is_alive(child)
