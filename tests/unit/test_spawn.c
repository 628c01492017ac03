// SPDX-License-Identifier: MIT
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/memory.h"
#include "base/spawn.h"

static bool kernel_is_old;

/* In place of the library's: Linux has it since 5.9. */
int close_range(unsigned int first, unsigned int last, int flags)
{
	if (!kernel_is_old)
		return (int)syscall(SYS_close_range, first, last, flags);
	errno = ENOSYS;
	return -1;
}

static int run_shell(const char *script, char **output)
{
	char *const argv[] = { (char *)"sh", (char *)"-c", (char *)script,
			       NULL };

	return spawn_wait("/bin/sh", argv, output);
}

static void test_exit_status_and_output(void **state)
{
	cleanup_free char *output = NULL;

	(void)state;
	assert_int_equal(
		run_shell("echo late >&2; echo first; exit 3", &output), 3);
	assert_string_equal(output, "first\nlate\n");
}

static void test_no_output_is_an_empty_string(void **state)
{
	cleanup_free char *output = NULL;

	(void)state;
	assert_int_equal(run_shell("exit 0", &output), 0);
	assert_string_equal(output, "");
	assert_int_equal(run_shell("echo unheard", NULL), 0);
}

static void test_death_by_signal(void **state)
{
	(void)state;
	assert_int_equal(run_shell("kill -KILL $$", NULL), 128 + SIGKILL);
}

static void test_missing_program(void **state)
{
	char *const argv[] = { (char *)"nothing", NULL };
	char *output = NULL;

	(void)state;
	assert_int_equal(spawn_wait("/nonexistent/nothing", argv, &output),
			 -ENOENT);
	assert_null(output);
}

/* More than a pipe holds, on both streams at once. */
static void test_large_output(void **state)
{
	cleanup_free char *output = NULL;

	(void)state;
	assert_int_equal(run_shell("head -c 300000 /dev/zero | tr '\\0' o;"
				   "head -c 300000 /dev/zero | tr '\\0' e >&2",
				   &output),
			 0);
	assert_int_equal(strlen(output), 600000);
	assert_int_equal(output[299999], 'o');
	assert_int_equal(output[300000], 'e');
}

static void test_output_is_cut(void **state)
{
	cleanup_free char *output = NULL;

	(void)state;
	assert_int_equal(
		run_shell("head -c 20000000 /dev/zero | tr '\\0' o", &output),
		0);
	assert_int_equal(strlen(output), SPAWN_OUTPUT_SIZE);
}

/* A service that the program leaves behind holds the pipes open. */
static void test_left_running_child_is_not_waited_for(void **state)
{
	cleanup_free char *output = NULL;
	uint64_t start = monotonic_ns();
	int status = run_shell("sleep 30 & echo $!", &output);
	pid_t left = (pid_t)strtol(output, NULL, 10);

	(void)state;
	assert_true(left > 1);
	kill(left, SIGKILL);
	assert_int_equal(status, 0);
	assert_true(monotonic_ns() - start < 20 * NS_PER_S);
}

/* Not close-on-exec, as what a hook runner leaves to us. */
static void test_descriptors_are_not_inherited(void **state)
{
	cleanup_free char *output = NULL;
	cleanup_fd int fd = open("/dev/null", O_RDONLY);
	cleanup_fd int high = fcntl(fd, F_DUPFD, 200);

	(void)state;
	assert_true(high >= 200);
	for (int i = 0; i < 2; i++) {
		kernel_is_old = i;
		assert_int_equal(run_shell("ls /proc/self/fd | sort -n | "
					   "tail -1",
					   &output),
				 0);
		/* 3 or so is the folder that ls itself reads. */
		assert_true(strtol(output, NULL, 10) <= 3);
		free(output);
	}
	kernel_is_old = false;
	assert_int_equal(run_shell("cat; readlink /proc/self/fd/0", &output),
			 0);
	assert_string_equal(output, "/dev/null\n");
}

static void test_signals_are_at_their_defaults(void **state)
{
	cleanup_free char *output = NULL;
	sigset_t blocked, saved;
	char *line;

	(void)state;
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGTERM);
	sigprocmask(SIG_BLOCK, &blocked, &saved);
	signal(SIGINT, SIG_IGN);
	assert_int_equal(run_shell("grep -E '^Sig(Blk|Ign):' /proc/self/status",
				   &output),
			 0);
	signal(SIGINT, SIG_DFL);
	sigprocmask(SIG_SETMASK, &saved, NULL);

	line = strstr(output, "SigBlk:");
	assert_non_null(line);
	assert_int_equal(strtoull(line + strlen("SigBlk:"), NULL, 16), 0);
	line = strstr(output, "SigIgn:");
	assert_non_null(line);
	/* 32 and 33 are the C library's own and not ours to set. */
	assert_int_equal(
		strtoull(line + strlen("SigIgn:"), NULL, 16) & 0x7fffffff, 0);
}

static void test_own_process_group(void **state)
{
	cleanup_free char *output = NULL;

	(void)state;
	assert_int_equal(run_shell("echo $$ $(ps -o pgid= -p $$)", &output), 0);
	assert_int_not_equal(strtol(strchr(output, ' '), NULL, 10), getpgrp());
}

static void test_leaks_no_descriptor(void **state)
{
	cleanup_fd int before = dup(STDERR_FILENO);
	int next = before + 1;

	(void)state;
	for (int i = 0; i < 5; i++) {
		assert_int_equal(run_shell("echo", NULL), 0);
		assert_int_equal(fcntl(next, F_GETFD), -1);
	}
}

static void test_find(void **state)
{
	cleanup_free char *saved = strdup(getenv("PATH"));
	cleanup_free char *found = NULL;
	char folder[] = "/tmp/test_spawn.XXXXXX";
	char program[64];
	char path[128];
	int fd;

	(void)state;
	assert_non_null(mkdtemp(folder));
	snprintf(program, sizeof(program), "%s/my-tool", folder);
	fd = open(program, O_WRONLY | O_CREAT | O_CLOEXEC, 0755);
	assert_true(fd >= 0);
	close(fd);
	snprintf(path, sizeof(path), "/nonexistent::%s", folder);

	setenv("PATH", path, 1);
	found = spawn_find("my-tool");
	setenv("PATH", saved, 1);
	unlink(program);
	rmdir(folder);

	assert_non_null(found);
	assert_string_equal(found, program);
	assert_null(spawn_find("my-tool"));
}

/* A cron job's PATH lacks the folders of the administrator's programs. */
static void test_find_in_admin_folders(void **state)
{
	cleanup_free char *saved = strdup(getenv("PATH"));
	cleanup_free char *found = NULL;

	(void)state;
	setenv("PATH", "/nonexistent", 1);
	found = spawn_find("ldconfig");
	setenv("PATH", saved, 1);
	assert_non_null(found);
	assert_non_null(strstr(found, "/sbin/ldconfig"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_exit_status_and_output),
		cmocka_unit_test(test_no_output_is_an_empty_string),
		cmocka_unit_test(test_death_by_signal),
		cmocka_unit_test(test_missing_program),
		cmocka_unit_test(test_large_output),
		cmocka_unit_test(test_output_is_cut),
		cmocka_unit_test(test_left_running_child_is_not_waited_for),
		cmocka_unit_test(test_descriptors_are_not_inherited),
		cmocka_unit_test(test_signals_are_at_their_defaults),
		cmocka_unit_test(test_own_process_group),
		cmocka_unit_test(test_leaks_no_descriptor),
		cmocka_unit_test(test_find),
		cmocka_unit_test(test_find_in_admin_folders),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
