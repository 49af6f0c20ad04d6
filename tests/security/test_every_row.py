"""No row of the threat table is without a proof, and docs/security.md says which one it is."""

from tests.security import table


def test_every_row_has_a_test_that_bears_its_name() -> None:
    unproven = {name for name, row in table.rows().items() if "nearest" not in row} - table.tests().keys()

    assert unproven == set()


def test_whatever_is_proven_elsewhere_says_why_and_where() -> None:
    elsewhere = [table.nearest(row) for row in table.rows().values() if "nearest" in row]

    assert [test for why, test in elsewhere if not why or not table.exists(test)] == []


def test_no_test_bears_the_name_of_a_row_that_there_is_not() -> None:
    assert table.tests().keys() <= table.rows().keys()


def test_the_document_has_the_table_as_it_is() -> None:
    """If not: python -m tests.security.table"""
    assert table.DOCUMENT.read_text() == table.written()
