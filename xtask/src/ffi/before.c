/* Around statements that a page shows: what they speak of. */
#include <krundl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void shown(krundl_probe *probe, krundl_spec *spec, krundl_plan *plan, krundl_vm *vm, krundl_error *error) {
    (void)probe, (void)spec, (void)plan, (void)vm, (void)error;
