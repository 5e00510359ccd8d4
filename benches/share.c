/* Runs in the guest: what a mount of the host's does. Usage: share DIRECTORY [OPTIONS]
   With OPTIONS it first mounts the share of tag "share" there, with these mount options ("" for none).
   Writes a line of nanoseconds: a file of 32 MiB read for the first time, read again, one written and synced, 200 small
   files made, looked up and removed. DIRECTORY has the file "data". */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { SIZE = 32 << 20, PART = 256 << 10, FILES = 200 };

static char part[PART];

static int fail(const char *what)
{
    fprintf(stderr, "share: %s: %s\n", what, strerror(errno));
    return 1;
}

static long long now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static int all_of(const char *name)
{
    int file = open(name, O_RDONLY);
    long long sum = 0;
    ssize_t got;
    if (file < 0)
        return -1;
    while ((got = read(file, part, PART)) > 0)
        sum += got;
    close(file);
    errno = EIO;
    return got == 0 && sum == SIZE ? 0 : -1;
}

int main(int argc, char **argv)
{
    if (argc < 2)
        return fail("usage: share DIRECTORY [OPTIONS]");
    if (argc > 2 && mount("share", argv[1], "virtiofs", 0, argv[2]) < 0)
        return fail("mount");
    if (chdir(argv[1]) < 0)
        return fail(argv[1]);

    long long begin = now();
    if (all_of("data") < 0)
        return fail("data");
    long long first = now();
    if (all_of("data") < 0)
        return fail("data");
    long long again = now();

    int file = open("written", O_WRONLY | O_CREAT | O_TRUNC, 0644);
    if (file < 0)
        return fail("written");
    for (int done = 0; done < SIZE; done += PART)
        if (write(file, part, PART) != PART)
            return fail("write");
    if (fsync(file) < 0 || close(file) < 0)
        return fail("fsync");
    long long written = now();

    char name[32];
    struct stat status;
    for (int n = 0; n < FILES; n++) {
        snprintf(name, sizeof name, "small%d", n);
        if ((file = open(name, O_WRONLY | O_CREAT | O_EXCL, 0644)) < 0 || close(file) < 0)
            return fail(name);
    }
    for (int n = 0; n < FILES; n++) {
        snprintf(name, sizeof name, "small%d", n);
        if (stat(name, &status) < 0)
            return fail(name);
    }
    for (int n = 0; n < FILES; n++) {
        snprintf(name, sizeof name, "small%d", n);
        if (unlink(name) < 0)
            return fail(name);
    }
    long long files = now();
    unlink("written");
    printf("%lld %lld %lld %lld\n", first - begin, again - first, written - again, files - written);
    return 0;
}
