
/* What a faulty library has besides: before it does its work, each function looks into a file beside the library for
   lines `FUNCTION NTH ACTION [ARGUMENT]`; NTH counts its calls in this process from 0. */
#include <poll.h>
#include <signal.h>
#include <termios.h>

/* The one that krun_init_log gave; libkrun writes its log there. */
static int log_descriptor = -1;

/* Waits where nothing fits into a pipe, and gives up where nobody reads or the disk is full. */
static void say_all(int fd, const char *text, size_t length)
{
    while (length > 0) {
        ssize_t done = write(fd, text, length);
        struct pollfd room = { .fd = fd, .events = POLLOUT };
        if (done < 0 && errno == EAGAIN && poll(&room, 1, 5000) == 1)
            continue;
        if (done < 0)
            return;
        text += done;
        length -= done;
    }
}

/* Words that a terminal would take badly, at least so many bytes of them, and then the reason. */
static void say(const char *function, long long length)
{
    static const char words[] = "\033[31mred\033[0m\t\033]0;title\007\033P1;2|\b\r \302\233 \377 bell\007\n";
    size_t size = 0;
    char *text = NULL;
    FILE *all = open_memstream(&text, &size);
    for (long long n = 0; n < length; n += sizeof words - 1)
        fputs(words, all);
    fprintf(all, "said in %s\n", function);
    fclose(all);
    say_all(2, text, size);
    if (log_descriptor >= 0)
        say_all(log_descriptor, text, size);
    free(text);
}

static void make_raw(int fd)
{
    struct termios modes;
    if (tcgetattr(fd, &modes) != 0)
        return;
    cfmakeraw(&modes);
    tcsetattr(fd, TCSANOW, &modes);
}

/* Whether the function returns at once, and what. */
static bool faulted(const char *function, int nth, int32_t *result)
{
    char path[sizeof calls_path];
    snprintf(path, sizeof path, "%.*s.fault", (int)(strlen(calls_path) - strlen(".calls")), calls_path);
    FILE *faults = fopen(path, "re");
    if (!faults)
        return false;
    bool returns = false;
    char line[256], name[64], action[16];
    while (fgets(line, sizeof line, faults)) {
        int which = 0;
        long long argument = 0;
        if (sscanf(line, "%63s %d %15s %lld", name, &which, action, &argument) < 3)
            abort();
        if (which != nth || strcmp(name, function) != 0)
            continue;
        if (strcmp(action, "return") == 0) {
            *result = argument;
            returns = true;
        } else if (strcmp(action, "abort") == 0) {
            abort();
        } else if (strcmp(action, "segfault") == 0) {
            *(int *volatile)0 = 1;
        } else if (strcmp(action, "exit") == 0) {
            exit(argument);
        } else if (strcmp(action, "hang") == 0) {
            for (;;)
                pause();
        } else if (strcmp(action, "kill") == 0) {
            kill(getpid(), SIGKILL);
        } else if (strcmp(action, "kill-parent") == 0) {
            kill(getppid(), SIGKILL);
        } else if (strcmp(action, "kill-group") == 0) {
            kill(0, SIGKILL);
        } else if (strcmp(action, "say") == 0) {
            say(function, argument);
        } else if (strcmp(action, "raw") == 0) {
            make_raw(console_output);
        } else {
            fprintf(stderr, "stub libkrun: %s is no fault\n", action);
            abort();
        }
    }
    fclose(faults);
    return returns;
}
