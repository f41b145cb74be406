/* cmd_doctor.c - nibble doctor: what this machine offers, and what keeps nibble from using it. */
#include "cli.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

extern char **environ;

typedef enum finding_verdict { GOOD, WARNING, SKIPPED, BAD } finding_verdict;

typedef struct doctor_findings {
    cli_table *table;
    json_t *json;
    int devices; /* that quantize */
} doctor_findings;

__attribute__((format(printf, 4, 5))) static void found(doctor_findings *f, finding_verdict verdict,
                                                        const char *topic, const char *format, ...)
{
    static const char *const names[] = {"ok", "warn", "skip", "fail"};
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    table_cell(f->table, "%s", names[verdict]);
    table_cell(f->table, "%s", topic);
    table_cell(f->table, "%s", text);
    json_array_append_new(f->json, json_pack("{s:s, s:s, s:o}", "verdict", names[verdict], "topic",
                                             topic, "text", json_text(text)));
}

static void find_build(doctor_findings *f)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    const char *how = ", with sanitizers";
#elif defined(__OPTIMIZE__)
    const char *how = "";
#else
    const char *how = ", not optimized";
#endif
#if defined(__clang__)
    found(f, GOOD, "nibble", "%s (clang %s%s)", nib_version(), __clang_version__, how);
#else
    found(f, GOOD, "nibble", "%s (gcc %s%s)", nib_version(), __VERSION__, how);
#endif
}

/* A limit of the control group, in which containers live; 0 where there is none. */
static uint64_t group_limit(void)
{
    FILE *file = fopen("/sys/fs/cgroup/memory.max", "re");
    unsigned long long limit = 0;
    if (!file) return 0;
    if (fscanf(file, "%llu", &limit) != 1) limit = 0;
    fclose(file);
    return limit;
}

static uint64_t available_memory(void)
{
    FILE *file = fopen("/proc/meminfo", "re");
    char line[128];
    unsigned long long kilobytes = 0;
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "MemAvailable: %llu", &kilobytes) == 1) break;
    if (file) fclose(file);
    return kilobytes * 1024;
}

static void find_memory(doctor_findings *f)
{
    char total[WORD_BYTES], free_text[WORD_BYTES], limit_text[WORD_BYTES];
    uint64_t bytes = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
    uint64_t limit = group_limit(), available = available_memory();
    int tight = available < (UINT64_C(2) << 30) || (limit && limit < (UINT64_C(2) << 30));
    found(f, tight ? WARNING : GOOD, "memory", "%s, %s available%s%s%s", word_bytes(bytes, total),
          word_bytes(available, free_text), limit ? ", limited to " : "",
          limit ? word_bytes(limit, limit_text) : "", tight ? "; use --max-memory below that" : "");
}

/* Opening a device builds and checks its kernels, so that the verdict is more than a name. */
static void find_device(doctor_findings *f, const nib_device_info *listed)
{
    nib_ctx *ctx;
    nib_options options = {.size = sizeof options};
    if (nib_open(listed->name, &options, &ctx) != NIB_OK) {
        found(f, BAD, listed->name, "%s: %s", listed->model, nib_last_error());
        return;
    }
    const nib_device_info *info = nib_ctx_device(ctx);
    char memory[WORD_BYTES];
    found(f, info->quantizes ? GOOD : WARNING, info->name, "%s%s%s%s, %d %s, %s%s%s%s%s",
          info->model, *info->driver ? " (" : "", info->driver, *info->driver ? ")" : "",
          info->units, info->units == 1 ? "unit" : "units", word_bytes(info->memory_bytes, memory),
          *info->features ? ", " : "", info->features, *info->note ? "; " : "", info->note);
    f->devices += info->quantizes != 0;
    nib_close(ctx);
}

static void find_devices(doctor_findings *f)
{
    nib_device_info *infos;
    size_t count;
    if (list_devices(&infos, &count) == NIB_OK) {
        for (size_t i = 0; i < count; i++) find_device(f, &infos[i]);
        free(infos);
    } else {
        found(f, BAD, "devices", "%s", nib_last_error());
    }
    nib_backend_info backend;
    int cuda = 0;
    for (size_t i = 0; nib_backend_at(i, &backend); i++) {
        if (!backend.devices) found(f, SKIPPED, backend.name, "%s", backend.note);
        cuda |= !strcmp(backend.name, "cuda");
    }
    if (!cuda) found(f, SKIPPED, "cuda", "this build has no CUDA backend; OpenCL drives the GPU");
}

static void find_places(doctor_findings *f)
{
    struct statvfs disk;
    char path[4096], text[WORD_BYTES];
    if (!statvfs(".", &disk)) {
        uint64_t bytes = (uint64_t)disk.f_bavail * disk.f_frsize;
        int writable = !access(".", W_OK);
        found(f, writable ? GOOD : WARNING, "disk", "this directory: %s free, %s",
              word_bytes(bytes, text), writable ? "writable" : "not writable");
    }
    if (!nib_cache_directory(path, sizeof path)) {
        found(f, SKIPPED, "cache", "built OpenCL programs are not kept");
        return;
    }
    char existing[sizeof path];
    memcpy(existing, path, sizeof path);
    existing_directory(existing);
    if (!access(existing, W_OK | X_OK)) found(f, GOOD, "cache", "%s", path);
    else
        found(f, WARNING, "cache",
              "%s: %s; set NIBBLE_CACHE_DIR, or each run builds its OpenCL programs anew", path,
              strerror(errno));
}

static void find_variables(doctor_findings *f)
{
    for (char **at = environ; *at; at++) {
        if (strncmp(*at, "NIBBLE_", 7) != 0) continue;
        char name[64], hint[96];
        snprintf(name, sizeof name, "%.*s", (int)strcspn(*at, "="), *at);
        cli_nearest near = nearest_start(name);
        const nib_variable *variable = NULL, *row;
        for (size_t i = 0; (row = nib_variable_at(i)) != NULL; i++) {
            nearest_offer(&near, row->name);
            if (!strcmp(row->name, name)) variable = row;
        }
        if (variable) found(f, GOOD, "environment", "%s: %s", *at, variable->text);
        else
            found(f, WARNING, "environment", "%s: nibble reads no such variable%s", *at,
                  nearest_hint(&near, hint));
    }
}

int cmd_doctor(const cli_command *command, const cli_settings *settings)
{
    (void)command;
    doctor_findings f = {table_new("verdict|what|found", settings->as), json_array(), 0};
    find_build(&f);
    find_memory(&f);
    find_devices(&f);
    find_places(&f);
    find_variables(&f);
    int code = f.devices ? 0 : 6;
    json_t *result = json_result("doctor");
    json_object_set_new(result, "devices", json_integer(f.devices));
    json_object_set_new(result, "findings", f.json);
    if (settings->as == AS_JSON) {
        table_free(f.table);
        int printed = json_print(result);
        return printed ? printed : code;
    }
    json_decref(result);
    int printed = table_print(f.table);
    if (printed) return printed;
    if (!f.devices) return fail(code, "no device quantizes; see the lines above");
    if (settings->as == AS_TEXT) puts("\nnext: nibble selftest, nibble inspect MODEL");
    return 0;
}
