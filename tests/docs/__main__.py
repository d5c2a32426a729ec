"""`python -m tests.docs`: make anew what is made from the code, or from another file."""

from tests.docs.reference import FILES, ROOT, made

for path in FILES:
    (ROOT / path).write_text(made(path), encoding="utf-8")
