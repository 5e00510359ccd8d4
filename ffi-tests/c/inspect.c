/* Files looked at without opening them. */
#include <krundl.h>

#include "check.h"

static krundl_inspection *inspected(const char *path) {
    const char *files[] = {path, NULL};
    krundl_inspection *found = NULL;
    krundl_error *error = (krundl_error *)8;
    CHECK(krundl_inspect(files, NULL, &found, &error) == KRUNDL_STATUS_OK && error == NULL);
    CHECK(krundl_inspection_count(found) == 1);
    return found;
}

static void a_file_tells_what_it_is_and_what_it_can(void) {
    /* It aborts when it is opened. */
    krundl_inspection *found = inspected(library("aborts", "1.18.0"));
    CHECK_TEXT(krundl_inspection_path(found, 0), library("aborts", "1.18.0"));
    CHECK_TEXT(krundl_inspection_real_path(found, 0), library("aborts", "1.18.0"));
    CHECK(krundl_inspection_error_kind(found, 0) == NULL && krundl_inspection_error_message(found, 0) == NULL);
#ifdef __x86_64__
    CHECK_TEXT(krundl_inspection_architecture(found, 0), "x86_64");
#endif
    CHECK_TEXT(krundl_inspection_format(found, 0), "elf");
    CHECK_TEXT(krundl_inspection_soname(found, 0), "libkrun.so.1");
    CHECK_TEXT(krundl_inspection_flavour(found, 0), "plain");
    CHECK_TEXT(krundl_inspection_version(found, 0), "=1.18.0");
    CHECK(krundl_inspection_has(found, 0, "krun_add_virtiofs3") == 1);
    CHECK(krundl_inspection_has(found, 0, "krun_add_virtiofs4") == 0);
    CHECK(krundl_inspection_has(found, 0, "krun_cheese") == -1 && krundl_inspection_has(found, 0, "\xff") == -1);
    CHECK(krundl_inspection_feature(found, 0, "net") == KRUNDL_FEATURE_STATE_YES);
    CHECK(krundl_inspection_feature(found, 0, "tee") == KRUNDL_FEATURE_STATE_NO);
    CHECK(krundl_inspection_feature(found, 0, "gpu") == KRUNDL_FEATURE_STATE_UNASKED);
    CHECK(krundl_inspection_feature(found, 0, "cheese") == KRUNDL_FEATURE_STATE_NO_SUCH_FEATURE);
    size_t witnesses = krundl_inspection_evidence_count(found, 0), names = 0;
    for (size_t i = 0; i < witnesses; i++) {
        CHECK(krundl_inspection_evidence_says(found, 0, i) && krundl_inspection_evidence_because(found, 0, i));
        names += strcmp(krundl_inspection_evidence_kind(found, 0, i), "file_name") == 0;
    }
    CHECK(witnesses > 2 && names == 1 && krundl_inspection_conflict_count(found, 0) == 0);
    CHECK(krundl_inspection_evidence_kind(found, 0, witnesses) == NULL);
    CHECK(krundl_inspection_needed_count(found, 0) > 0 && krundl_inspection_needed(found, 0, 0) != NULL);
    CHECK(krundl_inspection_needed(found, 0, 99) == NULL && krundl_inspection_run_path(found, 0, 0) == NULL);
    (void)krundl_inspection_build_id(found, 0);
    CHECK(krundl_inspection_firmware_count(found, 0) == 0 || krundl_inspection_firmware(found, 0, 0) != NULL);
    CHECK_HAS(krundl_inspection_json(found), "\"krun_add_virtiofs3\": true");
    CHECK(krundl_inspection_json(found) == krundl_inspection_json(found));
    CHECK_HAS(krundl_inspection_text(found), "=1.18.0");
    /* There is one item. */
    for (size_t beyond = 1; beyond; beyond <<= 1) {
        CHECK(krundl_inspection_path(found, beyond) == NULL && krundl_inspection_version(found, beyond) == NULL);
        CHECK(krundl_inspection_has(found, beyond, "krun_add_virtiofs3") == -1);
        CHECK(krundl_inspection_evidence_count(found, beyond) == 0 && krundl_inspection_needed(found, beyond, 0) == NULL);
    }
    krundl_inspection_free(found);

    found = inspected(library("renamed", "1.16.0"));
    CHECK_TEXT(krundl_inspection_version(found, 0), ">=1.18.0, <1.19.0");
    CHECK(krundl_inspection_conflict_count(found, 0) == 1);
    CHECK_HAS(krundl_inspection_conflict(found, 0, 0), "libkrun.so.1.16.0");
    krundl_inspection_free(found);

    found = inspected(library("fork", "1.19.7"));
    CHECK_TEXT(krundl_inspection_version(found, 0), "*");
    CHECK(krundl_inspection_unknown_function_count(found, 0) == 1);
    CHECK_TEXT(krundl_inspection_unknown_function(found, 0, 0), "krun_set_snapshot");
    krundl_inspection_free(found);
}

