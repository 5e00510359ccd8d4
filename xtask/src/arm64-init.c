/* The first program of the arm64 kernel that is tried: says what that kernel can do, a word a line, and powers off. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

static void file(const char *what, const char *path)
{
    char text[256] = "";
    int fd = open(path, O_RDONLY);
    if (fd < 0 || read(fd, text, sizeof text - 1) < 0)
        return perror(path);
    text[strcspn(text, "\n")] = 0;
    printf("%s: %s\n", what, text);
}

static void mounted(const char *what, const char *source, const char *type, const char *options)
{
    mkdir("/mnt", 0755);
    if (mount(source, "/mnt", type, MS_RDONLY, options) < 0)
        return perror(what);
    file(what, "/mnt/f");
    umount("/mnt");
}

int main(void)
{
    struct utsname name;
    char line[128];
    mkdir("/proc", 0755), mkdir("/sys", 0755), mkdir("/dev", 0755);
    mount("proc", "/proc", "proc", 0, NULL);
    mount("sysfs", "/sys", "sysfs", 0, NULL);
    mount("devtmpfs", "/dev", "devtmpfs", 0, NULL);
    for (int fd = open("/dev/hvc0", O_RDWR), n = 0; n < 3; n++)
        dup2(fd, n);
    uname(&name);
    printf("machine: %s\n", name.machine);
    FILE *known = fopen("/proc/filesystems", "r");
    while (known && fgets(line, sizeof line, known))
        printf("filesystem: %s", strrchr(line, '\t') + 1);
    mounted("disk", "/dev/vda", "ext4", NULL);
    mounted("share", "share", "9p", "trans=virtio,version=9p2000.L");
    file("card", "/sys/class/net/eth0/address");
    printf("vsock: %s\n", socket(AF_VSOCK, SOCK_STREAM, 0) < 0 ? "no" : "yes");
    printf("packet: %s\n", socket(AF_PACKET, SOCK_DGRAM, 0) < 0 ? "no" : "yes");
    printf("end\n");
    fflush(stdout);
    sync();
    reboot(RB_POWER_OFF);
    return 1;
}
