/* What the test programs share: checks that go on after a failure and name the line. */
#ifndef CHECK_H
#define CHECK_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int failures;

#define CHECK(what)                                                                \
    do {                                                                           \
        if (!(what)) {                                                             \
            failures++;                                                            \
            fprintf(stderr, "%s:%d: failed: %s\n", __FILE__, __LINE__, #what);     \
        }                                                                          \
    } while (0)

/* Two texts, either of which may be NULL. */
#define CHECK_TEXT(have, want) check_text(__FILE__, __LINE__, have, want)

static inline void check_text(const char *file, int line, const char *have, const char *want) {
    if (have == want || (have && want && strcmp(have, want) == 0))
        return;
    failures++;
    fprintf(stderr, "%s:%d: \"%s\" instead of \"%s\"\n", file, line, have ? have : "(NULL)", want ? want : "(NULL)");
}

/* That one text is part of another. */
#define CHECK_HAS(text, part) check_has(__FILE__, __LINE__, text, part)

static inline void check_has(const char *file, int line, const char *text, const char *part) {
    if (text && strstr(text, part))
        return;
    failures++;
    fprintf(stderr, "%s:%d: \"%s\" is not in \"%s\"\n", file, line, part, text ? text : "(NULL)");
}

/* Where krundl-test-stubs has built a library: NAME of tests/cases/cases.json. */
static inline const char *library(const char *name, const char *release) {
    static _Thread_local char path[4096];
    const char *cases = getenv("KRUNDL_TEST_CASES");
    if (!cases) {
        fprintf(stderr, "KRUNDL_TEST_CASES does not say where krundl-test-stubs has built its libraries\n");
        exit(2);
    }
    snprintf(path, sizeof path, "%s/libraries/%s/libkrun.so.%s", cases, name, release);
    return path;
}

/* A file or directory of the cases: root, data, empty, file. */
static inline const char *place(const char *name) {
    static _Thread_local char path[4096];
    snprintf(path, sizeof path, "%s/files/%s", getenv("KRUNDL_TEST_CASES"), name);
    return path;
}

#endif
