/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The numbers and limits of icesim's socket protocol; icesim-protocol(7) has the grammar. A frame
 * is a CBOR array [message, tag, …]; a connection is a CBOR sequence (RFC 8742) both ways.
 */
#ifndef ICESIM_FRAME_PROTOCOL_H
#define ICESIM_FRAME_PROTOCOL_H

#define PROTOCOL_VERSION 1

#define FRAME_DATA_MAX   (4u << 20)               /* data of a request, either way */
#define FRAME_MAX        (FRAME_DATA_MAX + 4096u) /* a whole frame */
#define FRAME_INLINE_MAX 1024u                    /* a frame but for the bulk of a REQUEST */
#define FRAME_SECRET     512u                     /* first bytes of the bulk: perhaps a key */
#define FRAME_HEAD_MAX   64u                      /* array head to bulk head */
#define FRAME_NESTING    8u                       /* of maps and arrays in an argument or result */
#define FRAME_KEY_MAX    63u                      /* bytes of a map key */

#define CONNECTIONS_MAX 1024u       /* of one socket */
#define IN_FLIGHT_MAX   64u         /* requests per connection */
#define BUFFERS_MAX     (32u << 20) /* bytes of request buffers, all connections of one socket */
/*
 * Above BUFFERS_MAX connections wait for memory in the order they came, unread. While somebody
 * waits, a client that holds memory (a frame that it does not finish, replies that it does not
 * take) is cut off when for 5 s it ends none of them and moves less than 512 KiB.
 */

/*
 * What a client may send, and what the server sends back under the same number and tag on success;
 * else [MESSAGE_ERROR, tag, errno, text]. An ERROR with tag 0 that answers nothing says why the
 * server ends the connection: clients count tags from 1.
 */
