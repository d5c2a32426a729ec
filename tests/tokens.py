"""Tokens for tests: of any name, always the same, in the form in which they are made."""

from pathlib import Path

from enactord.core.tokens import PREFIX, Role, Token, Tokens, hashed, tokens_text


def secret_of(name: str) -> str:
    """Return the token of a name."""
    return PREFIX + name.ljust(43, "_")


def bearer(name: str) -> dict[str, str]:
    """Return the header that carries the token of a name."""
    return {"Authorization": f"Bearer {secret_of(name)}"}


def tokens(**roles: str) -> Tokens:
    """Return tokens by name and role."""
    return Tokens(
        tuple(
            Token(name=name, role=Role(role), made_at=1.7e9, hash=hashed(secret_of(name)))
            for name, role in roles.items()
        )
    )


def write_tokens(path: Path, **roles: str) -> None:
    """Write a file of tokens by name and role."""
    path.write_text(tokens_text(tokens(**roles)))
    path.chmod(0o600)
