/* temporary.h - directories that a test makes, fills and removes. */
#ifndef NIB_TEMPORARY_H
#define NIB_TEMPORARY_H

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A new directory's path; temporary_remove frees it. */
static inline char *temporary_directory(void)
{
    const char *root = getenv("TMPDIR");
    char path[256];
    snprintf(path, sizeof path, "%s/nibble-test-XXXXXX", root && *root ? root : "/tmp");
    char *made = strdup(path);
    if (!made || !mkdtemp(made)) {
        perror(path);
        exit(1);
    }
    return made;
}

static inline void temporary_write(const char *path, const void *bytes, size_t count)
{
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(bytes, 1, count, file) != count || fclose(file)) {
        perror(path);
        exit(1);
    }
}

static inline int temporary_remove_one(const char *path, const struct stat *st, int type,
                                       struct FTW *place)
{
    (void)st, (void)type, (void)place;
    return remove(path);
}

static inline void temporary_remove(char *path)
{
    nftw(path, temporary_remove_one, 8, FTW_DEPTH | FTW_PHYS);
    free(path);
}

#endif
