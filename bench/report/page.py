"""A run's report: results.json, pictures, report.html and tables.md in one folder."""

from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from bench.report.pictures import draw
from bench.report.tables import Table, bars_table, markdown_report, tables
from bench.results import Results, write_results

_BEGIN, _END = "<!-- results -->", "<!-- end of results -->"


def write_report(results: Results, folder: Path) -> None:
    """Write everything about a run into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    write_results(results, folder / "results.json")
    pictures = draw(results, folder)
    (folder / "report.html").write_text(render_page(results, pictures), encoding="utf-8")
    (folder / "tables.md").write_text(markdown_report(results), encoding="utf-8")


def write_readme(results: Results, path: Path) -> None:
    """Put a run's tables between the two marks of a Markdown file. Raises ValueError where they are not there."""
    before, begin, rest = path.read_text(encoding="utf-8").partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not end:
        raise ValueError(f"{path}: needs the lines {_BEGIN} and {_END}")
    path.write_text(f"{before}{begin}\n\n{markdown_report(results)}\n{end}{after}", encoding="utf-8")


def render_page(results: Results, pictures: dict[str, list[str]]) -> str:
    """Return the page; pictures lie beside it."""
    environment = Environment(
        loader=PackageLoader("bench", "report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    sections = [
        {"found": found, "tables": list(tables(found)), "pictures": pictures.get(found.name, [])}
        for found in results.found
    ]
    facts = tuple((name, value) for name, value in (results.machine | results.versions).items())
    return environment.get_template("page.html.j2").render(
        results=results,
        bars=bars_table(results),
        sections=sections,
        facts=Table(title="", head=("what", "which"), rows=facts),
    )
