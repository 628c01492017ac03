/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * The grammar of a ClientHello (RFC 8446 4.1.2) and of the two extensions that
 * matter: does it offer acme-tls/1 (RFC 8737 6.2), and for which name?
 *
 * Pure, and the same for the worker and for the handoff program in the kernel,
 * so that both judge alike. It goes over the bytes once, one extension,
 * protocol or name a step, and each step either takes its item as a whole or
 * leaves the scan as it was: more bytes, and it goes on where it was.
 *
 * In the kernel vmlinux.h must come first, for the __uN types. There, the
 * verifier accepts an offset for what it is masked with, and nothing
 * that was compared before; so it must not be known to be in range either.
 */
#ifndef HELLO_HELLO_SCAN_H
#define HELLO_HELLO_SCAN_H

#ifndef __bpf__
#include <linux/types.h>
#endif

#define HELLO_INLINE static inline __attribute__((always_inline))

/* The bytes lie in memory of this size, or less if less are there. */
#ifndef HELLO_SCAN_CAPACITY
#define HELLO_SCAN_CAPACITY 16384
#endif
/* Extensions in one hello; browsers send under 20. */
#define HELLO_MAX_EXTENSIONS 128

#define HELLO_HANDSHAKE_HEADER_SIZE 4
#define HELLO_CLIENT_HELLO	    1
#define HELLO_RANDOM_SIZE	    32
#define HELLO_SESSION_ID_MAX	    32
#define HELLO_EXTENSION_SERVER_NAME 0  /* RFC 6066 3 */
#define HELLO_EXTENSION_ALPN	    16 /* RFC 7301 3.1 */
#define HELLO_EXTENSION_HEADER_SIZE 4
#define HELLO_NAME_HOST		    0
#define HELLO_NAME_HEADER_SIZE	    3
#define HELLO_ACME_PROTOCOL	    "acme-tls/1"
#define HELLO_ACME_PROTOCOL_SIZE    10

enum hello_verdict {
	/* So far it may become either. */
	HELLO_NEED_MORE,
	/* A whole, well-formed ClientHello that offers acme-tls/1, or, from
	 * hello_scan_step(), all but the question whether an extension is there
	 * twice (hello_scan_recurs()). */
	HELLO_ACME,
	HELLO_OTHER,
};

/* What a step finds at hello_scan.at. */
enum hello_list {
	HELLO_EXTENSIONS,
	HELLO_PROTOCOLS,
	HELLO_NAMES,
};

/* All offsets count from the first of the bytes. */
struct hello_scan {
	/* Bytes that are there; grows from look to look. */
	__u32 have;
	/* What is looked at next: up to end, be it there yet or not. */
	__u32 at;
	/* Where the message ends; the extensions begin; the list in the current
	 * extension ends. */
	__u32 end;
	__u32 extensions;
	__u32 list_end;
	/* The host name that is asked for; length 0 while there is none. */
	__u32 name;
	__u32 name_length;
	__u16 extension_count;
	__u8 list;
	__u8 acme_offered;
};

HELLO_INLINE __u32 hello_byte(const __u8 *bytes, __u32 offset)
{
	asm volatile("" : "+r"(offset));
	return bytes[offset & (HELLO_SCAN_CAPACITY - 1)];
}

HELLO_INLINE __u32 hello_u16(const __u8 *bytes, __u32 offset)
{
	return hello_byte(bytes, offset) << 8 | hello_byte(bytes, offset + 1);
}

/* May @size bytes be read at @at, before @end? */
HELLO_INLINE enum hello_verdict hello_may_read(const struct hello_scan *scan,
					       __u32 at, __u32 size, __u32 end)
{
	if (at + size > end)
		return HELLO_OTHER;
	return at + size > scan->have ? HELLO_NEED_MORE : HELLO_ACME;
}

/*
 * Begin with a message at offset @at, of which @have - @at bytes are there.
 * HELLO_ACME: all in front of the extensions is well-formed; go on with
 * hello_scan_step(). HELLO_NEED_MORE: begin again when more is there.
 */
