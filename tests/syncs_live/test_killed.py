"""`kill -9` of what does a slice, at any moment: nothing is lost, nothing is there twice, little is fetched again."""

import random
import time

from tests.real.machine import until
from tests.syncs.api import rows
from tests.syncs_live.tasks import STEPS
from tests.syncs_live.workshop import Gate, Workshop

KILLS = 50
ROWS_OF_A_PAGE = 10
PAGES_OF_A_SLICE = 10


def moments(chance: random.Random, *, count: int) -> list[str]:
    """The step at which a slice is killed, so many times: each of them twice; "" stands for some time or other."""
    placed = [*STEPS, *STEPS]
    made = placed + [""] * (count - len(placed))
    chance.shuffle(made)
    return made


def test_fifty_kills(workshop: Workshop) -> None:
    """The process that does a slice, engine, load and all. Each step of a slice is among the moments"""
    workshop.api.all_rows, workshop.api.page_size = rows(2_000), ROWS_OF_A_PAGE
    pages, rows_of_a_slice = 2_000 // ROWS_OF_A_PAGE, PAGES_OF_A_SLICE * ROWS_OF_A_PAGE
    sync = workshop.make("by_cursor")
    chance = random.Random(2026)  # noqa: S311 - always the same
    began = time.monotonic()
    sync.slice(rows_of_a_slice)
    one_slice = time.monotonic() - began

    for step in moments(chance, count=KILLS):
        if not sync.is_due():
            workshop.do("ask_for_all", sync=sync.id)
        if step:
            times = chance.randint(1, PAGES_OF_A_SLICE) if step == "a page" else 1
            sync.kill_at(step, rows_of_a_slice, times=times)
        else:
            sync.kill_within(chance.uniform(0, one_slice), rows_of_a_slice)
    until(lambda: sync.slice(rows_of_a_slice) == "done", what="the pass has ended", deadline=120)

    assert len(sync.killed) == KILLS
    assert sync.ids() == [row["id"] for row in workshop.api.all_rows]
    assert sync.asked <= sync.passes() * pages + KILLS * PAGES_OF_A_SLICE
    back = sorted(sync.steps_back(pages=pages))
    assert len(back) >= 6  # three of the steps stand behind the last page of a slice, and before all of it is there
    assert back[-1] < PAGES_OF_A_SLICE
    assert workshop.do("left_behind") != []
    workshop.do("sweep_folders")
    assert workshop.do("left_behind") == []


def test_workers_that_are_killed(workshop: Workshop) -> None:
    """`manage.py worker --queues syncs`, with the job that it had taken. The slices are as large as they are"""
    workshop.api.all_rows, workshop.api.page_size = rows(9_000), 500
    pages, pages_of_a_slice = 18, 10
    sync = workshop.make("by_url")
    workshop.do("defer", sync=sync.id)

    for number in (4, 13, 2):  # of the request in which each dies
        gate = Gate(workshop.api, number)
        worker = workshop.worker()
        until(gate.reached.is_set, what="the worker asks", deadline=60)
        worker.kill()
        worker.wait()
        gate.open()
        assert sync.jobs() == ["doing"]
        workshop.sql("UPDATE procrastinate_workers SET last_heartbeat = now() - interval '31 seconds'")
        workshop.do("sweep")
        assert sync.jobs() == ["todo"]
    last = workshop.worker()
    until(sync.is_filled, what="all rows have come", deadline=60)

    assert sync.ids() == [row["id"] for row in workshop.api.all_rows]
    assert sync.asked <= pages + 3 * pages_of_a_slice
    last.terminate()
    assert last.wait(60) == 0
    assert workshop.do("left_behind") == []
