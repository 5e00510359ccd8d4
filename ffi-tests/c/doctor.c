/* A doctor: what this machine's libkrun can do, and what is in the way.
 *
 *     cc doctor.c $(pkg-config --cflags --libs krundl) -o doctor
 *     ./doctor [LIBKRUN]
 */
#include <krundl.h>
#include <stdio.h>

int main(int argc, char **argv) {
    krundl_probe_options probe_options = {.struct_size = sizeof probe_options};
    probe_options.library = argc > 1 ? argv[1] : NULL;

    krundl_probe *probe = NULL;
    krundl_error *error = NULL;
    if (krundl_probe_new(&probe_options, &probe, &error) == KRUNDL_STATUS_OK) {
        printf("%s\n", krundl_probe_description(probe));
        printf("  mounts: %s", krundl_probe_can_mount(probe) ? "yes" : "no");
        printf(", read-only: %s\n", krundl_probe_can_mount_read_only(probe) ? "yes" : "no");
        for (size_t i = 0; i < krundl_probe_evidence_count(probe); i++)
            printf("  %s: %s\n", krundl_probe_evidence_says(probe, i), krundl_probe_evidence_because(probe, i));
    } else {
        printf("%s\n", krundl_error_message(error));
        for (size_t i = 0; i < krundl_error_attempt_count(error); i++)
            printf("  tried %s: %s\n", krundl_error_attempt_candidate(error, i), krundl_error_attempt_kind(error, i));
    }
    krundl_error_free(error);
    krundl_probe_free(probe);

    krundl_doctor_options options = {.struct_size = sizeof options};
    options.probe = &probe_options;
    krundl_report *report = NULL;
    if (krundl_doctor(&options, &report, &error) != KRUNDL_STATUS_OK) {
        fprintf(stderr, "%s\n", krundl_error_message(error));
        krundl_error_free(error);
        return 2;
    }
    for (size_t i = 0; i < krundl_report_check_count(report); i++) {
        krundl_check_status status = krundl_report_check_status(report, i);
        if (status != KRUNDL_CHECK_STATUS_FAIL && status != KRUNDL_CHECK_STATUS_CRASH)
            continue;
        printf("in the way: %s: %s\n", krundl_report_check_id(report, i), krundl_report_check_summary(report, i));
        if (krundl_report_check_fix(report, i))
            printf("  fix: %s\n", krundl_report_check_fix(report, i));
    }
    int fine = krundl_report_is_fine(report, false);
    krundl_report_free(report);
    return fine ? 0 : 1;
}
