"""README's table of servers is of such a trial."""

import re

from tests.doctor.servers_table import PAGE, README, page, readme_rows, results, spliced


def bare(text: str) -> str:
    """Return a text without the versions of servers: other machines have others, and the same verdicts."""
    return re.sub(r"(BIND|Knot DNS|PowerDNS) \d+\.\d+", r"\1", text)


async def test_the_tables_say_what_the_trials_say() -> None:
    """`make conformance` makes them anew."""
    found = await results()
    readme = README.read_text(encoding="utf-8")
    assert bare(spliced(readme, readme_rows(found))) == bare(readme), "run: make conformance"
    assert bare(page(found)) == bare(PAGE.read_text(encoding="utf-8")), "run: make conformance"
    assert spliced(readme, ["| another |"]) != readme, "the table is found"
