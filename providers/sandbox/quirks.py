"""What the simulator does for one provider alone, since no table can say it; named by the provider's `[sandbox]`.

`callback_signature(params, registration, parts)` returns the callback's parameters, signed. `parts`: of the address.
`reader(asked)` returns the Query that a request for a list means; it raises what `asked.refuse` returns.
"""

import hashlib
import hmac
import re
from base64 import b64encode
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from providers.sandbox.api import graphql
from providers.sandbox.api.moving import Bound, Field, Operator
from providers.sandbox.api.records import read_time
from providers.sandbox.models import Registration

if TYPE_CHECKING:
    from providers.sandbox.api.asking import Asked, Query

OPERATORS: dict[str, Operator] = {">=": "gte", ">": "gt", "<=": "lte", "<": "lt"}


def shopify_hmac(params: Mapping[str, str], registration: Registration, parts: Mapping[str, str]) -> dict[str, str]:
    """Source: the first page of Shopify's `documentation`, "Verify the request"."""
    host = b64encode(f"admin.shopify.com/store/{parts.get('shop', '')}".encode()).decode().rstrip("=")
    signed = {**params, "host": host}
    message = urlencode(sorted(signed.items())).encode()
    secret = (registration.client_secret or "").encode()
    return {**signed, "hmac": hmac.new(secret, message, hashlib.sha256).hexdigest()}


# ---- query languages -------------------------------------------------------------------------------------------------


def _bound(asked: "Asked", operator: str, time: str, how: str) -> Bound:
    """Of the time of the last change."""
    try:
        return Bound("updated", OPERATORS[operator], read_time(time, how))
    except ValueError as exc:
        raise asked.refuse("The query holds a time that is none.") from exc


def servicenow_query(asked: "Asked") -> "Query":
    """Conditions and orders, one behind the other. Source: ServiceNow's documentation, "Encoded query strings"."""
    query = asked.query()
    for part in filter(None, asked.text("sysparm_query").split("^")):
        if order := re.fullmatch(r"ORDERBY(DESC)?(sys_id|sys_created_on|sys_updated_on)", part):
            by: Field = "updated" if order[2] == "sys_updated_on" else "created"
            query = replace(query, by=by, descending=bool(order[1]))
        elif found := re.fullmatch(r"sys_updated_on(>=|<=|>|<)(.+)", part):
            bound = _bound(asked, found[1], found[2], "%Y-%m-%d %H:%M:%S")
            query = replace(query, bounds=(*query.bounds, bound))
        else:
            raise asked.refuse("sysparm_query is not understood.")
    return query


SOQL = re.compile(
    r"SELECT (?P<fields>\w+(?:, ?\w+)*) FROM \w+"
    r"(?: WHERE SystemModstamp (?P<operator>>=|<=|>|<) (?P<time>\S+))?"
    r"(?: ORDER BY (?P<by>SystemModstamp|CreatedDate)(?: (?P<direction>ASC|DESC))?(?:, ?Id(?: ASC)?)?)?",
    re.ASCII,
)


def soql(asked: "Asked") -> "Query":
    """Source: Salesforce's documentation, "SOQL SELECT Syntax" and "Date Formats and Date Literals in WHERE"."""
    query = asked.query()
    if asked.text(asked.listing.paging.param):
        return query
    if (found := SOQL.fullmatch(asked.text("q"))) is None:
        raise asked.refuse("The query is not understood.")
    if unknown := {*re.split(", ?", found["fields"])} - asked.listing.record.keys():
        raise asked.refuse(f"There is no column {min(unknown)[:100]!r} that can be selected.")
    bounds = (_bound(asked, found["operator"], found["time"], "%Y-%m-%dT%H:%M:%SZ"),) if found["time"] else ()
    by: Field = "updated" if found["by"] == "SystemModstamp" else "created"
    return replace(query, by=by, descending=found["direction"] == "DESC", bounds=bounds)


QUICKBOOKS = re.compile(
    r"SELECT \* FROM \w+(?: WHERE (?P<where>.+?))?"
    r"(?: ORDERBY MetaData\.(?P<by>LastUpdatedTime|CreateTime)(?: (?P<direction>ASC|DESC))?)?"
    r"(?: STARTPOSITION (?P<start>[1-9]\d{0,8}))?(?: MAXRESULTS (?P<size>[1-9]\d{0,8}))?",
    re.ASCII | re.IGNORECASE,
)


