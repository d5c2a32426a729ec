"""Secrets stand in no message: planted where each can be, and looked for in all that enactor and commands say."""

import asyncio
import base64
import contextlib
import gzip
import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from click.testing import CliRunner

from enactord.cli.ctl import main as ctl
from enactord.cli.daemon import main as enactord
from enactord.core.tokens import hashed
from enactord.http.app import openapi_text
from enactord.stores.etcd_api import Service, message
from tests.daily import daily
from tests.deploy.process import service
from tests.servers.certificates import Authority
from tests.servers.dns_server import SECRET, free_port
from tests.servers.embedded import Embedded
from tests.servers.etcd import Etcd
from tests.tokens import secret_of, write_tokens
from tests.world import SCOPE, ZONE, fleet, plan

PASSWORD = "planted-Etcd-passw0rd"
PASSWORD_LATER = "planted-0ther-Etcd-passw0rd"
TSIG_LATER = base64.b64encode(b"planted-TSIG-secret-of-32-bytes!").decode()
AWS_SECRET = "plantedAWS/secret/access/key/of/40chars0"
AWS_SESSION = "plantedAWSsessionTokenThatIsLong0123456789"
WRONG_TOKEN = secret_of("planted-wrong")
TORN = secret_of("planted-torn")

CONFIG = """
[enactor]
id = "e1"
scope = "{scope}"
state_dir = "state"
[store]
url = "{store}"
username = "enactord"
password_file = "etcd.password"
timeout_s = 2.0
[[zone]]
name = "{zone}"
backend = "rfc2136"
server = "127.0.0.1:{dns}"
tsig_name = "enactor"
tsig_secret_file = "tsig.secret"
timeout_s = 2.0
[[zone]]
name = "aws.test."
backend = "route53"
hosted_zone_id = "Z00000000"
endpoint_url = "http://127.0.0.1:{aws}"
timeout_s = 1.0
[repair]
interval_s = 1.0
[guard]
allow_private = true
[http]
listen = "127.0.0.1:{http}"
tokens_file = "http.tokens"
tls_cert_file = "authority/http.pem"
tls_key_file = "authority/http.key"
[log]
level = "debug"
format = "json"
"""


def protect(server: Etcd) -> None:
    """Let nobody in without a password."""
    with grpc.insecure_channel(server.endpoint) as channel:
        auth = Service("Auth", channel)
        for user in ("root", "enactord"):
            auth.UserAdd(message("AuthUserAddRequest")(name=user, password=PASSWORD))
            auth.RoleAdd(message("AuthRoleAddRequest")(name=user))
            auth.UserGrantRole(message("AuthUserGrantRoleRequest")(user=user, role=user))
        ours = {"permType": 2, "key": b"/enactord/", "range_end": b"/enactord0"}
        auth.RoleGrantPermission(message("AuthRoleGrantPermissionRequest")(name="enactord", perm=ours))
        auth.AuthEnable(message("AuthEnableRequest")())


