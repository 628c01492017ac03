# SPDX-License-Identifier: MIT
"""
hooks/: real ACME clients, a real CA, the recipes as they are documented.
HANDOFF_ROUNDS in the environment makes what is done again and again that often.
"""

import datetime
import os
import re
import shlex
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from harness.acme import Authority, Issued
from harness.documents import blocks, command
from harness.network import Network
from harness.namespace import run, wait_until
from harness.visitors import assert_went_by

RECIPES = "hooks/README.md"
# Where the documents say that the hooks are installed.
INSTALLED = "/usr/local/share/acme-alpn-proxy/hooks"
RELOAD = "systemctl reload nginx"
HOOKS = Path(__file__).resolve().parents[2] / "hooks"
HARNESS = Path(__file__).resolve().parent / "harness"
NAME = "www.example.test"
NAMES = [NAME, "example.test", "a.example.test"]
# Enough of them to notice a moment that goes wrong.
VISITOR_RATE = 50
ROUNDS = int(os.environ.get("HANDOFF_ROUNDS", 1))


@pytest.fixture
def authority(network, tmp_path):
    made = Authority(network, tmp_path, 4)
    yield made
    made.stop()


@pytest.fixture
def host(product, tmp_path, authority):
    return Host(product, tmp_path, authority)


class Host:
    """The server as its administrator has set it up: the program in PATH."""

    def __init__(self, product, directory, authority):
        self.product = product
        self.directory = directory
        self._authority = authority
        # A client that cannot be told of a CA trusts those of its host.
        self._trust = directory / "ca-certificates.crt"
        self._trust.write_text(authority.certificate.read_text())
        self.state = directory / "state"
        # By what the test has done instead.
        self.reloaded = directory / "reloaded"
        self.reload = f"touch {self.reloaded}"
        self.environment = dict(
            product.environment,
            PATH=f"{product.program.parent}:{os.environ['PATH']}",
            PROXY_OPTIONS=f"--bpf --log-file {product.log}",
            STATE=str(self.state),
            LEGO_CA_CERTIFICATES=str(self._trust),
            REQUESTS_CA_BUNDLE=str(self._trust))

    def run(self, *words, timeout=300):
        """Run a client; only it sees the CA among those that are trusted."""
        return self.product.namespace.run(
            "sh", "-ec", 'mount --bind "$0" /etc/ssl/certs/ca-certificates.crt'
            '; exec "$@"', self._trust, *words, env=self.environment,
            check=False, timeout=timeout)

    def follow(self, document, beginning, changes=(), ending=""):
        """Type what the document says."""
        return self.succeed("sh", "-euc", command(
            document, beginning, {"example.org": "example.test",
                                  **dict(changes)},
            ending).replace(RELOAD, self.reload))

    def succeed(self, *words, **options):
        result = self.run(*words, **options)
        assert result.returncode == 0, (
            f"{result.stdout}\n--- proxy\n{self.product.log_text()}\n--- CA\n"
            f"{self._authority.log.read_text()}")
        return result.stdout

    def assert_clean(self):
        self.product.wait_gone()
        assert self.product.supervisor() is None
        assert not self.state.exists()
        wait_until(lambda: not self.product.namespace.listening(31443),
                   what="the end of the responder")

    def challenges_answered(self):
        """By the responder behind the proxy, in all runs so far; nothing else
        came to it, by handoff."""
        log = self.product.log_text()
        answered = sum(map(int, re.findall(r"(\d+) to the ACME responder",
                                           log)))
        if "ready: handoff" in log:
            assert answered == sum(map(int, re.findall(
                r"done: (\d+) connections", log)))
        return answered


def assert_issued(path, names):
    issued = Issued(path)
    assert "Pebble" in issued.issuer
    assert sorted(issued.names) == sorted(names)


def lego(host, authority, version=4):
    """What the test needs beside what is documented."""
    lego = "lego run" if version == 5 else "lego"
    return {f"{lego} --path /var/lib/acme":
            f"{lego} --path {host.directory}/lego --key-type ec256 "
            f"--server {authority.directory_url}"}


def run_lego(redirect, host, authority, version=4):
    return {"proxy run": f"proxy --redirect={redirect} --log-file "
                         f"{host.product.log} run",
            **lego(host, authority, version)}