def quickbooks_query(asked: "Asked") -> "Query":
    """Source: Intuit's documentation, "Query operations and syntax". An answer is XML, unless JSON is asked for."""
    query, found = asked.query(), QUICKBOOKS.fullmatch(asked.text("query"))
    if "application/json" not in asked.request.headers.get("Accept", ""):
        raise asked.refuse("The simulator answers in JSON alone, which the header Accept asks for.")
    if found is None:
        raise asked.refuse("The query is not understood.")
    bounds = []
    for condition in (found["where"] or "").split(" AND "):
        if since := re.fullmatch(r"MetaData\.LastUpdatedTime (>=|<=|>|<) '([^']+)'", condition):
            bounds.append(_bound(asked, since[1], since[2], "iso"))
        elif condition and not re.fullmatch(r"Active IN \(true, ?false\)", condition):
            raise asked.refuse("A condition of the query is not understood.")
    size = int(found["size"] or query.size)
    if size > asked.listing.paging.largest:
        raise asked.refuse("MAXRESULTS is too large.")
    by: Field = "updated" if found["by"] == "LastUpdatedTime" else "created"
    descending = (found["direction"] or "").upper() == "DESC"
    offset = int(found["start"] or 1) - 1
    return replace(query, by=by, descending=descending, size=size, offset=offset, bounds=tuple(bounds))


SUITEQL = re.compile(
    r"SELECT (?P<columns>.+?) FROM \w+(?: WHERE (?P<where>.+?))?(?: ORDER BY (?P<order>[\w., ]+))?", re.ASCII
)
IN_OUR_FORM = r"'YYYY-MM-DD\"T\"HH24:MI:SS'"


def suiteql(asked: "Asked") -> "Query":
    """Source: Oracle's documentation, "Executing SuiteQL Queries Through REST Web Services". A time is told as the
    record has it where it is selected in the form that the query gives it.
    """
    query, found = asked.query(), SUITEQL.fullmatch(asked.text("json:q"))
    if found is None or asked.request.headers.get("Prefer") != "transient":
        raise asked.refuse("The query is not understood, or not asked to be transient.")
    if not re.search(rf"TO_CHAR\(\w+\.lastmodifieddate, {IN_OUR_FORM}\) AS last_modified", found["columns"]):
        raise asked.refuse("The simulator tells times in ISO 8601 alone, as last_modified.")
    bounds = []
    for condition in (found["where"] or "").split(" AND "):
        if since := re.fullmatch(rf"\w+\.lastmodifieddate (>=|>) TO_DATE\('([^']+)', {IN_OUR_FORM}\)", condition):
            bounds.append(_bound(asked, since[1], since[2], "%Y-%m-%dT%H:%M:%S"))
        elif condition and not re.fullmatch(r"\w+\.type = '\w+'", condition):
            raise asked.refuse("A condition of the query is not understood.")
    columns = re.sub(r"\w+\.", "", found["order"] or "").split(", ")
    if columns[-1] != "id":
        raise asked.refuse("Pages need an order that no two rows share.")
    by: Field = "updated" if columns[0] == "lastmodifieddate" else "created"
    return replace(query, by=by, bounds=tuple(bounds))


def linear_query(asked: "Asked") -> "Query":
    """Source: Linear's documentation, "Pagination" and "Filtering". The latest come first."""
    body, page = asked.document, asked.listing.page["data"]
    try:
        asking = graphql.read(str(body.get("query", "")), dict(body.get("variables") or {}))
    except (graphql.Malformed, AttributeError, TypeError, ValueError) as exc:
        raise asked.refuse("The query is no GraphQL, or more of it than is played.") from exc
    shape = {name: {**inner, "nodes": asked.listing.record} for name, inner in page.items()}
    if wrong := graphql.unknown({asking.name: asking.fields}, shape):
        raise asked.refuse(f"{wrong[:100]} is not there, or has to be asked for in parts.")
    arguments = {name: value for name, value in asking.arguments.items() if value is not None}
    known = {"first", "after", "filter", "orderBy", "includeArchived", *(asked.listing.known_params or [])}
    order, size, after = (arguments.get(name) for name in ("orderBy", "first", "after"))
    size = asked.listing.paging.size if size is None else size
    if arguments.keys() - known or order not in {None, "createdAt", "updatedAt"}:
        raise asked.refuse("The list does not take these arguments.")
    if not isinstance(size, int) or not 0 < size <= asked.listing.paging.largest:
        raise asked.refuse(f"first must be from 1 to {asked.listing.paging.largest}.")
    bounds = tuple(_linear_bounds(asked, arguments.get("filter", {})))
    query = replace(
        asked.query(), descending=True, size=size, bounds=bounds, fields={"data": {asking.name: asking.fields}}
    )
    query = replace(query, by="updated" if order == "updatedAt" else "created")
    return asked.from_token(query, str(after)) if after else query


