// SPDX-License-Identifier: MIT
/* What stands in for handing off, in a network namespace of this test's own. As
 * root. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <bpf/bpf.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "listen/listener.h"
#include "redirect/redirect.h"

#define SERVICE_PORT 443
#define LISTEN_PORT  21443
/* Listeners are looked for less often than events come. */
#define LOOK_US (500 * 1000)

struct scene {
	struct listeners listeners;
	struct redirect_config config;
	struct redirect *redirect;
	int web;
};

static int hand_over(void *context, int fd)
{
	(void)context;
	(void)fd;
	return -ECHILD;
}

static int prove(void *context, char *why, size_t size)
{
	(void)context, (void)why, (void)size;
	return 0;
}

static int listen_at_service(void)
{
	const struct sockaddr_in any = { .sin_family = AF_INET,
					 .sin_port = htons(SERVICE_PORT) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(bind(fd, (const struct sockaddr *)&any, sizeof(any)),
			 0);
	assert_int_equal(listen(fd, 1), 0);
	return fd;
}

static int open_scene(void **state)
{
	struct scene *scene = calloc(1, sizeof(*scene));
	char reason[256];

	*state = scene;
	log_settings.level = LOG_LEVEL_ERROR;
	*scene = (struct scene){
		.listeners = LISTENERS_NONE,
		.config = { .service_port = SERVICE_PORT,
			    .listen_port = LISTEN_PORT,
			    .hand_over = hand_over,
			    .prove = prove },
		.web = -1,
	};
	assert_int_equal(unshare(CLONE_NEWNET), 0);
	assert_int_equal(system("ip link set lo up && "
				"ip link add v0 type veth peer name v1 && "
				"ip link set v0 up && ip link set v1 up"),
			 0);
	assert_int_equal(listeners_open(&scene->listeners,
					redirect_handoff.scope, LISTEN_PORT,
					false),
			 0);
	assert_int_equal(redirect_handoff.probe(&scene->config,
						&scene->redirect, reason,
						sizeof(reason)),
			 0);
	assert_int_equal(redirect_handoff.open(&scene->config,
					       &scene->listeners,
					       &scene->redirect),
			 0);
	return 0;
}

static int close_scene(void **state)
{
	struct scene *scene = *state;

	redirect_handoff.detach(scene->redirect);
	redirect_handoff.close(scene->redirect);
	listeners_close(&scene->listeners);
	close_fd_at(&scene->web);
	free(scene);
	return 0;
}

static void expect(const struct scene *scene, const char *mode, const char *why)
{
	struct redirect_state now = { .mode = "" };

	usleep(LOOK_US);
	assert_int_equal(redirect_handoff.handle_event(scene->redirect), 0);
	redirect_handoff.state(scene->redirect, &now);
	assert_string_equal(now.mode, mode);
	assert_string_equal(now.why, why);
}

/* Also if it goes again while what steering has begun comes to its end. */
static void steers_whenever_nobody_listens(void **state)
{
	static const char nobody[] = "nobody listens on the port";
	struct scene *scene = *state;

	assert_int_equal(redirect_handoff.attach(scene->redirect), 0);
	for (int i = 0; i < 2; i++) {
		expect(scene, "steer", nobody);
		scene->web = listen_at_service();
		expect(scene, "steer", "");
		close_fd_at(&scene->web);
		/* It may be about to be started anew. */
		expect(scene, "steer", "");
	}
	expect(scene, "steer", nobody);
	scene->web = listen_at_service();
	expect(scene, "steer", "");
	sleep(3);
	expect(scene, "handoff", "");
}

/* Of the two programs, by tcx, as in tc.c, or by a filter. */
static void expect_steering_alone(void)
{
	uint32_t count = 0;

	if (bpf_prog_query((int)if_nametoindex("v0"), (enum bpf_attach_type)46,
			   0, NULL, NULL, &count) == 0)
		assert_int_equal(count, 1);
	else
		assert_int_equal(system("tc filter show dev v0 ingress | "
					"grep -q steer"),
				 0);
}

/* A worker that dies takes the redirect away for a moment. */
static void steers_alone_when_it_resumes(void **state)
{
	struct scene *scene = *state;

	assert_int_equal(redirect_handoff.attach(scene->redirect), 0);
	expect(scene, "steer", "nobody listens on the port");
	scene->web = listen_at_service();
	expect(scene, "steer", "");
	/* Its last handshakes may be ending. */
	assert_int_equal(redirect_handoff.pause(scene->redirect), 0);
	assert_int_equal(redirect_handoff.attach(scene->redirect), 0);
	expect_steering_alone();
	expect(scene, "steer", "");
	sleep(3);
	expect(scene, "handoff", "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(steers_whenever_nobody_listens,
						open_scene, close_scene),
		cmocka_unit_test_setup_teardown(steers_alone_when_it_resumes,
						open_scene, close_scene),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
