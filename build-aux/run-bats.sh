#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Runs one bats file for make check. Without bats its tests are one skipped test.
if ! command -v bats >/dev/null; then
    echo "1..0 # SKIP bats is not installed"
    exit 0
fi
exec bats --tap --print-output-on-failure "$@" </dev/null
