"""Backends: each is a package here and a line of `ALL`, with a module of the suite of zones."""

import dataclasses
from pathlib import Path

import pytest

from enactord import backends
from enactord.backends import ALL
from enactord.backends.backend import ZoneConfig
from enactord.core.settings import declared

NO_BACKENDS = {"readers"}


def test_every_package_of_a_backend_is_in_the_list() -> None:
    """A package that is left out would be known to nobody, without a word."""
    assert backends.__file__ is not None
    packages = {path.parent.name for path in Path(backends.__file__).parent.glob("*/__init__.py")}
    assert packages - NO_BACKENDS == set(ALL)


@pytest.mark.parametrize("name", ALL)
def test_a_backend_is_whole(name: str) -> None:
    """It has its own class of zones, a meaning, sites in the suite, and why it leaves out what it leaves out."""
    backend = ALL[name]
    assert issubclass(backend.zone, ZoneConfig)
    assert (backend.name, bool(backend.meaning)) == (name, True)
    assert (Path(__file__).parents[1] / "contract" / "sites" / f"{name}.py").exists()
    left_out = {key.name for key in declared(ZoneConfig)} - {key.name for key in declared(backend.zone)}
    assert left_out == set(backend.zone.WITHOUT)
    fields = {field.name for field in dataclasses.fields(backend.zone)}
    assert set(backend.zone.SHARED) <= fields
