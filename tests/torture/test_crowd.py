"""One call of the provider for any number of callers on any number of processes."""

import contextlib

import psycopg

from tests.torture.product import Product, Stored

PROCESSES = 4
ROUNDS = 200


def test_sixty_four_callers_are_one_call(product: Product, airtable: Stored) -> None:
    """G01: in each of 200 rounds; a second call of one round would end all the rounds that follow"""
    with contextlib.ExitStack() as stack:
        children = [stack.enter_context(product.child()) for _ in range(PROCESSES)]
        tokens = set()
        for number in range(ROUNDS):
            airtable.expire()
            for task, arguments in (("look", {"credential": airtable.id}), ("refresh_at_once", {})):
                for child in children:
                    child.start(task, **arguments)
                answers = [child.answer() for child in children]
            got = [token for answer in answers for token in answer["value"]]

            assert (number, len(got), len(set(got)), product.calls()) == (number, 64, 1, [200])
            assert got[0].startswith("oaa.")
            tokens |= set(got)

    assert len(tokens) == ROUNDS
    assert airtable.now()["access_token"] == got[0]


def test_a_held_row_holds_up_no_other(product: Product, airtable: Stored) -> None:
    """Uses are written for many rows at once: where they waited for one, two such statements might for each other"""
    held = product.store("airtable")
    with psycopg.connect(product.postgres.uri("sequin_auth")) as connection:
        connection.execute("SELECT 1 FROM credentials_token WHERE credential_id = %s FOR UPDATE", [held.id])

        product.do("note_uses", credentials=[held.id, airtable.id])

    noted = product.sql("SELECT credential_id::text FROM credentials_token WHERE used_at IS NOT NULL")
    assert (airtable.id,) in noted
    assert (held.id,) not in noted
