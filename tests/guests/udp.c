/* UDP in a guest, which busybox has no word for. `udp serve PORT COUNT` sends what comes back to where it came from, so
   many times; `udp ask ADDRESS PORT TEXT` asks every half second until it is answered, and writes the answer. */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    char text[2048];
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    if (argc == 4 && strcmp(argv[1], "serve") == 0) {
        address.sin_port = htons(atoi(argv[2]));
        if (bind(fd, (void *)&address, sizeof address) < 0)
            return perror("bind"), 1;
        for (int n = atoi(argv[3]); n > 0; n--) {
            socklen_t size = sizeof address;
            ssize_t length = recvfrom(fd, text, sizeof text, 0, (void *)&address, &size);
            if (length < 0 || sendto(fd, text, length, 0, (void *)&address, size) != length)
                return perror("answer"), 1;
        }
        return 0;
    }
    if (argc != 5 || strcmp(argv[1], "ask") != 0)
        return 2;
    address.sin_port = htons(atoi(argv[3]));
    if (!inet_aton(argv[2], &address.sin_addr) || connect(fd, (void *)&address, sizeof address) < 0)
        return perror(argv[2]), 1;
    struct timeval half = {.tv_usec = 500000};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &half, sizeof half);
    for (int n = 0; n < 60; n++) {
        send(fd, argv[4], strlen(argv[4]), 0);
        ssize_t length = recv(fd, text, sizeof text - 1, 0);
        if (length > 0) {
            printf("%.*s\n", (int)length, text);
            return 0;
        }
        usleep(10000);
    }
    return fprintf(stderr, "no answer\n"), 1;
}
