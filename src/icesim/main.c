/* SPDX-License-Identifier: BSD-2-Clause */
/* icesim: a virtual block device with an inline crypto engine. */
#include "base/secret.h"
#include "life.h"
#include <sys/stat.h>

int main(int argc, char **argv)
{
    struct options options;
    struct ice_why why = {0};
    secret_harden_process();
    mode_t mask = umask(077);
    if (options_parse(argc, argv, &options, &why)) {
        fprintf(stderr, "icesim: %s\n", why.text);
        return 2;
    }
    if (options.help)
        options_help(stdout);
    else if (options.version)
        puts("icesim " PACKAGE_VERSION);
    else if (options.print_capabilities)
        options_print_capabilities(stdout);
    if (options.help || options.version || options.print_capabilities)
        return fflush(stdout) ? 1 : 0;
    log_set_level(options.log_level);
    int status = life_run(&options, mask);
    options_free(&options);
    return status;
}
