"""The scope of real parts, once for all tests of this folder."""

from collections.abc import Iterator

import pytest

from tests.observability.site import Site


@pytest.fixture(scope="package")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with Site(tmp_path_factory.mktemp("site")) as running:
        yield running
