"""README's table of servers is of such a trial."""

import pytest

from tests.doctor.servers_table import PAGE, README, page, readme_rows, results, spliced


async def test_the_tables_say_what_the_trials_say() -> None:
    """`make conformance` makes them anew; of a version only the first two numbers count."""
    found = await results()
    readme = README.read_text(encoding="utf-8")
    assert spliced(readme, readme_rows(found)) == readme, "run: make conformance"
    assert page(found) == PAGE.read_text(encoding="utf-8"), "run: make conformance"
    with pytest.raises(AssertionError):
        assert spliced(readme, ["| another |"]) == readme
