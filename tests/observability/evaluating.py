"""Whether an expression can say anything at all: asked of a real Prometheus."""

import math

from tests.observability.expressions import labels_made, labels_named, loosened, selectors
from tests.observability.site import Site


def has_something_to_say(site: Site, expression: str) -> set[str]:
    """Wait until an expression, its conditions taken out, returns numbers; returns the labels they come with.

    Each of its selectors must find series, and each label that it groups by must be on some of them.
    """
    without_conditions = loosened(expression)
    site.until(lambda: any(not math.isnan(value) for _, value in site.prometheus.query(without_conditions)))
    known = labels_made(expression) | {"le"}
    for selector in selectors(expression):
        if selector.startswith("ALERTS"):
            continue  # there are none where nothing is wrong
        found = site.prometheus.query(selector)
        assert found, selector
        known.update(label for series, _ in found for label in series)
    assert labels_named(expression) <= known
    return {label for series, _ in site.prometheus.query(without_conditions) for label in series}
