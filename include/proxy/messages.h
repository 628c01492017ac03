/* SPDX-License-Identifier: MIT */
/* What supervisor and worker tell each other (base/control.h). */
#ifndef PROXY_MESSAGES_H
#define PROXY_MESSAGES_H

enum proxy_message {
	/* supervisor -> worker: the redirect is gone; accept for grace_ms
	 * more, then close the listeners and end with the last connection. */
	PROXY_DRAIN = 'D',
	/* supervisor -> worker: the same without those grace_ms. */
	PROXY_DRAIN_NOW = 'N',
	/* supervisor -> worker: close what is left and exit. */
	PROXY_TERMINATE = 'T',
	/* supervisor -> worker: log to the descriptor that comes with it. */
	PROXY_LOG_FILE = 'L',
	/* supervisor -> worker: serve the connected TCP socket that comes with
	 * it, in whose queue the client's first bytes may be. It is closed
	 * where there is no room for it. */
	PROXY_TAKE = 'K',
	/* worker -> supervisor: the loop runs, attach the redirect. */
	PROXY_READY = 'R',
	/* worker -> supervisor: no listener is open any more. */
	PROXY_LISTENERS_CLOSED = 'C',
};

#endif
