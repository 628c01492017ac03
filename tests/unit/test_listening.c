// SPDX-License-Identifier: MIT
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/address.h"
#include "base/memory.h"
#include "listen/listening.h"

/* At @host, on a port that the kernel chooses if *@port is 0. */
static int listen_at(const char *host, uint16_t *port)
{
	struct sockaddr_in6 ipv6 = { .sin6_family = AF_INET6,
				     .sin6_port = htons(*port) };
	struct sockaddr_in ipv4 = { .sin_family = AF_INET,
				    .sin_port = htons(*port) };
	const bool is_ipv4 = inet_pton(AF_INET, host, &ipv4.sin_addr) == 1;
	struct sockaddr *address = is_ipv4 ? (struct sockaddr *)&ipv4
					   : (struct sockaddr *)&ipv6;
	socklen_t size = is_ipv4 ? sizeof(ipv4) : sizeof(ipv6);
	const int on = 1;
	int fd = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	if (!is_ipv4) {
		assert_int_equal(inet_pton(AF_INET6, host, &ipv6.sin6_addr), 1);
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
	}
	assert_int_equal(bind(fd, address, size), 0);
	assert_int_equal(listen(fd, 1), 0);
	assert_int_equal(getsockname(fd, address, &size), 0);
	*port = ntohs(is_ipv4 ? ipv4.sin_port : ipv6.sin6_port);
	return fd;
}

static bool takes(const struct listening *listening, const char *host)
{
	struct in6_addr address;
	struct endpoint endpoint;

	assert_true(address_parse(host, &address));
	endpoint = endpoint_at(&address, 443);
	return listening_takes(listening, &endpoint);
}

static void finds_those_of_the_port(void **state)
{
	struct listening found[4];
	uint16_t port = 0;
	int first = listen_at("127.0.0.2", &port);
	int second = listen_at("127.0.0.3", &port);
	int third = listen_at("::1", &port);

	(void)state;
	assert_int_equal(listening_find(port, NULL, 0), 3);
	/* No more are filled in than there is room for. */
	memset(found, 0, sizeof(found));
	assert_int_equal(listening_find(port, found, 1), 3);
	assert_int_equal(found[1].inode, 0);
	assert_int_equal(listening_find(port, found, ARRAY_SIZE(found)), 3);
	assert_true(takes(&found[2], "::1"));
	assert_false(takes(&found[2], "::2"));
	assert_false(takes(&found[2], "127.0.0.2"));
	assert_true(takes(&found[0], "127.0.0.2") !=
		    takes(&found[1], "127.0.0.2"));
	assert_true(takes(&found[0], "127.0.0.3") !=
		    takes(&found[1], "127.0.0.3"));
	close(first);
	close(second);
	close(third);
	assert_int_equal(listening_find(port, NULL, 0), 0);
}

static void whoever_listens_at_all_addresses_takes_each(void **state)
{
	struct listening ipv4, ipv6;
	uint16_t ipv4_port = 0, ipv6_port = 0;
	int first = listen_at("0.0.0.0", &ipv4_port);
	int second = listen_at("::", &ipv6_port);

	(void)state;
	assert_int_equal(listening_find(ipv4_port, &ipv4, 1), 1);
	assert_int_equal(listening_find(ipv6_port, &ipv6, 1), 1);
	assert_true(takes(&ipv4, "192.0.2.1"));
	assert_false(takes(&ipv4, "2001:db8::1"));
	assert_true(takes(&ipv6, "2001:db8::1"));
	assert_true(takes(&ipv6, "192.0.2.1"));
	close(first);
	close(second);
}

/* From now on there is no netlink(7), as on a kernel built without its part. */
static void refuse_netlink(void)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
			 offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_socket, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
			 offsetof(struct seccomp_data, args)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AF_NETLINK, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EAFNOSUPPORT),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	const struct sock_fprog program = { ARRAY_SIZE(filter), filter };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0 ||
	    socket(AF_NETLINK, SOCK_RAW, 0) >= 0)
		_exit(2);
}

static void finds_the_same_without_netlink(void **state)
{
	struct listening found[2];
	uint16_t port = 0;
	int first = listen_at("127.0.0.2", &port);
	int second = listen_at("::1", &port);
	pid_t child = fork();
	int status;

	(void)state;
	if (child == 0) {
		refuse_netlink();
		_exit(listening_find(port, found, 2) != 2 ||
		      !takes(&found[0], "127.0.0.2") ||
		      !takes(&found[1], "::1"));
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	close(first);
	close(second);
}

static void names_the_process(void **state)
{
	struct listening found;
	struct listening nobody = { .inode = 1 };
	uint16_t port = 0;
	int listener = listen_at("127.0.0.1", &port);
	char name[32];

	(void)state;
	assert_int_equal(listening_find(port, &found, 1), 1);
	assert_int_equal(listening_process(&found, name, sizeof(name)),
			 getpid());
	assert_string_equal(name, "test_listening");
	assert_int_equal(listening_process(&found, name, 5), getpid());
	assert_string_equal(name, "test");
	assert_int_equal(listening_process(&nobody, name, sizeof(name)), 0);
	close(listener);
}

static void dials_whoever_is_there(void **state)
{
	struct endpoint endpoint = { .length = sizeof(struct sockaddr_in) };
	struct sockaddr_in *address = (struct sockaddr_in *)&endpoint.address;
	uint16_t port = 0;
	int listener = listen_at("127.0.0.1", &port);

	(void)state;
	*address = (struct sockaddr_in){
		.sin_family = AF_INET,
		.sin_port = htons(port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	assert_int_equal(dial(&endpoint, monotonic_ns() + NS_PER_S), 0);
	close(listener);
	assert_int_equal(dial(&endpoint, monotonic_ns() + NS_PER_S),
			 -ECONNREFUSED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds_those_of_the_port),
		cmocka_unit_test(whoever_listens_at_all_addresses_takes_each),
		cmocka_unit_test(finds_the_same_without_netlink),
		cmocka_unit_test(names_the_process),
		cmocka_unit_test(dials_whoever_is_there),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
