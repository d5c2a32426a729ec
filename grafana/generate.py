"""Writes the dashboards: python -m grafana.generate."""

import json
from collections.abc import Mapping
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from grafana.internals import internals
from grafana.overview import overview

DIRECTORY = Path(__file__).parent / "dashboards"


def render() -> Mapping[str, str]:
    """Return each dashboard's file, by its name."""
    return {
        f"{made.uid}.json": json.dumps(made, cls=JSONEncoder, indent=2, sort_keys=True) + "\n"
        for made in (overview(), internals())
    }


if __name__ == "__main__":
    for name, text in render().items():
        (DIRECTORY / name).write_text(text, encoding="utf-8")
