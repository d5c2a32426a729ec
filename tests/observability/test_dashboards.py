"""The dashboards: as their code has them, readable, and each expression with something to show on a real Prometheus."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from grafana.generate import DIRECTORY, render
from tests.observability.evaluating import has_something_to_say
from tests.observability.expressions import selectors
from tests.observability.site import Site

_CHOSEN = {"$__rate_interval": "1m", "$scope": ".*", "$zone": ".*"}
_GRID_COLUMNS = 24


def dashboards() -> Mapping[str, Any]:
    """Those that are shipped, by the name of their file."""
    return {path.name: json.loads(path.read_bytes()) for path in sorted(DIRECTORY.glob("*.json"))}


def panels(dashboard: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def shown() -> Iterator[Any]:
    """Each expression with the legend that its series get."""
    for name, dashboard in dashboards().items():
        for panel in panels(dashboard):
            for target in panel["targets"]:
                where = f"{name.removesuffix('.json')}-{panel['id']}{target['refId']}"
                yield pytest.param(target["expr"], target["legendFormat"], id=where)
        for annotation in dashboard["annotations"]["list"]:
            where = f"{name.removesuffix('.json')}-{annotation['name']}"
            yield pytest.param(annotation["expr"], annotation["titleFormat"], id=where)


def chosen(expression: str) -> str:
    """Return an expression as Grafana sends it where everything is chosen."""
    for variable, value in _CHOSEN.items():
        expression = expression.replace(variable, value)
    assert "$" not in expression
    return expression


def test_dashboards_are_as_their_code_has_them() -> None:
    """Whoever changes the code runs `python -m grafana.generate`."""
    assert {path.name: path.read_text(encoding="utf-8") for path in DIRECTORY.glob("*.json")} == render()


@pytest.mark.parametrize("name", dashboards())
def test_each_panel_says_what_it_shows(name: str) -> None:
    """A title, a description, at least one query; a number of its own; and no panel lies over another."""
    dashboard = dashboards()[name]
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        at = panel["gridPos"]
        cells = {(at.get("x", 0) + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert not cells & taken, panel["title"]
        assert all(x < _GRID_COLUMNS for x, _ in cells)
        taken |= cells
    for panel in panels(dashboard):
        assert panel["title"]
        assert panel["description"].endswith("."), panel["title"]
        assert panel["targets"], panel["title"]


@pytest.mark.parametrize(("expression", "legend"), list(shown()))
def test_each_expression_has_something_to_show(site: Site, expression: str, legend: str) -> None:
    """It returns numbers, and they carry each label that the legend names."""
    labels = has_something_to_say(site, chosen(expression))
    assert set(re.findall(r"{{(\w+)}}", legend)) <= labels


@pytest.mark.parametrize("name", dashboards())
def test_each_choice_has_something_to_choose(site: Site, name: str) -> None:
    """The variables at the top find their values."""
    queries = [v["query"] for v in dashboards()[name]["templating"]["list"] if v["type"] == "query"]
    assert len(queries) == 2
    for query in queries:
        match = re.fullmatch(r"label_values\((.+), (\w+)\)", query)
        assert match is not None
        for selector in selectors(chosen(match[1])):
            found = site.prometheus.query(selector)
            assert found
            assert all(match[2] in series for series, _ in found)
