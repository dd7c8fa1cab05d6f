/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A store around a store, for tests of what happens at the same time: calls stop at a gate, are
 * counted, go on in another order, or fail. Waiting has a limit: a test that would hang fails
 * instead.
 */
#ifndef ICESIM_TESTS_GATE_STORE_H
#define ICESIM_TESTS_GATE_STORE_H

#include "media/store.h"

enum gate_kind { GATE_READ, GATE_WRITE, GATE_FLUSH, GATE_ZERO /* and discard */, GATE_KINDS };

struct gate_store;

/* Owns `inner`: closed with the result. Ends the program when memory is short. */
struct gate_store *gate_store_new(struct store *inner);
struct store *gate_store(struct gate_store *gate);

/* Calls of `kind` that come from now on wait before the inner store is touched, until gate_open. */
void gate_close(struct gate_store *gate, enum gate_kind kind);
void gate_open(struct gate_store *gate, enum gate_kind kind);

/* Waits until `n` calls of `kind` stand at the gate or run at once; false after the limit. */
bool gate_wait(struct gate_store *gate, enum gate_kind kind, unsigned n);

/* Lets one call of `kind` through, and closes the gate to the others: the one that came when
 * gate_count was `number`. */
void gate_pass(struct gate_store *gate, enum gate_kind kind, unsigned number);

/* Of the next calls of `kind`, the one after `skipped` others fails with `err`. */
void gate_fail(struct gate_store *gate, enum gate_kind kind, unsigned skipped, int err);

/* Calls of `kind` so far; the most that were in at once. */
unsigned gate_count(struct gate_store *gate, enum gate_kind kind);
unsigned gate_most(struct gate_store *gate, enum gate_kind kind);

#endif
