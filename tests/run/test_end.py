"""How `make run` ends, in every way that there is, and that the next start does not mind."""

import resource
import signal
import socket
import time
from collections.abc import Callable

import httpx
import psutil
import pytest

from sequin_auth.management.commands.serve import SYNC_WORKER, WEB
from sequin_auth.processes import AT_ONCE
from tests.run.commands import READY, Checkout, Running

ENOUGH = 60.0  # seconds


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + ENOUGH
    while not condition():
        assert time.monotonic() < deadline, "it never came to that"
        time.sleep(0.05)


def are_gone(processes: list[psutil.Process]) -> Callable[[], bool]:
    """(A zombie is gone, and only its parent is in no hurry.)"""
    return lambda: not any(is_alive(process) for process in processes)


def is_alive(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


@pytest.fixture(scope="module")
def first_start(checkout: Checkout) -> str:
    """There was one before. What the example app was told then."""
    running = checkout.start_ready()
    assert running.stop() == 0, running.output
    return checkout.read("example.json")


def test_a_later_start_shows_no_secret_costs_little_and_ends_by_ctrl_c(first_start: str, checkout: Checkout) -> None:
    """Three seconds of two processors; not of the clock, since the machine may have other things to do."""
    spent_before = spent()
    running = checkout.start_ready()
    postgres = checkout.postgres()
    assert postgres is not None
    processes = [*running.children(), postgres]
    assert len(processes) > 5  # web server and its two workers, worker, example app, watch, PostgreSQL

    status = running.stop(signal.SIGINT)

    assert status == 0
    assert running.output.endswith("Stopped.\n")
    assert [process for process in processes if is_alive(process)] == []
    assert [secret for secret in ("API token ", "Password", "New keys") if secret in running.output] == []
    assert checkout.read("example.json") == first_start
    assert spent() - spent_before < 2 * 3


def spent() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def test_kill_9_takes_the_children_along_and_the_next_start_works(running: Running, checkout: Checkout) -> None:
    children = running.children()

    running.process.kill()

    assert running.wait() == -signal.SIGKILL
    again = checkout.start_ready()
    until(are_gone(children))
    assert httpx.get(f"{checkout.url}/readyz", trust_env=False).status_code == 200
    assert again.stop(signal.SIGHUP) == 0


def test_a_child_that_dies_is_reported_and_everything_ends(running: Running, checkout: Checkout) -> None:
    children = running.children()

    running.child(WEB).kill()

    assert running.wait() == 1
    assert "CommandError: The web has ended (signal 9), and everything else with it." in running.output
    assert f"The end of {checkout.var / 'log' / 'web.log'}:" in running.output
    until(are_gone(children))


def test_a_worker_that_dies_is_started_again(running: Running, checkout: Checkout) -> None:
    """Out of memory, it may be; what it says is in the log and, if it is grave, in the terminal as before"""
    worker = running.child(SYNC_WORKER)
    until(lambda: time.time() - worker.create_time() > AT_ONCE + 1)
    log = checkout.var / "log" / "sync worker.log"
    until(lambda: log.exists() and "Starting worker" in log.read_text())

    worker.kill()

    running.wait_for("The sync worker has ended (signal 9) and is started again.")
    until(lambda: log.read_text().count("Starting worker") >= 2)
    assert running.child(SYNC_WORKER).pid != worker.pid
    assert httpx.get(f"{checkout.url}/readyz", trust_env=False, timeout=ENOUGH).status_code == 200
    assert running.stop() == 0


def test_it_goes_on_when_postgresql_is_killed(first_start: str, checkout: Checkout) -> None:
    """G13: what was interrupted may be tried again, and no process has to be started by hand."""
    checkout.var.joinpath("log", "worker.log").unlink()
    running = checkout.start_ready()
    until(lambda: "Starting worker" in checkout.read("log", "worker.log"))
    postgres = checkout.postgres()
    assert postgres is not None

    postgres.kill()
    until(lambda: not is_alive(postgres))

    assert httpx.get(f"{checkout.url}/readyz", trust_env=False, timeout=ENOUGH).status_code == 200
    running.wait_for("worker_lost_database")
    until(lambda: checkout.read("log", "worker.log").count("Starting worker") >= 2)
    assert running.stop(signal.SIGTERM) == 0


def test_under_another_port_the_sandbox_knows_the_new_callback_url(first_start: str, checkout: Checkout) -> None:
    moved = Checkout(checkout.var)

    again = moved.start_ready()
    with httpx.Client(trust_env=False) as browser:
        start = browser.get(f"{moved.example_url}/connect/stripe").headers["Location"]
        consent = browser.get(browser.get(start).headers["Location"], headers={"Accept": "application/json"})
    again.stop()

    assert start.startswith(f"{moved.url}/link/oauth2/start?")
    assert "approve" in consent.json()["outcomes"]


def test_a_port_that_is_taken_is_named(checkout: Checkout) -> None:
    with socket.create_server(("127.0.0.1", checkout.port + 1)):
        refused = checkout.start()
        status = refused.wait()

    assert status == 1
    assert f"CommandError: Port {checkout.port + 1} cannot be used (Address already in use)." in refused.output
    assert READY not in refused.output


def test_without_the_keys_of_the_data_it_does_not_start(first_start: str, checkout: Checkout) -> None:
    """New keys would open nothing of what is there, and hide that for a while."""
    keys = checkout.var / "development.env"
    aside = keys.rename(keys.with_suffix(".aside"))

    refused = checkout.start()
    status = refused.wait()
    aside.rename(keys)

    assert status == 1
    assert refused.output.startswith(f"manage.py: {keys} is gone")
