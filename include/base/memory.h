/* SPDX-License-Identifier: MIT */
/* Memory that frees itself, and the length of arrays. */
#ifndef BASE_MEMORY_H
#define BASE_MEMORY_H

#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))

/* Freed at the end of the scope: `cleanup_free char *text = malloc(...)`. */
#define cleanup_free __attribute__((cleanup(free_at)))

/* free() what the pointer at @pointer points to. */
void free_at(void *pointer);

#endif
