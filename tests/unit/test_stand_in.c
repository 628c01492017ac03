// SPDX-License-Identifier: MIT
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>

#include "base/clock.h"
#include "base/memory.h"
#include "redirect/bpf/stand_in.h"

#define HOUR (3600 * NS_PER_S)

static const struct stand_in_signs nothing;
static const struct stand_in_signs served = { .looked = true, .serves = true };
static const struct stand_in_signs vacant = { .looked = true };
static const struct stand_in_signs lost = { .reset_lost = true };

static enum stand_in_step look(struct stand_in *self, uint64_t now,
			       struct stand_in_signs signs)
{
	return stand_in_look(self, &signs, now);
}

static void begin(struct stand_in *self, uint64_t now,
		  struct stand_in_signs signs, enum stand_in_reason reason)
{
	assert_int_equal(look(self, now, signs), STAND_IN_BEGIN);
	assert_int_equal(self->wanted, reason);
	stand_in_begun(self, now);
	assert_int_equal(self->reason, reason);
}

/* Steering is over, after its last handshakes. */
static void end(struct stand_in *self, uint64_t now)
{
	assert_int_equal(look(self, now, served), STAND_IN_PAUSE);
	stand_in_paused(self, now);
	assert_int_equal(look(self, now + 2 * NS_PER_S, served), STAND_IN_STAY);
	assert_int_equal(look(self, now + 3 * NS_PER_S, served), STAND_IN_END);
	assert_int_equal(look(self, now + 4 * NS_PER_S, served), STAND_IN_STAY);
}

static void goes_when_somebody_listens(void **state)
{
	struct stand_in self = { STAND_IN_NONE };

	(void)state;
	/* At start it is certain. */
	begin(&self, HOUR, vacant, STAND_IN_NOBODY_LISTENS);
	assert_int_equal(look(&self, HOUR, vacant), STAND_IN_STAY);
	end(&self, 2 * HOUR);
	/* Started anew, it is away for a moment. */
	assert_int_equal(look(&self, 3 * HOUR, vacant), STAND_IN_STAY);
	assert_int_equal(look(&self, 3 * HOUR, nothing), STAND_IN_STAY);
	assert_int_equal(look(&self, 3 * HOUR, served), STAND_IN_STAY);
	assert_int_equal(look(&self, 3 * HOUR, vacant), STAND_IN_STAY);
	begin(&self, 3 * HOUR, vacant, STAND_IN_NOBODY_LISTENS);
	/* And again while the last handshakes end. */
	assert_int_equal(look(&self, 4 * HOUR, served), STAND_IN_PAUSE);
	stand_in_paused(&self, 4 * HOUR);
	assert_int_equal(look(&self, 4 * HOUR, vacant), STAND_IN_STAY);
	begin(&self, 4 * HOUR, vacant, STAND_IN_NOBODY_LISTENS);
	end(&self, 5 * HOUR);
}

static void waits_for_containers(void **state)
{
	const struct stand_in_signs contained = { .looked = true,
						  .serves = true,
						  .in_containers = true };
	struct stand_in self = { STAND_IN_NONE };

	(void)state;
	assert_int_equal(look(&self, HOUR, contained), STAND_IN_STAY);
	for (uint64_t s = 1; s < 10; s++)
		assert_int_equal(look(&self, HOUR + s * NS_PER_S, vacant),
				 STAND_IN_STAY);
	begin(&self, HOUR + 10 * NS_PER_S, vacant, STAND_IN_NOBODY_LISTENS);
}

/* The client comes again meanwhile; and it is not for good. */
static void tries_again_after_two_days(void **state)
{
	static const struct {
		struct stand_in_signs signs;
		enum stand_in_reason reason;
	} cases[] = { { lost, STAND_IN_RESET_LOST },
		      { { .err = -EPERM }, STAND_IN_FAILED },
		      { { .elsewhere = true }, STAND_IN_ELSEWHERE } };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct stand_in self = { STAND_IN_NONE };

		begin(&self, HOUR, cases[i].signs, cases[i].reason);
		assert_int_equal(look(&self, 48 * HOUR, served), STAND_IN_STAY);
		/* From nobody nothing can be taken. */
		assert_int_equal(look(&self, 49 * HOUR, vacant), STAND_IN_STAY);
		end(&self, 50 * HOUR);
		begin(&self, 51 * HOUR, cases[i].signs, cases[i].reason);
	}
}

static void follows_the_service(void **state)
{
	const struct stand_in_signs moved = { .looked = true,
					      .serves = true,
					      .moved = true };
	struct stand_in self = { STAND_IN_NONE };

	(void)state;
	begin(&self, HOUR, (struct stand_in_signs){ .elsewhere = true },
	      STAND_IN_ELSEWHERE);
	assert_int_equal(look(&self, HOUR, served), STAND_IN_STAY);
	assert_int_equal(look(&self, HOUR, moved), STAND_IN_PAUSE);
	stand_in_paused(&self, HOUR);
	/* But a firewall does not go away by that. */
	begin(&self, HOUR, lost, STAND_IN_RESET_LOST);
	assert_int_equal(look(&self, HOUR, moved), STAND_IN_STAY);
}

static void minds_no_failure_of_the_moment(void **state)
{
	static const int passing[] = { -EADDRNOTAVAIL, -EAGAIN, -ECHILD,
				       -EMFILE,	       -ENFILE, -ENOBUFS,
				       -ENOMEM };
	struct stand_in self = { STAND_IN_NONE };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(passing); i++)
		assert_int_equal(
			look(&self, HOUR,
			     (struct stand_in_signs){ .err = passing[i] }),
			STAND_IN_STAY);
}

static void does_not_ask_time_and_again_what_was_refused(void **state)
{
	struct stand_in self = { STAND_IN_NONE };

	(void)state;
	assert_int_equal(look(&self, HOUR, lost), STAND_IN_BEGIN);
	stand_in_refused(&self, HOUR);
	assert_int_equal(self.reason, STAND_IN_NONE);
	assert_int_equal(look(&self, HOUR, lost), STAND_IN_STAY);
	begin(&self, 2 * HOUR, lost, STAND_IN_RESET_LOST);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(goes_when_somebody_listens),
		cmocka_unit_test(waits_for_containers),
		cmocka_unit_test(tries_again_after_two_days),
		cmocka_unit_test(follows_the_service),
		cmocka_unit_test(minds_no_failure_of_the_moment),
		cmocka_unit_test(does_not_ask_time_and_again_what_was_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
