"""Is it alive, and can it work? Open to everybody, so they say nothing else."""

from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, JsonResponse


def alive(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"status": "ok"})


def ready(request: HttpRequest) -> JsonResponse:
    """503 until the database answers and every migration has run."""
    try:
        executor = MigrationExecutor(connection)
        behind = bool(executor.migration_plan(executor.loader.graph.leaf_nodes()))
    except DatabaseError:
        return JsonResponse({"status": "error", "reason": "database"}, status=503)
    if behind:
        return JsonResponse({"status": "error", "reason": "migrations"}, status=503)
    return JsonResponse({"status": "ok"})
