/* Opens a libkrun and looks up all functions of the table, by hand. The benchmark counts what happens in measured(). */
#include <dlfcn.h>
#include <stdio.h>

static const char *const names[] = {
#define F(name) #name,
#include "functions.h"
};
enum { COUNT = sizeof names / sizeof names[0] };
static void *found[COUNT];

__attribute__((noinline)) int measured(const char *path)
{
    void *library = dlopen(path, RTLD_LAZY | RTLD_LOCAL);
    int there = 0;
    for (int i = 0; library && i < COUNT; i++)
        there += (found[i] = dlsym(library, names[i])) != NULL;
    return there;
}

int main(int argc, char **argv)
{
    int there = argc == 2 ? measured(argv[1]) : 0;
    printf("%d\n", there);
    return there == 0;
}
