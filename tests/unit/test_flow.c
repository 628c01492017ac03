// SPDX-License-Identifier: MIT
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* <netinet/tcp.h> has the same names, and less of struct tcp_info. */
#include <linux/tcp.h>

#include "proxy/flow.h"

struct bench {
	struct flow_tools tools;
	struct flow flow;
	/* writer -> source, sink -> reader */
	int writer;
	int source;
	int sink;
	int reader;
};

static int setup_with_pipes(void **state, size_t pipes)
{
	struct bench *bench = calloc(1, sizeof(*bench));
	int ends[2];

	assert_int_equal(
		socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends), 0);
	bench->writer = ends[0];
	bench->source = ends[1];
	assert_int_equal(
		socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends), 0);
	bench->sink = ends[0];
	bench->reader = ends[1];
	pipe_pool_init(&bench->tools.pipes, pipes);
	*state = bench;
	return 0;
}

static int setup(void **state)
{
	return setup_with_pipes(state, 1);
}

static int setup_without_pipes(void **state)
{
	return setup_with_pipes(state, 0);
}

static int teardown(void **state)
{
	struct bench *bench = *state;

	flow_drop(&bench->flow, &bench->tools);
	pipe_pool_close(&bench->tools.pipes);
	close(bench->writer);
	close(bench->source);
	close(bench->sink);
	close(bench->reader);
	free(bench);
	return 0;
}

static enum flow_result run(struct bench *bench)
{
	return flow_run(&bench->flow, &bench->tools, bench->source,
			bench->sink);
}

static void moves_small_data_at_once(void **state)
{
	struct bench *bench = *state;
	char text[8] = { 0 };

	send(bench->writer, "hello", 5, 0);
	assert_int_equal(run(bench), FLOW_OK);
	assert_int_equal(bench->flow.state, FLOW_READING);
	assert_int_equal(bench->flow.bytes, 5);
	assert_int_equal(recv(bench->reader, text, sizeof(text), 0), 5);
	assert_string_equal(text, "hello");
	/* Called in vain. */
	assert_int_equal(run(bench), FLOW_OK);
	assert_int_equal(bench->flow.state, FLOW_READING);
}

static void holds_bytes_in_order(void **state)
{
	struct bench *bench = *state;
	static uint8_t all[100000];
	static uint8_t seen[sizeof(all)];
	size_t held = 0;

	for (size_t i = 0; i < sizeof(all); i++)
		all[i] = (uint8_t)(i * 7 >> 2);
	for (size_t step = 1; held < sizeof(all); step = step * 3 % 1999) {
		size_t length = step;

		if (length > sizeof(all) - held)
			length = sizeof(all) - held;
		assert_int_equal(flow_hold(&bench->flow, all + held, length),
				 0);
		held += length;
	}
	assert_int_equal(flow_deliver(&bench->flow, &bench->tools, bench->sink),
			 FLOW_OK);
	for (size_t got = 0; got < sizeof(all);) {
		ssize_t length =
			recv(bench->reader, seen + got, sizeof(seen) - got, 0);

		assert_true(length > 0);
		got += (size_t)length;
		assert_int_equal(
			flow_deliver(&bench->flow, &bench->tools, bench->sink),
			FLOW_OK);
	}
	assert_memory_equal(all, seen, sizeof(all));
	assert_int_equal(bench->flow.state, FLOW_READING);
	assert_null(bench->flow.held.memory);
}

/* Both ways of moving bulk, to a sink that fills up again and again. */
static void moves_bulk_and_then_the_end(void **state)
{
	struct bench *bench = *state;
	enum {
		TOTAL = 3 << 20
	};
	static uint8_t block[30000];
	size_t sent = 0;
	size_t received = 0;
	bool waited = false;

	while (bench->flow.state != FLOW_FINISHED || received < TOTAL) {
		ssize_t length;

		for (size_t i = 0; i < sizeof(block); i++)
			block[i] = (uint8_t)((sent + i) * 31 >> 4);
		length = send(bench->writer, block,
			      TOTAL - sent < sizeof(block) ? TOTAL - sent
							   : sizeof(block),
			      0);
		sent += length > 0 ? (size_t)length : 0;
		if (sent == TOTAL)
			shutdown(bench->writer, SHUT_WR);

		if (bench->flow.state != FLOW_FINISHED)
			assert_int_equal(run(bench), FLOW_OK);
		if (bench->flow.state == FLOW_WRITING)
			waited = true;
		else if (sent < TOTAL && bench->flow.state == FLOW_READING)
			continue;

		length = recv(bench->reader, block, sizeof(block), 0);
		for (ssize_t i = 0; i < length; i++, received++)
			if (block[i] != (uint8_t)(received * 31 >> 4))
				fail_msg("byte %zu is wrong", received);
	}
	assert_true(waited);
	assert_int_equal(received, TOTAL);
	assert_int_equal(bench->flow.bytes, TOTAL);
	assert_true(bench->flow.source_ended);
}

static void gives_its_pipe_back(void **state)
{
	struct bench *bench = *state;
	static uint8_t block[FLOW_COPY_SIZE];

	for (int i = 0; i < 3; i++) {
		send(bench->writer, block, sizeof(block), 0);
		assert_int_equal(run(bench), FLOW_OK);
		recv(bench->reader, block, sizeof(block), 0);
	}
	assert_true(bench->flow.bulk);
	assert_false(bench->flow.held_in_pipe);
	assert_non_null(bench->tools.pipes.idle);
	assert_int_equal(bench->tools.pipes.unopened, 0);
	/* Little data is copied again. */
	send(bench->writer, "x", 1, 0);
	run(bench);
	assert_false(bench->flow.bulk);
}

