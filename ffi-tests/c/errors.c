/* Failures as objects: everything that they can be asked, and what is never a crash. */
#include <krundl.h>

#include "check.h"

static krundl_status probe(const char *path, krundl_probe **out, krundl_error **error) {
    krundl_probe_options options = {.struct_size = sizeof options};
    options.library = path;
    return krundl_probe_new(&options, out, error);
}

static void an_error_tells_everything_once_and_belongs_to_the_caller(void) {
    krundl_probe *out = NULL;
    krundl_error *error = NULL;
    CHECK(probe(library("text", "1"), &out, &error) == KRUNDL_STATUS_LIBRARY_NOT_FOUND);
    CHECK(out == NULL);
    CHECK(krundl_error_status(error) == KRUNDL_STATUS_LIBRARY_NOT_FOUND);
    CHECK_HAS(krundl_error_message(error), "no usable libkrun");
    CHECK_HAS(krundl_error_json(error), "\"code\": 100");
    CHECK(krundl_error_json(error) == krundl_error_json(error));
    CHECK(krundl_error_words(error) == NULL);
    CHECK(krundl_error_function(error) == NULL);
    CHECK(krundl_error_errno(error) == 0);
    CHECK(krundl_error_problem_count(error) == 0);
    CHECK(krundl_error_attempt_count(error) == 1);
    CHECK_TEXT(krundl_error_attempt_candidate(error, 0), library("text", "1"));
    CHECK_TEXT(krundl_error_attempt_origin(error, 0), "explicit");
    CHECK_TEXT(krundl_error_attempt_kind(error, 0), "not_a_library");
    CHECK(krundl_error_attempt_message(error, 0) != NULL);
    for (size_t beyond = 1; beyond; beyond <<= 1) {
        CHECK(krundl_error_attempt_candidate(error, beyond) == NULL);
        CHECK(krundl_error_problem_field(error, beyond) == NULL);
    }
    krundl_error_free(error);
    /* Who does not want to know need not. */
    CHECK(probe(library("text", "1"), &out, NULL) == KRUNDL_STATUS_LIBRARY_NOT_FOUND);
}

static void problems_have_their_needs(void) {
    krundl_probe *old = NULL;
    CHECK(probe(library("1.17.4", "1.17.4"), &old, NULL) == KRUNDL_STATUS_OK);
    krundl_spec *spec = krundl_spec_new(1, 256);
    krundl_spec_set_root_dir(spec, place("root"), false);
    krundl_spec_set_exec(spec, "/bin/sh");
    krundl_spec_add_mount(spec, place("data"), NULL, true);
    krundl_spec_set_sound(spec, true);
    krundl_plan *plan = NULL;
    krundl_error *error = NULL;
    CHECK(krundl_plan_new(old, spec, &plan, &error) == KRUNDL_STATUS_UNSUPPORTED);
    CHECK(krundl_error_problem_count(error) == 2);
    CHECK_TEXT(krundl_error_problem_field(error, 0), "sound");
    CHECK_TEXT(krundl_error_problem_built_with(error, 0), "snd");
    CHECK_TEXT(krundl_error_problem_field(error, 1), "mounts[0].read_only");
    CHECK_TEXT(krundl_error_problem_kind(error, 1), "unsupported");
    CHECK_TEXT(krundl_error_problem_function(error, 1), "krun_add_virtiofs3");
    CHECK_TEXT(krundl_error_problem_since(error, 1), "1.18.0");
    CHECK(krundl_error_problem_reason(error, 0) && krundl_error_problem_reason(error, 1));
    (void)krundl_error_problem_fix(error, 0);
    krundl_error_free(error);

    /* The same without a plan. */
    CHECK(krundl_check(old, spec, &error) == KRUNDL_STATUS_UNSUPPORTED);
    CHECK(krundl_error_problem_count(error) == 2);
    CHECK_TEXT(krundl_error_problem_field(error, 1), "mounts[0].read_only");
    krundl_error_free(error);
    krundl_spec_free(spec);
    CHECK(krundl_check_json(old, "{\"vcpus\": 0}", &error) == KRUNDL_STATUS_INVALID_SPEC);
    CHECK(krundl_error_problem_count(error) > 1);
    krundl_error_free(error);
    spec = krundl_spec_new(1, 256);
    krundl_spec_set_root_dir(spec, place("root"), false);
    krundl_spec_set_exec(spec, "/bin/sh");
    error = (krundl_error *)8;
    CHECK(krundl_check(old, spec, &error) == KRUNDL_STATUS_OK && error == NULL);
    const char *json = NULL;
    CHECK(krundl_spec_json(spec, &json, NULL) == KRUNDL_STATUS_OK);
    CHECK(krundl_check_json(old, json, &error) == KRUNDL_STATUS_OK && error == NULL);
    krundl_spec_free(spec);
    krundl_probe_free(old);
}

