/* check_golden.h - the hand-made malformed and unusual files of tests/golden: what their manifests
 * say must hold. */
#ifndef NIB_CHECK_GOLDEN_H
#define NIB_CHECK_GOLDEN_H

#include "check.h"

#include "../include/nibble_file.h"
#include "check_file.h"

#include <jansson.h>

#define GOLDEN NIBBLE_SOURCE_DIR "/tests/golden/"

static inline int is_one_line_about(const char *text, const char *file)
{
    const char *slash = strrchr(file, '/');
    return *text && !strchr(text, '\n') &&
           (strstr(text, ".safetensors") || strstr(text, ".gguf") ||
            strstr(text, slash ? slash + 1 : file));
}

/* A pointer's alignment is NIB_E_ALIGN; that of a file's data has a status of its own. */
static inline int is_class(nib_status status, const json_t *name)
{
    const char *expected = json_string_value(name);
    if (!strcmp(expected, "E_ALIGN")) return status == NIB_E_ALIGNMENT;
    return !strcmp(nib_status_name(status), expected);
}

/* The status is one of those that the manifest names, the text one line that names the file, and
 * the exit code 3. */
static inline void check_refused(const char *path, const json_t *entry)
{
    nib_file *file = NULL;
    nib_status status = nib_file_open(path, NULL, &file);
    const char *id = json_string_value(json_object_get(entry, "id"));
    int expected = is_class(status, json_object_get(entry, "class"));
    size_t i;
    const json_t *also;
    json_array_foreach(json_object_get(entry, "also"), i, also) expected |= is_class(status, also);
    int either = !strcmp(json_string_value(json_object_get(entry, "verdict")), "either");
    CHECK(expected || (either && status == NIB_OK), "%s: %s: %s", id, nib_status_name(status),
          nib_last_error());
    if (status != NIB_OK) {
        CHECK(!file && nib_status_exit_code(status) == 3, "%s", id);
        CHECK(is_one_line_about(nib_last_error(), path), "%s: %s", id, nib_last_error());
    }
    nib_file_close(file);
}

static inline void check_consistent(const nib_file *file, const char *id)
{
    const char *fault = file_fault(file);
    CHECK(!fault, "%s: %s", id, fault);
    CHECK_OK(nib_file_unchanged(file));
}

static inline void check_accepted(const char *path, const json_t *entry)
{
    nib_file *file;
    const char *id = json_string_value(json_object_get(entry, "id"));
    if (!CHECK(nib_file_open(path, NULL, &file) == NIB_OK, "%s: %s", id, nib_last_error())) return;
    check_consistent(file, id);
    nib_file_close(file);
}

static inline void test_golden(const char *set,
                               void (*check)(const char *path, const json_t *entry), size_t least)
{
    char path[1024];
    json_error_t error;
    snprintf(path, sizeof path, GOLDEN "%s/manifest.json", set);
    json_t *manifest = json_load_file(path, JSON_REJECT_DUPLICATES, &error);
    json_t *entries = json_object_get(manifest, "entries"), *entry;
    size_t i;
    if (!CHECK(json_array_size(entries) >= least, "%s", error.text)) return;
    json_array_foreach(entries, i, entry)
    {
        const char *name = json_string_value(json_object_get(entry, "file"));
        snprintf(path, sizeof path, GOLDEN "%s/%s", set, name);
        check(path, entry);
        char *slash = strrchr(name, '/') ? strrchr(path, '/') : NULL;
        if (slash) { /* a set with an index: opened by its directory too */
            *slash = '\0';
            check(path, entry);
        }
    }
    json_decref(manifest);
}

#endif
