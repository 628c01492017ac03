// SPDX-License-Identifier: MIT
#include "base/memory.h"

#include <stdlib.h>

void free_at(void *pointer)
{
	free(*(void **)pointer);
}