@pytest.fixture
def lego5(host):
    """Instead of lego 4: see there."""
    folder = host.directory / "lego5"
    folder.mkdir()
    (folder / "lego").symlink_to(HARNESS / "lego5")
    host.environment["PATH"] = f"{folder}:{host.environment['PATH']}"


def lego_certificate(host):
    return host.directory / f"lego/certificates/{NAME}.crt"


@pytest.mark.parametrize("document, redirect", [("README.md", "handoff"),
                                                (RECIPES, "iptables")])
def test_lego(document, redirect, host, authority, lego5, send_visitors):
    visitors = send_visitors(4, rate=VISITOR_RATE)
    visitors.wait_for_more(20)
    host.follow(document, "acme-alpn-proxy run -- lego run",
                run_lego(redirect, host, authority, 5))
    assert_went_by(redirect, visitors.finish_without_failures())
    host.assert_clean()
    assert_issued(lego_certificate(host), [NAME])
    assert host.reloaded.exists() == (document == RECIPES)
    assert host.challenges_answered() >= 1


def assert_renewed(host, renew):
    path = lego_certificate(host)
    first = path.read_text()
    host.reloaded.unlink(missing_ok=True)
    renew()
    assert path.read_text() != first
    assert host.reloaded.exists()
    assert_issued(path, [NAME])
    host.assert_clean()


def test_lego_renews(host, authority, web):
    changes = run_lego("handoff", host, authority)
    beginning = "acme-alpn-proxy run -- lego --path"
    host.follow("README.md", beginning, changes)
    assert_renewed(host, lambda: host.follow(
        RECIPES, beginning,
        {" renew ": " renew --days 9999 --no-random-sleep ", **changes},
        f' "{RELOAD}"'))


def test_lego_5_renews(host, authority, lego5, web):
    """By the same words; told to, because nothing is due."""
    changes = run_lego("handoff", host, authority, 5)
    beginning = "acme-alpn-proxy run -- lego run"
    host.follow(RECIPES, beginning, changes)
    changes["--accept-tos"] = "--accept-tos --renew-force --no-random-sleep"
    assert_renewed(host, lambda: host.follow(RECIPES, beginning, changes))


@pytest.mark.parametrize("words", [
    "--tls --tls.address 127.0.0.1:31443 -d a.example run",
    "run --tls --tls.port 127.0.0.1:31443 -d a.example",
    "renew --tls --tls.address 127.0.0.1:31443 -d a.example",
    "run --tls --tls.addr 127.0.0.1:31443 -d a.example",
    "run --days 30 -d a.example"])
def test_lego_5_refuses(words, host, lego5):
    """The control: what stands in for it takes no words of version 4."""
    result = host.run("lego", *words.split())
    assert result.returncode == 1
    assert "Incorrect Usage" in result.stdout


def test_lego_between_start_and_stop(host, authority, web):
    host.succeed("sh", "-euc", command(
        RECIPES, "acme-alpn-proxy start --daemon") + " $PROXY_OPTIONS")
    host.follow(RECIPES, "acme-alpn-proxy run -- lego --path",
                {"acme-alpn-proxy run -- ": "",
                 **lego(host, authority)}, "--accept-tos run")
    host.succeed("sh", "-euc", command(RECIPES, "acme-alpn-proxy stop"))
    host.assert_clean()
    assert_issued(lego_certificate(host), [NAME])


def configure_dehydrated(host, authority, folder):
    folder.mkdir()
    (folder / "domains.txt").write_text(" ".join(NAMES) + "\n")
    (configuration,) = blocks(RECIPES, "ini")
    assert INSTALLED in configuration and RELOAD in configuration
    (folder / "config").write_text(
        configuration.replace(INSTALLED, str(HOOKS)).replace(
            RELOAD, host.reload) +
        f'CA="{authority.directory_url}"\n'
        # Quicker made than the default of 4096 bits of RSA.
        'KEY_ALGO="prime256v1"\nKEYSIZE="2048"\n'
        f'BASEDIR="{folder}"\nDOMAINS_TXT="{folder}/domains.txt"\n')