static void arguments_are_checked_and_out_and_error_always_written(void) {
    krundl_probe *out = (krundl_probe *)8;
    krundl_error *error = (krundl_error *)8;
    CHECK(krundl_plan_new(NULL, NULL, (krundl_plan **)&out, &error) == KRUNDL_STATUS_INVALID_ARGUMENT);
    CHECK(out == NULL);
    CHECK_HAS(krundl_error_message(error), "probe: is NULL");
    krundl_error_free(error);
    error = (krundl_error *)8;
    CHECK(probe(library("1.18.0", "1.18.0"), &out, &error) == KRUNDL_STATUS_OK);
    CHECK(error == NULL);

    krundl_probe_options unsized_options = {0};
    krundl_probe *other = NULL;
    CHECK(krundl_probe_new(&unsized_options, &other, &error) == KRUNDL_STATUS_INVALID_ARGUMENT);
    CHECK_HAS(krundl_error_message(error), "struct_size");
    krundl_error_free(error);

    krundl_plan *plan = NULL;
    CHECK(krundl_plan_from_json(out, "\xff", &plan, &error) == KRUNDL_STATUS_INVALID_ARGUMENT);
    CHECK_HAS(krundl_error_message(error), "json: is not UTF-8");
    krundl_error_free(error);
    krundl_spec *spec = NULL;
    CHECK(krundl_spec_from_json("{}", &spec, &error) == KRUNDL_STATUS_INVALID_SPEC);
    CHECK_TEXT(krundl_error_problem_field(error, 0), "vcpus");
    krundl_error_free(error);

    krundl_report *report = NULL;
    const char *only[] = {"no-such-check", NULL};
    krundl_doctor_options doctor = {.struct_size = sizeof doctor};
    doctor.only = only;
    CHECK(krundl_doctor(&doctor, &report, &error) == KRUNDL_STATUS_INVALID_ARGUMENT);
    CHECK_HAS(krundl_error_message(error), "no-such-check");
    krundl_error_free(error);
    doctor.only = NULL;
    doctor.compare = "one";
    CHECK(krundl_doctor(&doctor, &report, &error) == KRUNDL_STATUS_INVALID_ARGUMENT);
    krundl_error_free(error);
    doctor.compare = "\xff";
    CHECK(krundl_doctor(&doctor, &report, NULL) == KRUNDL_STATUS_INVALID_ARGUMENT);
    krundl_probe_free(out);
}

static void questions_about_what_there_is_not_have_an_answer(void) {
    krundl_probe *probed = NULL;
    CHECK(probe(library("1.18.0", "1.18.0"), &probed, NULL) == KRUNDL_STATUS_OK);
    CHECK(krundl_probe_level(probed, "cheese") == -1);
    CHECK(krundl_probe_level(probed, NULL) == -1);
    CHECK(krundl_probe_level(NULL, "virtiofs") == -1);
    CHECK(krundl_probe_support(probed, "krun_cheese") == KRUNDL_SUPPORT_NO_SUCH_FUNCTION);
    CHECK(krundl_probe_feature(probed, "\xff") == KRUNDL_FEATURE_STATE_NO_SUCH_FEATURE);
    CHECK(krundl_probe_has(probed, "krun_add_virtiofs3") && !krundl_probe_has(probed, "krun_add_virtiofs4"));
    CHECK(krundl_probe_at_least(probed, "1.18.0") == 1);
    CHECK(krundl_probe_at_least(probed, "1.19.0") == 0);
    CHECK(krundl_probe_at_least(probed, "new") == -1);
    CHECK(krundl_probe_can_mount(probed) && krundl_probe_can_mount_read_only(probed));
    CHECK_TEXT(krundl_probe_real_path(probed), library("1.18.0", "1.18.0"));
    CHECK_TEXT(krundl_probe_path(probed), library("1.18.0", "1.18.0"));
    CHECK_TEXT(krundl_probe_soname(probed), "libkrun.so.1");
    CHECK_TEXT(krundl_probe_flavour(probed), "plain");
    CHECK_HAS(krundl_probe_description(probed), "libkrun =1.18.0 (/");
    CHECK_HAS(krundl_probe_generation_reason(probed), "contexts");
    CHECK_HAS(krundl_probe_json(probed), "\"krun_add_virtiofs3\": true");
    CHECK(krundl_probe_function_count(probed) > 50);
    CHECK(krundl_probe_words(probed) == NULL && krundl_probe_died(probed) == NULL);
    CHECK(krundl_probe_attempt_count(probed) == 1 && krundl_probe_attempt_kind(probed, 0) == NULL);
    CHECK(krundl_probe_evidence_count(probed) > 1 && krundl_probe_conflict_count(probed) == 0);
    CHECK_TEXT(krundl_probe_evidence_kind(probed, 0), "function_present");
    CHECK(krundl_probe_evidence_says(probed, 99) == NULL && krundl_probe_conflict(probed, 0) == NULL);
    krundl_probe_free(probed);

    CHECK(probe(library("renamed", "1.16.0"), &probed, NULL) == KRUNDL_STATUS_OK);
    CHECK(krundl_probe_conflict_count(probed) == 1);
    CHECK_HAS(krundl_probe_conflict(probed, 0), "libkrun.so.1.16.0");
    krundl_probe_free(probed);
}

