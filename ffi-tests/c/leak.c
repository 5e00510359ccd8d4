/* Forgets an error: the sanitizers and valgrind must notice, or their silence elsewhere proves nothing. */
#include <krundl.h>

int main(void) {
    krundl_error *error;
    krundl_probe *probe;
    krundl_probe_options options = {.struct_size = sizeof options};
    options.library = "/nowhere/libkrun.so.1";
    krundl_status status = krundl_probe_new(&options, &probe, &error);
    error = 0;
    return status == KRUNDL_STATUS_LIBRARY_NOT_FOUND ? 0 : 3;
}
