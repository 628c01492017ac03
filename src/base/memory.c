// SPDX-License-Identifier: MIT
#include "base/memory.h"

#include <stdlib.h>
#include <string.h>

void free_at(void *pointer)
{
	void *memory;

	/* The pointer there is of another type. */
	memcpy(&memory, pointer, sizeof(memory));
	free(memory);
}
