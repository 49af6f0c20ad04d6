"""dlt's paginators, and ours for what it has none for."""

import re
from collections.abc import Mapping
from typing import Any, cast

from dlt.common import jsonpath
from dlt.sources.helpers.rest_client.paginators import BasePaginator, PageNumberPaginator
from dlt.sources.rest_api.config_setup import create_paginator

from providers.collection import BadData, looked_up


class TextOffsetPaginator(BasePaginator):
    """See providers.collection.TextOffset."""

    def __init__(self, pattern: str, limit: int, param: str = "", body_path: str = "") -> None:
        super().__init__()
        self.pattern, self.limit, self.param, self.body_path = re.compile(pattern), limit, param, body_path

    def update_state(self, response: Any, data: list[Any] | None = None) -> None:
        self._has_next_page = len(data or []) >= self.limit

    def update_request(self, request: Any) -> None:
        if self.param:
            request.params[self.param] = self.moved_on(str(request.params[self.param]))
        else:
            jsonpath.set_value_at_path(
                request.json, self.body_path, self.moved_on(looked_up(request.json, self.body_path))
            )

    def moved_on(self, query: str) -> str:
        found = self.pattern.search(query)
        if found is None:
            raise BadData("The query has no offset where one is declared.")
        start, end = found.span(1)
        return f"{query[:start]}{int(found[1]) + self.limit}{query[end:]}"


class RowCountPaginator(PageNumberPaginator):
    """Pages are counted, and the total is one of rows."""

    def __init__(self, limit: int, total_path: str, **others: Any) -> None:
        super().__init__(total_path=None, **others)
        self.limit, self.path_of_rows = limit, total_path

    def update_state(self, response: Any, data: list[Any] | None = None) -> None:
        read = (self.current_value - self.base_index + 1) * self.limit
        super().update_state(response, data)
        if self._has_next_page:
            self._has_next_page = read < int(looked_up(response.json(), self.path_of_rows))


def paginator_of(arguments: dict[str, Any]) -> BasePaginator:
    own = {name: value for name, value in arguments.items() if name != "type"}
    if arguments["type"] == "text_offset":
        return TextOffsetPaginator(**own)
    if own.get("limit") and arguments["type"] == "page_number":
        return RowCountPaginator(**own)
    made = create_paginator(cast(Any, arguments))
    assert made is not None  # noqa: S101 - a type is always named
    return made


def says_that_there_is_more(paginator: Mapping[str, Any], document: Any) -> bool:
    path = paginator.get("has_more_path")
    is_limited = paginator.get("maximum_offset") or paginator.get("maximum_page")
    return bool(path) and not is_limited and looked_up(document, str(path)) is True
