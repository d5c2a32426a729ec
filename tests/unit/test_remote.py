"""What enactorctl says of an enactor that it cannot ask over HTTP, or that answers no: exit code, kind, and the fix."""

import json
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from enactord.cli.ctl import main as ctl
from enactord.cli.remote import is_loopback
from enactord.client.enactor import Base, Client
from enactord.core.errors import EnactorAway, EnactorUnknown, NoEnactor
from planner_stub.cli import main as stub
from tests.servers.canned import Canned, answer, found, problem
from tests.servers.certificates import Authority
from tests.servers.dns_server import free_port
from tests.tokens import secret_of
from tests.world import fleet
from tests.world import plan as fleet_plan

REFUSED = {"refusals": [{"guard": "generation", "detail": "plan 7 is not in the store"}]}


def run(*words: str, **environment: str) -> tuple[int, dict[str, Any], str]:
    """Run a command; returns exit code, the error as programs read it, and what people read."""
    runner = CliRunner(env={"ENACTORD_CONFIG": "", "ENACTORD_URL": ""} | environment)
    told = runner.invoke(ctl, [*words, "--json"], prog_name="enactorctl")
    people = runner.invoke(ctl, [*words])
    assert people.exit_code == told.exit_code
    assert "Traceback" not in people.output
    return told.exit_code, json.loads(told.stdout).get("error", {}), people.output


def bearing(folder: Path, mode: int = 0o600) -> str:
    """Return the path of a file with a token."""
    path = folder / "token"
    path.write_text(secret_of("alice") + "\n")
    path.chmod(mode)
    return str(path)


@pytest.mark.parametrize(
    ("told", "code", "kind", "words"),
    [
        (problem(400, "limit: must be a whole number"), 2, "usage", "must be a whole number"),
        (problem(401), 2, "token", "--token-file FILE"),
        (problem(403, "token a has the role viewer, and this needs operator"), 1, "role", "needs operator"),
        (problem(404, "no such page"), 3, "version", "older than this enactorctl"),
        (problem(405, "GET is not for this page"), 3, "version", "GET /api/v1/status"),
        (problem(404, "plan 7 is not there", **REFUSED), 1, "refused", "plan 7 is not in the store"),
        (problem(409, "chunk abc is missing"), 1, "unreadable", "publish the whole content anew"),
        (problem(413, "at most 100 bytes"), 2, "usage", "at most 100 bytes"),
        (problem(421, "the host name 'x' is not served here; add it to http.hosts"), 2, "host", "name an address"),
        (problem(422, "no plan", problems=["a: no", "b: no"]), 1, "plan", "the plan cannot be accepted"),
        (problem(422, "no", refusals=[{"guard": "ttl", "detail": "5 s"}]), 1, "refused", "ttl: 5 s"),
        (problem(500, "a mistake of ours"), 3, "enactor", "a mistake of ours"),
        (problem(503, "the plan store: no answer", kind="store"), 3, "store", "the plan store: no answer"),
        (problem(503, "no answer", kind="store-unknown"), 3, "store-unknown", "look with `enactorctl audit`"),
        (problem(504, "it may have been done"), 3, "enactor", "may have been done"),
        (answer(502, "<h1>Bad gateway</h1>", "text/html"), 3, "no-enactor", "whether a proxy stands before it"),
        (answer(200, "hello", "text/plain"), 3, "no-enactor", "status 200 and text/plain"),
        (answer(200, "hello", "application/json"), 3, "no-enactor", "no JSON"),
        (answer(200, "[]", "application/json"), 3, "no-enactor", "no object"),
        (answer(302, "", "text/html", "Location: https://login.example.com/"), 3, "no-enactor", "https://login.example"),
        (b"", 3, "enactor", "ended the connection"),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", 3, "no-enactor", "no HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 9\r\nConnection: close\r\n\r\n{}", 3,
         "enactor", "before its answer was there"),
    ],
)  # fmt: skip
def test_each_answer_that_is_no_document_has_its_exit_code_and_fix(
    told: bytes, code: int, kind: str, words: str
) -> None:
    with Canned(told) as peer:
        ended, error, people = run("--url", peer.url, "status")
    assert (ended, error["kind"]) == (code, kind), error
    assert words in error["message"], error
    assert words in people


