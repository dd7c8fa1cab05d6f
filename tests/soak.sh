#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# The tests of run.sh at full scale: where acceptance figures come from. Takes stages as run.sh does.
ICESIM_TEST_SCALE=10 exec "$(dirname "$0")/run.sh" "$@"
