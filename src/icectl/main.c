/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/secret.h"
#include "commands.h"
#include "frame/frame.h"

#include <signal.h>

int main(int argc, char **argv)
{
    secret_harden_process();
    frame_bind();
    signal(SIGPIPE, SIG_IGN);
    return icectl_run(argc, argv);
}