@pytest.mark.parametrize(
    ("enactors", "reasons", "code"),
    [
        ([{"id": "a", "stale": False}], [], 0),
        ([{"id": "a", "stale": True}], [], 0),
        ([{"id": "a", "stale": False}], ["store: no answer"], 1),
        ([], ["store: no answer"], 1),
        ([{"id": "a", "stale": False}, {"id": "b", "stale": True}], [], 1),
        ([{"id": "a", "stale": False}, {"id": "b", "stale": False, "degraded": ["log: lost"]}], [], 1),
    ],
)
def test_status_checks_over_http_by_what_the_asked_enactor_knows_now(
    enactors: list[dict[str, Any]], reasons: list[str], code: int
) -> None:
    """Of the others, by what they last said of themselves in the store."""
    own = {"id": "a", "reasons": reasons, "working_on": 0}
    with Canned(found(enactors=enactors, self=own)) as peer:
        done = CliRunner().invoke(ctl, ["--url", peer.url, "status", "--check", "--json"])
    assert done.exit_code == code
    document = json.loads(done.stdout)
    assert "self" not in document
    assert bool(document["problems"]) == bool(code)


PLANNERS = "planner  state    \ndefault  publishes\n"


def test_a_question_imports_no_store() -> None:
    """Nor aiohttp: from a laptop, the answer is there in less time than that import takes."""
    with Canned(found(enactors=[], self={"id": "a", "reasons": [], "working_on": 0})) as peer:
        words = f"['--url', {peer.url!r}, 'status', '--json']"
        program = (
            f"import sys; from enactord.cli.ctl import main; main({words}, standalone_mode=False); print(*sys.modules)"
        )
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.splitlines()[-1].split())
    assert "enactord.cli.remote" in loaded
    assert not {"aiohttp", "asyncio", "grpc", "sqlite3", "enactord.cli.opening", "enactord.core.events"} & loaded


def test_a_redirect_is_not_followed_with_a_token(tmp_path: Path) -> None:
    """The token goes to the enactor that was named, and nowhere else."""
    with Canned(found()) as elsewhere, Canned(answer(307, "", "text/html", f"Location: {elsewhere.url}/")) as peer:
        code, error, _ = run("--url", peer.url, "--token-file", bearing(tmp_path), "thaw")
    assert code == 3
    assert elsewhere.url in error["message"]
    assert f"Authorization: Bearer {secret_of('alice')}" in peer.requests[0].splitlines()
    assert elsewhere.requests == []


def test_a_token_that_is_not_known_names_its_file(tmp_path: Path) -> None:
    with Canned(problem(401, "give a token")) as peer:
        code, error, _ = run("--url", peer.url, "--token-file", bearing(tmp_path), "thaw")
    assert (code, error["kind"]) == (2, "token")
    assert f"does not know the token in {tmp_path}/token" in error["message"]


def test_who_asks_too_often_comes_again() -> None:
    """As the enactor says when; it refused before it did anything, so an order is given again, too."""
    often = problem(429, "too many requests", "Retry-After: 0")
    with Canned(often, often, found(frozen=None, before=None)) as peer:
        done = CliRunner().invoke(ctl, ["--url", peer.url, "thaw"])
    assert (done.exit_code, done.output) == (0, "was not frozen\n")
    assert len(peer.requests) == 3


def test_an_order_without_an_answer_may_have_been_carried_out() -> None:
    """A question is only asked again; whoever ordered something looks first."""
    with Canned(b"") as peer:
        code, error, _ = run("--url", peer.url, "freeze", "--reason", "x")
    assert (code, error["kind"]) == (3, "enactor-unknown")
    assert "look with `enactorctl audit`" in error["message"]


def test_an_enactor_that_is_not_there_is_told_with_what_to_try() -> None:
    code, error, _ = run("--url", f"http://127.0.0.1:{free_port()}", "status")
    assert (code, error["kind"]) == (3, "enactor")
    assert "nothing listens there" in error["message"]
    code, error, _ = run("--url", "http://no..such-host:8451", "status")
    assert (code, error["kind"]) == (3, "enactor")
    assert "no..such-host is not known" in error["message"]


def test_an_answer_that_drips_ends_with_its_time() -> None:
    """However the bytes come: the whole answer has its limit, head and body."""
    for told in (found(a="x" * 1000), problem(200, "x")[:40]):
        with Canned(told, drip=True) as peer:
            client = Client(Base(tls=False, host="127.0.0.1", port=peer.port), answer_s=0.5)
            with pytest.raises(EnactorAway, match=r"no answer within 0\.5 s") as raised:
                client.ask("GET", "/")
            assert not isinstance(raised.value, EnactorUnknown)
            with pytest.raises(EnactorUnknown):
                client.ask("POST", "/", body=b"{}")


