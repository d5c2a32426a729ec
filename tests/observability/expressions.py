"""PromQL, taken apart as far as is needed to know whether an expression can ever say something.

An alert that is quiet says nothing, and so does one with a wrong name in it. `loosened` gives an
expression that says something in either state, and nothing where a name is wrong.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import product

_TOKEN = re.compile(
    r"""(?P<space>\s+|\#[^\n]*)
    |(?P<string>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')
    |(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)
    |(?P<number>\d[\w.]*)
    |(?P<sign>=~|!~|==|!=|<=|>=|[-+*/%^<>=(){}\[\],@.])""",
    re.VERBOSE,
)
_COMPARISONS = frozenset({"==", "!=", "<", "<=", ">", ">="})
_AGGREGATIONS = frozenset(
    {"avg", "bottomk", "count", "count_values", "group", "max", "min", "quantile", "stddev", "stdvar", "sum", "topk"}
)
_GROUPINGS = frozenset({"by", "without", "on", "ignoring", "group_left", "group_right"})
_WORDS = _AGGREGATIONS | _GROUPINGS | {"and", "or", "unless", "bool", "offset", "inf", "nan"}


def tokens(expression: str) -> list[tuple[str, str]]:
    """Return (kind, text) of each token, spaces left out."""
    found = []
    at = 0
    while at < len(expression):
        match = _TOKEN.match(expression, at)
        assert match is not None, f"not PromQL: {expression[at:]!r}"
        assert match.lastgroup is not None
        if match.lastgroup != "space":
            found.append((match.lastgroup, match.group()))
        at = match.end()
    return found


def _marked(expression: str) -> Iterator[tuple[str, str, str]]:
    """Yield (where, kind, text) of each token; where is "", "matchers", "range" or "grouping"."""
    where = ""
    grouping_next = False
    for kind, text in tokens(expression):
        if text == "{":
            where = "matchers"
        elif text == "[":
            where = "range"
        elif text == "(" and grouping_next:
            where = "grouping"
        yield where, kind, text
        if text in {"}", "]"} or (where == "grouping" and text == ")"):
            where = ""
        grouping_next = where == "" and kind == "name" and text in _GROUPINGS


def loosened(expression: str) -> str:
    """Return the expression with every condition taken out of it, but each name and each match left in.

    A comparison says 0 or 1 instead of nothing or something; `unless` wants what it ruled
    out, `absent` counts; what was some time ago is asked of now.
    """
    kept: list[str] = []
    skip_duration = False
    for where, kind, text in _marked(expression):
        if skip_duration:
            assert kind == "number", text
            skip_duration = False
        elif where == "" and kind == "name" and text == "offset":
            skip_duration = True
        elif where == "" and kind == "name" and text in {"unless", "absent"}:
            kept.append({"unless": "and", "absent": "count"}[text])
        elif where == "" and text in _COMPARISONS:
            kept += [text, "bool"]
        elif where == "" and text == "bool":
            assert kept[-1] == "bool"
        else:
            kept.append(text)
    return " ".join(kept)


def selectors(expression: str) -> list[str]:
    """Return each series selector on its own; of `label=~"a|b"`, one for each of a and b."""
    marked = list(_marked(expression))
    found: list[str] = []
    for i, (where, kind, text) in enumerate(marked):
        following = marked[i + 1][2] if i + 1 < len(marked) else ""
        if where != "" or kind != "name" or text in _WORDS or following == "(":
            continue
        matchers: list[list[str]] = []
        if following == "{":
            end = next(j for j in range(i, len(marked)) if marked[j][2] == "}")
            matchers = _matchers([token for _, _, token in marked[i + 2 : end]])
        found += [f"{text}{{{','.join(some)}}}" for some in product(*matchers)]
    return sorted(set(found))


def _matchers(parts: Sequence[str]) -> list[list[str]]:
    """Return for each matcher the forms that must find something, each on its own."""
    found = []
    for i in range(0, len(parts), 4):
        label, sign, value = parts[i : i + 3]
        alternatives = value[1:-1].split("|")
        if sign == "=~" and all(re.fullmatch(r"[\w.:-]+", alternative) for alternative in alternatives):
            found.append([f'{label}="{alternative}"' for alternative in alternatives])
        else:
            found.append([f"{label}{sign}{value}"])
    return found


def labels_named(expression: str) -> set[str]:
    """Return the labels that an expression groups or matches by."""
    return {text for where, kind, text in _marked(expression) if where == "grouping" and kind == "name"}


def labels_made(expression: str) -> set[str]:
    """Return the labels that an expression itself makes, by `count_values`."""
    return set(re.findall(r'count_values[^"]*\(\s*"(\w+)"', expression))


def metrics_named(expression: str) -> set[str]:
    """Return the names of the metrics that an expression reads."""
    return {selector.partition("{")[0] for selector in selectors(expression)}
