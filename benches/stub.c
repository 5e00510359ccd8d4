/* A libkrun that does nothing, as large as a real one: krun_start_enter writes down when it was reached and how much
   memory the process had needed until then, and returns. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* What a real library is made of, so that whoever reads or maps all of it pays for that. */
__asm__(".section .text\n.balign 4096\n.skip 3500000, 0x90\n"
        ".section .rodata\n.balign 4096\n.skip 1000000, 0x61\n.ascii \"libkrunfw.so.5Err\"\n.skip 1000000, 0x61\n"
        ".text\n");

static void entered(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    /* Not getrusage: its peak begins with what the parent had at the fork. */
    char status[4096] = "", line[128];
    int file = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
    if (file < 0 || read(file, status, sizeof status - 1) < 0)
        return;
    close(file);
    long peak = 0;
    const char *at = strstr(status, "VmHWM:");
    if (at)
        sscanf(at, "VmHWM: %ld", &peak);
    int length = snprintf(line, sizeof line, "%lld %ld\n", now.tv_sec * 1000000000LL + now.tv_nsec, peak);
    file = open(STAMP, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (file < 0 || write(file, line, length) < 0)
        return;
    close(file);
}

static int called(const char *name)
{
    if (strcmp(name, "krun_start_enter") == 0)
        entered();
    return 0;
}

#define F(name) __attribute__((visibility("default"))) int name() { return called(#name); }
#include "functions.h"