static void the_version_is_that_of_the_header(void) {
    CHECK(krundl_abi_version() == KRUNDL_ABI_VERSION);
    CHECK_TEXT(krundl_version(), KRUNDL_VERSION);
    char text[32];
    snprintf(text, sizeof text, "%d.%d.%d", KRUNDL_VERSION_MAJOR, KRUNDL_VERSION_MINOR, KRUNDL_VERSION_PATCH);
    CHECK_TEXT(text, KRUNDL_VERSION);
    CHECK_TEXT(krundl_status_name(KRUNDL_STATUS_OK), "ok");
    CHECK_TEXT(krundl_status_name(KRUNDL_STATUS_GUEST_LOST), "guest_lost");
    CHECK_TEXT(krundl_status_name(1), NULL);
    CHECK_TEXT(krundl_status_name(-1), NULL);
}

static void a_doctor_finds_the_library_and_what_is_in_the_way(void) {
    krundl_probe_options which = {.struct_size = sizeof which};
    which.library = library("1.17.4", "1.17.4");
    krundl_spec *spec = krundl_spec_new(1, 256);
    krundl_spec_add_mount(spec, place("data"), "/workspace", true);
    const char *only[] = {"mount", "library", NULL};
    krundl_doctor_options options = {.struct_size = sizeof options};
    options.probe = &which;
    options.mounts_of = spec;
    options.compare = "1.18.0";
    krundl_report *report = NULL;
    CHECK(krundl_doctor(&options, &report, NULL) == KRUNDL_STATUS_OK);
    size_t count = krundl_report_check_count(report), bad = 0, mounts = 0;
    CHECK(count > 10);
    for (size_t i = 0; i < count; i++) {
        CHECK(krundl_report_check_id(report, i) && krundl_report_check_summary(report, i));
        (void)krundl_report_check_detail(report, i);
        (void)krundl_report_check_fix(report, i);
        const char *subject = krundl_report_check_subject(report, i);
        mounts += subject && strstr(subject, "/workspace") != NULL;
        bad += krundl_report_check_status(report, i) == KRUNDL_CHECK_STATUS_FAIL;
    }
    CHECK(bad > 0 && mounts > 0);
    CHECK(!krundl_report_is_fine(report, false) && !krundl_report_is_fine(report, true));
    CHECK(krundl_report_check_status(report, count) == KRUNDL_CHECK_STATUS_NONE);
    CHECK_HAS(krundl_report_text(report), "1.17.4");
    CHECK_HAS(krundl_report_json(report), "\"schema_version\"");
    krundl_report_free(report);
    options.only = only + 1;
    CHECK(krundl_doctor(&options, &report, NULL) == KRUNDL_STATUS_OK);
    CHECK(krundl_report_check_count(report) < count);
    krundl_report_free(report);
    krundl_spec_free(spec);
}

int main(void) {
    an_error_tells_everything_once_and_belongs_to_the_caller();
    problems_have_their_needs();
    arguments_are_checked_and_out_and_error_always_written();
    questions_about_what_there_is_not_have_an_answer();
    the_version_is_that_of_the_header();
    a_doctor_finds_the_library_and_what_is_in_the_way();
    return failures != 0;
}
