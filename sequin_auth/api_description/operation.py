"""What is said of one operation, and the answers that many of them give. Which there are: operations/."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rest_framework import serializers

from sequin_auth.api_description.schemas import Schema, one_of, ref

JSON = "application/json"


@dataclass(frozen=True)
class Answer:
    """`example` is of the whole body; `examples`: several of them, by name."""

    description: str
    schema: Schema
    example: Any = None
    media_type: str = JSON
    headers: Mapping[str, Schema] = field(default_factory=dict)
    examples: Mapping[str, Any] = field(default_factory=dict)

    def as_dict(self) -> Schema:
        content: Schema = {"schema": self.schema}
        if self.example is not None:
            content["example"] = self.example
        if self.examples:
            content["examples"] = {name: {"value": value} for name, value in self.examples.items()}
        headers = {name: {"schema": schema} for name, schema in self.headers.items()}
        return {
            "description": self.description,
            **({"headers": headers} if headers else {}),
            "content": {self.media_type: content},
        }


@dataclass(frozen=True)
class Operation:
    """`body`: a serializer, or the schema of a body that none reads; `errors`: statuses beside refusals.EVERYWHERE."""

    id: str
    tag: str
    summary: str
    answers: Mapping[int, Answer]
    description: str = ""
    body: type[serializers.Serializer[Any]] | Schema | None = None
    example: Any = None  # of the body
    errors: tuple[int, ...] = ()
    media_type: str = JSON
    is_body_optional: bool = False
    is_idempotent: bool = False  # whether it takes an Idempotency-Key


def one(schema: str, example: Any, description: str = "As it is now.") -> Mapping[int, Answer]:
    return {200: Answer(description, ref(schema), example)}


def made(schema: str, example: Any) -> dict[int, Answer]:
    replayed = {"Idempotent-Replayed": one_of("true")}
    return {201: Answer("Made.", ref(schema), example, headers=replayed)}


def pages(schema: str, example: Any) -> Mapping[int, Answer]:
    return {200: Answer("One page, the newest first.", ref(schema), {"data": [example], "next_cursor": None})}


def deleted(row_id: str) -> Mapping[int, Answer]:
    return one("Deleted", {"id": row_id, "deleted": True}, "It is gone.")