class Planted:
    """A folder with a config, whose secrets can all be told by their text."""

    def __init__(self, folder: Path, store: str, dns: int) -> None:
        self.folder = folder
        self.http = free_port()
        self.config = folder / "enactord.toml"
        self.config.write_text(
            CONFIG.format(scope=SCOPE, store=store, zone=ZONE, dns=dns, aws=free_port(), http=self.http)
        )
        self.put("etcd.password", PASSWORD)
        self.put("tsig.secret", SECRET)
        write_tokens(folder / "http.tokens", alice="operator")
        authority = Authority(folder / "authority")
        authority.issue("http")
        self.key = (folder / "authority" / "http.key").read_text()

    def put(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text + "\n")
        (self.folder / name).chmod(0o600)

    @property
    def secrets(self) -> dict[str, list[str]]:
        """Each secret with the texts that would give it away."""
        key_lines = [line for line in self.key.splitlines() if len(line) > 40 and "-" not in line]
        assert key_lines
        texts = {
            "etcd's password": [PASSWORD],
            "etcd's later password": [PASSWORD_LATER],
            "the TSIG key": [SECRET, base64.b64decode(SECRET).decode("latin-1"), base64.b64decode(SECRET).hex()],
            "the later TSIG key": [TSIG_LATER, base64.b64decode(TSIG_LATER).decode()],
            "the TLS key": key_lines,
            "AWS's secret": [AWS_SECRET, AWS_SESSION],
            "the operator's token": [secret_of("alice"), hashed(secret_of("alice"))],
            "a wrong token": [WRONG_TOKEN],
            "a token in the place of its hash": [TORN],
        }
        return {name: [*some, *(text.replace("/", "\\/") for text in some)] for name, some in texts.items()}

    def ask(self, path: str, token: str = "", body: bytes | None = None) -> str:
        """Return what a page says, its headers too, whatever the status."""
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        request = urllib.request.Request(f"https://127.0.0.1:{self.http}{path}", data=body, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=10, context=context) as answer:
                text = b""
                with contextlib.suppress(TimeoutError):
                    while chunk := answer.read1(65_536):
                        text += chunk
                        if path.startswith("/api/v1/events") and b"heartbeat" in text:
                            break
                return f"{answer.headers}{text.decode()}"
        except urllib.error.HTTPError as error:
            with error:
                return f"{error.headers}{error.read().decode()}"

    def pages(self) -> dict[str, str]:
        """Return what every page of the API says."""
        paths = [path for path, item in json.loads(openapi_text())["paths"].items() if "get" in item]
        assert "/api/v1/audit" in paths
        filled = [path.replace("{generation}", "1").replace("{name}", f"n00001.{ZONE}") for path in paths]
        filled = [f"{path}?after=0" if path == "/api/v1/events" else path for path in filled]
        return {path: self.ask(path) for path in filled} | {"/nowhere": self.ask("/nowhere", WRONG_TOKEN)}

    def command(self, *words: str) -> str:
        """Return what a command says, well or in error."""
        return CliRunner().invoke(ctl, ["--config", str(self.config), *words]).output

    def commands(self) -> dict[str, str]:
        """Return what commands say that reach the store, zones and files, and one that checks the config."""
        lines = (
            "status", "plans", "endpoints", "verify --repair", "limits", "audit --json", "token list", "status --json",
            "freeze --reason x", "thaw", f"adopt x.{ZONE}", "backup taken", f"emergency seal {ZONE}",
            f"emergency release {ZONE}", "emergency seal aws.test.",
        )  # fmt: skip
        told = {line: self.command(*line.split()) for line in lines}
        told["check-config"] = CliRunner().invoke(enactord, ["check-config", str(self.config)]).output
        return told

    def files(self) -> dict[str, str]:
        """Return what the enactor and the commands wrote: backups and the local copy."""
        found = {}
        for path in [*self.folder.glob("taken*"), *(self.folder / "state").rglob("*")]:
            if path.is_file():
                content = path.read_bytes()
                content += gzip.decompress(content) if content.startswith(b"\x1f\x8b") else b""
                found[path.name] = content.decode("latin-1")
        return found

    def given_away(self, told: dict[str, str]) -> list[str]:
        return [
            f"{name} in {place}"
            for name, texts in self.secrets.items()
            for place, said in told.items()
            if any(text in said for text in texts)
        ]


@pytest.fixture
def planted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Planted]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAPLANTED0")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", AWS_SECRET)
    monkeypatch.setenv("AWS_SESSION_TOKEN", AWS_SESSION)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.chdir(tmp_path)
    with Etcd() as etcd, Embedded([ZONE]) as server:
        protect(etcd)
        yield Planted(tmp_path, etcd.url, server.port)


async def test_no_secret_is_in_anything_that_is_said(planted: Planted) -> None:
    """Neither while all goes well, nor when every key, password and token is wrong, torn or refused."""
    told: dict[str, str] = {}
    async with service(planted.config) as enactor:
        await enactor.until(lambda: enactor.event("store.up"))
        body = json.dumps(plan(fleet(5))).encode()
        published = await asyncio.to_thread(planted.ask, "/api/v1/plans", secret_of("alice"), body)
        assert '"generation": 1' in published
        await enactor.until(lambda: f"n00001.{ZONE}" in planted_copy(planted))
        told |= await asyncio.to_thread(everything, planted, "well")
        assert "alice" in told["well /api/v1/audit"], "the log is not empty"

        planted.put("etcd.password", PASSWORD_LATER)
        planted.put("tsig.secret", TSIG_LATER)
        planted.put("http.tokens", f"eve operator {TORN}")
        (planted.folder / "authority" / "http.key").write_text(planted.key.replace("PRIVATE", "PLANTED"))
        await enactor.until(lambda: refused(enactor.text, "http.tokens_file"))
        await enactor.until(lambda: refused(enactor.text, "http.tls_key_file"))
        await enactor.until(lambda: "BADKEY" in enactor.standing() or "BADSIG" in enactor.standing())
        for path in ("plans", "thaw", "freeze"):
            told[f"wrong {path}"] = await asyncio.to_thread(planted.ask, f"/api/v1/{path}", WRONG_TOKEN, b"{}")
        told |= await asyncio.to_thread(everything, planted, "broken")
        assert "http.tokens_file" in told["broken /readyz"]
        told["log"] = enactor.text
    assert "password" in "".join(text for place, text in told.items() if place.startswith("broken"))
    assert planted.given_away(told) == []


