"""The image: what goes into it, who it runs as, and a linter's judgement."""

import fnmatch
import json
import re

import yaml

from tests.deploy.tools import ROOT, run

DOCKERFILE = ROOT / "deploy" / "Dockerfile"
STATEFULSET = ROOT / "deploy" / "kubernetes" / "base" / "statefulset.yaml"


def instructions(name: str) -> list[str]:
    return re.findall(rf"^{name} (.+)$", DOCKERFILE.read_text(encoding="utf-8"), re.MULTILINE)


def test_the_linter_finds_nothing() -> None:
    """hadolint, with no rule left out."""
    done = run("hadolint", "--no-color", str(DOCKERFILE))
    assert (done.returncode, done.stdout) == (0, "")


def test_the_base_is_one_exact_version() -> None:
    """`latest`, or a tag that moves from one Python to the next, builds another image tomorrow."""
    assert re.fullmatch(r"BASE=python:3\.\d+\.\d+-slim-[a-z]+", instructions("ARG")[0])
    assert set(instructions("FROM")) == {"${BASE} AS build", "${BASE}"}


def test_it_runs_as_the_user_of_the_pod() -> None:
    """By number, so that the cluster can see that it is not root."""
    pod = yaml.safe_load(STATEFULSET.read_text(encoding="utf-8"))["spec"]["template"]["spec"]
    (user,) = instructions("USER")
    assert user == f"{pod['securityContext']['runAsUser']}:{pod['securityContext']['runAsGroup']}"


def test_what_is_copied_is_let_into_the_build() -> None:
    """Everything is kept out but what is named; everything named is there."""
    lines = (ROOT / "deploy" / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "*"
    let_in = [line[1:] for line in lines if line.startswith("!")]
    copied = [source for copy in instructions("COPY") if "--from" not in copy for source in copy.split()[:-1]]
    sets = ("runtime", "route53")
    wanted = sorted({source.replace("${REQUIREMENTS}", name) for source in copied for name in sets})
    assert wanted == sorted(let_in)
    for source in wanted:
        assert (ROOT / source).exists(), source
        assert not fnmatch.fnmatch(source, "*secret*")


def test_it_runs_what_the_pod_gives_it() -> None:
    """Entry point and default arguments make one command."""
    container = yaml.safe_load(STATEFULSET.read_text(encoding="utf-8"))["spec"]["template"]["spec"]["containers"][0]
    assert json.loads(instructions("ENTRYPOINT")[0]) == ["enactord"]
    assert json.loads(instructions("CMD")[0]) == container["args"]
