/* A program that serves a card on QEMU's socket and is told its ports over HTTP, as gvproxy does: it takes one connection,
   and ends with it. It notes in a file beside it how it was started and what it was asked. What its name says, it does
   otherwise: `fails` exits, `dies` does so
   once it is asked something, `hangs` makes no sockets, `refuses` opens no ports, `elsewhere` has another address for its
   guest. */
#include <arpa/inet.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static FILE *notes;
static char *name;

static int named(const char *what)
{
    return strstr(name, what) != NULL;
}

static int listening(const char *url)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const char *path = strstr(url, "://") + 3;
    if (strlen(path) >= sizeof address.sun_path)
        exit(3);
    strcpy(address.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    if (bind(fd, (void *)&address, sizeof address) || listen(fd, 8))
        exit(4);
    return fd;
}

static int open_port(unsigned a, unsigned b, unsigned c, unsigned d, unsigned port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(a << 24 | b << 16 | c << 8 | d);
    int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    return bind(fd, (void *)&address, sizeof address) || listen(fd, 8) ? -1 : fd;
}

static void answer(int fd, const char *status, const char *body)
{
    dprintf(fd, "HTTP/1.0 %s\r\nContent-Type: text/plain\r\n\r\n%s\n", status, body);
}

/* One request; its body comes with its head or right after it. */
static void serve(int fd, int *ssh)
{
    char text[4096] = "", *body = NULL, *length;
    for (size_t had = 0; had + 1 < sizeof text;) {
        ssize_t n = read(fd, text + had, sizeof text - 1 - had);
        if (n <= 0)
            return;
        text[had += n] = 0;
        body = strstr(text, "\r\n\r\n");
        length = strstr(text, "Content-Length: ");
        if (body && length && strlen(body + 4) >= strtoul(length + 16, NULL, 10))
            break;
    }
    if (!body)
        return;
    *strstr(text, " HTTP/1.") = 0;
    fprintf(notes, "asked %s %s\n", text, body + 4);
    if (named("dies")) {
        fprintf(stderr, "gvproxy exiting: no more\n");
        exit(1);
    }
    if (strcmp(text, "GET /leases") == 0)
        return answer(fd, "200 OK", named("elsewhere") ? "{\"10.0.0.2\":\"5a:94:ef:e4:0c:ee\"}"
                                                       : "{\"192.168.127.1\":\"5a:94:ef:e4:0c:dd\","
                                                         "\"192.168.127.2\":\"5a:94:ef:e4:0c:ee\"}");
    if (strcmp(text, "POST /services/forwarder/unexpose") == 0) {
        close(*ssh);
        return answer(fd, "200 OK", "");
    }
    char *local = strstr(body, "\"local\":\"");
    unsigned a, b, c, d, port;
    if (!local || sscanf(local, "\"local\":\"%u.%u.%u.%u:%u\"", &a, &b, &c, &d, &port) != 5)
        return answer(fd, "400 Bad Request", "no local address");
    if (named("refuses") || (strstr(body, "\"tcp\"") && open_port(a, b, c, d, port) < 0))
        return answer(fd, "500 Internal Server Error", "listen tcp: bind: address already in use");
    answer(fd, "200 OK", "");
}

int main(int argc, char **argv)
{
    char path[4096];
    name = strrchr(argv[0], '/') + 1;
    snprintf(path, sizeof path, "%s.notes", argv[0]);
    notes = fopen(path, "a");
    setvbuf(notes, NULL, _IOLBF, 0);
    fprintf(notes, "pid %d session %d\n", getpid(), getsid(0));
    int card = -1, api = -1, ssh = -1;
    for (int n = 1; n < argc; n++)
        fprintf(notes, "arg %s\n", argv[n]);
    if (named("fails")) {
        fprintf(stderr, "gvproxy exiting: cannot listen\n");
        return 1;
    }
    while (named("hangs"))
        pause();
    for (int n = 1; n + 1 < argc; n++) {
        if (strcmp(argv[n], "-ssh-port") == 0 && (ssh = open_port(127, 0, 0, 1, atoi(argv[n + 1]))) < 0)
            return 2;
        if (strcmp(argv[n], "-listen") == 0)
            api = listening(argv[n + 1]);
    }
    /* The card's socket comes last, as gvproxy's does. */
    usleep(50000);
    for (int n = 1; n + 1 < argc; n++)
        if (strcmp(argv[n], "-listen-qemu") == 0)
            card = listening(argv[n + 1]);
    for (int taken = 0;;) {
        struct pollfd both[] = {{.fd = api, .events = POLLIN}, {.fd = card, .events = POLLIN}};
        poll(both, 2, -1);
        if (both[0].revents) {
            int fd = accept(api, NULL, NULL);
            serve(fd, &ssh);
            close(fd);
        }
        if (both[1].revents && !taken++) {
            int fd = accept(card, NULL, NULL);
            close(card);
            card = fd;
        } else if (both[1].revents) {
            unsigned char frame[70000];
            if (recv(card, frame, 4, MSG_WAITALL) < 4)
                return 1;
            ssize_t n = recv(card, frame, (frame[2] << 8 | frame[3]) % (sizeof frame - 1), MSG_WAITALL);
            frame[n < 0 ? 0 : n] = 0;
            fprintf(notes, "frame %s\n", frame);
        }
    }
}
