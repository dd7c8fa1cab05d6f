/* SPDX-License-Identifier: BSD-2-Clause */
/* A store that does nothing, so that what is above it is measured. */
#ifndef ICESIM_BENCH_NULL_STORE_H
#define ICESIM_BENCH_NULL_STORE_H

#include "media/store.h"

extern const struct store_ops null_store_ops;

#endif
