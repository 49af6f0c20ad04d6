"""The document, the dashboard and the alarms name the metrics that there are, and the other way round."""

import ast
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.core import Metric

from sequin_auth.lib.measures import LINKS, SORTS
from sequin_auth.metrics import FLOORS

ROOT = Path(__file__).resolve().parent.parent.parent
DOCUMENT = (ROOT / "docs" / "metrics.md").read_text()
DASHBOARD = json.loads((ROOT / "examples" / "grafana" / "sequin-auth.json").read_text())
ALERTS = yaml.safe_load((ROOT / "examples" / "grafana" / "alerts.yml").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
RULES = [rule for group in ALERTS["groups"] for rule in group["rules"]]
# What stands in an expression beside metrics and labels
FUNCTIONS = {
    "sum", "min", "max", "count", "topk", "and", "on",
    "rate", "increase", "delta", "histogram_quantile", "by", "time", "absent", "le",
}  # fmt: skip
SUFFIXES = {
    "counter": ["_total"],
    "histogram": ["_bucket", "_sum", "_count"],
    "summary": ["_sum", "_count"],
    "gauge": [""],
}


@pytest.fixture
def families(db: None) -> list[Metric]:
    return [family for families in FLOORS for family in families()]


def told(family: Metric) -> str:
    return f"{family.name}_total" if family.type == "counter" else family.name


def labels_of(family: Metric) -> list[str]:
    return list(getattr(family, "_labelnames", ()))


def rows() -> dict[str, list[str]]:
    """Of the table: by the name of the metric, its labels."""
    table = DOCUMENT.split("## What there is", 1)[1].split("## Alarms", 1)[0]
    cells = [line.strip("|").split("|") for line in table.splitlines() if line.startswith("| `")]
    return {row[0].strip().strip("`"): re.findall(r"`([a-z_]+)`", row[1]) for row in cells}


def test_the_document_has_each_metric_with_its_labels_and_no_other(families: list[Metric]) -> None:
    assert rows() == {told(family): labels_of(family) for family in families}


def test_no_metric_is_there_twice(families: list[Metric]) -> None:
    names = [family.name for family in families]

    assert len(set(names)) == len(names)


def test_the_document_names_each_route() -> None:
    row = next(line for line in DOCUMENT.splitlines() if line.startswith("| `http_request_seconds`"))

    for word in {*LINKS.values(), *SORTS.values(), "access_token", "pages", "other"}:
        assert f"`{word}`" in row


@pytest.mark.parametrize(
    ("metric", "path", "words"),
    [
        ("provider_calls_total", "providers/measured.py", {"ok", "crashed", "not_sent"}),
        ("egress_failures_total", "sequin_auth/lib/http", {"busy", "unreachable"}),
        ("webhook_deliveries_total", "oauth_apps/webhooks/delivery.py", {"put_off", "delivered"}),
    ],
)
def test_the_document_names_each_outcome(metric: str, path: str, words: set[str]) -> None:
    row = next(line for line in DOCUMENT.splitlines() if line.startswith(f"| `{metric}`"))
    found = words | words_of(ROOT / path)

    assert [word for word in sorted(found) if f"`{word}`" not in row] == []


def words_of(path: Path) -> set[str]:
    """What is given as `reason`, in a class or to its exception."""
    found: set[str] = set()
    files = sorted(path.rglob("*.py")) if path.is_dir() else [path]
    for node in [node for file in files for node in ast.walk(ast.parse(file.read_text()))]:
        if (
            isinstance(node, ast.Assign)
            and ast.unparse(node.targets[0]) == "reason"
            and isinstance(node.value, ast.Constant)
        ):
            found.add(str(node.value.value))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "EgressBlocked":
            found |= {str(one.value.value) for one in node.keywords if isinstance(one.value, ast.Constant)}
    return found


def series(families: list[Metric]) -> dict[str, set[str]]:
    """What may be asked for, by name, and the labels it has."""
    found: dict[str, set[str]] = {}
    for family in families:
        labels = set(labels_of(family)) | ({"le"} if family.type == "histogram" else set())
        found |= {f"{family.name}{suffix}": labels for suffix in SUFFIXES[family.type]}
    return found


def assert_sound(expression: str, known: dict[str, set[str]]) -> set[str]:
    """Raises unless each metric is there, and each label is one of theirs; which metrics it asks for."""
    bare = re.sub(r'"[^"]*"|\[[^]]*\]', "", expression)
    words = set(re.findall(r"[a-z_][a-z0-9_]*", bare)) - FUNCTIONS
    asked = words & known.keys()
    labels = set[str]().union(*(known[name] for name in asked))
    assert asked, expression
    assert words - asked <= labels, f"{expression}: {words - asked - labels}"
    return asked


def test_the_dashboard_asks_for_what_there_is_and_for_all_of_it(families: list[Metric]) -> None:
    known = series(families)

    asked = {name for panel in PANELS for target in panel["targets"] for name in assert_sound(target["expr"], known)}

    assert [family.name for family in families if not asked & set(series([family]))] == []


def test_the_dashboard_can_be_imported() -> None:
    assert [one["name"] for one in DASHBOARD["templating"]["list"]] == ["datasource"]
    assert DASHBOARD["title"]
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)
    for panel in PANELS:
        assert panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        assert all(target["expr"] and target["legendFormat"] for target in panel["targets"])


def test_no_panel_lies_on_another() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (column, line)
            for column in range(place["x"], place["x"] + place["w"])
            for line in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= 24
        assert not taken & cells, panel["title"]
        taken |= cells


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: str(rule["alert"]))
def test_each_alarm_asks_for_what_there_is(rule: dict[str, Any], families: list[Metric]) -> None:
    assert_sound(rule["expr"], series(families))
    assert rule["annotations"]["summary"]
    assert rule["labels"]["severity"] in {"critical", "warning", "info"}


def test_the_alarms_of_the_document_are_rules(families: list[Metric]) -> None:
    table = DOCUMENT.split("## Alarms", 1)[1].split("## Dashboard", 1)[0]
    expressions = re.findall(r"^\| `([^`]+)` \|", table, re.MULTILINE)

    assert len(expressions) > 5
    rules = " ".join(rule["expr"] for rule in RULES)
    for expression in expressions:
        assert_sound(expression, series(families))
        assert expression in rules
