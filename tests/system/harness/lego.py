# SPDX-License-Identifier: MIT
"""
What lego takes on its command line: version 4, as Debian has it, which takes
most options before the command; and version 5, which takes all behind it, has
other names for some, and renews by `run`.
"""

import getopt

COMMON = ("domains=", "server=", "accept-tos", "email=", "csr=", "eab",
          "key-type=", "path=", "http", "http.webroot=", "tls", "dns=",
          "dns.resolvers=", "pem", "pfx", "cert.timeout=", "http-timeout=",
          "user-agent=")
OBTAIN = ("no-bundle", "must-staple", "preferred-chain=", "profile=",
          "always-deactivate-authorizations=")
SHORT = "d:s:am:k:"
# By command; "" is what comes before it.
VERSIONS = {
    4: {"": COMMON + ("tls.port=", "http.port=", "kid=", "hmac=",
                      "dns.disable-cp", "dns-timeout=", "filename="),
        "run": OBTAIN + ("run-hook=",),
        "renew": OBTAIN + ("renew-hook=", "days=", "reuse-key",
                           "no-random-sleep")},
    5: {"": ("log.format=", "log.level=", "config="),
        "run": COMMON + OBTAIN + (
            "tls.address=", "tls.delay=", "http.address=", "eab.kid=",
            "eab.hmac=", "cert.name=", "enable-cn", "pre-hook=",
            "deploy-hook=", "post-hook=", "renew-days=", "renew-force",
            "ari-disable", "ari-wait-to-renew-duration=", "reuse-key",
            "no-random-sleep", "force-cert-domains")},
}
RESPONDER = {4: "--tls.port", 5: "--tls.address"}


class Refused(Exception):
    """What it says is what lego says."""


def parse_options(words, long, short=""):
    """Options up to the first other word, and what remains; no abbreviations,
    which getopt would allow and lego does not."""
    names = {f"--{name.rstrip('=')}" for name in long}
    try:
        options, rest = getopt.getopt(words, short, long)
    except getopt.GetoptError as error:
        raise Refused(f"flag provided but not defined: -{error.opt}") from error
    given = [word.split("=")[0] for word in words[:len(words) - len(rest)]
             if word.startswith("--")]
    for name in given:
        if name not in names:
            raise Refused(f"flag provided but not defined: {name[1:]}")
    return options, rest


def parse(version, words):
    """The command and the options of what stands behind `lego`."""
    commands = VERSIONS[version]
    before, rest = parse_options(words, commands[""],
                                 SHORT if version == 4 else "")
    if not rest or rest[0] not in commands:
        raise Refused(f"no command of lego {version}: {rest[:1]}")
    behind, surplus = parse_options(rest[1:], commands[rest[0]],
                                    SHORT if version == 5 else "")
    if surplus:
        raise Refused(f"unexpected: {surplus}")
    return rest[0], before + behind
