#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
# 64 functions at work beside hostile drivers: nobody's sectors or slots but their own are changed,
# and nobody is kept from working: each has a tenth at least of its own rate without them, of the
# same run. How far above that it is, bench/run.sh tells.

load helpers

@test "64 functions, each with its driver, beside hostile drivers of every dialect" {
    local options=() names=() i=0 name dialects=(ice1 ice2 inline)
    requires icestorm
    # The windows of the hostile ones lie between those of others.
    for name in f{0..20} h0 f{21..41} h1 f{42..62} h2 f63; do
        options+=(--function "$name,dialect=${dialects[i % 3]},slots=$((i * 3))+3,sectors=$((i * 2048))+2048")
        [ $((i % 2)) = 0 ] || options[-1]+=,addr=virtual
        [[ $name = h* ]] || names+=("$name")
        i=$((i + 1))
    done
    start --size 70M --slots 208 --reserve 201+7 "${options[@]}"
    # The second half of each window, which its driver leaves alone, and two slots it does not use.
    driver fill <<'END'
from dialects import *
import random
rng = random.Random(1)
for name, function in functions().items():
    if name[0] == "f":
        driver = drive(name, VERSION_1)
        accepted(driver.send_raw(header(T_OUT, 1024) + rng.randbytes(1024 * 512)))
        for slot in (1, 2):
            fingerprint = control(38, function=name, slot=function["slots"]["first"] + slot, alg="aes-256-xts",
                                  data_unit=512 << slot, key_type="raw", key=rng.randbytes(64))["fingerprint"]
            assert fingerprint
END
    icestorm "$ICESIM_DIR" $((100000 * SCALE)) "${ICESIM_TEST_SEED:-2026}" 2 h0,h1,h2 "${names[@]}" >report
    echo "# $(cat report)"
    [ "$(jq .requests report)" -ge 100000 ]
    [ "$(jq .fewest_transfers report)" -ge 1 ]
    [ "$(jq '.least_ratio >= 0.1' report)" = true ]
    [ "$(jq .ok report)" -gt 1000 ]
    driver check <<'END'
from dialects import *
import random
rng = random.Random(1)
listed = functions()
assert len(listed) == 67
for name, function in listed.items():
    if name[0] != "f":
        continue
    driver = drive(name, VERSION_1)
    want = rng.randbytes(1024 * 512)
    assert accepted(driver.send_raw(header(T_IN, 1024), 1024 * 512)) == want, name
    rows = function_slots(name)
    for slot in (1, 2):
        key = rng.randbytes(64)
        assert rows[slot]["fingerprint"] == hashlib.sha256(b"icesim key\0" + key).hexdigest()[:16], (name, slot)
        assert rows[slot]["data_unit"] == 512 << slot
END
    stop
}
