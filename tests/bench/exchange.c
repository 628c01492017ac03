// SPDX-License-Identifier: MIT
#include "exchange.h"

#include <arpa/inet.h>
#include <err.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <unistd.h>

/* Record and handshake header, version, random, and the length byte. */
#define SESSION_ID_OFFSET (5 + 4 + 2 + 32 + 1)
#define SESSION_ID_SIZE	  32
#define MAGIC		  "acmebnch"
#define MAGIC_SIZE	  8
#define LENGTH_OFFSET	  16
#define PAYLOAD_SIZE	  (256 * 1024)

/* Extension types (IANA). */
enum {
	SERVER_NAME = 0,
	SUPPORTED_GROUPS = 10,
	SIGNATURE_ALGORITHMS = 13,
	ALPN = 16,
	PADDING = 21,
	SUPPORTED_VERSIONS = 43,
	KEY_SHARE = 51,
};

struct writer {
	uint8_t *bytes;
	size_t length;
};

static void put(struct writer *writer, const void *bytes, size_t length)
{
	memcpy(writer->bytes + writer->length, bytes, length);
	writer->length += length;
}

static void put_number(struct writer *writer, size_t number, int width)
{
	for (int shift = (width - 1) * 8; shift >= 0; shift -= 8)
		writer->bytes[writer->length++] = (uint8_t)(number >> shift);
}

static void put_bytes_extension(struct writer *writer, int type,
				const void *bytes, size_t length)
{
	put_number(writer, (size_t)type, 2);
	put_number(writer, length, 2);
	put(writer, bytes, length);
}

static void put_server_name(struct writer *writer, const char *name)
{
	size_t length = strlen(name);

	put_number(writer, SERVER_NAME, 2);
	put_number(writer, length + 5, 2);
	put_number(writer, length + 3, 2);
	put_number(writer, 0, 1);
	put_number(writer, length, 2);
	put(writer, name, length);
}

static void put_alpn(struct writer *writer, const char *protocol)
{
	size_t length = strlen(protocol);

	put_number(writer, ALPN, 2);
	put_number(writer, length + 3, 2);
	put_number(writer, length + 1, 2);
	put_number(writer, length, 1);
	put(writer, protocol, length);
}

static void put_extensions(struct writer *writer, const char *alpn,
			   const char *server_name)
{
	static const uint8_t groups[] = { 0, 2, 0, 29 };
	static const uint8_t algorithms[] = { 0, 4, 4, 3, 8, 4 };
	static const uint8_t versions[] = { 2, 3, 4 };
	/* The key is only there to be carried. */
	static const uint8_t key_share[38] = { 0, 36, 0, 29, 0, 32, 1 };
	static const uint8_t padding[HELLO_SIZE];

	put_server_name(writer, server_name);
	put_bytes_extension(writer, SUPPORTED_GROUPS, groups, sizeof(groups));
	put_bytes_extension(writer, SIGNATURE_ALGORITHMS, algorithms,
			    sizeof(algorithms));
	put_alpn(writer, alpn);
	put_bytes_extension(writer, SUPPORTED_VERSIONS, versions,
			    sizeof(versions));
	put_bytes_extension(writer, KEY_SHARE, key_share, sizeof(key_share));
	put_bytes_extension(writer, PADDING, padding,
			    HELLO_SIZE - writer->length - 4);
}

static void put_order(struct writer *writer, enum order order, uint64_t length)
{
	static const uint8_t rest[SESSION_ID_SIZE - LENGTH_OFFSET - 8];

	put_number(writer, SESSION_ID_SIZE, 1);
	put(writer, MAGIC, MAGIC_SIZE);
	put_number(writer, (size_t)order, LENGTH_OFFSET - MAGIC_SIZE);
	put_number(writer, length, 8);
	put(writer, rest, sizeof(rest));
}

void hello_write(uint8_t hello[static HELLO_SIZE], enum order order,
		 uint64_t length, const char *alpn, const char *server_name)
{
	static const uint8_t random[32] = "thirty-two bytes of little chanc";
	static const uint8_t suites[] = { 0,	6,    0x13, 0x01, 0x13,
					  0x02, 0x13, 0x03, 1,	  0 };
	struct writer writer = { .bytes = hello };

	put_number(&writer, 0x160301, 3);
	put_number(&writer, HELLO_SIZE - 5, 2);
	put_number(&writer, 1, 1);
	put_number(&writer, HELLO_SIZE - 9, 3);
	put_number(&writer, 0x0303, 2);
	put(&writer, random, sizeof(random));
	put_order(&writer, order, length);
	put(&writer, suites, sizeof(suites));
	put_number(&writer, HELLO_SIZE - writer.length - 2, 2);
	put_extensions(&writer, alpn, server_name);
}

bool hello_read(const uint8_t hello[static HELLO_SIZE], enum order *order,
		uint64_t *length)
{
	const uint8_t *id = hello + SESSION_ID_OFFSET;

	if (memcmp(id, MAGIC, MAGIC_SIZE) != 0)
		return false;
	*order = (enum order)id[LENGTH_OFFSET - 1];
	*length = 0;
	for (int i = 0; i < 8; i++)
		*length = *length << 8 | id[LENGTH_OFFSET + i];
	return true;
}

struct sockaddr_in target_read(const char *text)
{
	const char *colon = strchr(text, ':');
	struct sockaddr_in target = {
		.sin_family = AF_INET,
		.sin_port = htons((uint16_t)atoi(colon ? colon + 1 : text)),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	char address[INET_ADDRSTRLEN] = "";

	if (colon && (size_t)(colon - text) < sizeof(address)) {
		memcpy(address, text, (size_t)(colon - text));
		inet_pton(AF_INET, address, &target.sin_addr);
	}
	return target;
}

struct sockaddr_in target_visitor(const struct sockaddr_in *target,
				  uint32_t number)
{
	const uint32_t network = ntohl(target->sin_addr.s_addr) & 0xff000000;
	const uint32_t street = number % VISITOR_NETWORKS * 256;

	return (struct sockaddr_in){
		.sin_family = AF_INET,
		.sin_addr.s_addr = htonl(network + 0x10000 + street +
					 number / VISITOR_NETWORKS % 256),
	};
}

int payload_open(void)
{
	static uint8_t bytes[PAYLOAD_SIZE];
	int payload = memfd_create("payload", MFD_CLOEXEC);

	/* sendfile(2) has no MSG_NOSIGNAL. */
	signal(SIGPIPE, SIG_IGN);
	memset(bytes, 'x', sizeof(bytes));
	if (payload < 0 ||
	    write(payload, bytes, sizeof(bytes)) != sizeof(bytes))
		err(1, "payload");
	return payload;
}

ssize_t payload_send(int fd, int payload, uint64_t length)
{
	off_t offset = 0;

	return sendfile(fd, payload, &offset,
			length < PAYLOAD_SIZE ? length : PAYLOAD_SIZE);
}
