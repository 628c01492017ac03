// SPDX-License-Identifier: MIT
/*
 * make_seeds FOLDER: write the seeds of all fuzz targets there, those of each
 * into a folder of its name. `make seeds` writes the ones that are kept, and
 * `make lint` compares them.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/memory.h"
#include "tests/unit/hello_builder.h"

static const char *const only_acme[] = { "acme-tls/1", NULL };
static const char *const acme_last[] = { "h2", "http/1.1", "acme-tls/1", NULL };
static const char *const browser[] = { "h2", "http/1.1", NULL };

static const struct {
	const char *name;
	struct hello_spec spec;
} hellos[] = {
	{ "client_hello/validation",
	  { .protocols = only_acme, .server_name = "a.example" } },
	{ "client_hello/grease",
	  { .protocols = acme_last,
	    .server_name = "a.example",
	    .session_id = 32,
	    .key_share = 38,
	    .grease = true } },
	{ "client_hello/records",
	  { .protocols = only_acme, .record_size = 40 } },
	{ "client_hello/browser",
	  { .protocols = browser, .server_name = "a.example", .padding = 20 } },
};

/* All bytes of a string but its last zero. */
#define TEXT(string) string, sizeof(string) - 1

#define ZEROS_8	 "\0\0\0\0\0\0\0\0"
#define ZEROS_11 ZEROS_8 "\0\0\0"
#define ZEROS_12 ZEROS_8 "\0\0\0\0"

/* What the bytes mean is told by each target. */
static const struct {
	const char *name;
	const char *bytes;
	size_t length;
} texts[] = {
	{ "address/ipv4", TEXT("127.0.0.1:443") },
	{ "address/ipv6", TEXT("[2001:db8::1]:31443") },
	{ "address/name", TEXT("www.example.test:1") },
	{ "address/scope", TEXT("[fe80::1%eth0]:65535") },
	{ "address/path", TEXT("unix:/run/nginx/tls.sock") },
	{ "address/abstract", TEXT("unix:@tls") },
	{ "domain_list/names",
	  TEXT("www.example.org\n*.example.org\nxn--bcher-kva.example.\0"
	       "a.example.org") },
	{ "domain_list/addresses", TEXT("192.0.2.7\n2001:db8::7\0"
					"7.2.0.192.in-addr.arpa") },
	{ "domain_list/odd",
	  TEXT("*.*.example\n-a.example\n1.2.3\n*.a\0A.a\0") },
	{ "options/bpf",
	  TEXT("\0\0\0start\0--bpf\0--interface\0eth*\0--interface=wg0\0"
	       "--daemon\0--user\0nobody\0") },
	{ "options/domains",
	  TEXT("\0\0\0start\0--domain\0*.a.example\0--domain=192.0.2.7\0") },
	{ "options/help", TEXT("\0\0\0--help\0--version\0start\0") },
	{ "options/numbers",
	  TEXT("\0\0\0start\0--port=8443\0--listen=1\0--max-connections=1000\0"
	       "--hello-timeout=0.25\0--drain-timeout=180\0") },
	{ "options/run",
	  TEXT("/run/x.pid\0-p tcp -j ACCEPT\0y\0run\0--iptables\0"
	       "--log-file\0-\0--\0lego\0run\0") },
	{ "options/start", TEXT("\0\0\0-alpn\0"
				"127.0.0.1:31443\0-fallback\0"
				"127.0.0.1:443\0start\0") },
	{ "options/status", TEXT("\0\0\0status\0--json\0--prometheus\0") },
	{ "options/stop", TEXT("\0\0\0stop\0--wait=2.5\0-v\0") },
	{ "proxy_header/v1_ipv4",
	  TEXT("\0\0\0\xc0\0\2\7" ZEROS_12 "\xc6\x33\x64\1" ZEROS_12
	       "\xc3\x50\1\xbb") },
	{ "proxy_header/v1_ipv6",
	  TEXT("\0\1\1\x20\1\xd\xb8" ZEROS_11
	       "\7\x20\1\xd\xb8\0\1\0\2\0\3\0\4\0\5\0\6\xff\xff\1\xbb") },
	{ "proxy_header/v2_ipv4", TEXT("\1\0\0\xff\xff\xff\xff" ZEROS_12
				       "\x7f\0\0\1" ZEROS_12 "\0\1\xff\xff") },
	{ "proxy_header/v2_mapped",
	  TEXT("\1\1\1" ZEROS_8
	       "\0\0\xff\xff\xc0\0\2\7\xfe\x80\0\0\0\0\0" ZEROS_8
	       "\1\xc3\x50\1\xbb") },
	{ "proxy_header/mixed",
	  TEXT("\0\0\1\xc0\0\2\7" ZEROS_12 "\x20\1\xd\xb8" ZEROS_11
	       "\1\xc3\x50\1\xbb") },
	{ "proxy_preamble/v1", TEXT("PROXY TCP4 192.0.2.7 198.51.100.1 50000 "
				    "443\r\n\x16\x03\x01") },
	{ "proxy_preamble/v2",
	  TEXT("\r\n\r\n\0\r\nQUIT\n\x21\x11\0\14\xc0\0\2\7"
	       "\xc6\x33\x64\1\xc3\x50\1\xbb\x16\x03\x01") },
	{ "record/bpf", TEXT("acme-alpn-proxy state 1\n"
			     "boot 7e1f5cb2-0e46-4c1f-9a57-0d9e5f4e2b11\n"
			     "network 4:4026531840\nredirect bpf\nport 443\n"
			     "listen 21443\nfilters 0x0a1c53c3\n"
			     "filters in 4:4026532233\n") },
	{ "record/iptables",
	  TEXT("acme-alpn-proxy state 1\nboot 7e1f5cb2\n"
	       "network 4:1\nredirect iptables\nport 443\nlisten 21443\n"
	       "rule iptables -p tcp\\x0a-j \\x5c ACCEPT\n"
	       "rule ip6tables -p tcp\n"
	       "hold acme-alpn-proxy hold 812-1f2e3d4c\n") },
	{ "record/none",
	  TEXT("\0acme-alpn-proxy state 1\nboot \nnetwork 0:0\n"
	       "redirect none\nport 1\nlisten 2\nend 00000000\n") },
	{ "rulespec/default",
	  TEXT("-p tcp --dport 443 --syn -m addrtype --dst-type LOCAL "
	       "-m comment --comment acme-alpn-proxy -j REDIRECT "
	       "--to-ports 21443") },
	{ "rulespec/quotes",
	  TEXT("-m comment --comment \"it's \\\"quoted\\\"\" "
	       "'and \\ so' \\ x\t-j\nACCEPT") },
	{ "rule_table/comments",
	  TEXT("\0-A PREROUTING -m conntrack --ctstate INVALID "
	       "-m comment --comment \"acme-alpn-proxy hold 17-0badcafe\"\n"
	       "-A PREROUTING -p tcp --dport 443 "
	       "-m comment --comment acme -j REDIRECT --to-ports 21443\n") },
	{ "rule_table/docker",
	  TEXT("\3-P PREROUTING ACCEPT\n-N DOCKER\n"
	       "-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER\n"
	       "-A DOCKER ! -i br0 -p tcp -m tcp --dport 443 "
	       "-j DNAT --to-destination 172.17.0.2:443\n") },
	{ "rule_table/firewall",
	  TEXT("\7-P INPUT DROP\n-N ports\n-A INPUT -i lo -j ACCEPT\n"
	       "-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED "
	       "-j ACCEPT\n"
	       "-A INPUT -p tcp -m multiport --dports 80,443,8000:8100 "
	       "-g ports\n"
	       "-A ports -d 192.0.2.0/24 -p tcp "
	       "--tcp-flags FIN,SYN,RST,ACK SYN -j RETURN\n"
	       "-A ports -j REJECT --reject-with tcp-reset\n") },
	{ "rule_table/loop",
	  TEXT("\1-A PREROUTING -j a\n-A a -i eth0 -j b\n-A b -j a\n"
	       "-A b ! -d 192.0.2.1/32 -j RETURN\n") },
	{ "rule_table/nft",
	  TEXT("\1table ip nat {\n chain prerouting {\n"
	       "  tcp dport { 80, 443 } dnat to 172.17.0.2:443\n }\n}\n") },
	{ "status_report/version", TEXT("\0\0\2\0\0\0") },
	{ "status_report/texts", TEXT("\0 xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx") },
	{ "status_report/numbers",
	  TEXT("\2p\377\377\377\377\377\377\377\377\0\0\0\0\0\0\0\200") },
};

