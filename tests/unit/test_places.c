// SPDX-License-Identifier: MIT
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>

#include "redirect/bpf/places.h"

/* One that lasts would make steering stand in, long after it was over. */
static void tells_the_newest_error_of_all(void **state)
{
	struct place old = { .handoff = { .failed = 2,
					  .failed_ns = 10,
					  .failed_err = -EACCES } };
	struct place well = { .handoff = { .moved = 1 } };
	const struct places places = {
		.gone = { .failed = 1, .failed_ns = 5, .failed_err = -EIO },
		.items = { &old, &well },
		.count = 2,
	};
	struct handoff total = { .failed = 4,
				 .failed_ns = 20,
				 .failed_err = -ECHILD };

	(void)state;
	places_count(&places, &total);
	assert_int_equal(total.failed, 7);
	assert_int_equal(total.failed_err, -ECHILD);
	old.handoff.failed_ns = 30;
	places_count(&places, &total);
	assert_int_equal(total.failed_err, -EACCES);
}

static void tells_how_long_the_newest_move_took(void **state)
{
	struct place newest = { .handoff = { .moved_ns = 30, .last_ns = 3 } };
	struct place idle = { .handoff = { .moved_ns = 0 } };
	struct place older = { .handoff = { .moved_ns = 20, .last_ns = 2 } };
	const struct places places = {
		.gone = { .moved_ns = 10, .last_ns = 1 },
		.items = { &newest, &idle, &older },
		.count = 3,
	};
	struct handoff total = { .moved_ns = 25, .last_ns = 9 };

	(void)state;
	places_count(&places, &total);
	assert_int_equal(total.last_ns, 3);
	total = (struct handoff){ .moved_ns = 40, .last_ns = 9 };
	places_count(&places, &total);
	assert_int_equal(total.last_ns, 9);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tells_the_newest_error_of_all),
		cmocka_unit_test(tells_how_long_the_newest_move_took),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