def dehydrated(host, authority, step, *words):
    folder = host.directory / "dehydrated"
    if not folder.exists():
        configure_dehydrated(host, authority, folder)
    return host.run("sh", "-euc", command(
        RECIPES, f"dehydrated --{step}",
        {"dehydrated": f"dehydrated --config {folder}/config"}) + ' "$@"',
        "dehydrated", *words)


def test_dehydrated(host, authority, send_visitors):
    visitors = send_visitors(4, rate=VISITOR_RATE)
    visitors.wait_for_more(20)
    result = dehydrated(host, authority, "register")
    assert result.returncode == 0, result.stdout
    assert not host.product.log.exists()
    result = dehydrated(host, authority, "cron")
    assert result.returncode == 0, result.stdout + authority.log.read_text()
    assert_went_by("handoff", visitors.finish_without_failures())
    host.assert_clean()
    assert_issued(host.directory / f"dehydrated/certs/{NAME}/cert.pem", NAMES)
    assert host.challenges_answered() >= len(NAMES)
    # Nothing is due: the hook runs, the proxy does not.
    host.reloaded.unlink()
    log = host.product.log_text()
    result = dehydrated(host, authority, "cron")
    assert result.returncode == 0, result.stdout
    assert host.product.log_text() == log
    assert not host.reloaded.exists()


def test_dehydrated_that_fails_leaves_nothing(host, authority, web):
    """Nobody can validate: the responder's port is taken by another."""
    assert dehydrated(host, authority, "register").returncode == 0
    with host.product.namespace.listen("127.0.0.1", 31443):
        result = dehydrated(host, authority, "cron")
    assert result.returncode != 0
    assert "Address already in use" in result.stdout
    host.assert_clean()


def uacme(host, authority, *words):
    return ("uacme", "--confdir", host.directory / "uacme", "--acme-url",
            authority.directory_url, "--type", "EC", "--yes", *words)


def documented_uacme(host, authority):
    return {"uacme ": shlex.join(map(str, uacme(host, authority))) + " "}


def installed_hook(host, authority):
    return {INSTALLED: HOOKS, **documented_uacme(host, authority)}


def test_uacme(host, authority, send_visitors):
    visitors = send_visitors(4, rate=VISITOR_RATE)
    visitors.wait_for_more(20)
    host.follow(RECIPES, "uacme new", documented_uacme(host, authority))
    host.follow(RECIPES, "uacme --hook", installed_hook(host, authority))
    assert_went_by("handoff", visitors.finish_without_failures())
    host.assert_clean()
    assert_issued(host.directory / f"uacme/{NAME}/cert.pem", [NAME])
    assert (host.directory / f"uacme/private/{NAME}/key.pem").exists()
    assert host.reloaded.exists()
    assert host.challenges_answered() >= 1


def run_uacme(host, authority):
    host.succeed(*uacme(host, authority, "new", "you@example.test"))

    def issue(name):
        host.succeed(*uacme(host, authority, "--hook", HOOKS / "uacme",
                            "issue", name))
        assert_issued(host.directory / f"uacme/{name}/cert.pem", [name])

    return issue


def run_dehydrated(host, authority):
    """Each run has a lock of its own: --lock-suffix is for that."""
    assert dehydrated(host, authority, "register").returncode == 0
    folder = host.directory / "dehydrated"
    # All would find it missing, and one alone can make it.
    (folder / "chains").mkdir()

    def issue(name):
        result = dehydrated(host, authority, "cron", "--domain", name,
                            "--lock-suffix", name)
        assert result.returncode == 0, result.stdout
        assert_issued(folder / f"certs/{name}/cert.pem", [name])

    return issue


# Five of dehydrated, which is all shell, take two cores for seconds.
@pytest.mark.parametrize("client, rate", [(run_uacme, 2 * VISITOR_RATE),
                                          (run_dehydrated, VISITOR_RATE)])