static FILE *create(const char *folder, const char *name)
{
	char path[4096];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%.*s", folder, (int)strcspn(name, "/"),
		 name);
	if (mkdir(path, 0755) < 0 && errno != EEXIST) {
		perror(path);
		exit(EXIT_FAILURE);
	}
	snprintf(path, sizeof(path), "%s/%s", folder, name);
	file = fopen(path, "we");
	if (!file) {
		perror(path);
		exit(EXIT_FAILURE);
	}
	return file;
}

static void finish(FILE *file, size_t written, size_t wanted)
{
	if (fclose(file) != 0 || written != wanted) {
		perror("make_seeds");
		exit(EXIT_FAILURE);
	}
}

int main(int argc, char **argv)
{
	static struct hello hello;

	if (argc != 2)
		return EXIT_FAILURE;
	for (size_t i = 0; i < ARRAY_SIZE(hellos); i++) {
		FILE *file = create(argv[1], hellos[i].name);

		memset(&hello, 0, sizeof(hello));
		hello_build(&hello, &hellos[i].spec);
		/* Before the stream, the byte that chooses its cuts. */
		fputc(0, file);
		finish(file, fwrite(hello.bytes, 1, hello.length, file),
		       hello.length);
	}
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		FILE *file = create(argv[1], texts[i].name);

		finish(file, fwrite(texts[i].bytes, 1, texts[i].length, file),
		       texts[i].length);
	}
	return EXIT_SUCCESS;
}
