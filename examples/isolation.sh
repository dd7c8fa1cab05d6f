#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# The objection of the drafts' review, made runnable. Two VMs share one inline crypto engine. As in
# the draft they name its physical slots, and program them by calls to a secure monitor, past virtio.
# If the monitor trusts its callers, vm2 can replace or evict vm1's key: vm1 then reads garbage, or
# cannot read at all. If the monitor holds each VM to its own slots, the same calls are refused.
# Prints each command that it runs; ends with `isolation: ok`.
#
# It installs the Debian packages that are missing (as root, or by sudo), builds icesim unless it is
# installed or built in the tree, and works in a temporary folder that it removes.

. "$(dirname "$0")/lib.sh"

# Two functions of the February draft, no more and no less: neither has key commands of its own.
start() { # STEP OPTION
    step "$1"
    run "icesim --size 2M --slots 16 --dialect ice2 --strict --dir run $2\\
    --function vm1,slots=0+8,sectors=0+2048 --function vm2,slots=8+8,sectors=2048+2048 &"
    server=$!
    run 'icectl wait'
    step "vm1 has its key in slot 3, and writes a page through it"
    run 'icectl -f vm1 slot program 3 --alg aes-256-xts --key-file key1'
    run 'icectl -f vm1 io write --sector 0 --slot 3 --dun 0 page'
    read_page
}

read_page() {
    run 'icectl -f vm1 io read --sector 0 --count 8 --slot 3 --dun 0 | cmp - page'
}

trusting() {
    start "a monitor that trusts its callers" '--unsafe-monitor '
    step "vm2 puts a key of its own into vm1's slot"
    run 'icectl -f vm2 slot program 3 --via out-of-band --alg aes-256-xts --key-file key2'
    step "vm1 reads: no error, and nothing of what it wrote"
    run 'icectl -f vm1 io read --sector 0 --count 8 --slot 3 --dun 0 >got'
    run '! cmp -s got page'
    run '! grep -c "secret of vm1" got'
    step "what vm1 writes now is under a key that vm2 knows"
    run 'icectl -f vm1 io write --sector 0 --slot 3 --dun 0 page'
    run 'icectl -f vm1 io read --sector 0 --count 8 >stored'
    run 'icectl -f vm2 slot program 8 --alg aes-256-xts --key-file key2'
    run 'icectl -f vm2 io write --sector 0 stored'
    run 'icectl -f vm2 io read --sector 0 --count 8 --slot 8 --dun 0 | head -n 1'
    run 'icectl -f vm2 io read --sector 0 --count 8 --slot 8 --dun 0 | cmp - page'
    step "vm2 evicts vm1's slot: vm1 is cut off from its data"
    run 'icectl -f vm2 slot evict 3 --via out-of-band'
    refused 'icectl -f vm1 io read --sector 0 --count 8 --slot 3 --dun 0'
    stop_server
}

holding() {
    start "the same, with a monitor that holds each VM to its slots" ''
    step "vm2 tries the same"
    refused 'icectl -f vm2 slot program 3 --via out-of-band --alg aes-256-xts --key-file key2'
    refused 'icectl -f vm2 slot evict 3 --via out-of-band'
    step "and through its device, which checks slots and sectors too"
    refused 'icectl -f vm2 io read --sector 0 --count 8 --slot 3 --dun 0'
    refused 'icectl -f vm2 io read --sector 2048 --count 8'
    step "vm1 has not noticed"
    read_page
    stop_server
}

find_programs
cd "$work"
export ICESIM_DIR=$work/run
head -c 64 /dev/urandom >key1
head -c 64 /dev/urandom >key2
yes 'the secret of vm1' 2>/dev/null | head -c 4096 >page
trusting
holding
all_done