def _linear_bounds(asked: "Asked", wanted: Any) -> "Iterator[Bound]":
    times: dict[str, Field] = {"createdAt": "created", "updatedAt": "updated"}
    operators: dict[str, Operator] = {"gt": "gt", "gte": "gte", "lt": "lt", "lte": "lte"}
    try:
        for name, comparisons in wanted.items():
            for operator, time in comparisons.items():
                yield Bound(times[name], operators[operator], read_time(time, "iso"))
    except (AttributeError, KeyError, TypeError, ValueError) as exc:
        raise asked.refuse("The filter is not understood.") from exc


def hubspot_list(asked: "Asked") -> "Query":
    """Source: HubSpot's documentation, "Objects API": `properties` says which of them come."""
    return replace(asked.query(), fields=_hubspot_fields(asked, asked.text("properties").split(",")))


def hubspot_search(asked: "Asked") -> "Query":
    """Source: HubSpot's documentation, "CRM search"."""
    body, query = asked.document, asked.query()
    operators: dict[str, Operator] = {"GT": "gt", "GTE": "gte", "LT": "lt", "LTE": "lte"}
    bounds = []
    try:
        groups, sorts = body.get("filterGroups", []), body.get("sorts", [])
        for one in groups[0]["filters"] if groups else []:
            how = "unix_ms" if str(one["value"]).isdigit() else "iso"
            time = read_time(str(one["value"]), how)
            bounds.append(Bound(_hubspot_time(asked, one["propertyName"]), operators[one["operator"]], time))
        if len(groups) > 1 or len(sorts) > 1:
            raise asked.refuse("The simulator takes one group of filters, and one sort.")
        for one in sorts:
            descending = {"ASCENDING": False, "DESCENDING": True}[one["direction"]]
            query = replace(query, by=_hubspot_time(asked, one["propertyName"]), descending=descending)
        fields = _hubspot_fields(asked, body.get("properties", []))
    except (AttributeError, KeyError, IndexError, TypeError, ValueError) as exc:
        raise asked.refuse("The search is not understood.") from exc
    return replace(query, bounds=tuple(bounds), fields=fields)


def _hubspot_time(asked: "Asked", name: str) -> Field:
    template = str(asked.listing.record["properties"].get(name))
    if not template.startswith(("{created", "{updated")):
        raise asked.refuse("The simulator searches and sorts by times alone.")
    return "created" if template.startswith("{created") else "updated"


def _hubspot_fields(asked: "Asked", properties: list[str]) -> dict[str, Any]:
    always = {"hs_object_id", *(name for name in asked.listing.record["properties"] if name.endswith("date"))}
    of_a_record: dict[str, Any] = {name: {} for name in asked.listing.record} | {
        "properties": {name: {} for name in {*properties, *always}}
    }
    return {**{name: {} for name in asked.listing.page}, "results": of_a_record}


def auth0_users(asked: "Asked") -> "Query":
    """Source: Auth0's documentation, "User Search Query Syntax" and "Sort Search Results"."""
    query = asked.query()
    if text := asked.text("q"):
        found = re.fullmatch(r"updated_at:([\[{])(\S+) TO \*\]", text)
        if found is None:
            raise asked.refuse("The query is not understood.")
        query = replace(query, bounds=(_bound(asked, ">=" if found[1] == "[" else ">", found[2], "iso"),))
    if text := asked.text("sort"):
        order = re.fullmatch(r"(created_at|updated_at):(-?1)", text)
        if order is None:
            raise asked.refuse("The order is not understood.")
        by: Field = "created" if order[1] == "created_at" else "updated"
        query = replace(query, by=by, descending=order[2] == "-1")
    return query
