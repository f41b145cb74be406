/* test_mutation.c - every small damage to a valid checkpoint: each truncation, each bit flipped,
 * each byte replaced, each length replaced. Nothing may crash, and what is accepted must be
 * consistent. */
#include "check.h"

#include "check_file.h"
#include "make_file.h"

#include <fcntl.h>

static char *dir;
static long accepted, refused;

static void try_open(const char *path, const char *what)
{
    nib_file *file = NULL;
    nib_status status = nib_file_open(path, NULL, &file);
    if (status != NIB_OK) {
        refused++;
        int code = nib_status_exit_code(status);
        CHECK(!file && (code == 3 || code == 5), "%s: %s", what, nib_status_name(status));
        CHECK(*nib_last_error() && !strchr(nib_last_error(), '\n'), "%s", what);
        return;
    }
    accepted++;
    const char *fault = file_fault(file);
    CHECK(!fault, "%s: %s", what, fault);
    nib_file_close(file);
}

/* In place: a file system may write a file at once that is made anew. */
static void put(int fd, const void *bytes, size_t count)
{
    CHECK(pwrite(fd, bytes, count, 0) == (ssize_t)count && !ftruncate(fd, (off_t)count));
}

/* Damages DIR/NAME in every way and opens `path` each time. */
static void mutate(const char *name, const unsigned char *bytes, size_t count, const char *path)
{
    static unsigned char changed[MADE_BYTES];
    static const uint64_t lengths[] = {0,
                                       1,
                                       2,
                                       0x7fffffff,
                                       0x80000000,
                                       0x100000000,
                                       (uint64_t)1 << 63,
                                       ((uint64_t)1 << 63) - 1,
                                       UINT64_MAX,
                                       UINT64_MAX - 7};
    static const unsigned char replacements[] = {0,   ' ', '"', '\\', '{', '}', '[',  ']',  ',',
                                                 ':', '0', '9', '-',  '.', 'e', 0x7f, 0x80, 0xff};
    char target[300], what[64];
    snprintf(target, sizeof target, "%s/%s", dir, name);
    int fd = open(target, O_RDWR | O_CREAT, 0600);
    if (!CHECK(fd >= 0, "%s", target)) return;
    for (size_t n = 0; n < count; n++) {
        snprintf(what, sizeof what, "%s cut to %zu", name, n);
        put(fd, bytes, n);
        try_open(path, what);
    }
    memcpy(changed, bytes, count);
    for (size_t at = 0; at < count; at++) {
        for (size_t i = 0; i < 8 + sizeof replacements; i++) {
            int value = i < 8 ? bytes[at] ^ 1 << i : replacements[i - 8];
            changed[at] = (unsigned char)value;
            snprintf(what, sizeof what, "%s byte %zu is %u", name, at, changed[at]);
            put(fd, changed, count);
            try_open(path, what);
        }
        changed[at] = bytes[at];
    }
    for (size_t at = 0; at + 8 <= count; at += 8) {
        for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
            memcpy(changed + at, &lengths[i], 8);
            snprintf(what, sizeof what, "%s word at %zu", name, at);
            put(fd, changed, count);
            try_open(path, what);
        }
        memcpy(changed + at, bytes + at, 8);
    }
    put(fd, bytes, count);
    close(fd);
}

static const char config[] =
    "{\"quantization_config\":{\"config_groups\":{\"a\":{\"weights\":{\"num_bits\":4,\"type\":"
    "\"int\",\"symmetric\":false,\"group_size\":8}}},\"quant_method\":\"compressed-tensors\"}}";
static const char map[] = "{\"weight_map\":{\"m.weight_shape\":\"model.safetensors\","
                          "\"m.weight_packed\":\"model.safetensors\",\"m.weight_zero_point\":"
                          "\"model.safetensors\",\"m.weight_scale\":\"model.safetensors\"}}";

/* A file of the golden ones, which are good. */
static void mutate_gguf(const char *golden)
{
    static unsigned char file[MADE_BYTES];
    char path[300];
    snprintf(path, sizeof path, NIBBLE_SOURCE_DIR "/tests/golden/gguf_valid/%s.gguf", golden);
    FILE *from = fopen(path, "rb");
    size_t bytes = from ? fread(file, 1, sizeof file, from) : 0;
    if (from) fclose(from);
    CHECK(bytes > 400 && bytes < 1024, "%s", path);
    snprintf(path, sizeof path, "%s/model.gguf", dir);
    mutate("model.gguf", file, bytes, path);
}

int main(void)
{
    static const int64_t shape[2] = {3, 16};
    static const made_tensor tensors[] = {{"m.weight_shape", NIB_I64, 1, {2}, shape},
                                          {"m.weight_packed", NIB_I32, 2, {3, 2}, NULL},
                                          {"m.weight_zero_point", NIB_I32, 2, {1, 2}, NULL},
                                          {"m.weight_scale", NIB_F16, 2, {3, 2}, NULL}};
    static unsigned char file[MADE_BYTES];
    char path[300];
    dir = temporary_directory();
    make_checkpoint(dir, config, "{\"format\":\"pt\"}", tensors, 4);
    size_t bytes = make_file(file, "{\"format\":\"pt\"}", tensors, 4);
    snprintf(path, sizeof path, "%s/model.safetensors", dir);
    CHECK(bytes < 1024);
    mutate("model.safetensors", file, bytes, dir);
    mutate("config.json", (const unsigned char *)config, sizeof config - 1, dir);
    mutate("model.safetensors.index.json", (const unsigned char *)map, sizeof map - 1, dir);
    mutate("model.safetensors", file, bytes, path);
    mutate_gguf("w05_align_8");
    mutate_gguf("w09_empty_array");
    CHECK(accepted > 1000 && refused > 10000, "%ld accepted, %ld refused", accepted, refused);
    printf("%ld damaged checkpoints refused, %ld accepted and consistent\n", refused, accepted);
    temporary_remove(dir);
    return check_done();
}
