/* SPDX-License-Identifier: MIT */
/*
 * Messages between supervisor and worker: one byte each on a SEQPACKET socket,
 * perhaps with a descriptor (SCM_RIGHTS of unix(7)).
 */
#ifndef BASE_CONTROL_H
#define BASE_CONTROL_H

/* Send @message, and @fd unless it is negative; never waits. 0 or negative
 * errno. */
int control_send(int socket, unsigned char message, int fd);

/*
 * The next message, or 0 if none is there, or -EPIPE if the other end is gone.
 * A descriptor that came with it is close-on-exec in *@fd, else *@fd is -1.
 */
int control_receive(int socket, int *fd);

#endif
