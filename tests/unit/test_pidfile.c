// SPDX-License-Identifier: MIT
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/memory.h"
#include "instance/pidfile.h"

static char folder[] = "/tmp/test-pidfile-XXXXXX";
static char path[64];

/* POSIX locks are a process's: what others see is seen from a child. *@done
 * becomes readable when its work is done. */
static pid_t begin_in_child(void (*work)(void), int *done)
{
	int pipe_fds[2];
	pid_t child;

	assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		work();
		if (write(pipe_fds[1], "", 1) == 1)
			pause();
		_exit(EXIT_FAILURE);
	}
	close(pipe_fds[1]);
	*done = pipe_fds[0];
	return child;
}

static void await_child(int done)
{
	char byte;

	assert_int_equal(read(done, &byte, 1), 1);
	close(done);
}

static pid_t in_child(void (*work)(void))
{
	int done;
	pid_t child = begin_in_child(work, &done);

	await_child(done);
	return child;
}

static int end_child(pid_t child)
{
	int status;

	kill(child, SIGKILL);
	assert_int_equal(waitpid(child, &status, 0), child);
	return WTERMSIG(status);
}

static void acquire_in_child(void)
{
	struct pidfile pidfile;
	struct pidfile_holder holder;

	if (pidfile_acquire(&pidfile, path, &holder) != 0)
		_exit(EXIT_FAILURE);
}

static void publish_in_child(void)
{
	struct pidfile pidfile;
	struct pidfile_holder holder;

	if (pidfile_acquire(&pidfile, path, &holder) != 0 ||
	    pidfile_publish(&pidfile) != 0)
		_exit(EXIT_FAILURE);
}

static void stop_in_child(void)
{
	struct pidfile pidfile;
	struct pidfile_holder holder;

	if (pidfile_acquire(&pidfile, path, &holder) != 0 ||
	    pidfile_publish(&pidfile) != 0 ||
	    pidfile_mark_stopping(&pidfile) != 0)
		_exit(EXIT_FAILURE);
}

static void expect_state(enum pidfile_state state, pid_t pid)
{
	struct pidfile_holder holder;

	assert_int_equal(pidfile_query(path, &holder), 0);
	assert_int_equal(holder.state, state);
	assert_int_equal(holder.pid, pid);
}

static void tells_the_states_of_its_holder(void **state)
{
	static const struct {
		void (*work)(void);
		enum pidfile_state state;
	} cases[] = {
		{ acquire_in_child, PIDFILE_STARTING },
		{ publish_in_child, PIDFILE_RUNNING },
		{ stop_in_child, PIDFILE_STOPPING },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		pid_t child = in_child(cases[i].work);

		expect_state(cases[i].state, child);
		end_child(child);
		expect_state(PIDFILE_FREE, 0);
	}
}

/* What a killed instance wrote must not make a starting one look ready. */
static void does_not_take_old_text_for_a_running_instance(void **state)
{
	struct pidfile_holder holder;
	struct flock lock = { .l_type = F_WRLCK, .l_len = 1 };
	pid_t child;
	int status;
	int fd;

	(void)state;
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, "1\n", 2), 2);
	assert_int_equal(fcntl(fd, F_SETLK, &lock), 0);
	child = fork();
	assert_true(child >= 0);
	if (child == 0)
		_exit(pidfile_query(path, &holder) == 0 &&
				      holder.state == PIDFILE_STARTING
			      ? EXIT_SUCCESS
			      : EXIT_FAILURE);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == EXIT_SUCCESS);
	close(fd);
}

static void keeps_others_from_locking_it(void **state)
{
	struct pidfile pidfile;
	struct pidfile_holder holder;
	struct stat status;
	int fd;

	(void)state;
	/* As an older release or a loose umask left it. */
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(fchmod(fd, 0666), 0);
	close(fd);

	assert_int_equal(pidfile_acquire(&pidfile, path, &holder), 0);
	assert_int_equal(fstat(pidfile.fd, &status), 0);
	assert_int_equal(status.st_mode & 0777, 0600);
	pidfile_release(&pidfile);
	assert_int_equal(access(path, F_OK), -1);
}

static void lock_as_worker(void)
{
	const struct pidfile pidfile = { .path = path, .fd = -1 };

	if (pidfile_lock_worker(&pidfile) < 0)
		_exit(EXIT_FAILURE);
}

/* A lock to the end of the file, and one byte by byte in the middle. */
static void lock_everything(void)
{
	struct flock lock = { .l_type = F_RDLCK, .l_start = 1000 };
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	signal(SIGTERM, SIG_IGN);
	if (fd < 0 || fcntl(fd, F_SETLK, &lock) < 0)
		_exit(EXIT_FAILURE);
}