static void drops_a_pipe_with_data_in_it(void **state)
{
	struct bench *bench = *state;
	static uint8_t block[FLOW_COPY_SIZE];

	while (!bench->flow.held_in_pipe) {
		send(bench->writer, block, sizeof(block), 0);
		assert_int_equal(run(bench), FLOW_OK);
	}
	assert_int_equal(bench->tools.pipes.unopened, 0);
	flow_drop(&bench->flow, &bench->tools);
	assert_int_equal(bench->flow.state, FLOW_FINISHED);
	assert_null(bench->tools.pipes.idle);
	assert_int_equal(bench->tools.pipes.unopened, 1);
}

static void says_which_side_failed(void **state)
{
	struct bench *bench = *state;

	close(bench->reader);
	send(bench->writer, "x", 1, 0);
	assert_int_equal(run(bench), FLOW_SINK_FAILED);
	bench->reader = -1;
	/* Unread data makes it a reset. */
	send(bench->source, "y", 1, 0);
	close(bench->writer);
	bench->writer = -1;
	assert_int_equal(run(bench), FLOW_SOURCE_FAILED);
}

/* Two connected TCP sockets in place of the sink and the reader. */
static void sink_into_tcp(struct bench *bench)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	socklen_t length = sizeof(address);
	int listener = socket(AF_INET, SOCK_STREAM, 0);

	close(bench->sink);
	close(bench->reader);
	bench->sink = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(bind(listener, (struct sockaddr *)&address, length),
			 0);
	assert_int_equal(listen(listener, 1), 0);
	getsockname(listener, (struct sockaddr *)&address, &length);
	assert_int_equal(
		connect(bench->sink, (struct sockaddr *)&address, length), 0);
	bench->reader = accept(listener, NULL, NULL);
	assert_true(bench->reader >= 0);
	close(listener);
}

static uint32_t segments_sent(int fd)
{
	struct tcp_info info;
	socklen_t length = sizeof(info);

	assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length),
			 0);
	return info.tcpi_segs_out;
}

static void sends_the_end_with_the_last_bytes(void **state)
{
	struct bench *bench = *state;
	char text[8] = { 0 };
	uint32_t before;

	sink_into_tcp(bench);
	before = segments_sent(bench->sink);
	send(bench->writer, "bye", 3, 0);
	shutdown(bench->writer, SHUT_WR);
	assert_int_equal(run(bench), FLOW_OK);
	assert_int_equal(bench->flow.state, FLOW_FINISHED);
	shutdown(bench->sink, SHUT_WR);
	assert_int_equal(segments_sent(bench->sink), before + 1);
	assert_int_equal(recv(bench->reader, text, sizeof(text), 0), 3);
	assert_string_equal(text, "bye");
	assert_int_equal(recv(bench->reader, text, sizeof(text), 0), 0);
}

static void lets_nothing_wait_for_a_reset(void **state)
{
	struct bench *bench = *state;
	char text[8] = { 0 };

	sink_into_tcp(bench);
	bench->flow.ends_in_reset = true;
	send(bench->writer, "bye", 3, 0);
	shutdown(bench->writer, SHUT_WR);
	assert_int_equal(run(bench), FLOW_OK);
	assert_int_equal(bench->flow.state, FLOW_FINISHED);
	assert_int_equal(recv(bench->reader, text, sizeof(text), MSG_DONTWAIT),
			 3);
}

static void delivers_before_it_says_that_the_source_failed(void **state)
{
	struct bench *bench = *state;
	char text[8] = { 0 };

	/* Unread data makes the end a reset, behind what was sent. */
	send(bench->source, "y", 1, 0);
	send(bench->writer, "bye", 3, 0);
	close(bench->writer);
	bench->writer = -1;
	assert_int_equal(run(bench), FLOW_SOURCE_FAILED);
	assert_int_equal(recv(bench->reader, text, sizeof(text), 0), 3);
	assert_string_equal(text, "bye");
}

static void does_not_wait_for_a_full_sink_when_the_source_failed(void **state)
{
	struct bench *bench = *state;

	while (send(bench->sink, "full", 4, MSG_DONTWAIT) == 4)
		continue;
	send(bench->source, "y", 1, 0);
	send(bench->writer, "bye", 3, 0);
	close(bench->writer);
	bench->writer = -1;
	assert_int_equal(run(bench), FLOW_SOURCE_FAILED);
	assert_int_equal(bench->flow.held_length, 3);
	assert_int_equal(bench->flow.bytes, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(moves_small_data_at_once, setup,
						teardown),
		cmocka_unit_test_setup_teardown(holds_bytes_in_order, setup,
						teardown),
		cmocka_unit_test_setup_teardown(moves_bulk_and_then_the_end,
						setup, teardown),
		cmocka_unit_test_setup_teardown(moves_bulk_and_then_the_end,
						setup_without_pipes, teardown),
		cmocka_unit_test_setup_teardown(gives_its_pipe_back, setup,
						teardown),
		cmocka_unit_test_setup_teardown(drops_a_pipe_with_data_in_it,
						setup, teardown),
		cmocka_unit_test_setup_teardown(says_which_side_failed, setup,
						teardown),
		cmocka_unit_test_setup_teardown(
			sends_the_end_with_the_last_bytes, setup, teardown),
		cmocka_unit_test_setup_teardown(lets_nothing_wait_for_a_reset,
						setup, teardown),
		cmocka_unit_test_setup_teardown(
			delivers_before_it_says_that_the_source_failed, setup,
			teardown),
		cmocka_unit_test_setup_teardown(
			does_not_wait_for_a_full_sink_when_the_source_failed,
			setup, teardown),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
