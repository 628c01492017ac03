/* SPDX-License-Identifier: MIT */
#ifndef MUSL_NSS_H
#define MUSL_NSS_H

/* musl has no name service but files and DNS. */
#define __nss_configure_lookup(database, services) ((void)0)

#endif