static void finds_the_workers_of_a_killed_instance(void **state)
{
	struct pidfile pidfile;
	struct pidfile_holder holder;
	pid_t workers[2];

	(void)state;
	assert_int_equal(pidfile_acquire(&pidfile, path, &holder), 0);
	assert_int_equal(pidfile_signal_workers(&pidfile, 0), 0);
	for (size_t i = 0; i < ARRAY_SIZE(workers); i++)
		workers[i] = in_child(lock_as_worker);
	assert_int_equal(pidfile_signal_workers(&pidfile, SIGTERM), 2);
	for (size_t i = 0; i < ARRAY_SIZE(workers); i++)
		assert_int_equal(end_child(workers[i]), SIGTERM);
	assert_int_equal(pidfile_signal_workers(&pidfile, 0), 0);
	pidfile_release(&pidfile);
}

static int gate[2];

static void lock_behind_the_gate(void)
{
	char byte;

	if (read(gate[0], &byte, 1) != 1)
		_exit(EXIT_FAILURE);
	lock_as_worker();
}

/* The kernel tells of locks in the order in which they were taken. */
static void finds_workers_whose_locks_are_in_any_order(void **state)
{
	struct pidfile pidfile;
	struct pidfile_holder holder;
	pid_t workers[4];
	int done[2];

	(void)state;
	assert_int_equal(pipe2(gate, O_CLOEXEC), 0);
	assert_int_equal(pidfile_acquire(&pidfile, path, &holder), 0);
	for (size_t i = 0; i < ARRAY_SIZE(done); i++)
		workers[i] = begin_in_child(lock_behind_the_gate, &done[i]);
	for (size_t i = ARRAY_SIZE(done); i < ARRAY_SIZE(workers); i++)
		workers[i] = in_child(lock_as_worker);
	for (size_t i = 0; i < ARRAY_SIZE(done); i++)
		assert_int_equal(write(gate[1], "", 1), 1);
	for (size_t i = 0; i < ARRAY_SIZE(done); i++)
		await_child(done[i]);
	assert_int_equal(pidfile_signal_workers(&pidfile, SIGTERM),
			 ARRAY_SIZE(workers));
	for (size_t i = 0; i < ARRAY_SIZE(workers); i++)
		assert_int_equal(end_child(workers[i]), SIGTERM);
	pidfile_release(&pidfile);
	close(gate[0]);
	close(gate[1]);
}

/* It must not keep us busy for ever. */
static void comes_to_the_end_of_any_lock(void **state)
{
	struct pidfile pidfile;
	struct pidfile_holder holder;
	pid_t child;

	(void)state;
	assert_int_equal(pidfile_acquire(&pidfile, path, &holder), 0);
	child = in_child(lock_everything);
	alarm(5);
	pidfile_signal_workers(&pidfile, 0);
	alarm(0);
	assert_int_equal(end_child(child), SIGKILL);
	pidfile_release(&pidfile);
}

static void leaves_alone_what_is_not_its_own(void **state)
{
	struct pidfile pidfile;
	struct pidfile_holder holder;
	char target[80];
	char text[16] = "";
	int fd;

	(void)state;
	snprintf(target, sizeof(target), "%s/precious", folder);
	fd = open(target, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, "precious\n", 9), 9);

	assert_int_equal(symlink(target, path), 0);
	assert_int_equal(pidfile_acquire(&pidfile, path, &holder), -ELOOP);
	unlink(path);
	assert_int_equal(link(target, path), 0);
	assert_int_equal(pidfile_acquire(&pidfile, path, &holder), -EINVAL);
	unlink(path);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(pidfile_acquire(&pidfile, path, &holder), -EINVAL);
	unlink(path);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(pidfile_acquire(&pidfile, path, &holder), -EISDIR);
	rmdir(path);

	assert_int_equal(pread(fd, text, sizeof(text) - 1, 0), 9);
	assert_string_equal(text, "precious\n");
	close(fd);
	unlink(target);
}

static int make_folder(void **state)
{
	(void)state;
	if (!mkdtemp(folder))
		return -1;
	snprintf(path, sizeof(path), "%s/proxy.pid", folder);
	return 0;
}

static int remove_folder(void **state)
{
	(void)state;
	return rmdir(folder);
}

static int remove_file(void **state)
{
	(void)state;
	unlink(path);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(tells_the_states_of_its_holder,
					  remove_file),
		cmocka_unit_test_teardown(
			does_not_take_old_text_for_a_running_instance,
			remove_file),
		cmocka_unit_test_teardown(keeps_others_from_locking_it,
					  remove_file),
		cmocka_unit_test_teardown(
			finds_the_workers_of_a_killed_instance, remove_file),
		cmocka_unit_test_teardown(
			finds_workers_whose_locks_are_in_any_order,
			remove_file),
		cmocka_unit_test_teardown(comes_to_the_end_of_any_lock,
					  remove_file),
		cmocka_unit_test_teardown(leaves_alone_what_is_not_its_own,
					  remove_file),
	};

	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
