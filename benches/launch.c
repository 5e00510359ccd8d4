/* For each byte of its standard input: forks, executes itself, and makes there the calls that krundl makes for the
   same VM. Writes a line for each: nanoseconds from before the fork to krun_start_enter, and the child's peak memory in
   KiB. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void *library;

static void fail(const char *what)
{
    fprintf(stderr, "launch: %s\n", what);
    _exit(1);
}

#define CALL(name, types, ...) \
    do { \
        int32_t (*function) types = (int32_t(*) types)dlsym(library, #name); \
        if (!function || function(__VA_ARGS__) < 0) \
            fail(#name); \
    } while (0)

static void child(const char *path, const char *root, const char *mount)
{
    static const uint8_t file[] = "stands for a file that only the guest sees";
    const char *argv[] = { "/orders", NULL }, *envp[] = { "KRUN_CONFIG=/dev/none", NULL };
    library = dlopen(path, RTLD_LAZY | RTLD_LOCAL);
    if (!library)
        fail(dlerror());
    CALL(krun_init_log, (int, uint32_t, uint32_t, uint32_t), dup(2), 1, 2, 1);
    CALL(krun_create_ctx, (void));
    CALL(krun_set_vm_config, (uint32_t, uint8_t, uint32_t), 0, 1, 512);
    CALL(krun_disable_implicit_console, (uint32_t), 0);
    CALL(krun_add_virtio_console_default, (uint32_t, int, int, int), 0, 0, 1, 2);
    CALL(krun_disable_implicit_vsock, (uint32_t), 0);
    CALL(krun_add_vsock, (uint32_t, uint32_t), 0, 1);
    CALL(krun_add_vsock_port, (uint32_t, uint32_t, const char *), 0, 1024, "/proc/self/fd/2");
    CALL(krun_add_virtiofs, (uint32_t, const char *, const char *), 0, "/dev/root", root);
    CALL(krun_add_virtiofs3, (uint32_t, const char *, const char *, uint64_t, _Bool), 0, "mount0", mount, 0, 1);
    CALL(krun_fs_add_overlay_dir, (uint32_t, const char *, const char *, uint32_t), 0, "/dev/root", "dir", 040755);
    for (int i = 0; i < 2; i++)
        CALL(krun_fs_add_overlay_file,
             (uint32_t, const char *, const char *, const uint8_t *, size_t, uint32_t, _Bool),
             0, "/dev/root", i ? "dir/orders" : "dir/guest", file, sizeof file, 0100755, i);
    CALL(krun_set_exec, (uint32_t, const char *, const char **, const char **), 0, "/dir/guest", argv, envp);
    CALL(krun_start_enter, (uint32_t), 0);
    _exit(0);
}

int main(int argc, char **argv)
{
    if (argc == 5 && strcmp(argv[1], "child") == 0)
        child(argv[2], argv[3], argv[4]);
    if (argc != 5)
        fail("usage: launch LIBRARY ROOT MOUNT STAMP");
    char byte;
    while (read(0, &byte, 1) == 1) {
        struct timespec begin;
        clock_gettime(CLOCK_MONOTONIC, &begin);
        pid_t pid = fork();
        if (pid < 0)
            fail("fork");
        if (pid == 0) {
            int null = open("/dev/null", O_RDWR);
            for (int fd = 0; fd < 3; fd++)
                dup2(null, fd);
            execl("/proc/self/exe", "launch", "child", argv[1], argv[2], argv[3], (char *)NULL);
            _exit(127);
        }
        int status;
        if (waitpid(pid, &status, 0) != pid || status != 0)
            fail("the child failed");
        long long stamp;
        long peak;
        FILE *file = fopen(argv[4], "r");
        if (!file || fscanf(file, "%lld %ld", &stamp, &peak) != 2)
            fail("no stamp");
        fclose(file);
        printf("%lld %ld\n", stamp - begin.tv_sec * 1000000000LL - begin.tv_nsec, peak);
        fflush(stdout);
    }
    return 0;
}
