// SPDX-License-Identifier: MIT
#include "proxy/challenges.h"

#include <stdbool.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"

#define WORDS (sizeof(struct challenge) / sizeof(uint64_t))

_Static_assert(sizeof(struct challenge) % sizeof(uint64_t) == 0,
	       "a challenge is whole words");

void challenge_write(struct challenge_slot *slot, struct challenge *challenge)
{
	uint64_t words[WORDS];
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	challenge->taken_ns =
		(uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
	memcpy(words, challenge, sizeof(words));
	atomic_store(&slot->words[0], 0);
	for (size_t i = WORDS; i-- > 0;)
		atomic_store(&slot->words[i], words[i]);
}

/* False if there is none, or if it is written meanwhile. */
static bool read_slot(const struct challenge_slot *slot,
		      struct challenge *challenge)
{
	uint64_t words[WORDS] = { 0 };

	for (size_t i = 0; i < WORDS; i++)
		words[i] = atomic_load(&slot->words[i]);
	memcpy(challenge, words, sizeof(words));
	challenge->client[sizeof(challenge->client) - 1] = '\0';
	challenge->server_name[sizeof(challenge->server_name) - 1] = '\0';
	return words[0] && words[0] == atomic_load(&slot->words[0]);
}

static void insert(struct challenge *newest, const struct challenge *challenge)
{
	size_t place = CHALLENGES_KEPT;

	while (place > 0 && newest[place - 1].taken_ns < challenge->taken_ns) {
		if (place < CHALLENGES_KEPT)
			newest[place] = newest[place - 1];
		place--;
	}
	if (place < CHALLENGES_KEPT)
		newest[place] = *challenge;
}

void challenges_collect(
	const struct challenge_slot slots[static CHALLENGES_KEPT],
	struct challenge newest[static CHALLENGES_KEPT])
{
	struct challenge challenge;

	for (size_t i = 0; i < CHALLENGES_KEPT; i++)
		if (read_slot(&slots[i], &challenge))
			insert(newest, &challenge);
}