enum message {
    MESSAGE_ERROR = 0,
    /* both sockets */
    /*
     * [1, tag, version] -> [1, tag, version, {…}]. The map: "frame", "in_flight", "connections",
     * "buffers" (uint, the limits above as this server has them), "generation" (text "0x…", the
     * engine's); on a device socket also "function" and "dialect" (text). Clients step over keys
     * that they do not know.
     */
    MESSAGE_HELLO = 1,
    /* device socket: arrays */
    MESSAGE_GET_FEATURES = 2, /* [2, tag] -> [2, tag, offered, negotiated] */
    MESSAGE_SET_FEATURES = 3, /* [3, tag, bits] -> [3, tag] */
    MESSAGE_GET_STATUS = 4,   /* [4, tag] -> [4, tag, status] */
    MESSAGE_SET_STATUS = 5,   /* [5, tag, status] -> [5, tag, status as it is now, why] */
    MESSAGE_READ_CONFIG = 6,  /* [6, tag, offset, len: 1..256] -> [6, tag, bytes] */
    MESSAGE_WRITE_CONFIG = 7, /* [7, tag, offset, bytes] -> [7, tag] */
    MESSAGE_REQUEST = 8,     /* [8, tag, queue, writable_len, readable] -> [8, tag, written, why] */
    MESSAGE_ACKNOWLEDGE = 9, /* [9, tag, generation] -> [9, tag] */
    MESSAGE_EVENT = 15,      /* server only: [15, 0, event, value] */
    /*
     * control socket: [n, tag, {text keys}] -> [n, tag, result], one item, which becomes the JSON
     * key by key; an unknown function is ENOENT, a missing key EINVAL
     */
    /*
     * {} -> [{"name": text, "dialect": text, "strict": bool, "addressing": "physical" or "virtual",
     * "slots": {"first": uint, "count": uint} (physical), "first_sector": text "0x…", "sectors":
     * text "0x…", "image": text or null (one of its own), "read_only": bool, "key_types": [text…],
     * "clients": uint}…], perhaps with more keys
     */
    MESSAGE_FUNCTION_LIST = 32,
    /*
     * {"function": text} -> [{"slot": uint as on the wire, "programmed": bool, "alg": text or null,
     * "data_unit": uint or null (bytes), "key_type": "raw", "wrapped" or null, "fingerprint": text
     * or null, "owner": text or null, "in_flight": uint, "physical": uint}…]: all slots of the
     * function, in order
     */
    MESSAGE_SLOT_LIST = 33,
    /*
     * {"scope": "device", "function" or "engine"; "function": text} -> {"generation": text "0x…"}
     */
    MESSAGE_RESET = 34,
    /* {"function": text} -> a map of counters, perhaps with maps of counters in it */
    MESSAGE_STATS = 35,
    /* {"function": text, as icesim's --function takes it} -> its entry of FUNCTION_LIST */
    MESSAGE_FUNCTION_ADD = 36,
    /* {"function": text} -> {}. Its clients are cut off; EBUSY while a file of it is open. */
    MESSAGE_FUNCTION_REMOVE = 37,
    /*
     * The drafts' out-of-band key path, a secure monitor that the function's VM calls. Slots are
     * physical. {"function": text, "slot": uint, "alg": text, "data_unit": uint, "key_type": "raw"
     * or "wrapped", "key": bytes} -> {"fingerprint": text}
     */
    MESSAGE_SLOT_PROGRAM = 38,
    MESSAGE_SLOT_EVICT = 39, /* {"function": text, "slot": uint} -> {} */
    /*
     * {"function": text} or, but for generate, {"function": text, "key": bytes} -> {"key": bytes}:
     * the long-term key, the long-term key, the ephemeral key, the software secret
     */
    MESSAGE_KEY_GENERATE = 40,
    MESSAGE_KEY_IMPORT = 41,
    MESSAGE_KEY_PREPARE = 42,
    MESSAGE_KEY_DERIVE = 43,
    /*
     * Views: files of plaintext that a key gives. {"function": text (a function or a layer),
     * "name": text, "alg": text, "data_unit": uint, "key_type": "raw" or "wrapped", "key": bytes,
     * "sector": text "0x…", "count": text "0x…", "dun": text "0x…" (256 bits), "fallback": "auto",
     * "forbid" or "force"} -> its entry of VIEW_LIST. key_type, sector, count, dun, fallback may be
     * left out.
     */
    MESSAGE_VIEW_ADD = 44,
    /*
     * {"function": text} -> [{"name": text, "alg": text, "data_unit": uint, "key_type": text,
     * "fingerprint": text or null (wrapped), "sector": text "0x…", "count": text "0x…", "dun": text
     * "0x…", "fallback": text, "path": "native" or "fallback"}…]
     */
    MESSAGE_VIEW_LIST = 45,
    /* {"function": text, "name": text, "wait": bool} -> {}. EBUSY while it is in use, unless
     * "wait".
     */
    MESSAGE_VIEW_REMOVE = 46,
    /* {"name": text, "map": "linear", "striped" or "striped:BYTES", "functions": text (names with
     * commas)} -> its entry of LAYER_LIST */
    MESSAGE_LAYER_ADD = 47,
    /* {} -> [{"name": text, "map": text, "functions": [text…], "sectors": text "0x…"}…] */
    MESSAGE_LAYER_LIST = 48,
    MESSAGE_LAYER_REMOVE = 49, /* {"name": text} -> {}. EBUSY while it has views or open files. */
    /* {"function": text, "size": text "0x…" (bytes)} -> its entry of FUNCTION_LIST. EBUSY: others
     * have a part of its media, or a view or layer is beyond the new end. */
    MESSAGE_FUNCTION_RESIZE = 50,
};

/* Third element of an EVENT; the numbers of enum attachment_event. */
enum protocol_event {
    PROTOCOL_EVENT_CONFIG_CHANGED = 0,
    PROTOCOL_EVENT_DEVICE_RESET = 1,
    PROTOCOL_EVENT_ENGINE_GENERATION = 2,
};

#endif
