/* opencl_cache.c - built programs and verdicts on disk, one file each:
 *
 *   magic[16] | length u64, bytes   of each part of the key | length u64, sum u64, bytes   of the
 * value
 *
 * A file's name is a hash of its key; the key stands in the file and is compared, so that a
 * collision is a miss. Files appear by rename, so processes may share a directory; a file that is
 * cut short or changed fails its sum and is written again. */
#include "opencl.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char magic[16] = "nibble-cache-1\n";

enum { PATH_BYTES = 4096, FILE_MAX = 1 << 28 };

/* FNV-1a, 64 bits. */
static uint64_t hash(uint64_t sum, const void *data, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        sum = (sum ^ ((const unsigned char *)data)[i]) * UINT64_C(0x100000001b3);
    return sum;
}

#define HASH_START UINT64_C(0xcbf29ce484222325)

static int file_path(const nib_cache_key key, char path[PATH_BYTES])
{
    if (!nib_cache_directory(path, PATH_BYTES - 64)) return 0;
    uint64_t name = HASH_START;
    for (int i = 0; i < NIB_CACHE_PARTS; i++) name = hash(name, key[i], strlen(key[i]) + 1);
    size_t used = strlen(path);
    snprintf(path + used, PATH_BYTES - used, "/%016llx.bin", (unsigned long long)name);
    return 1;
}

/* What stands before the value, malloc'd. */
static unsigned char *file_head(const nib_cache_key key, const void *value, size_t bytes,
                                size_t *head_bytes_ret)
{
    size_t total = sizeof magic + 2 * sizeof(uint64_t);
    for (int i = 0; i < NIB_CACHE_PARTS; i++) total += sizeof(uint64_t) + strlen(key[i]);
    unsigned char *head = malloc(total), *at = head;
    if (!head) return NULL;
    memcpy(at, magic, sizeof magic);
    at += sizeof magic;
    for (int i = 0; i < NIB_CACHE_PARTS; i++) {
        uint64_t length = strlen(key[i]);
        memcpy(at, &length, sizeof length);
        memcpy(at + sizeof length, key[i], length);
        at += sizeof length + length;
    }
    uint64_t tail[2] = {bytes, hash(HASH_START, value, bytes)};
    memcpy(at, tail, sizeof tail);
    *head_bytes_ret = total;
    return head;
}

static unsigned char *read_file(const char *path, size_t *bytes_ret)
{
    FILE *file = fopen(path, "rb");
    struct stat st;
    if (!file) return NULL;
    unsigned char *data = NULL;
    if (fstat(fileno(file), &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0 &&
        st.st_size <= FILE_MAX)
        data = malloc((size_t)st.st_size);
    if (data && fread(data, 1, (size_t)st.st_size, file) != (size_t)st.st_size) {
        free(data);
        data = NULL;
    }
    fclose(file);
    if (data) *bytes_ret = (size_t)st.st_size;
    return data;
}

unsigned char *nib_cache_get(const nib_cache_key key, size_t *bytes_ret)
{
    char path[PATH_BYTES];
    size_t file_bytes, head_bytes;
    if (!file_path(key, path)) return NULL;
    unsigned char *file = read_file(path, &file_bytes);
    if (!file) return NULL;
    unsigned char *head = file_head(key, "", 0, &head_bytes);
    int same =
        head && file_bytes >= head_bytes && !memcmp(file, head, head_bytes - 2 * sizeof(uint64_t));
    free(head);
    uint64_t tail[2] = {0, 0};
    if (same) memcpy(tail, file + head_bytes - sizeof tail, sizeof tail);
    size_t bytes = file_bytes - (same ? head_bytes : 0);
    if (!same || tail[0] != bytes || tail[1] != hash(HASH_START, file + head_bytes, bytes)) {
        free(file);
        return NULL;
    }
    memmove(file, file + head_bytes, bytes);
    *bytes_ret = bytes;
    return file;
}

/* Makes the directory of `path` and those above it. */
static void make_directories(char *path)
{
    for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = 0;
        mkdir(path, 0700);
        *slash = '/';
    }
}

static int write_all(int file, const void *data, size_t bytes)
{
    for (size_t done = 0; done < bytes;) {
        ssize_t wrote = write(file, (const char *)data + done, bytes - done);
        if (wrote < 0 && errno != EINTR) return 0;
        done += wrote > 0 ? (size_t)wrote : 0;
    }
    return 1;
}

void nib_cache_put(const nib_cache_key key, const void *value, size_t bytes)
{
    static atomic_uint serial;
    char path[PATH_BYTES], temporary[PATH_BYTES + 32];
    size_t head_bytes;
    if (!file_path(key, path)) return;
    make_directories(path);
    snprintf(temporary, sizeof temporary, "%s.%ld.%u", path, (long)getpid(),
             atomic_fetch_add(&serial, 1));
    int file = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (file < 0) return;
    unsigned char *head = file_head(key, value, bytes, &head_bytes);
    int written = head && write_all(file, head, head_bytes) && write_all(file, value, bytes);
    free(head);
    if (close(file) != 0) written = 0;
    if (!written || rename(temporary, path) != 0) unlink(temporary);
}
