/* opencl_program.c - from kernel sources to built programs. */
#include "opencl.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NIB_OPENCL_HEADER(path, blob) extern const unsigned char nib_blob_##blob[];
#define NIB_OPENCL_MODULE(module, path, blob, dots) extern const unsigned char nib_blob_##blob[];
#include "opencl_sources.def"

typedef struct source_file {
    const char *path;
    const unsigned char *blob; /* NUL-terminated */
    int dots;                  /* a module's: it may use integer dot products */
} source_file;

static const source_file headers[] = {
#define NIB_OPENCL_HEADER(path, blob) {path, nib_blob_##blob, 0},
#include "opencl_sources.def"
};

static const source_file modules[] = {
#define NIB_OPENCL_MODULE(module, path, blob, dots) {path, nib_blob_##blob, dots},
#include "opencl_sources.def"
};

enum { HEADER_COUNT = sizeof headers / sizeof headers[0], SOURCE_MAX = 1 << 20 };

/* A growing text. */
typedef struct text {
    char *data;
    size_t used, size;
} text;

static nib_status append(text *t, const char *data, size_t bytes)
{
    if (t->used + bytes >= t->size) {
        size_t size = 2 * (t->used + bytes) + 1;
        char *grown = realloc(t->data, size);
        if (!grown)
            return NIB_FAIL(NIB_E_MEMORY, "no memory for a kernel source (%zu bytes)", size);
        t->data = grown;
        t->size = size;
    }
    memcpy(t->data + t->used, data, bytes);
    t->used += bytes;
    t->data[t->used] = 0;
    return NIB_OK;
}

static nib_status append_disk(text *t, const char *directory, const char *path)
{
    char full[4096];
    snprintf(full, sizeof full, "%s/%s", directory, path);
    FILE *file = fopen(full, "rb");
    if (!file)
        return NIB_FAIL(NIB_E_NOT_FOUND,
                        "%s: %s; NIBBLE_KERNEL_DIR must name a copy of nibble's kernels/", full,
                        strerror(errno));
    char buffer[4096];
    nib_status status = NIB_OK;
    for (size_t got; status == NIB_OK && (got = fread(buffer, 1, sizeof buffer, file)) > 0;) {
        status = append(t, buffer, got);
        if (status == NIB_OK && t->used > SOURCE_MAX)
            status = NIB_FAIL(NIB_E_NOT_FOUND, "%s: more than %d bytes; that is no kernel source",
                              full, (int)SOURCE_MAX);
    }
    if (status == NIB_OK && ferror(file)) status = NIB_FAIL(NIB_E_IO, "%s: cannot be read", full);
    fclose(file);
    return status;
}

/* Every header stands in front of the module, so #include "..." has nothing left to do: the line
 * becomes a comment, and lines keep their numbers. */
static void blank_includes(char *source)
{
    for (char *at = source; (at = strstr(at, "#include \"")); at++) memcpy(at, "//", 2);
}

static nib_status append_file(text *t, const source_file *file)
{
    const char *directory = nib_env_get(NIB_ENV_KERNEL_DIR);
    char line[128];
    int length = snprintf(line, sizeof line, "\n#line 1 \"%s\"\n", file->path);
    NIB_TRY(append(t, line, (size_t)length));
    size_t start = t->used;
    if (directory) NIB_TRY(append_disk(t, directory, file->path));
    else NIB_TRY(append(t, (const char *)file->blob, strlen((const char *)file->blob)));
    blank_includes(t->data + start);
    return NIB_OK;
}

nib_status nib_opencl_source(nib_opencl_module module, char **source_ret)
{
    text t = {NULL, 0, 0};
    nib_status status = NIB_OK;
    for (size_t i = 0; status == NIB_OK && i < HEADER_COUNT; i++)
        status = append_file(&t, &headers[i]);
    if (status == NIB_OK) status = append_file(&t, &modules[module]);
    if (status != NIB_OK) {
        free(t.data);
        return status;
    }
    *source_ret = t.data;
    return NIB_OK;
}

static const char *options_of(const nib_opencl_device *device, nib_opencl_module module)
{
    return modules[module].dots ? device->dot_options : device->options;
}

