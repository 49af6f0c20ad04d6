"""
A start of `manage.py serve` with a migrated database, from exec to the first 200 of `/healthz`, and the memory that its
processes hold. Beside it, in the same run, a bare Django under the same gunicorn, with nothing but a view.

The time on the clock is that of a machine with nothing else to do; the processor's, of all processes, holds on any.
Memory is counted as PSS, in which what processes share is divided among them, and after use: a few hundred requests.

    make bench
"""

import http.client
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from bench import floor
from sequin_auth.management.commands.serve import SYNC_WORKER, WEB, WORKER
from sequin_auth.processes import Processes
from tests.real.gateway import Gateway, new_gateway
from tests.real.machine import BASE_DIR

STARTS = 5
MOST_SECONDS, MOST_MEBIBYTES = 2.0, 200
READY_WITHIN = 90.0  # seconds
QUIET = 0.5  # seconds in which nobody spends a hundredth of one
PAGES = [
    "/healthz",
    "/readyz",
    "/.well-known/oauth-authorization-server",
    "/admin/login/",
    "/v1/oauth-apps",
    "/nothing",
]
MEBIBYTE = 1_048_576


@dataclass
class Start:
    clock: float
    processor: float
    processor_when_quiet: float
    memory: dict[str, tuple[float, float]]  # PSS and RSS in MiB, by the name of the processes


def main() -> None:
    directory = Path(tempfile.mkdtemp(prefix="start-"))
    directory.chmod(0o711)
    try:
        gateway = new_gateway(directory, LOG_LEVEL="INFO")
        ours = [start_of([sys.executable, "manage.py", "serve"], gateway) for _ in range(STARTS)]
        bare = [
            start_of(floor.COMMAND, gateway, "--workers", "2", "--bind", gateway.address[7:]) for _ in range(STARTS)
        ]
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    report(ours, bare)


def report(ours: list[Start], bare: list[Start]) -> None:
    clock = statistics.median(start.clock for start in ours)
    for name, starts in {"bare Django": bare, "manage.py serve": ours}.items():
        clocks, processor, quiet = (
            statistics.median(getattr(start, figure) for start in starts)
            for figure in ("clock", "processor", "processor_when_quiet")
        )
        ratio = quiet / statistics.median(start.processor_when_quiet for start in bare)
        says = f"{clocks:.2f} s on the clock, {processor:.2f} s of processor; {quiet:.2f} s when all is quiet"
        print(f"{f'start of {name}':40} {ratio:6.1f} x   {says}", flush=True)
    print(f"{'':40} {'':8}   the bar is {MOST_SECONDS:.0f} s on the clock: {said(clock <= MOST_SECONDS)}")

    floor_of_memory = statistics.median(sum(pss for pss, _ in start.memory.values()) for start in bare)
    print(f"{'memory of bare Django':40} {1.0:6.1f} x   {floor_of_memory:.0f} MiB with two workers")
    for name in ours[0].memory:
        pss, rss = (statistics.median(start.memory[name][figure] for start in ours) for figure in (0, 1))
        print(f"{f'memory of {name}':40} {pss / floor_of_memory:6.1f} x   {pss:.0f} MiB; RSS {rss:.0f} MiB")
    web = statistics.median(start.memory[WEB][0] for start in ours)
    print(f"{'':40} {'':8}   the bar is {MOST_MEBIBYTES} MiB for {WEB}: {said(web <= MOST_MEBIBYTES)}")


def said(is_held: bool) -> str:
    return "held" if is_held else "MISSED"


def start_of(command: list[str], gateway: Gateway, *more: str) -> Start:
    environment = {**gateway.environment, "FLOOR_DATABASE": gateway.database_uri}
    with gateway.log.open("ab") as log, Processes(gateway.directory / "processes.lock") as processes:
        how: dict[str, Any] = {"cwd": BASE_DIR, "env": environment, "stdout": log, "stderr": subprocess.STDOUT}
        began = time.monotonic()  # the kernel's own time of a start is known to the second, as a time of day
        started = processes.start("start", [*command, *more], **how)
        process = psutil.Process(started.pid)
        while not serves(gateway):
            if started.poll() is not None or time.monotonic() > began + READY_WITHIN:
                sys.exit(f"It does not start: {gateway.log.read_text()[-3000:]}")
            time.sleep(0.005)
        clock, processor = time.monotonic() - began, spent(process, gateway)
        when_quiet = until_quiet(process, gateway)
        use(gateway)
        return Start(clock, processor, when_quiet, memory_of(process))


def serves(gateway: Gateway) -> bool:
    """Whether anybody answers; the bare one knows no such page."""
    try:
        return asked(gateway, "/healthz") in {200, 404}
    except OSError:
        return False


def asked(gateway: Gateway, page: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", int(gateway.environment["PORT"]), timeout=30)
    try:
        connection.request("GET", page)
        return connection.getresponse().status
    finally:
        connection.close()


def use(gateway: Gateway) -> None:
    with ThreadPoolExecutor(32) as callers:
        list(callers.map(lambda number: asked(gateway, PAGES[number % len(PAGES)]), range(60 * len(PAGES))))


def spent(process: psutil.Process, gateway: Gateway) -> float:
    """Seconds of processor time of all that has been started, PostgreSQL too, and of those that have ended since."""
    family = [process, *process.children(recursive=True)]
    if (number := gateway.postgres_data / "postmaster.pid").exists():
        postmaster = psutil.Process(int(number.read_text().split("\n", 1)[0]))
        family += [postmaster, *postmaster.children(recursive=True)]
    total = 0.0
    for one in family:
        try:
            total += sum(one.cpu_times()[:4])
        except psutil.NoSuchProcess:
            continue
    return total


def until_quiet(process: psutil.Process, gateway: Gateway) -> float:
    """What has been spent when nobody spends any more."""
    before, now = 0.0, spent(process, gateway)
    ends_at = time.monotonic() + READY_WITHIN
    while now - before > 0.01 and time.monotonic() < ends_at:
        time.sleep(QUIET)
        before, now = now, spent(process, gateway)
    return now


def memory_of(process: psutil.Process) -> dict[str, tuple[float, float]]:
    """PSS and RSS in MiB, by the name of the processes."""
    found: dict[str, tuple[float, float]] = {}
    for one in [process, *process.children(recursive=True)]:
        name = one.name() if one.name() in {WEB, WORKER, SYNC_WORKER} else "the process that waits for them"
        memory = one.memory_full_info()
        pss, rss = found.get(name, (0.0, 0.0))
        found[name] = pss + memory.pss / MEBIBYTE, rss + memory.rss / MEBIBYTE
    return found


if __name__ == "__main__":
    main()
