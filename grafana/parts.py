"""What dashboards are made of: one way to draw each kind of panel, and what all dashboards share.

Every expression is limited to the chosen scopes, and where it can be to the chosen zones; put
`SCOPE` or `ZONE` into its selectors.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

from grafana_foundation_sdk.builders import common as common_builders
from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.builders import heatmap, stat, statetimeline, timeseries
from grafana_foundation_sdk.builders.prometheus import Dataquery
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import common, dashboard
from grafana_foundation_sdk.models.heatmap import HeatmapColorMode
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

SCOPE = 'scope=~"$scope"'
ZONE = f'{SCOPE}, zone=~"$zone"'
TAG = "enactord"

Panel = Builder[dashboard.Panel]
Queries = Mapping[str, str]
"""Expressions by their legend."""

_DATASOURCE = dashboard.DataSourceRef(type_val="prometheus", uid="${datasource}")
_ANY = ".*"
"""What "All" stands for; unlike a list of the values, it also matches where the label is missing."""


def queries(
    some: Queries, *, form: PromQueryFormat = PromQueryFormat.TIME_SERIES, now: bool = False
) -> list[Dataquery]:
    """Return the queries of a panel: over the time that is shown, or of its end alone."""
    made = []
    for letter, (legend, expr) in zip("ABCDEFGH", some.items(), strict=False):
        query = Dataquery().expr(expr).legend_format(legend).format(form).ref_id(letter)
        made.append(query.instant() if now else query.range())
    return made


def thresholds(*steps: tuple[float, str]) -> builders.ThresholdsConfig:
    """Green, and another colour from each value on."""
    found = [dashboard.Threshold(value=None, color="green")]
    found += [dashboard.Threshold(value=value, color=color) for value, color in steps]
    return builders.ThresholdsConfig().mode(dashboard.ThresholdsMode.ABSOLUTE).steps(found)


def words(**meanings: tuple[str, str]) -> list[dashboard.ValueMapping]:
    """What values mean, as `v0=("thawed", "green")`: a word and a colour for 0."""
    options = {
        value.removeprefix("v"): dashboard.ValueMappingResult(text=text, color=color, index=index)
        for index, (value, (text, color)) in enumerate(meanings.items())
    }
    return [dashboard.ValueMap(options=options)]


def number(
    title: str,
    text: str,
    expr: str,
    *,
    unit: str = "none",
    bad: Sequence[tuple[float, str]] = (),
    mappings: Sequence[dashboard.ValueMapping] = (),
    width: int = 4,
) -> Panel:
    """One number, as it is now, coloured by how bad it is."""
    return (
        stat.Panel()
        .title(title)
        .description(text)
        .datasource(_DATASOURCE)
        .targets([*queries({"": expr}, now=True)])
        .unit(unit)
        .thresholds(thresholds(*bad))
        .mappings(list(mappings))
        .color_mode(common.BigValueColorMode.BACKGROUND_SOLID if bad or mappings else common.BigValueColorMode.VALUE)
        .graph_mode(common.BigValueGraphMode.NONE)
        .reduce_options(common_builders.ReduceDataOptions().calcs(["lastNotNull"]))
        .height(4)
        .span(width)
    )


def graph(
    title: str,
    text: str,
    some: Queries,
    *,
    unit: str = "none",
    stacked: bool = False,
    bars: bool = False,
    width: int = 8,
) -> Panel:
    """Lines (or bars, for what comes now and then) over time."""
    panel = (
        timeseries.Panel()
        .title(title)
        .description(text)
        .datasource(_DATASOURCE)
        .targets([*queries(some)])
        .unit(unit)
        .min(0)
        .line_width(1)
        .fill_opacity(60 if bars else 10)
        .draw_style(common.GraphDrawStyle.BARS if bars else common.GraphDrawStyle.LINE)
        .show_points(common.VisibilityMode.NEVER)
        .legend(
            common_builders.VizLegendOptions()
            .display_mode(common.LegendDisplayMode.LIST)
            .placement(common.LegendPlacement.BOTTOM)
            .show_legend(True)
        )
        .tooltip(
            common_builders.VizTooltipOptions().mode(common.TooltipDisplayMode.MULTI).sort(common.SortOrder.DESCENDING)
        )
        .height(8)
        .span(width)
    )
    if stacked or bars:
        panel.stacking(common_builders.StackingConfig().mode(common.StackingMode.NORMAL))
    return panel


def heat(title: str, text: str, expr: str, *, width: int = 12) -> Panel:
    """A histogram over time: how many took how long. `expr` keeps the label `le`."""
    return (
        heatmap.Panel()
        .title(title)
        .description(text)
        .datasource(_DATASOURCE)
        .targets([*queries({"{{le}}": expr}, form=PromQueryFormat.HEATMAP)])
        .calculate(False)
        .color(heatmap.HeatmapColorOptions().mode(HeatmapColorMode.SCHEME).scheme("Oranges").steps(64).exponent(0.5))
        .y_axis(heatmap.YAxisConfig().unit("s").axis_placement(common.AxisPlacement.LEFT))
        .cell_gap(1)
        .show_legend()
        .show_tooltip()
        .height(8)
        .span(width)
    )


def states(
    title: str, text: str, some: Queries, meanings: Sequence[dashboard.ValueMapping], *, width: int = 8
) -> Panel:
    """What was the case when, a band for each series."""
    return (
        statetimeline.Panel()
        .title(title)
        .description(text)
        .datasource(_DATASOURCE)
        .targets([*queries(some)])
        .mappings(list(meanings))
        .show_value(common.VisibilityMode.NEVER)
        .height(8)
        .span(width)
    )


class _Annotation(dashboard.AnnotationQuery):
    """An annotation by an expression: a mark wherever it is above 0. Its title may name labels."""

    def __init__(self, name: str, color: str, expr: str, title: str) -> None:
        super().__init__(name=name, datasource=_DATASOURCE, enable=True, icon_color=color, expr=expr)
        self._title = title

    def to_json(self) -> dict[str, object]:
        # The SDK does not know this key, which Grafana's Prometheus plugin reads.
        return super().to_json() | {"titleFormat": self._title}


class _Made(Builder[dashboard.AnnotationQuery]):
    """A builder of what is made already."""

    def __init__(self, annotation: dashboard.AnnotationQuery) -> None:
        self._annotation = annotation

    def build(self) -> dashboard.AnnotationQuery:
        return self._annotation


def _annotations() -> list[Builder[dashboard.AnnotationQuery]]:
    head = f'max by (scope) (enactord_generation{{kind="head", {SCOPE}}})'
    return [
        _Made(_Annotation(name, color, expr, title))
        for name, color, expr, title in (
            (
                "Plans",
                "blue",
                f'count_values by (scope) ("generation", {head}) and on (scope) '
                f'max by (scope) (changes(enactord_generation{{kind="head", {SCOPE}}}[1m])) > 0',
                "{{scope}}: plan {{generation}} published",
            ),
            (
                "Freezes",
                "purple",
                f"max by (scope, mode) (enactord_frozen{{{SCOPE}}}) > 0",
                "{{scope}}: frozen ({{mode}})",
            ),
            (
                "Repairs",
                "red",
                f"sum by (zone, kind) (increase(enactord_repairs_total{{{ZONE}}}[1m])) > 0",
                "{{zone}}: names were {{kind}}, and put back",
            ),
        )
    ]


def _choices() -> list[Builder[dashboard.VariableModel]]:
    def choice(name: str, query: str) -> builders.QueryVariable:
        return (
            builders.QueryVariable(name)
            .label(name.capitalize())
            .datasource(_DATASOURCE)
            .query(query)
            .refresh(dashboard.VariableRefresh.ON_TIME_RANGE_CHANGED)
            .sort(dashboard.VariableSort.ALPHABETICAL_ASC)
            .multi(True)
            .include_all(True)
            .all_value(_ANY)
            .current(dashboard.VariableOption(text="All", value="$__all", selected=True))
        )

    return [
        builders.DatasourceVariable("datasource").label("Prometheus").type("prometheus"),
        choice("scope", "label_values(enactord_build_info, scope)"),
        choice("zone", f"label_values(enactord_zone_up{{{SCOPE}}}, zone)"),
    ]


Row = tuple[str, Sequence[Panel]]


def assemble(
    uid: str, title: str, text: str, rows: Sequence[Row], *, repeated: Literal["zone", ""] = ""
) -> dashboard.Dashboard:
    """Return a dashboard; with `repeated`, its last row is drawn once for each value of that variable."""
    made = (
        builders.Dashboard(title)
        .uid(uid)
        .description(text)
        .tags([TAG])
        .readonly()
        .timezone("browser")
        .refresh("30s")
        .time("now-3h", "now")
        .tooltip(dashboard.DashboardCursorSync.CROSSHAIR)
        .variables(_choices())
        .annotations(_annotations())
        .link(
            builders.DashboardLink("enactord")
            .type(dashboard.DashboardLinkType.DASHBOARDS)
            .tags([TAG])
            .include_vars(True)
            .keep_time(True)
        )
    )
    for heading, panels in rows:
        row = builders.Row(heading)
        if repeated and heading == rows[-1][0]:
            row.repeat(repeated)
        made.with_row(row)
        for panel in panels:
            made.with_panel(panel)
    found = made.build()
    for number_, panel_or_row in enumerate(found.panels or (), 1):
        panel_or_row.id_val = number_
    return found