/* The first line of the build log that speaks of an error, or its first line. */
static nib_status fail_build(const nib_opencl_device *device, cl_program program,
                             nib_opencl_module module, cl_int error)
{
    char log[16384] = "", number[32];
    size_t bytes = 0;
    nib_cl.clGetProgramBuildInfo(program, device->id, CL_PROGRAM_BUILD_LOG, 0, NULL, &bytes);
    char *whole = calloc(1, bytes + 1);
    if (whole)
        nib_cl.clGetProgramBuildInfo(program, device->id, CL_PROGRAM_BUILD_LOG, bytes, whole, NULL);
    snprintf(log, sizeof log, "%s", whole ? whole : "");
    free(whole);
    const char *line = log + strspn(log, " \t\r\n");
    for (const char *at = line; *at; at += strcspn(at, "\n"), at += *at == '\n') {
        const char *found = strstr(at, "error:");
        if (!found || found > at + strcspn(at, "\n")) continue;
        line = at;
        break;
    }
    if (!*line) line = "the driver gives no reason";
    return NIB_FAIL(NIB_E_DEVICE, "%s: %s does not build: %.*s (%s; %s; options %s)",
                    device->info.name, modules[module].path, (int)strcspn(line, "\r\n"), line,
                    nib_opencl_error(error, number), device->info.model,
                    options_of(device, module));
}

/* From a binary of an earlier build; NULL where the driver does not take it. */
static cl_program from_binary(const nib_opencl_device *device, cl_context context,
                              const char *options, const unsigned char *binary, size_t bytes)
{
    cl_int error, binary_status;
    cl_program program = nib_cl.clCreateProgramWithBinary(context, 1, &device->id, &bytes, &binary,
                                                          &binary_status, &error);
    if (error != CL_SUCCESS) return NULL;
    error = nib_cl.clBuildProgram(program, 1, &device->id, options, NULL, NULL);
    if (error == CL_SUCCESS) return program;
    nib_cl.clReleaseProgram(program);
    return NULL;
}

static void keep_binary(cl_program program, const nib_cache_key key)
{
    size_t bytes = 0;
    if (nib_cl.clGetProgramInfo(program, CL_PROGRAM_BINARY_SIZES, sizeof bytes, &bytes, NULL) !=
            CL_SUCCESS ||
        bytes == 0)
        return;
    unsigned char *binary = malloc(bytes);
    if (binary && nib_cl.clGetProgramInfo(program, CL_PROGRAM_BINARIES, sizeof binary, &binary,
                                          NULL) == CL_SUCCESS)
        nib_cache_put(key, binary, bytes);
    free(binary);
}

static nib_status from_source(const nib_opencl_device *device, cl_context context,
                              nib_opencl_module module, const char *source, cl_program *program_ret)
{
    cl_int error;
    cl_program program = nib_cl.clCreateProgramWithSource(context, 1, &source, NULL, &error);
    if (error != CL_SUCCESS)
        return nib_opencl_fail(device, "clCreateProgramWithSource", error, "%s",
                               modules[module].path);
    error = nib_cl.clBuildProgram(program, 1, &device->id, options_of(device, module), NULL, NULL);
    if (error != CL_SUCCESS) {
        nib_status status = fail_build(device, program, module, error);
        nib_cl.clReleaseProgram(program);
        return status;
    }
    *program_ret = program;
    return NIB_OK;
}

nib_status nib_opencl_build(const nib_opencl_device *device, cl_context context,
                            nib_opencl_module module, cl_program *program_ret)
{
    char *source;
    const char *options = options_of(device, module);
    NIB_TRY(nib_opencl_source(module, &source));
    const nib_cache_key key = {"program", device->identity, options, source};
    size_t bytes;
    unsigned char *binary = nib_cache_get(key, &bytes);
    cl_program program = binary ? from_binary(device, context, options, binary, bytes) : NULL;
    free(binary);
    nib_status status = NIB_OK;
    if (!program) {
        status = from_source(device, context, module, source, &program);
        if (status == NIB_OK) keep_binary(program, key);
    }
    free(source);
    if (status == NIB_OK) *program_ret = program;
    return status;
}
