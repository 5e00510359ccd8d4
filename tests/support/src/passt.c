/* A program that a network card's connection is given to, as passt is: `--fd N`. It notes in a file beside it how it was
   started, opens the ports that it is told to, brings datagrams in and their answers out, and answers every other frame with itself.
   What its name says, it does otherwise: `fails` and `fails-once` exit, `deaf` does not end when its connection does,
   `loses` brings no answers out. */
#include <arpa/inet.h>
#include <dirent.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int whole(int fd, char *buffer, size_t length)
{
    for (size_t had = 0; had < length;) {
        ssize_t n = read(fd, buffer + had, length - had);
        if (n <= 0)
            return 0;
        had += n;
    }
    return 1;
}

static unsigned guest_port;

static int open_port(const char *text, int kind)
{
    unsigned a, b, c, d, host, guest;
    if (sscanf(text, "%u.%u.%u.%u/%u:%u", &a, &b, &c, &d, &host, &guest) != 6)
        return -1;
    guest_port = guest;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(host)};
    address.sin_addr.s_addr = htonl(a << 24 | b << 16 | c << 8 | d);
    int fd = socket(AF_INET, kind, 0), on = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, (void *)&address, sizeof address) || (kind == SOCK_STREAM && listen(fd, 8))) {
        fprintf(stderr, "Failed to bind port %u\n", host);
        exit(1);
    }
    return fd;
}

/* Only what krundl looks at: no addresses and no checksums. */
static void bring_in(int connection, int udp, struct sockaddr_in *client)
{
    char frame[4 + 42 + 2048] = {[4 + 12] = 8, [4 + 14] = 0x45, [4 + 23] = 17};
    socklen_t size = sizeof *client;
    ssize_t length = recvfrom(udp, frame + 46, 2048, 0, (void *)client, &size);
    frame[4 + 36] = guest_port >> 8, frame[4 + 37] = guest_port;
    *(uint32_t *)frame = htonl(42 + length);
    if (length >= 0 && write(connection, frame, 46 + length) < 0)
        exit(1);
}

int main(int argc, char **argv)
{
    char path[4096];
    snprintf(path, sizeof path, "%s.notes", argv[0]);
    int again = access(path, F_OK) == 0;
    FILE *notes = fopen(path, "a");
    fprintf(notes, "pid %d session %d\n", getpid(), getsid(0));
    DIR *fds = opendir("/proc/self/fd");
    for (struct dirent *entry; (entry = readdir(fds));) {
        int fd = atoi(entry->d_name);
        if (entry->d_name[0] != '.' && fd != dirfd(fds) && fd != fileno(notes))
            fprintf(notes, "fd %d\n", fd);
    }
    int connection = -1;
    for (int n = 1; n < argc; n++) {
        fprintf(notes, "arg %s\n", argv[n]);
        if (strcmp(argv[n], "--fd") == 0)
            connection = atoi(argv[n + 1]);
    }
    fclose(notes);
    if (strstr(argv[0], "fails-once") ? !again : strstr(argv[0], "fails") != NULL) {
        fprintf(stderr, "Failed to send 12 bytes to syslog\nNo interface with a default route\n");
        return 1;
    }
    for (int n = 1; n + 1 < argc; n++)
        if (strcmp(argv[n], "--tcp-ports") == 0)
            open_port(argv[n + 1], SOCK_STREAM);
    int udp = -1;
    for (int n = 1; n + 1 < argc; n++)
        if (strcmp(argv[n], "--udp-ports") == 0)
            udp = open_port(argv[n + 1], SOCK_DGRAM);
    char frame[70000];
    uint32_t length;
    struct sockaddr_in client;
    for (struct pollfd both[2];;) {
        both[0] = (struct pollfd){.fd = connection, .events = POLLIN};
        both[1] = (struct pollfd){.fd = udp, .events = POLLIN};
        poll(both, 2, -1);
        if (both[1].revents)
            bring_in(connection, udp, &client);
        if (!both[0].revents)
            continue;
        if (!whole(connection, (void *)&length, 4) || !whole(connection, frame, ntohl(length)))
            break;
        if (ntohl(length) > 42 && frame[12] == 8 && frame[13] == 0 && frame[23] == 17) {
            if (!strstr(argv[0], "loses"))
                sendto(udp, frame + 42, ntohl(length) - 42, 0, (void *)&client, sizeof client);
        } else if (write(connection, &length, 4) != 4 || write(connection, frame, ntohl(length)) < 0)
            break;
    }
    fprintf(stderr, "the connection has ended\n");
    while (strstr(argv[0], "deaf"))
        pause();
    return 0;
}