def test_five_runs_at_once(client, rate, host, authority, send_visitors):
    """Their validations too: one responder has the challenges of all."""
    issue = client(host, authority)
    visitors = send_visitors(4, rate=rate)
    visitors.wait_for_more(50)
    with ThreadPoolExecutor(5) as runs:
        for number in range(ROUNDS):
            list(runs.map(issue, [f"host{place}.round{number}.example.test"
                                  for place in range(5)]))
    visitors.wait_for_more(50)
    assert_went_by("handoff", visitors.finish_without_failures())
    host.assert_clean()
    assert host.challenges_answered() == authority.validations() >= 5 * ROUNDS


def test_lego_with_several_names_in_one_run(host, authority, send_visitors):
    """What five at once are for others: each lego has the responder's port to
    itself, and asks for one name after the other, seconds apart."""
    names = [NAME, "example.test"]
    visitors = send_visitors(4, rate=VISITOR_RATE)
    visitors.wait_for_more(50)
    for _ in range(ROUNDS):
        host.follow(RECIPES, "acme-alpn-proxy run -- lego --path", {
            **run_lego("handoff", host, authority),
            f"--domains {NAME}": "--domains " + " --domains ".join(names)},
            "--accept-tos run")
        assert_issued(lego_certificate(host), names)
    visitors.wait_for_more(50)
    assert_went_by("handoff", visitors.finish_without_failures())
    host.assert_clean()
    assert host.challenges_answered() == authority.validations()


def test_uacme_with_several_names_in_one_run(host, authority, web):
    host.succeed(*uacme(host, authority, "new", "you@example.test"))
    host.follow(RECIPES, "acme-alpn-proxy run -- uacme",
                {"proxy run": f"proxy --bpf --log-file {host.product.log} run",
                 **installed_hook(host, authority)})
    host.assert_clean()
    assert_issued(host.directory / f"uacme/{NAME}/cert.pem", NAMES[:2])
    assert host.reloaded.exists()
    assert host.product.log_text().count("ready: ") == 1


def test_uacme_hook_after_one_that_was_killed(host, authority, web):
    """It left a proxy, a responder and an authorization of no use."""
    digest = "DEi0apzMOdMT2DAro57oIvn-wEzPiYcAYDh2Cvjra3I"
    host.succeed(HOOKS / "uacme", "begin", "tls-alpn-01", NAME, "token",
                 digest)
    assert host.product.supervisor()
    host.succeed(*uacme(host, authority, "new", "you@example.test"))
    host.succeed(*uacme(host, authority, "--hook", HOOKS / "uacme", "issue",
                        NAME))
    host.assert_clean()
    assert_issued(host.directory / f"uacme/{NAME}/cert.pem", [NAME])


# A client of the name of @client: it has a challenge until it is told to end.
CLIENT = """\
#!/bin/sh
set -eu
(%s)
touch "$0.has"
while ! [ -e "$0.end" ]; do sleep 0.05; done
%s
"""
CALLS = {
    "dehydrated": ('"$HOOK" deploy_challenge a token key',
                   '"$HOOK" exit_hook'),
    "uacme": ('"$HOOK" begin tls-alpn-01 "$NAME" token '
              "DEi0apzMOdMT2DAro57oIvn-wEzPiYcAYDh2Cvjra3I",
              '"$HOOK" done tls-alpn-01 "$NAME" token digest'),
}


def test_hook_by_cron(host, web):
    """With its PATH, and the program where it is installed."""
    host.environment.update(
        PATH="/usr/bin:/bin", HOOK=str(HOOKS / "uacme"), NAME=NAME)
    host.succeed("sh", "-euc",
                 f"mount --bind {host.product.program.parent} /usr/local/sbin; "
                 + "; ".join(CALLS["uacme"]))
    host.assert_clean()
    assert "ready: " in host.product.log_text()


class Client:
    """One run of a client that uses the hook of its name."""

    def __init__(self, host, name, number):
        folder = host.directory / f"client{number}"
        folder.mkdir()
        self.path = folder / name
        self.path.write_text(CLIENT % CALLS[name])
        self.path.chmod(0o755)
        self.process = host.product.namespace.popen(
            self.path, env=dict(host.environment, HOOK=str(HOOKS / name),
                                NAME=f"{number}.example.test",
                                ALPNCERTDIR=str(folder)))
        wait_until(folder.joinpath(f"{name}.has").exists, what="a challenge")

    def end(self):
        self.path.with_name(self.path.name + ".end").touch()
        assert self.process.wait(60) == 0

    def kill(self):
        self.process.kill()
        self.process.wait()


