"""The mistakes: what is wrong, how it is made, what a person types, and what must be said of it.

The list is walked by `test_mistakes.py`, and `make mistakes` writes docs/mistakes.md from it.
"""

from collections.abc import Callable, Mapping, Sequence

import dns.query
import dns.tsigkeyring
import dns.update

from tests.mistakes.bench import NAMES, Bench, Mistake
from tests.servers.dns_server import FOREIGN_SECRET, SECRET

CHECK = "enactord check-config enactord.toml"
PUBLISH = "enactorctl publish plan.json --confirm-within 0"
STRICT = f"{PUBLISH} --fail-on-held"
DOCTOR = "enactorctl doctor"
LOCKED, TAKEN = "locked.example.com.", "taken.example.com."
"""Zones of the real server: the key may not change the one; the other stands at another scope's fence."""

Make = Callable[[Bench], object]


def edit(before: str, after: str) -> Make:
    return lambda bench: bench.edit(before, after)


def plan(**changes: object) -> Make:
    return lambda bench: bench.write_plan(**changes)


def endpoint(**changes: object) -> Make:
    return lambda bench: bench.endpoint(**changes)


def key_file(text: str, mode: int = 0o600) -> Make:
    return lambda bench: bench.write("tsig.secret", text, mode)


def tokens(text: str, mode: int = 0o600) -> Make:
    return lambda bench: bench.write("http.tokens", text, mode)


def after(*commands: str) -> Make:
    """What has happened before, as it should; the mistake is in what is typed then."""

    def make(bench: Bench) -> None:
        for command in commands:
            bench.carry_out(command)

    return make


def then(before: Make, *more: Make) -> Make:
    def make(bench: Bench) -> None:
        for one in (before, *more):
            one(bench)

    return make


def nothing(bench: Bench) -> None:
    """The mistake is in what is typed."""


def other_scopes_fence(bench: Bench) -> None:
    """Somebody has configured the zone for another scope before."""
    bench.edit('name = "us-east-1.example.com."', f'name = "{TAKEN}"')
    update = dns.update.UpdateMessage(
        TAKEN, keyring=dns.tsigkeyring.from_text({"foreign": FOREIGN_SECRET}), keyalgorithm="hmac-sha256"
    )
    update.replace(f"_enactord.{TAKEN}", 0, "TXT", f'"v=enactord1 scope=us-west-2 gen=9 plan={"0" * 16}"')
    host, _, port = bench.server.partition(":")
    assert dns.query.tcp(update, host, timeout=10, port=int(port)).rcode() == 0


STORE_LINE = "timeout_s = 1.0\n\n[[zone]]"
ZONE_LINE = 'tsig_secret_file = "tsig.secret"\n'
SECOND_ZONE = '\n[[zone]]\nname = "us-east-1.example.com"\nbackend = "embedded"\n'

