/* Boots a workload with libkrun by hand: the calls that krundl makes for the same VM, but libkrun's own init runs the
   workload. Usage: boot [-k KERNEL] (-d DISK | -r ROOT) [-s SHARE [-w MIB]] LIBKRUN LIBKRUNFW PROGRAM [ARGUMENT...]
   -k: an ELF kernel instead of libkrunfw's. -r: the root, a directory; -d: a disk with ext4. -s: a further directory of
   the host, tag "share"; -w: its DAX window in MiB. */
#include <dlfcn.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void *library;

static int fail(const char *what)
{
    fprintf(stderr, "boot: %s\n", what);
    return 1;
}

#define CALL(name, types, ...) \
    do { \
        int32_t (*function) types = (int32_t(*) types)dlsym(library, #name); \
        if (!function || function(__VA_ARGS__) < 0) \
            return fail(#name); \
    } while (0)

int main(int argc, char **argv)
{
    const char *kernel = NULL, *disk = NULL, *root = NULL, *share = NULL;
    uint64_t window = 0;
    for (int option; (option = getopt(argc, argv, "+k:d:r:s:w:")) != -1;) {
        switch (option) {
        case 'k': kernel = optarg; break;
        case 'd': disk = optarg; break;
        case 'r': root = optarg; break;
        case 's': share = optarg; break;
        case 'w': window = strtoull(optarg, NULL, 10) << 20; break;
        default: return 1;
        }
    }
    argv += optind;
    if (argc - optind < 3 || !root == !disk)
        return fail("usage: boot [-k KERNEL] (-d DISK | -r ROOT) [-s SHARE [-w MIB]] LIBKRUN LIBKRUNFW PROGRAM "
                    "[ARGUMENT...]");
    /* So that libkrun finds it: it asks the loader for the bare name. */
    if (!kernel && !dlopen(argv[1], RTLD_NOW | RTLD_GLOBAL))
        return fail(dlerror());
    library = dlopen(argv[0], RTLD_LAZY | RTLD_LOCAL);
    if (!library)
        return fail(dlerror());
    const char *envp[] = { "PATH=/bin", NULL };
    CALL(krun_init_log, (int, uint32_t, uint32_t, uint32_t), dup(2), 1, 2, 1);
    CALL(krun_create_ctx, (void));
    CALL(krun_set_vm_config, (uint32_t, uint8_t, uint32_t), 0, 1, 512);
    if (kernel)
        CALL(krun_set_kernel, (uint32_t, const char *, uint32_t, const char *, const char *), 0, kernel, 1, NULL, NULL);
    CALL(krun_disable_implicit_console, (uint32_t), 0);
    CALL(krun_add_virtio_console_default, (uint32_t, int, int, int), 0, 0, 1, 2);
    CALL(krun_disable_implicit_vsock, (uint32_t), 0);
    if (!kernel)
        CALL(krun_add_vsock, (uint32_t, uint32_t), 0, 1);
    if (root)
        CALL(krun_add_virtiofs, (uint32_t, const char *, const char *), 0, "/dev/root", root);
    if (disk) {
        CALL(krun_add_disk, (uint32_t, const char *, const char *, bool), 0, "root", disk, false);
        CALL(krun_set_root_disk_remount, (uint32_t, const char *, const char *, const char *), 0, "/dev/vda", "ext4",
             NULL);
    }
    if (share)
        CALL(krun_add_virtiofs2, (uint32_t, const char *, const char *, uint64_t), 0, "share", share, window);
    CALL(krun_set_exec, (uint32_t, const char *, char *const *, const char **), 0, argv[2], argv + 3, envp);
    CALL(krun_start_enter, (uint32_t), 0);
    return 1;
}
