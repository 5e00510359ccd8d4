/* The part that all stubs have: it writes down how they were called, and plays the guest. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

/* Where the calls go: beside the real file, wherever it was opened through. */
static char calls_path[PATH_MAX + 8];

__attribute__((constructor(101))) static void find_calls_path(void)
{
    Dl_info info;
    if (calls_path[0] == 0 && dladdr((void *)calls_path, &info) && realpath(info.dli_fname, calls_path))
        strcat(calls_path, ".calls");
}

/* Opened once and kept, since the process may be confined by the time of a later call; out of the way of the numbers
   that a test may look at. Who closes it gets another one. */
static int calls_file(void)
{
    static int fd = -1;
    static struct stat opened;
    struct stat now;
    if (fd >= 0 && fstat(fd, &now) == 0 && now.st_dev == opened.st_dev && now.st_ino == opened.st_ino)
        return fd;
    find_calls_path();
    int low = open(calls_path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
    if (low < 0)
        return -1;
    int high = fcntl(low, F_DUPFD_CLOEXEC, 300);
    fd = high < 0 ? low : high;
    if (high >= 0)
        close(low);
    fstat(fd, &opened);
    return fd;
}

static FILE *line;
static char *line_text;
static size_t line_size;

static void call_begin(const char *name)
{
    line = open_memstream(&line_text, &line_size);
    fputs(name, line);
}

static void put_escaped(const char *text, const char *also)
{
    if (strcmp(text, "NULL") == 0) {
        fputs("\\x4eULL", line); /* not to be taken for a null pointer */
        return;
    }
    for (const unsigned char *c = (const unsigned char *)text; *c; c++) {
        if (*c == '\n')
            fputs("\\n", line);
        else if (*c == '\t')
            fputs("\\t", line);
        else if (*c == '\\')
            fputs("\\\\", line);
        else if (*c < 0x20 || *c > 0x7e || strchr(also, *c))
            fprintf(line, "\\x%02x", *c);
        else
            fputc(*c, line);
    }
}

static void arg_signed(long long value)
{
    fprintf(line, "\t%lld", value);
}

static void arg_unsigned(unsigned long long value)
{
    fprintf(line, "\t%llu", value);
}

static void arg_text(const char *text)
{
    fputc('\t', line);
    if (text)
        put_escaped(text, "");
    else
        fputs("NULL", line);
}

static void arg_list(const char *const *list)
{
    if (!list) {
        arg_text(NULL);
        return;
    }
    fputs("\t[", line);
    for (size_t i = 0; list[i]; i++) {
        if (i)
            fputc(',', line);
        if (i == 0 && !list[0][0] && !list[1])
            fputs("\\e", line); /* one empty string, not an empty array */
        put_escaped(list[i], ",[]");
    }
    fputc(']', line);
}

static void arg_bytes(const uint8_t *data, size_t length)
{
    if (!data) {
        arg_text(NULL);
        return;
    }
    uint64_t hash = 0xcbf29ce484222325u;
    for (size_t i = 0; i < length; i++)
        hash = (hash ^ data[i]) * 0x100000001b3u;
    fprintf(line, "\t%zu:%016llx", length, (unsigned long long)hash);
}

static void arg_mac(const uint8_t *mac)
{
    if (!mac) {
        arg_text(NULL);
        return;
    }
    for (int i = 0; i < 6; i++)
        fprintf(line, "%c%02x", i ? ':' : '\t', mac[i]);
}

static void arg_pointer(const void *pointer)
{
    fputs(pointer ? "\tPOINTER" : "\tNULL", line);
}

static void call_end(void)
{
    fputc('\n', line);
    fclose(line);
    int fd = calls_file();
    /* In one piece, so that the lines of several processes do not mix. */
    if (fd >= 0 && write(fd, line_text, line_size) < 0)
        perror("stub libkrun");
    free(line_text);
}

/* What the guest can reach. */
static char vsock_path[PATH_MAX];
static int console_port = -1, console_output = 1, console_error = 2, consoles, displays;

static void remember_vsock(const char *path)
{
    snprintf(vsock_path, sizeof vsock_path, "%s", path ? path : "");
}

/* The sockets that are made when the guest starts; one that is there already is refused, as libkrun does. */
static char listeners[8][PATH_MAX];
static int listener_count;

static int remember_listener(const char *path)
{
    struct stat there;
    if (!path || lstat(path, &there) == 0)
        return -EEXIST;
    if (listener_count < 8)
        snprintf(listeners[listener_count++], PATH_MAX, "%s", path);
    return 0;
}

static void listen_all(void)
{
    for (int i = 0; i < listener_count; i++) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (strlen(listeners[i]) < sizeof address.sun_path)
            strcpy(address.sun_path, listeners[i]);
        if (bind(fd, (struct sockaddr *)&address, sizeof address) != 0 || listen(fd, 5) != 0)
            fprintf(stderr, "stub libkrun: cannot listen on %s: %s\n", listeners[i], strerror(errno));
    }
}

static void remember_console_port(const char *name, int output)
{
    if (name && strcmp(name, "krundl") == 0)
        console_port = output;
}

static void write_all(int fd, const char *text, size_t length)
{
    while (length > 0) {
        ssize_t done = write(fd, text, length);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0) {
            fprintf(stderr, "stub libkrun: cannot write to descriptor %d: %s\n", fd, strerror(errno));
            return;
        }
        text += done;
        length -= done;
    }
}

static int guest_fd = -1;

static void guest_says(const char *text, size_t length)
{
    int fd = console_port;
    if (vsock_path[0]) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (strlen(vsock_path) < sizeof address.sun_path)
            strcpy(address.sun_path, vsock_path);
        if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
            fprintf(stderr, "stub libkrun: cannot connect to %s: %s\n", vsock_path, strerror(errno));
            return;
        }
    }
    if (fd < 0) {
        fprintf(stderr, "stub libkrun: the guest has neither a vsock port nor a console port named krundl\n");
        return;
    }
    guest_fd = fd;
    write_all(fd, text, length);
}

/* What the host sent is read, or the end of this process would be a reset for the host. */
static void guest_leaves(void)
{
    char heard[4096];
    if (vsock_path[0])
        while (recv(guest_fd, heard, sizeof heard, MSG_DONTWAIT) > 0)
            ;
}

static void guest_says_more(const char *text)
{
    write_all(guest_fd, text, strlen(text));
}

/* Waits until the host asks the workload to terminate, and says that it did. */
static void guest_obeys(void)
{
    char line[64];
    size_t length = 0;
    while (length < sizeof line && read(guest_fd, line + length, 1) == 1)
        if (line[length++] == '\n') {
            if (length == 10 && memcmp(line, "terminate\n", 10) == 0) {
                guest_says_more("signal 15\n");
                return;
            }
            length = 0;
        }
}