def assert_works(host, supervisor):
    assert host.product.supervisor() == supervisor
    assert host.product.namespace.listening(31443)


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("name", CALLS)
def test_two_runs_at_once(name, first, host, authority, web):
    """Whoever is last ends what both use, whoever began it."""
    clients = [Client(host, name, number) for number in range(2)]
    supervisor = host.product.supervisor()
    clients.pop(first).end()
    assert_works(host, supervisor)
    clients.pop().end()
    host.assert_clean()


@pytest.mark.parametrize("name", CALLS)
def test_run_beside_one_that_was_killed(name, host, authority, web):
    """It has nothing to say any more about when the others are done."""
    clients = [Client(host, name, number) for number in range(2)]
    clients[0].kill()
    clients[1].end()
    host.assert_clean()


def test_two_runs_of_dehydrated_that_are_real(host, authority, web):
    """Each has its certificates in a folder of its own."""
    other = Client(host, "dehydrated", 1)
    supervisor = host.product.supervisor()
    assert dehydrated(host, authority, "register").returncode == 0
    result = dehydrated(host, authority, "cron")
    assert result.returncode == 0, result.stdout + authority.log.read_text()
    assert_issued(host.directory / f"dehydrated/certs/{NAME}/cert.pem", NAMES)
    assert_works(host, supervisor)
    other.end()
    host.assert_clean()


def test_dehydrated_that_meets_the_lock_of_another(host, authority, web):
    """It calls its hook to say that it ends."""
    assert dehydrated(host, authority, "register").returncode == 0
    other = Client(host, "dehydrated", 1)
    supervisor = host.product.supervisor()
    (host.directory / "dehydrated/lock").touch()
    result = dehydrated(host, authority, "cron")
    assert result.returncode != 0
    assert "Lock file" in result.stdout
    assert_works(host, supervisor)
    other.end()
    host.assert_clean()


def test_two_runs_of_uacme_of_which_one_is_real(host, authority, web):
    other = Client(host, "uacme", 1)
    supervisor = host.product.supervisor()
    host.succeed(*uacme(host, authority, "new", "you@example.test"))
    host.succeed(*uacme(host, authority, "--hook", HOOKS / "uacme", "issue",
                        NAME))
    assert_issued(host.directory / f"uacme/{NAME}/cert.pem", [NAME])
    assert_works(host, supervisor)
    other.end()
    host.assert_clean()


@pytest.mark.parametrize("family", [4, 6])
def test_uacme_with_an_address(family, host, authority, web):
    """Only its challenge is taken. Debian's uacme knows no profiles."""
    address = Network.SERVER_FOR_AUTHORITY[family]
    host.succeed(*uacme(host, authority, "new", "you@example.test"))
    host.succeed("sh", "-euc", command(RECIPES, "PROXY_OPTIONS=", {
        '203.0.113.7"': f'{address} --verbose '
                        f'{host.environment["PROXY_OPTIONS"]}"',
        "--profile shortlived ": "", "203.0.113.7": address,
        RELOAD: host.reload,
        **installed_hook(host, authority)}))
    host.assert_clean()
    assert_issued(host.directory / f"uacme/{address}/cert.pem", [address])
    assert "taking challenges for 1." in host.product.log_text()
    assert host.challenges_answered() >= 1


SIGN = """\
cd "$1"
openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes \
    -subj /CN=www.example.test -keyout key -out request 2>/dev/null
touch index
printf '[ca]\ndefault_ca = a\n[a]\ndatabase = index\nnew_certs_dir = .\n'\
'rand_serial = yes\npolicy = p\ndefault_md = sha256\n'\
'[p]\ncommonName = supplied\n' >configuration
openssl ca -batch -notext -selfsign -config configuration -in request \
    -keyfile key -startdate "$2" -enddate "$3" -out certificate 2>/dev/null
"""


def make_certificate(folder, life, left):
    """One of so many hours."""
    now = datetime.datetime.now(datetime.timezone.utc)
    folder.mkdir()
    run("bash", "-ec", SIGN, "sign", folder, *(
        (now + datetime.timedelta(hours=hours)).strftime("%Y%m%d%H%M%SZ")
        for hours in (left - life, left)))
    return folder / "certificate"


