// SPDX-License-Identifier: MIT
#include "listen/port_holder.h"

#include <netinet/tcp.h>
#include <stdio.h>

#include "listen/listening.h"

void port_holder_describe(uint16_t port, char text[static PORT_HOLDER_SIZE])
{
	struct listening holder;
	const unsigned int state = listening_find_holder(port, &holder);
	char name[32] = "";
	/* One that has ended is nobody's (TIME_WAIT). */
	const int pid = state && holder.inode
				? listening_process(&holder, name, sizeof(name))
				: 0;

	if (!state)
		snprintf(text, PORT_HOLDER_SIZE, "nobody is seen there");
	else if (!pid)
		snprintf(text, PORT_HOLDER_SIZE, "%s of no process is there",
			 state == TCP_LISTEN ? "a listener" : "a connection");
	else if (state == TCP_LISTEN)
		snprintf(text, PORT_HOLDER_SIZE,
			 "%s (process %d) listens there", name, pid);
	else
		snprintf(text, PORT_HOLDER_SIZE,
			 "a connection of %s (process %d) is there", name, pid);
}
