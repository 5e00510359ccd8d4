/* Boots a workload with libkrun by hand: the calls that krundl makes for the same VM, but libkrun's own init runs the
   workload. Usage: boot LIBKRUN LIBKRUNFW ROOT PROGRAM [ARGUMENT...] */
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
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
    if (argc < 5)
        return fail("usage: boot LIBKRUN LIBKRUNFW ROOT PROGRAM [ARGUMENT...]");
    /* So that libkrun finds it: it asks the loader for the bare name. */
    if (!dlopen(argv[2], RTLD_NOW | RTLD_GLOBAL))
        return fail(dlerror());
    library = dlopen(argv[1], RTLD_LAZY | RTLD_LOCAL);
    if (!library)
        return fail(dlerror());
    const char *envp[] = { "PATH=/bin", NULL };
    CALL(krun_init_log, (int, uint32_t, uint32_t, uint32_t), dup(2), 1, 2, 1);
    CALL(krun_create_ctx, (void));
    CALL(krun_set_vm_config, (uint32_t, uint8_t, uint32_t), 0, 1, 512);
    CALL(krun_disable_implicit_console, (uint32_t), 0);
    CALL(krun_add_virtio_console_default, (uint32_t, int, int, int), 0, 0, 1, 2);
    CALL(krun_disable_implicit_vsock, (uint32_t), 0);
    CALL(krun_add_vsock, (uint32_t, uint32_t), 0, 1);
    CALL(krun_add_virtiofs, (uint32_t, const char *, const char *), 0, "/dev/root", argv[3]);
    CALL(krun_set_exec, (uint32_t, const char *, char *const *, const char **), 0, argv[4], argv + 5, envp);
    CALL(krun_start_enter, (uint32_t), 0);
    return 1;
}