HELLO_INLINE enum hello_verdict hello_scan_begin(struct hello_scan *scan,
						 const __u8 *bytes, __u32 at,
						 __u32 have)
{
	const __u32 session =
		at + HELLO_HANDSHAKE_HEADER_SIZE + 2 + HELLO_RANDOM_SIZE;
	enum hello_verdict verdict;
	__u32 length;

	scan->have = have;
	scan->extension_count = 0;
	scan->name = 0;
	scan->name_length = 0;
	scan->acme_offered = 0;
	scan->list = HELLO_EXTENSIONS;
	if (session + 1 > have)
		return HELLO_NEED_MORE;
	length = hello_byte(bytes, at + 1) << 16 | hello_u16(bytes, at + 2);
	if (hello_byte(bytes, at) != HELLO_CLIENT_HELLO ||
	    length > HELLO_SCAN_CAPACITY - HELLO_HANDSHAKE_HEADER_SIZE)
		return HELLO_OTHER;
	scan->end = at + HELLO_HANDSHAKE_HEADER_SIZE + length;
	/* The version is frozen at 3.3 and lower in old clients; which one will
	 * do is the responder's to judge. */
	if (hello_byte(bytes, at + HELLO_HANDSHAKE_HEADER_SIZE) != 3 ||
	    hello_byte(bytes, session) > HELLO_SESSION_ID_MAX)
		return HELLO_OTHER;
	at = session + 1 + hello_byte(bytes, session);

	verdict = hello_may_read(scan, at, 2, scan->end);
	if (verdict != HELLO_ACME)
		return verdict;
	length = hello_u16(bytes, at);
	if (length < 2 || length % 2)
		return HELLO_OTHER;
	at += 2 + length;

	verdict = hello_may_read(scan, at, 1, scan->end);
	if (verdict != HELLO_ACME)
		return verdict;
	if (hello_byte(bytes, at) == 0)
		return HELLO_OTHER;
	at += 1 + hello_byte(bytes, at);

	verdict = hello_may_read(scan, at, 2, scan->end);
	if (verdict != HELLO_ACME)
		return verdict;
	scan->at = at + 2;
	scan->extensions = at + 2;
	return hello_u16(bytes, at) == scan->end - scan->at ? HELLO_ACME
							    : HELLO_OTHER;
}

/* One more extension: stepped over, or the list in it begun. */
HELLO_INLINE enum hello_verdict hello_step_extension(struct hello_scan *scan,
						     const __u8 *bytes)
{
	__u32 at = scan->at;
	enum hello_verdict verdict;
	__u32 type, end;

	if (at == scan->end)
		return scan->acme_offered ? HELLO_ACME : HELLO_OTHER;
	verdict = hello_may_read(scan, at, HELLO_EXTENSION_HEADER_SIZE,
				 scan->end);
	if (verdict != HELLO_ACME)
		return verdict;
	type = hello_u16(bytes, at);
	at += HELLO_EXTENSION_HEADER_SIZE;
	end = at + hello_u16(bytes, at - 2);
	if (end > scan->end || scan->extension_count == HELLO_MAX_EXTENSIONS)
		return HELLO_OTHER;
	if (type == HELLO_EXTENSION_ALPN ||
	    type == HELLO_EXTENSION_SERVER_NAME) {
		verdict = hello_may_read(scan, at, 2, end);
		if (verdict != HELLO_ACME)
			return verdict;
		at += 2;
		if (at == end || hello_u16(bytes, at - 2) != end - at)
			return HELLO_OTHER;
		scan->list_end = end;
		scan->list = type == HELLO_EXTENSION_ALPN ? HELLO_PROTOCOLS
							  : HELLO_NAMES;
		end = at;
	}
	scan->at = end;
	scan->extension_count++;
	return HELLO_NEED_MORE;
}

