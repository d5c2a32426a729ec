"""What boto3's usual chain finds first in tests: the double's own credentials, and nothing of this machine's."""

import pytest

ACCESS_KEY = "AKIAENACTORDDOUBLE00"
SECRET_KEY = "double/double/double/double/double/doubl"
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": ACCESS_KEY,
    "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": "/dev/null",
    "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
}
_ABSENT = ("AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_ENDPOINT_URL", "AWS_REGION")


def use_credentials(monkeypatch: pytest.MonkeyPatch, **changes: str) -> None:
    """Set them for this process."""
    for name, value in (ENVIRONMENT | changes).items():
        monkeypatch.setenv(name, value)
    for name in _ABSENT:
        monkeypatch.delenv(name, raising=False)