def test_an_answer_has_a_largest_size() -> None:
    with Canned(found(a="x" * 1000)) as peer:
        client = Client(Base(tls=False, host="127.0.0.1", port=peer.port), bytes_max=500)
        with pytest.raises(NoEnactor, match="more than 500 bytes"):
            client.ask("GET", "/")
        client.close()


def test_several_questions_go_over_one_connection() -> None:
    """Each page of a list would else cost a handshake; where the enactor closes, another is opened."""
    closing = answer(200, "{}", "application/json", "Connection: close")
    with Canned(found(n=1), closing, found(n=3)) as peer:
        client = Client(Base(tls=False, host="127.0.0.1", port=peer.port))
        assert [client.ask("GET", "/").document for _ in range(4)] == [{"n": 1}, {}, {"n": 3}, {"n": 3}]
        client.close()


def test_tls_is_checked_and_its_faults_name_the_fix(tmp_path: Path) -> None:
    """A private authority is named by --ca-file; a name that the certificate has not, TLS where there is none."""
    authority = Authority(tmp_path / "authority")
    cert, key = authority.issue("enactor")
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(cert, key)
    ca = str(authority.ca)
    with Canned(found(planners=[{"planner": "default", "paused": None}]), tls=serving) as peer:
        for words, environment in ((["--ca-file", ca], {}), ([], {"ENACTORD_CA_FILE": ca})):
            done = CliRunner(env=environment).invoke(ctl, ["--url", peer.url, *words, "planners"])
            assert (done.exit_code, done.output) == (0, PLANNERS)
        code, error, _ = run("--url", peer.url, "planners")
        assert (code, error["kind"]) == (3, "enactor")
        assert "--ca-file FILE" in error["message"]
        other = str(Authority(tmp_path / "other").ca)
        assert "not trusted" in run("--url", peer.url, "--ca-file", other, "planners")[1]["message"]
        named = peer.url.replace("127.0.0.1", "0.0.0.0")
        assert "its certificate is not for 0.0.0.0" in run("--url", named, "--ca-file", ca, "planners")[1]["message"]
        code, error, _ = run("--url", peer.url.replace("https", "http"), "planners")
        assert code == 3
    with Canned(found()) as plain:
        assert "plain HTTP" in run("--url", plain.url.replace("http", "https"), "planners")[1]["message"]
    code, error, _ = run("--url", peer.url, "--ca-file", bearing(tmp_path), "planners")
    assert (code, "holds no certificate" in error["message"]) == (2, True)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--url", "http://127.0.0.1:1", "--config", "x.toml", "status"], "exclude each other"),
        (["--config", "x.toml", "status", "--url", "http://127.0.0.1:1"], "exclude each other"),
        (["--config", "x.toml", "--token-file", "t", "status"], "of use with --url alone"),
        (["--url", "http://127.0.0.1:1", "--ca-file", "ca.pem", "status"], "with an https URL alone"),
        (["--url", "127.0.0.1:8451", "status"], "give it as http://127.0.0.1:8451"),
        (["--url", "ftp://a", "status"], "no URL of an enactor"),
        (["--url", "http://a b/", "status"], "no URL of an enactor"),
        (["--url", "https://127.0.0.1:1", "--ca-file", "/nowhere/ca.pem", "status"], "/nowhere/ca.pem"),
        (["--url", "http://a:b/", "status"], "no URL"),
        (["--url", "http://alice:secret@a", "status"], "--token-file FILE"),
        (["--url", "http://a/?x=1", "status"], "must end before"),
        (["--url", "http://127.0.0.1:1", "--token-file", "/nowhere/token", "status"], "/nowhere/token"),
        (["--url", "http://127.0.0.1:1", "backup", "f"], "`enactorctl backup` needs the config"),
        (
            ["--url", "http://127.0.0.1:1", "zone", "retire", "a.test", "--reason", "x"],
            "`enactorctl zone retire` needs",
        ),
        (["token", "list", "--url", "http://127.0.0.1:1"], "`enactorctl token list` needs the config"),
    ],
)
def test_wrong_usage_names_the_right_one(words: list[str], told: str) -> None:
    """Exit 2, and no secret is told back."""
    code, error, _ = run(*words)
    assert code == 2, error
    assert told in error["message"], error
    assert "secret" not in error["message"]