static void a_file_that_is_no_libkrun_is_no_failure(void) {
    krundl_inspection *found = inspected("/bin/sh");
    CHECK(krundl_inspection_error_kind(found, 0) == NULL && krundl_inspection_architecture(found, 0) != NULL);
    CHECK(krundl_inspection_version(found, 0) == NULL && krundl_inspection_flavour(found, 0) == NULL);
    krundl_inspection_free(found);

    const char *files[] = {library("text", "1"), "/nowhere/libkrun.so.1", NULL};
    CHECK(krundl_inspect(files, NULL, &found, NULL) == KRUNDL_STATUS_OK);
    CHECK(krundl_inspection_count(found) == 2);
    CHECK_TEXT(krundl_inspection_error_kind(found, 0), "not_a_library");
    CHECK_TEXT(krundl_inspection_error_kind(found, 1), "missing");
    CHECK_TEXT(krundl_inspection_error_message(found, 1), "no such file");
    CHECK_TEXT(krundl_inspection_path(found, 1), "/nowhere/libkrun.so.1");
    CHECK(krundl_inspection_real_path(found, 1) == NULL && krundl_inspection_architecture(found, 1) == NULL);
    CHECK(krundl_inspection_has(found, 1, "krun_add_virtiofs3") == -1);
    CHECK(krundl_inspection_feature(found, 1, "net") == KRUNDL_FEATURE_STATE_NO_SUCH_FEATURE);
    krundl_inspection_free(found);
}

static void paths_are_those_in_a_root(void) {
    char root[4096];
    snprintf(root, sizeof root, "%s/libraries/1.18.0", getenv("KRUNDL_TEST_CASES"));
    const char *files[] = {"/libkrun.so.1.18.0", NULL};
    krundl_inspection *found = NULL;
    CHECK(krundl_inspect(files, root, &found, NULL) == KRUNDL_STATUS_OK);
    CHECK_TEXT(krundl_inspection_path(found, 0), "/libkrun.so.1.18.0");
    CHECK_TEXT(krundl_inspection_version(found, 0), "=1.18.0");
    krundl_inspection_free(found);
    /* A root without a libkrun in the usual places has nothing to tell, and that is no failure. */
    CHECK(krundl_inspect(NULL, place("empty"), &found, NULL) == KRUNDL_STATUS_OK);
    CHECK(krundl_inspection_count(found) == 0 && krundl_inspection_path(found, 0) == NULL);
    CHECK_TEXT(krundl_inspection_json(found), "[]");
    krundl_inspection_free(found);
    krundl_error *error = NULL;
    found = (krundl_inspection *)8;
    CHECK(krundl_inspect(NULL, NULL, &found, &error) == KRUNDL_STATUS_INVALID_ARGUMENT && found == NULL);
    CHECK_HAS(krundl_error_message(error), "files: there are none");
    krundl_error_free(error);
}

int main(void) {
    a_file_tells_what_it_is_and_what_it_can();
    a_file_that_is_no_libkrun_is_no_failure();
    paths_are_those_in_a_root();
    return failures != 0;
}
