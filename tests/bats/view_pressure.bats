#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
# Many keys on few slots: views under load, beside slots that are programmed directly, and across
# resets. What is read is what was written, and the counters add up.

load helpers

setup() {
    common_setup
    requires jq
}

algs=(aes-256-xts aes-128-cbc-essiv aes-128-xts aes-256-cbc-bitlocker aes-192-ecb)
units=(4096 512 65536 1024)
view_sectors=2048

alg_of() { # VIEW-NUMBER
    echo "${algs[$1 % ${#algs[@]}]}"
}

unit_of() { # VIEW-NUMBER
    echo "${units[$1 % ${#units[@]}]}"
}

target=vm0 # the function or layer that has the views

# Views vFIRST to vLAST of 1 MiB each, one behind the other; the keys are left in keyN.
add_views() { # FIRST LAST
    local i
    for i in $(seq "$1" "$2"); do
        random_file "key$i" "$(key_bytes "$(alg_of "$i")")"
        icectl -f $target view add "v$i" --alg "$(alg_of "$i")" --key-file "key$i" \
            --data-unit "$(unit_of "$i")" --sector $((i * view_sectors)) --count $view_sectors
    done
}

# fio on all views of the first function at once: writes at random and reads all of it back.
verify_views() { # LOOPS
    local loops=$1 run=0 jobs=() name
    requires fio
    for name in $(within ls m/view); do
        jobs+=("--name=$name" "--filename=m/view/$name")
    done
    at_length fio --output-format=json --output=result --thread \
        --rw=randwrite --size=$((view_sectors * 512)) --loops="$loops" --verify=crc32c --verify_fatal=1 \
        --ioengine=psync --bsrange=512-64k --bs_unaligned=1 "${jobs[@]}" 3>&- || run=$?
    is "$run" 0 "exit status of fio" || return 1
    sed -n '/^{/,$p' result | jq -e -r '.jobs[] | "\(.read.io_bytes) \(.write.io_bytes)"' >bytes
    is "$(wc -l <bytes)" $((${#jobs[@]} / 2)) jobs || return 1
    while read -r was_read was_written; do
        is "$was_read" "$was_written" "bytes read, and written" || return 1
        [ "$was_written" -ge $((loops * (view_sectors * 512 - 65536))) ] || return 1
    done <bytes
}

# With nothing in flight: what the profile counted of keys and of slots is one story, and is what the
# device says of its slots. Slots remember more than keys do when views were removed.
counters_add_up() { # [removed]
    icectl --json stats >stats || return 1
    icectl --json slot list >slots || return 1
    icectl --json view list >views || return 1
    jq -n -r --arg removed "${1:-}" --slurpfile stats stats --slurpfile slots slots --slurpfile views views '
        $stats[0] as $s | $s.profile_slots as $p |
        (INDEX($slots[0][]; .slot)) as $device |
        (INDEX($views[0][]; .name)) as $view |
        def story(f): ([$s.keys[] | f] | add) as $keys | ([$p[] | f] | add) as $slots |
            $keys == $slots or $removed != "" and $keys < $slots;
        def holds(f): if f then 1 else 0 end;
        [ ["a slot is in the profile, or holds none of its keys",
              all($p[]; $device[.slot | tostring].slot == .slot)],
          ["programs less evictions of a slot",
              all($p[]; .programs - .evictions == holds(.fingerprint))],
          ["programs less evictions of a key",
              all($s.keys[]; $view[.view].fingerprint as $f |
                  .programs - .evictions == ([$p[] | select(.fingerprint == $f)] | length))],
          ["programs", story(.programs)],
          ["evictions", story(.evictions)],
          ["hits", story(.hits)],
          ["waits", story(.waits)],
          ["a slot with a key was given to one", all($p[]; .programs == 0 or .misses > 0)],
          ["each key that was used was programmed",
              all($s.keys[]; .hits + .waits == 0 or .programs > 0)],
          ["a miss waits", all($s.keys[]; .misses <= .waits)],
          ["no fallback", all($s.keys[]; .fallbacks == 0 and .path == "native")],
          ["nothing in flight", all($p[]; .references == 0) and all($device[]; .in_flight == 0)],
          ["the device has the key that the profile says",
              all($p[]; .fingerprint == null or $device[.slot | tostring].fingerprint == .fingerprint)],
          ["the slots of the views are claimed",
              all($p[]; .fingerprint == null or $device[.slot | tostring].owner != null)]
        ][] | select(.[1] | not) | "does not add up: " + .[0]' >wrong || return 1
    [ ! -s wrong ] || {
        cat wrong stats slots
        return 1
    }
}

# The files FILEn hold what the views 0 to LAST have: it is in the image, under the right keys.
is_stored() { # FILE LAST
    local i
    for i in $(seq 0 "$2"); do
        icerefcrypt enc "$(alg_of "$i")" "$(unit_of "$i")" 0 "key$i" <"$1$i" |
            cmp -n $((view_sectors * 512)) -i 0:$((i * view_sectors * 512)) - image || return 1
    done
}

# A number out of the statistics, added up over all keys.
of_keys() { # COUNTER
    counted "[.keys[].$1] | add"
}

@test "32 keys on 4 slots: fio --verify on all at once, the counters add up" {
    requires icerefcrypt
    start_mounted --image image --size 32M --slots 4
    add_views 0 31
    verify_views $((1 + SCALE))
    counters_add_up
    is "$(counted '.profile_slots | length')" 4 slots
    is "$(icectl --json slot list | jq '[.[] | select(.programmed)] | length')" 4 "programmed slots"
    # Each came at least once, and could stay only where another had gone.
    [ "$(counted '[.keys[].programs] | min')" -ge 1 ]
    is "$(($(of_keys programs) - $(of_keys evictions)))" 4 "keys in slots"
    # What the views show is in the image, each under its key.
    for i in $(seq 0 31); do
        within cat m/view/v"$i" >"plain$i"
    done
    counters_add_up
    is_stored plain 31
    stop
}

@test "32 keys on 1 slot: requests wait for it in turn, and none is lost" {
    start_mounted --size 32M --slots 1
    add_views 0 31
    verify_views 1
    counters_add_up
    is "$(($(of_keys programs) - $(of_keys evictions)))" 1 "keys in slots"
    [ "$(of_keys waits)" -ge 32 ]
    stop
}

@test "as many slots as keys: each is programmed once, all else are hits" {
    start_mounted --size 32M --slots 32
    add_views 0 31
    verify_views 1
    counters_add_up
    is "$(of_keys programs) $(of_keys evictions)" "32 0"
    icectl --json stats | jq -e 'all(.keys[]; .programs == 1 and .hits > 10 * .misses)'
    stop
}

@test "the idle slot that was used longest ago is the one that is taken" {
    start_mounted --size 32M --slots 3
    add_views 0 4
    touch_view() {
        within dd if=m/view/v$1 of=/dev/null bs=64K count=1 status=none
    }
    present() { # the views whose keys are in slots
        jq -n -r --slurpfile views <(icectl --json view list) --slurpfile stats <(icectl --json stats) '
            [$stats[0].profile_slots[].fingerprint] as $in |
            [$views[0][] | select(.fingerprint | IN($in[])) | .name] | join(" ")'
    }
    for i in 0 1 2; do touch_view $i; done
    is "$(present)" "v0 v1 v2"
    touch_view 0
    touch_view 3
    is "$(present)" "v0 v2 v3"
    touch_view 2
    touch_view 4
    is "$(present)" "v2 v3 v4"
    is "$(of_keys misses) $(of_keys programs) $(of_keys evictions)" "5 5 2"
    counters_add_up
}

@test "direct slots are not taken, whether programmed before or under load" {
    requires fio
    start_mounted --size 32M --slots 8
    program 2
    direct=$(icectl --json slot list | jq -r '.[2].fingerprint')
    add_views 0 2
    within dd if=m/view/v0 of=/dev/null bs=64K status=none
    within dd if=m/view/v1 of=/dev/null bs=64K status=none
    # A slot that is still empty.
    free=$(icectl --json slot list | jq '[.[] | select(.programmed | not) | .slot] | last')
    hits=$(of_keys hits)
    more_hits() { [ "$(of_keys hits)" -gt "$hits" ]; }
    verify_views 2 >fio.log 2>&1 &
    load=$!
    eventually more_hits
    program "$free"
    under_load=$(icectl --json slot list | jq -r ".[$free].fingerprint")
    random_file data 65536
    within dd if=data of=m/slot/$free bs=64K seek=400 conv=notrunc status=none
    wait $load || {
        cat fio.log
        false
    }
    # More keys than there are slots left: under pressure they stay too.
    add_views 3 20
    verify_views 1
    counters_add_up
    icectl --json slot list >slots
    is "$(jq -r '.[2] | "\(.fingerprint) \(.owner)"' slots)" "$direct null" "slot 2"
    is "$(jq -r ".[$free] | \"\(.fingerprint) \(.owner)\"" slots)" "$under_load null" "slot $free"
    is "$(jq '[.[] | select(.owner != null)] | length' slots)" 6 "claimed slots"
    within dd if=m/slot/$free bs=64K skip=400 count=1 status=none | cmp - data
    is "$(within ls m/slot | tr '\n' ' ')" "$(printf '%s\n' 2 "$free" | sort -n | tr '\n' ' ')" "slot files"
    # Evicted, they are the views' to have again.
    icectl slot evict 2
    icectl slot evict "$free"
    verify_views 1
    counters_add_up
    is "$(icectl --json slot list | jq '[.[] | select(.owner != null)] | length')" 8 "claimed slots"
}

@test "a claimed slot is nobody else's: key operations and tagged I/O are refused, by name" {
    start_mounted --size 32M --slots 2
    add_views 0 1
    random_file data 4096
    within dd if=data of=m/view/v0 conv=notrunc status=none
    slot=$(icectl --json slot list | jq '.[] | select(.programmed) | .slot')
    random_file k 64
    claimed="(the slot|slot $slot) is claimed by the views of vm0"
    refused 1 "icectl: slot program $slot: $claimed" \
        icectl slot program "$slot" --alg aes-256-xts --key-file k
    refused 1 "icectl: slot program $slot: $claimed" \
        icectl slot program "$slot" --via out-of-band --alg aes-256-xts --key-file k
    refused 1 "icectl: slot evict $slot: $claimed" icectl slot evict "$slot"
    refused 1 "icectl: slot evict $slot: $claimed" icectl slot evict "$slot" --via out-of-band
    refused 3 "icectl: io read: sector 0: $claimed" \
        icectl io read --sector 0 --count 8 --slot "$slot" --dun 0 --data-unit 4096
    refused 3 "icectl: io write: sector 0: $claimed" \
        icectl io write --sector 0 --slot "$slot" --dun 0 --data-unit 4096 data
    fails_with "No such file or directory" stat "m/slot/$slot"
    within head -c 4096 m/view/v0 | cmp - data
    counters_add_up
}

# A reset every 100 ms while view_load.py works on all views of the target, TIMES of them and as many
# more as it takes until each view has had as many transfers: nobody is starved. Their number is
# $resets.
reset_under_load() { # SCOPE TIMES FOLDER
    local load names end=$((SECONDS + 5 * patience))
    requires python3
    names=$(within ls "$3/view" | sed "s|^|$3/view/|")
    rm -f stop
    : >transfers
    # shellcheck disable=SC2086 # words
    PYTHONDONTWRITEBYTECODE=1 at_length python3 "$top_srcdir/tests/bats/view_load.py" \
        stop "$2" $names >transfers 2>load.log 3>&- &
    load=$!
    for ((resets = 0; resets < $2 || $(wc -l <transfers) < $(wc -w <<<"$names"); resets++)); do
        alive $load && [ $SECONDS -lt $end ] || break
        sleep 0.1
        icectl reset --scope "$1" >reset.log || return 1
    done
    touch stop
    wait $load || {
        cat load.log
        return 1
    }
    echo "# $resets resets"
    is "$(wc -l <transfers)" "$(wc -w <<<"$names")" "views that were not starved"
}

@test "an engine reset every 100 ms under load: I/O goes on, and nothing is corrupted" {
    requires icerefcrypt
    start_mounted --image image --size 12M --slots 4
    add_views 0 11
    reset_under_load engine $((30 * SCALE)) m
    is "$(icectl --json reset --scope engine | jq -r .generation)" \
        "$(printf '0x%x' $((resets + 2)))" generation
    within cat m/view/* >plain
    counters_add_up
    is_stored m_view_v 11
    stop
}

@test "engine resets under load: no request meets a slot whose key is not back yet" {
    algs=(aes-256-xts) # the dialect has no other
    start_mounted --size 6M --slots 3 --dialect inline --strict
    add_views 0 5
    reset_under_load engine $((10 * SCALE)) m
    is "$(counted '.violations | with_entries(select(.value > 0)) | length')" 0 "rules that the views broke"
    # Refused was what was on its way when a reset came, at most one request of each view.
    [ "$(counted .ioerr)" -le $((6 * resets)) ]
    counters_add_up
}

@test "resets of the function and of its drivers under load: the views get their keys back" {
    requires icerefcrypt
    start_mounted --image image --size 6M --slots 2
    add_views 0 5
    for scope in function device; do
        reset_under_load $scope $((10 * SCALE)) m
        counters_add_up
        is_stored m_view_v 5
    done
    stop
}

@test "engine resets under load where keys go with each request, and over a layer of both kinds" {
    requires icerefcrypt
    start_mounted --image image --size 16M --function vm0,slots=0+1,sectors=0+8192 \
        --function vm1,keys=inline,sectors=8192+8192 --function vm2,keys=inline,sectors=16384+16384
    icectl layer add l --map linear vm0 vm1
    target=l
    add_views 0 7
    reset_under_load engine $((10 * SCALE)) m/l
    is_stored m_l_view_v 7
    target=vm2
    add_views 0 7
    reset_under_load engine $((10 * SCALE)) m/vm2
    tail -c 8M image >own
    mv own image
    is_stored m_vm2_view_v 7
}

@test "an open view cannot be removed, and works on; --wait waits for its end" {
    start_mounted --size 32M --slots 1
    add_views 0 1
    random_file data $((1 << 20))
    within dd if=data of=m/view/v0 bs=64K conv=notrunc status=none
    exec 7<m/view/v0
    refused 1 "icectl: view remove v0: .+" icectl view remove v0
    is "$(within dd bs=64K status=none <&7 | sum_of /dev/stdin)" "$(sum_of data)" "what it reads"
    exec 7<&-
    eventually icectl view remove v0
    fails_with "No such file or directory" stat m/view/v0
    is "$(icectl --json view list | jq -r '.[].name')" v1
    is "$(icectl --json slot list | jq '.[0].programmed')" false "a key in the slot"

    within dd if=data of=m/view/v1 bs=64K conv=notrunc status=none
    exec 7<m/view/v1
    within icectl view remove v1 --wait 3>&- 7<&- &
    removal=$!
    eventually fails_with "No such file" cat m/view/v1
    alive $removal
    is "$(within dd bs=64K status=none <&7 | sum_of /dev/stdin)" "$(sum_of data)" "what it reads"
    exec 7<&-
    wait $removal
    fails_with "No such file or directory" stat m/view/v1
    is "$(icectl --json slot list | jq '.[0].programmed')" false "a key in the slot"
    icectl slot program 0 --alg "$(alg_of 0)" --key-file key0
}

@test "views come and go under load: the others do not notice, the slots are left empty" {
    requires python3
    start_mounted --size 32M --slots 2
    add_views 0 3
    PYTHONDONTWRITEBYTECODE=1 at_length python3 "$top_srcdir/tests/bats/view_load.py" \
        stop 1 m/view/v{0,1,2,3} >transfers 2>load.log 3>&- &
    load=$!
    for turn in $(seq $((10 * SCALE))); do
        add_views 4 5
        random_file data $((1 << 20))
        within dd if=data of=m/view/v4 bs=64K conv=notrunc status=none
        within cmp m/view/v4 data
        icectl view remove v4 --wait
        icectl view remove v5
    done
    touch stop
    wait $load || {
        cat load.log
        false
    }
    counters_add_up removed
    for i in 0 1 2 3; do icectl view remove v$i --wait; done
    is "$(icectl --json slot list | jq '[.[] | select(.programmed)] | length')" 0 "keys in slots"
}

@test "who waits for a slot when somebody takes the last one is refused, and icesim can stop" {
    start_mounted --size 16M --slots 1
    add_views 0 1
    random_file k 64
    readers=()
    for i in 0 1 2 3; do
        within sh -c "while head -c 65536 m/view/v$((i % 2)); do :; done >/dev/null 2>end$i" 3>&- &
        readers+=($!)
    done
    driver <<'END'
owner = Connection("control")
key = {"function": "vm0", "slot": 0, "alg": "aes-256-xts", "data_unit": 4096, "key_type": "raw",
       "key": open("k", "rb").read()}
taken = False
while not taken: # the views may have it again before
    owner.send(RESET, {"scope": "engine"})
    owner.send(SLOT_PROGRAM, key)
    assert owner.frame()[0] == RESET
    taken = owner.frame()[0] == SLOT_PROGRAM
END
    for i in 0 1 2 3; do
        await_end "${readers[i]}"
        is "$ended" 0 "the exit status of a reader, which ends when it is refused"
        is "$(sed 's/.*: //' "end$i")" "Device or resource busy"
    done
    stop
}

@test "keys=inline: an idle view goes while another with the same key is at work" {
    requires python3
    start_mounted --size 16M --function vm0,keys=inline
    add_views 0 0
    PYTHONDONTWRITEBYTECODE=1 at_length python3 "$top_srcdir/tests/bats/view_load.py" \
        stop 1 m/view/v0 >transfers 2>load.log 3>&- &
    load=$!
    for _ in $(seq 10); do
        icectl view add twin --alg "$(alg_of 0)" --key-file key0 --sector 8192 --count 2048
        within head -c 4096 m/view/twin >/dev/null
        icectl view remove twin
    done
    touch stop
    wait $load || {
        cat load.log
        false
    }
    stop
}