@pytest.mark.parametrize("life, left, due", [
    (90 * 24, 31 * 24, 1), (90 * 24, 29 * 24, 0), (90 * 24, -1, 0),
    (45 * 24, 16 * 24, 1), (45 * 24, 14 * 24, 0),
    (160, 82, 1), (160, 78, 0)])
def test_due(life, left, due, tmp_path):
    certificate = make_certificate(tmp_path / "made", life, left)
    assert run(HOOKS / "due", certificate, check=False).returncode == due


def test_due_is_one_of_several(tmp_path):
    lasting = make_certificate(tmp_path / "lasting", 90 * 24, 60 * 24)
    ending = make_certificate(tmp_path / "ending", 90 * 24, 20 * 24)
    assert run(HOOKS / "due", lasting, lasting, check=False).returncode == 1
    assert run(HOOKS / "due", lasting, ending).returncode == 0
    assert run(HOOKS / "due", ending, lasting).returncode == 0
    assert run(HOOKS / "due", check=False).returncode == 255


def test_due_without_a_certificate(tmp_path):
    assert run(HOOKS / "due", tmp_path / "none").returncode == 0
    (tmp_path / "none").write_text("no certificate\n")
    assert run(HOOKS / "due", tmp_path / "none",
               check=False).returncode == 255


def test_nothing_starts_unless_it_is_due(host, tmp_path):
    certificate = make_certificate(tmp_path / "made", 90 * 24, 60 * 24)
    result = host.run("sh", "-euc", command(
        RECIPES, "/usr/local/share/acme-alpn-proxy/hooks/due",
        {INSTALLED: HOOKS, RELOAD: host.reload,
         "/var/lib/acme/certificates/www.example.org.crt": certificate}))
    assert result.returncode == 1
    assert result.stdout == ""
    assert not host.product.log.exists()


def documented_hooks(beginning):
    """The values of --pre-hook, --post-hook and --reloadcmd."""
    words = shlex.split(command(RECIPES, beginning, {"/usr/local/sbin/": ""}))
    return [words[words.index(option) + 1]
            for option in ("--pre-hook", "--post-hook", "--reloadcmd")]


ACME_SH_RESPONDER = """\
#!/bin/sh
# What acme.sh --alpn --tlsport 31443 --local-address 127.0.0.1 does for a
# challenge, in the words of a hook of uacme.
set -eu
[ "$2" = tls-alpn-01 ] || exit 1
cd "$FOLDER"
case $1 in
begin)
	digest=$(echo "$5=" | tr _- /+ | openssl base64 -d | od -An -v -tx1 |
		tr -d ' \\n')
	openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=tls.acme.sh \\
		-addext "subjectAltName=DNS:$3" \\
		-addext "1.3.6.1.5.5.7.1.31=critical,DER:0420$digest" \\
		-keyout key -out certificate 2>/dev/null
	openssl s_server -www -cert certificate -key key \\
		-accept 127.0.0.1:31443 -alpn acme-tls/1 >log 2>&1 &
	echo $! >pid
	sleep 1
	;;
*) kill "$(cat pid)" ;;
esac
"""


def test_acme_sh(host, authority, web):
    folder = host.directory / "acme.sh"
    folder.mkdir()
    responder = folder / "responder"
    responder.write_text(ACME_SH_RESPONDER)
    responder.chmod(0o755)
    host.environment["FOLDER"] = str(folder)
    host.succeed(*uacme(host, authority, "new", "you@example.test"))
    # Its default has no such challenge.
    assert " --server letsencrypt " in command(RECIPES, "acme.sh --issue")
    before, behind, reload = documented_hooks("acme.sh --issue")
    assert reload == RELOAD
    host.succeed("sh", "-c", f"{before} $PROXY_OPTIONS")
    host.succeed(*uacme(host, authority, "--hook", responder, "issue", NAME))
    host.succeed("sh", "-c", behind)
    host.assert_clean()
    assert_issued(host.directory / f"uacme/{NAME}/cert.pem", [NAME])
    assert host.challenges_answered() >= 1
