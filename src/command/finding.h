/* SPDX-License-Identifier: MIT */
/* What `check` finds, told as it is found: as text, or as one JSON object. */
#ifndef COMMAND_FINDING_H
#define COMMAND_FINDING_H

#include <stdbool.h>
#include <stddef.h>

enum verdict {
	VERDICT_WELL,
	/* Nothing that can be known from here. */
	VERDICT_UNKNOWN,
	/* A validation will fail, or it could not be looked at. */
	VERDICT_WRONG,
};

struct finding {
	enum verdict verdict;
	/* What it is about, as the manual lists them. */
	const char *topic;
	/* Of which name and address; NULL: of this host. */
	const char *name;
	const char *address;
	/* In one word, for scripts; or NULL. */
	const char *value;
};

struct findings {
	bool json;
	size_t count;
	bool wrong;
	/* Of the last finding. */
	const char *name;
};

void findings_begin(struct findings *findings, bool json);

/* Tell one, in words as well. */
__attribute__((format(printf, 3, 4))) void
findings_tell(struct findings *findings, const struct finding *finding,
	      const char *format, ...);

/* @unknown is what cannot be known, whatever was found. */
void findings_end(const struct findings *findings, const char *unknown);

#endif