MISTAKES: Mapping[str, Sequence[Mistake]] = {
    "Config": (
        Mistake(
            wrong="The path of the config has a letter too few.",
            make=nothing,
            command="enactord check-config enactor.toml",
            code=2,
            place="enactor.toml",
            fix="correct the path",
        ),
        Mistake(
            wrong="The quote at the end of a text is missing.",
            make=edit('id = "enactor-a"', 'id = "enactor-a'),
            command=CHECK,
            code=2,
            place="line 2",
            fix='write key = "text" (with both quotes)',
        ),
        Mistake(
            wrong="A key has two letters in the wrong order.",
            make=edit(STORE_LINE, f"tiemout_s = 1.0\n{STORE_LINE}"),
            command=CHECK,
            code=2,
            place="line 8: store.tiemout_s",
            fix="did you mean timeout_s?",
        ),
        Mistake(
            wrong="A table has two letters in the wrong order.",
            make=edit("[guard]", "[gaurd]"),
            command=CHECK,
            code=2,
            place="line 19: gaurd",
            fix="did you mean guard?",
        ),
        Mistake(
            wrong="The scope is missing.",
            make=edit('scope = "us-east-1"\n', ""),
            command=CHECK,
            code=2,
            place="line 1: enactor.scope",
            fix='scope = "…"',
        ),
        Mistake(
            wrong="The scope has capitals and spaces.",
            make=edit('scope = "us-east-1"', 'scope = "US East 1"'),
            command=CHECK,
            code=2,
            place="line 3: enactor.scope",
            fix="a-z, 0-9",
        ),
        Mistake(
            wrong="The store's url is that of etcd's own tool.",
            make=edit('url = "', 'url = "http://192.0.2.11:2379" # "'),
            command=CHECK,
            code=2,
            place="line 7: store.url",
            fix="must be etcd://host:2379",
        ),
        Mistake(
            wrong="The store's password stands in its url.",
            make=edit('url = "', 'url = "etcd://root:secret@192.0.2.11:2379" # "'),
            command=CHECK,
            code=2,
            place="line 7: store.url",
            fix="store.password_file",
        ),
        Mistake(
            wrong="The store's certificate is named, and its key is not.",
            make=edit(STORE_LINE, f'cert_file = "etcd.pem"\n{STORE_LINE}'),
            command=CHECK,
            code=2,
            place="line 8: store.cert_file",
            fix="goes together with key_file; set both",
        ),
        Mistake(
            wrong="The file of the store's password is not there.",
            make=edit(STORE_LINE, f'username = "enactord"\npassword_file = "etcd.password"\n{STORE_LINE}'),
            command=CHECK,
            code=2,
            place="line 9: store.password_file: /etc/enactord/etcd.password",
            fix="make the file, or correct its name",
        ),
        Mistake(
            wrong="The zone is a table of one bracket.",
            make=edit("[[zone]]", "[zone]"),
            command=CHECK,
            code=2,
            place="line 10: zone",
            fix="[[zone]], in two brackets",
        ),
        Mistake(
            wrong="The zone is there twice, once without its final dot.",
            make=lambda bench: bench.config.write_text(bench.config.read_text() + SECOND_ZONE),
            command=CHECK,
            code=2,
            place="line 30: zone.name: us-east-1.example.com.",
            fix="remove one of the two",
        ),
        Mistake(
            wrong="The zone's name has two dots in a row.",
            make=edit('name = "us-east-1.example', 'name = "us-east-1..example'),
            command=CHECK,
            code=2,
            place="line 11: zone.name: 'us-east-1..example.com.'",
            fix="1 to 63 letters, digits",
        ),
        Mistake(
            wrong="The backend's number is wrong.",
            make=edit('"rfc2136"', '"rfc2316"'),
            command=CHECK,
            code=2,
            place="line 12: zone.backend: 'rfc2316'",
            fix="must be one of rfc2136",
        ),
        Mistake(
            wrong="The folder of the local copy is a file.",
            make=edit('state_dir = "state"', 'state_dir = "plan.json"'),
            command=CHECK,
            code=2,
            place="enactor.state_dir: /etc/enactord/plan.json",
            fix="is no folder; name another",
        ),
        Mistake(
            wrong="The server has no port.",
            make=lambda bench: bench.edit(f'server = "{bench.server}"', 'server = "192.0.2.53"'),
            command=CHECK,
            code=2,
            place="line 13: zone.server: '192.0.2.53'",
            fix='must be "host:port"',
        ),
        Mistake(
            wrong="A key of another backend is left over.",
            make=edit(ZONE_LINE, f'{ZONE_LINE}hosted_zone_id = "Z1"\n'),
            command=CHECK,
            code=2,
            place="line 16: zone.hosted_zone_id",
            fix="remove the line",
        ),
        Mistake(
            wrong="A number stands in quotes.",
            make=edit("ttl_max_s = 3600", 'ttl_max_s = "3600"'),
            command=CHECK,
            code=2,
            place="line 20: guard.ttl_max_s",
            fix="write it without quotes",
        ),
        Mistake(
            wrong="The smallest TTL is above the largest.",
            make=edit("ttl_max_s = 3600", "ttl_max_s = 3600\nttl_min_s = 7200"),
            command=CHECK,
            code=2,
            place="line 21: guard.ttl_min_s",
            fix="change one of them",
        ),
        Mistake(
            wrong="Reading needs a token, and there is no file of tokens.",
            make=edit('tokens_file = "http.tokens"', "read_needs_token = true"),
            command=CHECK,
            code=2,
            place="line 24: http.read_needs_token",
            fix="enactorctl token create NAME --role ROLE",
        ),
        Mistake(
            wrong="The config of the systemd unit is checked by hand, without the unit's credentials.",
            make=edit('"tsig.secret"', '"%d/tsig.secret"'),
            command=CHECK,
            code=2,
            place="line 15: zone.tsig_secret_file",
            fix="export CREDENTIALS_DIRECTORY=/etc/enactord/credentials",
        ),
        Mistake(
            wrong="A secret is named as the certificate of HTTP.",
            make=edit("[http]\n", '[http]\ntls_cert_file = "tsig.secret"\ntls_key_file = "tsig.secret"\n'),
            command=CHECK,
            code=2,
            place="line 23: http.tls_cert_file: /etc/enactord/tsig.secret",
            fix="-----BEGIN CERTIFICATE-----",
        ),
        Mistake(
            wrong="The level of the log has the name that Python's log uses elsewhere.",
            make=edit('level = "info"', 'level = "warn"'),
            command=CHECK,
            code=2,
            place="line 27: log.level: 'warn'",
            fix="must be one of debug, info, warning, error",
        ),
        Mistake(
            wrong="The file of tokens stands at the key for one token.",
            make=then(
                tokens(f"planner-1 planner 2026-01-31T12:00:00Z sha256:{'0' * 64}\n"),
                edit('tokens_file = "http.tokens"', 'token_file = "http.tokens"'),
            ),
            command=CHECK,
            code=2,
            place="line 24: http.token_file",
            fix="the file of http.tokens_file",
        ),
    ),
    "Keys": (
        Mistake(
            wrong="The file of the zone's key is empty.",
            make=key_file("\n"),
            command=CHECK,
            code=2,
            place="line 15: zone.tsig_secret_file: /etc/enactord/tsig.secret",
            fix="put the secret into it",
        ),
        Mistake(
            wrong="The file of the zone's key holds a word, and no key.",
            make=key_file("correct horse battery staple"),
            command=CHECK,
            code=2,
            place="line 15: zone.tsig_secret_file: /etc/enactord/tsig.secret",
            fix="a key as tsig-keygen prints it",
        ),
        Mistake(
            wrong="The secret is too short.",
            make=key_file("c2VjcmV0"),
            command=CHECK,
            code=2,
            place="line 15: zone.tsig_secret_file: /etc/enactord/tsig.secret",
            fix="tsig-keygen -a hmac-sha256 enactord",
        ),
        Mistake(
            wrong="The key is of an algorithm that is not safe.",
            make=key_file(f'key "enactor" {{ algorithm hmac-md5; secret "{SECRET}"; }};'),
            command=CHECK,
            code=2,
            place="line 15: zone.tsig_secret_file: /etc/enactord/tsig.secret: hmac-md5",
            fix="tsig-keygen -a hmac-sha256 enactord",
        ),
        Mistake(
            wrong="The secret itself stands in the config, in the place of its file.",
            make=edit('"tsig.secret"', f'"{SECRET}"'),
            command=CHECK,
            code=2,
            place="line 15: zone.tsig_secret_file",
            fix="secrets stand in files of their own",
        ),
        Mistake(
            wrong="The config names the old key, the file holds the new one.",
            make=key_file(f'key "enactord-2" {{ algorithm hmac-sha256; secret "{SECRET}"; }};'),
            command=CHECK,
            code=2,
            place="line 14: zone.tsig_name: is 'enactor'",
            fix="leave tsig_name out",
        ),
        Mistake(
            wrong="Everybody on the machine can read the key.",
            make=key_file(SECRET, 0o644),
            command=CHECK,
            code=0,
            place="zone.tsig_secret_file: /etc/enactord/tsig.secret",
            fix="chmod o= /etc/enactord/tsig.secret",
        ),
    ),
    "Plans": (
        Mistake(
            wrong="The name of the plan's file has two letters in the wrong order.",
            make=nothing,
            command="enactorctl publish paln.json",
            code=2,
            place="paln.json",
            fix="correct the path",
        ),
        Mistake(
            wrong="The plan is written in YAML.",
            make=lambda bench: bench.write("plan.json", "scope: us-east-1\n"),
            command=PUBLISH,
            code=1,
            place="plan.json",
            fix="a plan is one JSON object",
        ),
        Mistake(
            wrong="The plan is of another scope.",
            make=plan(scope="us-west-2"),
            command=PUBLISH,
            code=1,
            place="scope",
            fix="correct its scope",
        ),
        Mistake(
            wrong="The plan says that it is of a form that this version does not read.",
            make=plan(schema="enactord.plan/v9"),
            command=PUBLISH,
            code=1,
            place='plan.json: schema: is "enactord.plan/v9"',
            fix="it must be",
        ),
        Mistake(
            wrong="A name of the plan is in no zone of the config.",
            make=plan(
                endpoints={"api.us-west-2.example.com.": {"ttl_s": 5, "targets": [{"address": "8.8.4.4", "weight": 1}]}}
            ),
            command=PUBLISH,
            code=1,
            place="api.us-west-2.example.com.",
            fix="add a [[zone]]",
        ),
        Mistake(
            wrong="A name is twice in the plan.",
            make=lambda bench: bench.write(
                "plan.json", (bench.folder / "plan.json").read_text().replace("www.", "api.")
            ),
            command=PUBLISH,
            code=1,
            place="plan.json: duplicate: 'api.us-east-1.example.com.'",
            fix="remove one of the two",
        ),
        Mistake(
            wrong="A key of an endpoint lacks a letter.",
            make=endpoint(target=[]),
            command=STRICT,
            code=1,
            place="api.us-east-1.example.com.: target",
            fix="known: targets",
        ),
        Mistake(
            wrong="An address is none.",
            make=endpoint(targets=[{"address": "8.8.4.400", "weight": 1}]),
            command=STRICT,
            code=1,
            place="api.us-east-1.example.com.: address: '8.8.4.400'",
            fix="mend it in the planner",
        ),
        Mistake(
            wrong="An address is private, and the guards allow none.",
            make=endpoint(targets=[{"address": "10.0.0.1", "weight": 1}]),
            command=STRICT,
            code=1,
            place="api.us-east-1.example.com.: 10.0.0.1",
            fix="enactorctl limits set allow_private true",
        ),
        Mistake(
            wrong="An endpoint has no address left.",
            make=endpoint(targets=[]),
            command=STRICT,
            code=1,
            place="api.us-east-1.example.com.",
            fix='"withdraw": true',
        ),
        Mistake(
            wrong="The TTL of an endpoint is a day.",
            make=endpoint(ttl_s=86_400),
            command=STRICT,
            code=1,
            place="api.us-east-1.example.com.: ttl_s 86400",
            fix="must be 1 to 3600",
        ),
        Mistake(
            wrong="The plan was changed after its digest was taken.",
            make=plan(digest="0" * 64),
            command=PUBLISH,
            code=1,
            place="digest",
            fix="leave digest out",
        ),
        Mistake(
            wrong="The plan leaves out most names.",
            make=then(
                after(PUBLISH),
                plan(endpoints={NAMES[0]: {"ttl_s": 5, "targets": [{"address": "8.8.4.4", "weight": 1}]}}),
            ),
            command=PUBLISH,
            code=1,
            place="4 of 5 endpoints would be removed",
            fix="publish it with --approve if that is meant",
        ),
        Mistake(
            wrong="The plan names a generation that was given already.",
            make=then(after(PUBLISH), plan(generation=1)),
            command=PUBLISH,
            code=1,
            place="generation 1 is not above the newest plan 1",
            fix="leave it out to be given 2",
        ),
        Mistake(
            wrong="The plan holds the changes from a plan that is not the newest.",
            make=then(after(PUBLISH), plan(base=7)),
            command=PUBLISH,
            code=1,
            place="base 7",
            fix="compute the changes anew",
        ),
        Mistake(
            wrong="A plan is approved without a reason.",
            make=nothing,
            command="enactorctl publish plan.json --approve",
            code=2,
            place="--approve",
            fix='--reason "…"',
        ),
        Mistake(
            wrong="An old plan is published anew in the place of a rollback.",
            make=nothing,
            command="enactorctl publish 7",
            code=2,
            place="7 is a generation",
            fix="enactorctl rollback 7 --reason",
        ),
        Mistake(
            wrong="The plan to go back to is not stored any more.",
            make=after(PUBLISH),
            command='enactorctl rollback 7 --reason "INC-4711"',
            code=1,
            place="plan 7 is not in the store",
            fix="enactorctl plans",
        ),
    ),
    "Store": (
        Mistake(
            wrong="Nothing listens where the store should be.",
            make=edit('url = "', 'url = "etcd://127.0.0.1:19" # "'),
            command="enactorctl status",
            code=3,
            place="127.0.0.1:19",
            fix="check [store] url in the config",
        ),
        Mistake(
            wrong="The folder of the SQLite file is not there.",
            make=edit('url = "sqlite://', 'url = "sqlite:///var/lib/nowhere/store.db" # "'),
            command="enactorctl status",
            code=3,
            place="/var/lib/nowhere",
            fix="mount it, or make it",
        ),
        Mistake(
            wrong="A backup is restored into a store that is in use.",
            make=after(PUBLISH, "enactorctl backup backup"),
            command="enactorctl restore backup",
            code=1,
            place="the store holds this scope already",
            fix="--replace",
        ),
        Mistake(
            wrong="What is restored is no backup.",
            make=nothing,
            command="enactorctl restore plan.json",
            code=1,
            place="plan.json",
            fix="a file that `enactorctl backup` has written",
        ),
        Mistake(
            wrong="The folder of the local copy is another one.",
            make=lambda bench: (bench.folder / "elsewhere").mkdir(),
            command="enactorctl restore --from-copy elsewhere",
            code=1,
            place="elsewhere",
            fix="name the state_dir of an enactor",
        ),
        Mistake(
            wrong="The port of etcd is wrong.",
            make=lambda bench: bench.edit(bench.store, "etcd://127.0.0.1:9"),
            command=DOCTOR,
            code=1,
            place="127.0.0.1:9",
            fix="do: start etcd, or correct store.url",
            servers=True,
        ),
    ),
    "Servers": (
        Mistake(
            wrong="The port of the DNS server is wrong.",
            make=lambda bench: bench.edit(f'server = "{bench.server}"', 'server = "127.0.0.1:9"'),
            command=DOCTOR,
            code=1,
            place="zone[us-east-1.example.com.].server",
            fix="do: start the server, or correct",
            servers=True,
        ),
        Mistake(
            wrong="The server does not have the zone.",
            make=edit('name = "us-east-1.example.com."', 'name = "us-west-2.example.com."'),
            command=DOCTOR,
            code=1,
            place="us-west-2.example.com.",
            fix="do: add the zone to the server",
            servers=True,
        ),
        Mistake(
            wrong="The server does not know the key.",
            make=edit('tsig_name = "enactor"', 'tsig_name = "enactor-2"'),
            command=DOCTOR,
            code=1,
            place="enactor-2",
            fix="do: add the key to the server, or name its key in zone[us-east-1.example.com.].tsig_name",
            servers=True,
        ),
        Mistake(
            wrong="The secret is not the one that the server has.",
            make=key_file(FOREIGN_SECRET),
            command=DOCTOR,
            code=1,
            place="enactor",
            fix="do: put the secret that the server has into zone[us-east-1.example.com.].tsig_secret_file",
            servers=True,
        ),
        Mistake(
            wrong="The key may not change the zone.",
            make=edit('name = "us-east-1.example.com."', f'name = "{LOCKED}"'),
            command=DOCTOR,
            code=1,
            place=LOCKED,
            fix="do: let key enactor update the types A, AAAA and TXT",
            servers=True,
        ),
        Mistake(
            wrong="The zone belongs to another scope.",
            make=other_scopes_fence,
            command=DOCTOR,
            code=1,
            place=TAKEN,
            fix="do: correct enactor.scope",
            servers=True,
        ),
        Mistake(
            wrong="Nothing listens at an address of verify.",
            make=edit(ZONE_LINE, f'{ZONE_LINE}verify = ["127.0.0.1:9"]\n'),
            command=DOCTOR,
            code=1,
            place="127.0.0.1:9",
            fix="take it out of zone[us-east-1.example.com.].verify",
            servers=True,
        ),
        Mistake(
            wrong="The config says another limit than all enactors judge by.",
            make=then(
                after('enactorctl limits set targets_min 1 --reason "one zone is enough"'),
                edit("ttl_max_s = 3600", "ttl_max_s = 3600\ntargets_min = 2"),
            ),
            command=DOCTOR,
            code=0,
            place="guard.targets_min",
            fix="enactorctl limits set targets_min",
            servers=True,
        ),
        Mistake(
            wrong="The server is asked in an emergency, and nothing listens there.",
            make=nothing,
            command=f'enactorctl emergency set {NAMES[0]} 8.8.4.4 --zone us-east-1.example.com --reason "INC-4711"',
            code=3,
            place="192.0.2.53:53",
            fix="check the zone's server",
        ),
    ),
    "Tokens": (
        Mistake(
            wrong="The file of tokens was never made.",
            make=lambda bench: (bench.folder / "http.tokens").unlink(),
            command=CHECK,
            code=2,
            place="line 24: http.tokens_file: /etc/enactord/http.tokens",
            fix="enactorctl token create NAME --role ROLE",
        ),
        Mistake(
            wrong="Everybody may write the file of tokens.",
            make=tokens("", 0o666),
            command=CHECK,
            code=2,
            place="line 24: http.tokens_file: /etc/enactord/http.tokens",
            fix="chmod go-w /etc/enactord/http.tokens",
        ),
        Mistake(
            wrong="The token itself stands in the file, in the place of its hash.",
            make=tokens(f"enactord_{'a' * 43}\n"),
            command=CHECK,
            code=2,
            place="/etc/enactord/http.tokens: its line 1",
            fix="enactorctl token create NAME --role ROLE",
        ),
        Mistake(
            wrong="There is no such role.",
            make=nothing,
            command="enactorctl token create alice --role admin",
            code=2,
            place="'--role': 'admin'",
            fix="'viewer', 'planner', 'operator'",
        ),
        Mistake(
            wrong="There is a token of that name already.",
            make=after("enactorctl token create alice --role operator"),
            command="enactorctl token create alice --role viewer",
            code=1,
            place="http.tokens has a token alice already",
            fix="--replace",
        ),
        Mistake(
            wrong="The token that is to be revoked has another name.",
            make=after("enactorctl token create alice --role operator"),
            command="enactorctl token revoke alicia",
            code=1,
            place="http.tokens has no token of that name",
            fix="enactorctl token list",
        ),
    ),
    "Commands": (
        Mistake(
            wrong="A verb is misspelt.",
            make=nothing,
            command='enactorctl frieze --reason "INC-4711"',
            code=2,
            place="'frieze'",
            fix="did you mean freeze?",
        ),
        Mistake(
            wrong="A freeze has no reason.",
            make=nothing,
            command="enactorctl freeze",
            code=2,
            place="Missing option '--reason'",
            fix="enactorctl freeze --help",
        ),
        Mistake(
            wrong="The reason of a freeze is empty.",
            make=nothing,
            command="enactorctl freeze --reason ''",
            code=2,
            place="'--reason'",
            fix='--reason "INC-4711: …"',
        ),
        Mistake(
            wrong="A word stands where the number of a plan should be.",
            make=nothing,
            command="enactorctl show newest",
            code=2,
            place="'newest' is no generation",
            fix="enactorctl plans",
        ),
        Mistake(
            wrong="The name in an emergency is not in the zone.",
            make=nothing,
            command='enactorctl emergency set api 8.8.4.4 --zone us-east-1.example.com --reason "INC-4711"',
            code=2,
            place="api. is not in us-east-1.example.com.",
            fix="correct NAME",
        ),
        Mistake(
            wrong="An option is misspelt.",
            make=nothing,
            command="enactorctl status --jsn",
            code=2,
            place="'--jsn'",
            fix="Did you mean '--json'?",
        ),
        Mistake(
            wrong="There is no such limit.",
            make=nothing,
            command='enactorctl limits set target_min 2 --reason "two zones"',
            code=2,
            place="'target_min'",
            fix="did you mean targets_min?",
        ),
        Mistake(
            wrong="The value of a limit is a word.",
            make=nothing,
            command='enactorctl limits set targets_min two --reason "two zones"',
            code=2,
            place="'two' is no value of targets_min",
            fix="it takes an integer from 1",
        ),
        Mistake(
            wrong="The address in an emergency is none.",
            make=nothing,
            command=f'enactorctl emergency set {NAMES[0]} 8.8.4.400 --zone us-east-1.example.com --reason "INC-4711"',
            code=2,
            place="'8.8.4.400'",
            fix="IPv4 or IPv6 address",
        ),
        Mistake(
            wrong="The zone in an emergency is not one of the config.",
            make=nothing,
            command=f'enactorctl emergency set {NAMES[0]} 8.8.4.4 --zone us-west-2.example.com --reason "INC-4711"',
            code=2,
            place="us-west-2.example.com. is no zone of this config",
            fix="it has: us-east-1.example.com.",
        ),
        Mistake(
            wrong="A name is adopted that no plan has.",
            make=after(PUBLISH),
            command="enactorctl adopt old.us-east-1.example.com",
            code=1,
            place="old.us-east-1.example.com.",
            fix="publish a plan that holds it first",
        ),
        Mistake(
            wrong="A time is given in words.",
            make=nothing,
            command="enactorctl audit --since yesterday",
            code=2,
            place="'--since': 'yesterday'",
            fix="15m",
        ),
    ),
}
