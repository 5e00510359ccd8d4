/* Speaks a line in each direction over vsock: vsock connect PORT, vsock listen PORT. */
#include <linux/vm_sockets.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void hear(int fd)
{
    char line[64];
    size_t length = 0;
    while (length < sizeof line && read(fd, line + length, 1) == 1)
        if (line[length++] == '\n')
            break;
    fwrite(line, 1, length, stdout);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    struct sockaddr_vm address = { .svm_family = AF_VSOCK };
    int fd = socket(AF_VSOCK, SOCK_STREAM, 0);
    if (argc != 3 || fd < 0)
        return 1;
    address.svm_port = strtoul(argv[2], NULL, 10);
    if (!strcmp(argv[1], "connect")) {
        address.svm_cid = VMADDR_CID_HOST;
        if (connect(fd, (struct sockaddr *)&address, sizeof address) || dprintf(fd, "from the guest\n") < 0)
            return 2;
        hear(fd);
    } else {
        address.svm_cid = VMADDR_CID_ANY;
        if (bind(fd, (struct sockaddr *)&address, sizeof address) || listen(fd, 1))
            return 3;
        puts("listening");
        fflush(stdout);
        int client = accept(fd, NULL, NULL);
        hear(client);
        dprintf(client, "answer of the guest\n");
        close(client);
    }
    return 0;
}
