"""What django-migration-linter lets through and docs/operating.md forbids. `make lint` runs it over all migrations."""

import re
from typing import Any

from django.apps import AppConfig

BEFORE_THE_FIRST_RELEASE = "nobody has served from a database that waits for it"
EXCUSED = {
    ("credentials", "0002_credentials"): BEFORE_THE_FIRST_RELEASE,
    ("credentials", "0003_console"): BEFORE_THE_FIRST_RELEASE,
    ("oauth_apps", "0002_console"): BEFORE_THE_FIRST_RELEASE,
    ("oauth_apps", "0003_audit_chains_limits_webhooks"): BEFORE_THE_FIRST_RELEASE,
    ("sandbox", "0003_records"): BEFORE_THE_FIRST_RELEASE,
}
CHANGES_ROWS = re.compile(
    r"(?:^|;)\s*(?:WITH\b.*\b)?(?:UPDATE|DELETE\s+FROM|TRUNCATE|DO)\b", re.IGNORECASE | re.MULTILINE
)
LOCKS = re.compile(r"(?:^|;)\s*LOCK\b", re.IGNORECASE | re.MULTILINE)
CHANGES_TYPE = re.compile(r"\bALTER\s+(?:COLUMN\s+)?\S+\s+(?:SET\s+DATA\s+)?TYPE\b", re.IGNORECASE)
CREATES = re.compile(r"\bCREATE\s+TABLE\s+(?:IF\s+NOT\s+EXISTS\s+)?(\S+)", re.IGNORECASE)
CONSTRAINS = re.compile(
    r"\bALTER\s+TABLE\s+(?:ONLY\s+)?(\S+)\s[^;]*?\bADD\s+(?:CONSTRAINT|CHECK|FOREIGN|UNIQUE)\b([^;]*)", re.IGNORECASE
)
WITHOUT_LOOKING_AT_ROWS = re.compile(r"\bNOT\s+VALID\b|\bUSING\s+INDEX\b", re.IGNORECASE)


def text_of(statements: list[str]) -> str:
    """Without comments, and without the bodies of functions, which nobody runs now."""
    text = re.sub(r"^\s*--.*$", "", "\n".join(statements), flags=re.MULTILINE)
    return re.sub(r"(?<=\bAS )\$(\w*)\$.*?\$\1\$", "", text, flags=re.DOTALL)


def changes_rows(sql_statements: list[str], **_: Any) -> bool:
    return bool(CHANGES_ROWS.search(text_of(sql_statements)))


def locks_table(sql_statements: list[str], **_: Any) -> bool:
    return bool(LOCKS.search(text_of(sql_statements)))


def changes_type(sql_statements: list[str], **_: Any) -> bool:
    return bool(CHANGES_TYPE.search(text_of(sql_statements)))


def looks_at_all_rows(sql_statements: list[str], **_: Any) -> bool:
    text = text_of(sql_statements)
    new = set(CREATES.findall(text))
    return any(
        table not in new and not WITHOUT_LOOKING_AT_ROWS.search(rest) for table, rest in CONSTRAINS.findall(text)
    )


REFUSED = {
    changes_rows: "rows are changed: many in batches, by a job; few by a migration of their own, with a reason",
    locks_table: "LOCK stops whoever is at work",
    changes_type: "a column's type is changed, under statements that are prepared",
    looks_at_all_rows: "a constraint looks at all rows under lock: first NOT VALID, then validate",
}


class Linter(AppConfig):
    name = "django_migration_linter"

    def ready(self) -> None:
        from django.db.migrations.operations import RunPython
        from django.db.migrations.operations.base import Operation
        from django_migration_linter.migration_linter import MigrationLinter
        from django_migration_linter.sql_analyser.base import Check, CheckMode, CheckType, Issue
        from django_migration_linter.sql_analyser.postgresql import PostgresqlAnalyser

        ours = [
            Check(code=look.__name__.upper(), fn=look, message=why, mode=CheckMode.TRANSACTION, type=CheckType.ERROR)
            for look, why in REFUSED.items()
        ]
        PostgresqlAnalyser.migration_checks = [*PostgresqlAnalyser.migration_checks, *ours]
        ignored, analysed = MigrationLinter.should_ignore_migration, MigrationLinter.analyse_data_migration

        def should_ignore(self: Any, app: str, name: str, operations: Any = (), is_initial: bool = False) -> bool:
            return (app, name) in EXCUSED or ignored(self, app, name, operations, is_initial)

        def analyse(self: Any, migration: Any) -> Any:
            errors, others, warnings = analysed(self, migration)
            operations: list[Operation] = migration.operations
            code = [operation for operation in operations if isinstance(operation, RunPython)]
            if code and len(code) < len(operations):
                said = "code that changes rows stands beside something else: in a migration of its own"
                errors = [*errors, Issue(code="ROWS_AND_TABLES", message=said)]
            return errors, others, warnings

        MigrationLinter.should_ignore_migration = should_ignore  # type: ignore[assignment, method-assign]
        MigrationLinter.analyse_data_migration = analyse  # type: ignore[method-assign]
