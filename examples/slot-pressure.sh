#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# More keys than keyslots: 16 views, each a file with a key of its own, share an engine of 4 slots
# under load, as the files of fscrypt users do on a phone. Nobody names a slot: the profile finds one
# for each request, and programs the key into the slot that was idle longest where it is in none.
# Shows and explains what `icectl stats` counts, first where the keys fit, then where they do not.
# Prints each command that it runs; ends with `slot-pressure: ok`.
#
# It installs the Debian packages that are missing (as root, or by sudo), builds icesim unless it is
# installed or built in the tree, and works in a temporary folder that it removes. It needs FUSE, as
# views are files.

. "$(dirname "$0")/lib.sh"

views=16

start() {
    step "an engine with 4 keyslots"
    run 'icesim --image disk.img --size 64M --slots 4 --mount tree --dir run &'
    server=$!
    run 'icectl wait'
    step "$views views of 4 MiB, with a key each; no slot is named, and none is programmed yet"
    run "for n in \$(seq $views); do
    head -c 64 /dev/urandom >key\$n
    icectl view add v\$n --alg aes-256-xts --key-file key\$n --sector \$(((n - 1) * 8192)) --count 8192
done"
    run 'icectl view list'
    run 'icectl slot list'
}

# Writes and reads back through the views FIRST to LAST, all at once.
load() { # FIRST LAST
    run "for n in \$(seq $1 $2); do
    { dd if=data of=tree/view/v\$n bs=16K conv=notrunc status=none &&
        cmp data tree/view/v\$n && echo v\$n >>read-back; } &
    jobs=\"\$jobs \$!\"
done"
    run 'wait $jobs; jobs=""'
}

# A number out of the statistics, added up over keys or slots.
total() { # LIST COUNTER
    icectl --json stats | jq "[.$1[].$2] | add"
}

check() { # WHAT-MUST-BE-TRUE TEST-ARGUMENT...
    local claim=$1
    shift
    [ "$@" ] || {
        echo "$example: not so: $claim" >&2
        exit 1
    }
    echo "- $claim"
}

fitting() {
    step "4 of them at work: the keys fit"
    load 1 4
    run 'icectl stats'
    step "what these numbers say"
    check "each key was in no slot at first: $(total keys misses) misses, and $(total keys programs) \
programs, which put them there" \
        "$(total keys programs)" -eq 4
    check "all other requests were hits, which go on at once: $(total keys hits)" \
        "$(total keys hits)" -gt 400
    check "no key had to go: $(total keys evictions) evictions" "$(total keys evictions)" -eq 0
}

pressed() {
    local programs evictions waits
    step "all $views at work"
    load 1 $views
    run 'icectl stats'
    step "what these numbers say"
    programs=$(total keys programs) evictions=$(total keys evictions) waits=$(total keys waits)
    check "a miss is a request whose key was in no slot: $(total keys misses)" \
        "$(total keys misses)" -ge "$programs"
    check "a program put a key into a slot: $programs; requests of one key that miss together share it" \
        "$programs" -gt $views
    check "the device counts as many requests.key_program" \
        "$(icectl --json stats | jq .requests.key_program)" -eq "$programs"
    check "an eviction took a key out, that of the slot idle longest: $evictions, all but the 4 that \
are in slots" \
        $((programs - evictions)) -eq 4
    check "a wait is a request that did not go on at once, as its key or a slot for it had to be \
waited for: $waits" \
        "$waits" -ge "$programs"
    check "hits and waits together are all requests through slots (tagged), hits are \
$(total keys hits) of them" \
        "$(icectl --json stats | jq .tagged)" -eq $(($(total keys hits) + waits))
    check "slots tell the same story as keys: $(total profile_slots programs) programs, \
$(total profile_slots evictions) evictions" \
        "$(total profile_slots programs) $(total profile_slots evictions)" = "$programs $evictions"
    check "a fallback is a request that was encrypted without the engine: $(total keys fallbacks)" \
        "$(total keys fallbacks)" -eq 0
    check "and whatever was written, $((views + 4)) files of 4 MiB, was read back" \
        "$(wc -l <read-back)" -eq $((views + 4))
}

claimed() {
    step "a slot that the views use is nobody else's"
    run 'icectl slot list'
    refused 'icectl slot program 0 --alg aes-256-xts --key-file key1'
    refused 'icectl slot evict 0'
    step "a view whose file is open is not removed, and works on"
    run 'exec 3<tree/view/v1'
    refused 'icectl view remove v1'
    run 'cmp data /dev/fd/3'
    run 'exec 3<&-'
    run 'icectl view remove v1'
}

install_missing fuse3 jq
find_programs
{ : <>/dev/fuse; } 2>/dev/null || {
    echo "$example: /dev/fuse cannot be opened, and views are files: nothing to show" >&2
    exit 1
}
cd "$work"
export ICESIM_DIR=$work/run
mkdir tree
jobs=''
head -c 4M /dev/urandom >data
start
fitting
pressed
claimed
step "the device is stopped"
stop_server
all_done
