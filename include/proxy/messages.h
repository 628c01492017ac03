/* SPDX-License-Identifier: MIT */
/* What supervisor and worker tell each other (base/control.h). */
#ifndef PROXY_MESSAGES_H
#define PROXY_MESSAGES_H

enum proxy_message {
	/* supervisor -> worker: the redirect is gone; accept those whose
	 * handshakes began before, until PROXY_CLOSE. */
	PROXY_DRAIN = 'D',
	/* supervisor -> worker: close the listeners once nobody waits in
	 * them, and end with the last connection. */
	PROXY_CLOSE = 'E',
	/* supervisor -> worker: close what is left and exit. */
	PROXY_TERMINATE = 'T',
	/* supervisor -> worker: log to the descriptor that comes with it. */
	PROXY_LOG_FILE = 'L',
	/* supervisor -> worker: serve the connected TCP socket that comes with
	 * it, in whose queue the client's first bytes may be. It is closed
	 * where there is no room for it, see PROXY_RESERVE. */
	PROXY_TAKE = 'K',
	/* supervisor -> worker: connect to the fallback as for a visitor. One
	 * of the three answers follows within PROXY_PROOF_MS. */
	PROXY_PROVE = 'P',
	/* worker -> supervisor: it accepted and kept the connection. */
	PROXY_PROVED = 'V',
	/* worker -> supervisor: the same, but not from a source address of the
	 * visitor's own, so that all visitors come from one. */
	PROXY_PROVED_PLAIN = 'O',
	/* worker -> supervisor: it did not; why is in the page (counters.h). */
	PROXY_NOT_PROVED = 'N',
	/* worker -> supervisor: a visitor was turned away by the fallback, or
	 * waits for it. Not said again before the next PROXY_PROVE. */
	PROXY_DOUBT = '?',
	/* worker -> supervisor: the loop runs, attach the redirect. */
	PROXY_READY = 'R',
	/* worker -> supervisor: no listener is open any more. */
	PROXY_LISTENERS_CLOSED = 'C',
};

/* A proof takes no longer than this. */
#define PROXY_PROOF_MS 600

#endif