def planted_copy(planted: Planted) -> str:
    return "".join(planted.files().values()) + planted.ask("/api/v1/endpoints")


def everything(planted: Planted, when: str) -> dict[str, str]:
    told = planted.commands() | planted.pages() | planted.files()
    return {f"{when} {place}": text for place, text in told.items()}


def refused(text: str, key: str) -> bool:
    return any("file.refused" in line and key in line for line in text.splitlines())


def test_what_is_looked_for_would_be_found(planted: Planted) -> None:
    """The test above can fail: for each secret, in each of its forms."""
    for name, texts in planted.secrets.items():
        for text in texts:
            assert planted.given_away({"a place": f"so: {text}!"}) == [f"{name} in a place"]


WRONG_PLACES = [
    ('password_file = "etcd.password"', f'password = "{PASSWORD}"'),
    ('password_file = "etcd.password"', f'password_file = "{PASSWORD}"'),
    ('password_file = "etcd.password"', f'password_file = ["{PASSWORD}"]'),
    ('url = "etcd://', f'url = "etcd://root:{PASSWORD}@'),
    ('url = "etcd://', f'url = "etcd://h?password={PASSWORD}&'),
    ('url = "etcd://', f'url = "postgres://root:{PASSWORD}@'),
    ('tsig_secret_file = "tsig.secret"', f'tsig_secret_file = "{TSIG_LATER}"'),
    ('tsig_secret_file = "tsig.secret"', f'tsig_secret = "{TSIG_LATER}"'),
    ('tsig_name = "enactor"', f'tsig_algorithm = "hmac-sha256:enactor:{TSIG_LATER}"'),
    ('tokens_file = "http.tokens"', f'token_file = "{TORN}"'),
    ('tokens_file = "http.tokens"', f'tokens_file = "{TORN}"'),
    ('endpoint_url = "http://', f'endpoint_url = "http://root:{PASSWORD}@'),
    ('password_file = "etcd.password"', f'password_file = "{PASSWORD}'),
    ('password_file = "etcd.password"', f"password_file = {PASSWORD}"),
]


@pytest.mark.parametrize(("before", "after"), daily(WRONG_PLACES, WRONG_PLACES[::3]))
def test_a_secret_in_the_wrong_place_of_a_config_is_not_told_back(planted: Planted, before: str, after: str) -> None:
    """What is said of a config goes into tickets and logs; the line's number is enough to find it."""
    text = planted.config.read_text()
    assert text.count(before) == 1
    planted.config.write_text(text.replace(before, after))
    told = {
        "check-config": CliRunner().invoke(enactord, ["check-config", str(planted.config)]).output,
        "as JSON": CliRunner().invoke(enactord, ["check-config", "--json", str(planted.config)]).output,
        "status": planted.command("status"),
    }
    assert all("line " in said for place, said in told.items() if place != "status"), told
    assert planted.given_away(told) == []


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("tsig.secret", f'key "enactor" {{ algorithm {TSIG_LATER}; secret "hmac-sha256"; }};'),
        ("tsig.secret", f'key "enactor" {{ algorithm hmac-sha256; secret "{TSIG_LATER}'),
        ("tsig.secret", f"hmac-sha256:enactor:{TSIG_LATER}:{TSIG_LATER}"),
        ("tsig.secret", f"- id: enactor\n  algorithm: hmac-sha256\n  secret {TSIG_LATER}"),
        ("http.tokens", TORN),
        ("http.tokens", f"eve operator 2026-01-31T12:00:00Z {TORN}"),
        ("authority/http.key", "-----BEGIN PRIVATE KEY-----\n" + TSIG_LATER + "\n-----END PRIVATE KEY-----"),
    ],
)
def test_a_damaged_file_of_a_secret_is_not_told_back(planted: Planted, name: str, text: str) -> None:
    planted.put(name, text)
    done = CliRunner().invoke(enactord, ["check-config", str(planted.config)])
    assert done.exit_code == 2, done.output
    assert planted.given_away({"check-config": done.output, "token list": planted.command("token", "list")}) == []
