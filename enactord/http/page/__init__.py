"""The status page: HTML, CSS and JavaScript modules of this folder, put into one document.

The browser is told by a policy to run nothing but exactly this script and this style
(their hashes), and to load nothing from anywhere but the API of the same origin.
"""

import base64
import hashlib
import re
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

ENTRY = "main.js"
_IMPORT = re.compile(r'^import \{[^}]*\} from "\./([a-z_]+\.js)";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async )?function |const |class )", re.MULTILINE)
_TOP_NAME = re.compile(r"^(?:export )?(?:async )?(?:function\*?|const|let|class) ([A-Za-z_$][\w$]*)", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A document, and the Content-Security-Policy that it is to be sent with."""

    html: bytes
    policy: str


@lru_cache(maxsize=1)
def page() -> Page:
    """Return the page."""
    style, script = _read("page.css"), bundle(ENTRY)
    html = _read("index.html").replace("/*style*/", style).replace("/*script*/", script)
    policy = (
        f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}'; connect-src 'self';"
        " img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none';"
        " require-trusted-types-for 'script'; trusted-types 'none'"
    )
    return Page(html=html.encode("utf-8"), policy=policy)


def bundle(entry: str) -> str:
    """Return a module and all that it imports as one script, what is imported first.

    The modules keep to a simple form, which is checked: each import is one line of names
    in braces, and no two modules have a top name in common, as all share one scope here.
    """
    parts: dict[str, str] = {}
    _add(entry, parts)
    names = [name for text in parts.values() for name in _TOP_NAME.findall(text)]
    twice = sorted({name for name in names if names.count(name) > 1})
    assert not twice, f"top names in more than one module: {twice}"
    script = "\n".join(_EXPORT.sub("", _IMPORT.sub("", text)).strip() + "\n" for text in parts.values())
    assert not re.search(r"^(?:import|export)\b", script, re.MULTILINE), "an import or export of another form"
    assert "</script" not in script.lower()
    return "\n" + script


def _add(name: str, parts: dict[str, str]) -> None:
    text = _read(name)
    for wanted in _IMPORT.findall(text):
        if wanted not in parts:
            _add(wanted, parts)
    parts.setdefault(name, text)


def _read(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """Return a source expression for an inline element's text. Source: CSP Level 3, 2.3.1."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")