HELLO_INLINE _Bool hello_is_acme_protocol(const __u8 *bytes, __u32 at)
{
	static const char protocol[] = HELLO_ACME_PROTOCOL;
	__u32 differs = 0;

	for (int i = 0; i < HELLO_ACME_PROTOCOL_SIZE; i++)
		differs |= hello_byte(bytes, at + (__u32)i) ^ (__u8)protocol[i];
	return !differs;
}

HELLO_INLINE enum hello_verdict hello_step_protocol(struct hello_scan *scan,
						    const __u8 *bytes)
{
	const __u32 at = scan->at + 1;
	enum hello_verdict verdict;
	__u32 length;

	if (scan->at == scan->list_end) {
		scan->list = HELLO_EXTENSIONS;
		return scan->acme_offered ? HELLO_NEED_MORE : HELLO_OTHER;
	}
	verdict = hello_may_read(scan, scan->at, 1, scan->list_end);
	if (verdict != HELLO_ACME)
		return verdict;
	length = hello_byte(bytes, scan->at);
	if (length == 0 || at + length > scan->list_end)
		return HELLO_OTHER;
	if (length == HELLO_ACME_PROTOCOL_SIZE) {
		if (at + length > scan->have)
			return HELLO_NEED_MORE;
		scan->acme_offered |= hello_is_acme_protocol(bytes, at);
	}
	scan->at = at + length;
	return HELLO_NEED_MORE;
}

/* RFC 6066 3: no two names of the same type; a type that is not known yet
 * begins with a length of two bytes as well. */
HELLO_INLINE enum hello_verdict hello_step_name(struct hello_scan *scan,
						const __u8 *bytes)
{
	const __u32 at = scan->at + HELLO_NAME_HEADER_SIZE;
	enum hello_verdict verdict;
	__u32 length;

	if (scan->at == scan->list_end) {
		scan->list = HELLO_EXTENSIONS;
		return HELLO_NEED_MORE;
	}
	verdict = hello_may_read(scan, scan->at, HELLO_NAME_HEADER_SIZE,
				 scan->list_end);
	if (verdict != HELLO_ACME)
		return verdict;
	length = hello_u16(bytes, at - 2);
	if (at + length > scan->list_end)
		return HELLO_OTHER;
	if (hello_byte(bytes, scan->at) == HELLO_NAME_HOST) {
		if (length == 0 || scan->name_length > 0)
			return HELLO_OTHER;
		scan->name = at;
		scan->name_length = length;
	}
	scan->at = at + length;
	return HELLO_NEED_MORE;
}

/*
 * Take the next item. HELLO_NEED_MORE: step on; if scan->at has not moved and
 * scan->list has not changed, not before more bytes are there. Ends with one of
 * the other verdicts.
 */
HELLO_INLINE enum hello_verdict hello_scan_step(struct hello_scan *scan,
						const __u8 *bytes)
{
	if (scan->list == HELLO_EXTENSIONS)
		return hello_step_extension(scan, bytes);
	if (scan->list == HELLO_PROTOCOLS)
		return hello_step_protocol(scan, bytes);
	return hello_step_name(scan, bytes);
}

/*
 * After HELLO_ACME: is the type of the extension at offset @*at there once more
 * behind it (RFC 8446 4.2 forbids it)? Steps *@at to the next extension, up to
 * scan->end.
 */
HELLO_INLINE _Bool hello_scan_recurs(const struct hello_scan *scan,
				     const __u8 *bytes, __u32 *at)
{
	const __u32 type = hello_u16(bytes, *at);
	__u32 next = *at;

	for (int i = 0; i < HELLO_MAX_EXTENSIONS; i++) {
		next += HELLO_EXTENSION_HEADER_SIZE +
			hello_u16(bytes, next + 2);
		if (i == 0)
			*at = next;
		if (next >= scan->end)
			return 0;
		if (hello_u16(bytes, next) == type)
			return 1;
	}
	return 0;
}

#endif