def test_an_option_counts_more_than_the_environment(tmp_path: Path) -> None:
    """ENACTORD_URL asks the enactor, until --config is given; --url counts more than ENACTORD_CONFIG."""
    with Canned(found(planners=[{"planner": "default", "paused": None}])) as peer:
        both = {"ENACTORD_URL": peer.url, "ENACTORD_CONFIG": "/nowhere.toml"}
        assert CliRunner(env=both).invoke(ctl, ["planners"]).output == PLANNERS
        assert run("planners", "--config", "/nowhere.toml", **both)[1]["kind"] == "config"
        only = {"ENACTORD_CONFIG": "/nowhere.toml"}
        assert CliRunner(env=only).invoke(ctl, ["planners", "--url", peer.url]).exit_code == 0
        with_token = {"ENACTORD_URL": peer.url, "ENACTORD_TOKEN_FILE": bearing(tmp_path)}
        assert CliRunner(env=with_token).invoke(ctl, ["planners"]).exit_code == 0
        assert "Authorization: Bearer" in peer.requests[-1]
    assert "$ENACTORD_URL does not give" in run("backup", "f", ENACTORD_URL=peer.url)[1]["message"]


@pytest.mark.parametrize("text", ["", "\n", "two words", "schl\u00fcssel", "a\x01b", "a\r\nX-More: b"])
def test_a_file_that_holds_no_token_is_told(tmp_path: Path, text: str) -> None:
    """Before anything is sent: what is no token could be another secret, or end the header."""
    (tmp_path / "token").write_text(text)
    code, error, _ = run("--url", "http://127.0.0.1:1", "--token-file", str(tmp_path / "token"), "status")
    assert (code, error["kind"]) == (2, "usage")
    assert f"{tmp_path}/token must hold one token" in error["message"]


def test_no_proxy_of_the_environment_is_asked(tmp_path: Path) -> None:
    """It would be shown the token."""
    with Canned(found()) as proxy, Canned(found(planners=[{"planner": "default", "paused": None}])) as peer:
        environment = dict.fromkeys(("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY"), proxy.url)
        given = ["--url", peer.url, "--token-file", bearing(tmp_path), "planners"]
        assert CliRunner(env=environment).invoke(ctl, given).exit_code == 0
    assert proxy.requests == []


def test_a_path_before_the_api_is_kept() -> None:
    """As behind a proxy that serves several scopes."""
    with Canned(found(planners=[{"planner": "default", "paused": None}])) as peer:
        assert CliRunner().invoke(ctl, ["--url", f"{peer.url}/scope a/", "planners"]).exit_code == 0
    assert peer.requests[0].startswith("GET /scope%20a/api/v1/planners HTTP/1.1")


def test_another_program_asks_no_enactor(tmp_path: Path) -> None:
    """ENACTORD_URL is of enactorctl alone."""
    done = CliRunner(env={"ENACTORD_URL": "http://127.0.0.1:1", "ENACTORD_CONFIG": "/nowhere.toml"}).invoke(
        stub, ["bad", "empty", "--publish"]
    )
    assert (done.exit_code, "/nowhere.toml" in done.output) == (2, True)


def test_what_an_older_enactor_answers_is_shown_all_the_same(tmp_path: Path) -> None:
    """A plan that was published does not look failed because its answer has other keys."""
    plan = tmp_path / "plan.json"
    plan.write_text(json.dumps(fleet_plan(fleet(1))))
    with Canned(found(generation=7, digest="a", endpoints=1, held=[], warnings=[])) as peer:
        done = CliRunner().invoke(ctl, ["--url", peer.url, "publish", str(plan)])
    assert done.exit_code == 0
    assert '"generation": 7' in done.output


def test_a_token_that_others_can_read_is_told(tmp_path: Path) -> None:
    """On disk by its mode, on the way by the address; without a token, or to this machine, nothing is said."""
    token = bearing(tmp_path, 0o644)
    with Canned(found(planners=[{"planner": "default", "paused": None}])) as peer:
        said = CliRunner().invoke(ctl, ["--url", peer.url, "--token-file", token, "planners"]).stderr
        assert f"chmod o= {token}" in said
        assert "clear text" not in said
        # It leads to this machine, and does not look like it.
        elsewhere = peer.url.replace("127.0.0.1", "0.0.0.0")
        said = CliRunner().invoke(ctl, ["--url", elsewhere, "--token-file", bearing(tmp_path), "planners"]).stderr
        assert "the token goes to 0.0.0.0 in clear text" in said
        assert "chmod" not in said
        assert CliRunner().invoke(ctl, ["--url", elsewhere, "planners"]).stderr == ""


def test_addresses_of_this_machine_are_told_from_others() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "127.1.2.3", "::1", "localhost", "a.localhost")))
    assert not any(map(is_loopback, ("192.0.2.1", "2001:db8::1", "fe80::1%eth0", "127.0.0.1.example.com", "enactor-a")))
