/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a driver must keep to, each rule by its stable name: the one list that the checks, the
 * statistics, icesim-dialects(7) and the tests are made from. A name never changes its meaning.
 *
 * RULE(ID, name, what the driver does). `REFUSED` ones are answered with an error by every
 * function; `TOLERATED` ones only by a strict function, where both are reported. (A read of the
 * configuration space is reported alone, as nothing can refuse it.)
 */
#ifndef ICESIM_DIALECT_RULE_H
#define ICESIM_DIALECT_RULE_H

#define RULES(REFUSED, TOLERATED)                                                                  \
    /* setting up: virtio 1.3, 2.1, 2.2, 3.1.1, 5.2.5 */                                           \
    REFUSED(STATUS_ORDER, "status-order",                                                          \
            "status bits or features set out of order, status bits cleared or unknown")            \
    REFUSED(FEATURE_FOREIGN, "feature-foreign", "a feature accepted that is not offered")          \
    REFUSED(FEATURE_DEPENDS, "feature-depends", "a feature accepted without one that it needs")    \
    REFUSED(REQUEST_EARLY, "request-early", "a request before DRIVER_OK")                          \
    TOLERATED(CONFIG_EARLY, "config-early", "writeback read before FEATURES_OK")                   \
    TOLERATED(CONFIG_READ_ONLY, "config-read-only", "a configuration byte written but writeback")  \
    REFUSED(CONFIG_WRITEBACK, "config-writeback", "writeback written as neither 0 nor 1")          \
    /* any request: 5.2.6 */                                                                       \
    REFUSED(QUEUE_UNKNOWN, "queue-unknown", "a request on a queue that there is not")              \
    REFUSED(STATUS_ROOM, "status-room", "a request without room for the status byte")              \
    REFUSED(HEADER_SHORT, "header-short", "fewer readable bytes than the header has")              \
    REFUSED(TYPE_UNKNOWN, "type-unknown", "a request type that the dialect does not define")       \
    REFUSED(TYPE_UNNEGOTIATED, "type-unnegotiated",                                                \
            "a request type whose feature is not negotiated")                                      \
    TOLERATED(SECTOR_UNUSED, "sector-unused", "sector not 0 in a request that has none")           \
    REFUSED(DATA_DIRECTION, "data-direction",                                                      \
            "readable data where the type takes none, or ranges device-writable")                  \
    TOLERATED(ERASE_DIRECTION, "erase-direction", "the ranges of SECURE_ERASE device-writable")    \
    REFUSED(IO_LENGTH, "io-length", "a length of IN or OUT that is no multiple of 512 above 0")    \
    REFUSED(IO_RANGE, "io-range", "sectors past the capacity")                                     \
    REFUSED(IO_BLOCK, "io-block", "sectors that are no whole logical blocks")                      \
    REFUSED(IO_READ_ONLY, "io-read-only", "a request that writes to a read-only device")           \
    TOLERATED(FLUSH_DATA, "flush-data", "FLUSH with a data area")                                  \
    TOLERATED(DATA_UNUSED, "data-unused",                                                          \
              "a device-writable data area in OUT, or in a key operation that has no answer")      \
    REFUSED(RANGES_LENGTH, "ranges-length", "ranges whose length is no multiple of 16 above 0")    \
    REFUSED(RANGES_COUNT, "ranges-count", "more ranges, or longer ones, than the limits allow")    \
    REFUSED(RANGES_FLAGS, "ranges-flags", "range flags that are unknown, or unmap in DISCARD")     \
    TOLERATED(ID_LENGTH, "id-length", "GET_ID with a data area of more than 20 bytes")             \
    REFUSED(ANSWER_ROOM, "answer-room", "a data area shorter than the answer")                     \
    /* inline crypto */                                                                            \
    REFUSED(ACTIVATE_VALUE, "activate-value", "activate is neither 0 nor 1")                       \
    TOLERATED(ACTIVATE_TYPE, "activate-type", "activate on a type other than IN, OUT, FLUSH")      \
    TOLERATED(PAYLOAD_UNUSED, "payload-unused", "slot or DUN not 0 while activate is 0")           \
    TOLERATED(RESERVED, "reserved", "a reserved field of the payload or of a key body not 0")      \
    REFUSED(SLOT_WINDOW, "slot-window", "a slot outside the function's window")                    \
    REFUSED(SLOT_EMPTY, "slot-empty", "tagged I/O through an empty slot")                          \
    REFUSED(UNIT_LENGTH, "unit-length", "a length that is no multiple of the data unit")           \
    REFUSED(DUN_OVERFLOW, "dun-overflow", "a DUN past the width of the engine or the cipher's IV") \
    REFUSED(GENERATION, "generation", "tagged I/O before a new engine generation is acknowledged") \
    /* keys */                                                                                     \
    REFUSED(KEY_BUSY, "key-busy", "program or evict of a slot with requests in flight")            \
    REFUSED(KEY_CAPABILITY, "key-capability", "a key for a triple that is not advertised")         \
    REFUSED(KEY_INVALID, "key-invalid", "a key of a wrong type or length, or a weak one")          \
    REFUSED(KEY_BLOB, "key-blob",                                                                  \
            "a wrapped key that this engine did not make, or of an earlier boot")

#define RULE_ID(id, name, text) RULE_##id,
enum rule { RULE_NONE, RULES(RULE_ID, RULE_ID) RULE_COUNT };
#undef RULE_ID

/* "slot-window"; and what it says. Not of RULE_NONE. */
const char *rule_name(enum rule rule);
const char *rule_text(enum rule rule);
/* True when only a strict function refuses what breaks it. */
int rule_is_tolerated(enum rule rule);

#endif
