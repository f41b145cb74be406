/* embed.c - embed FILE SYMBOL OUT: writes FILE as a C array, NUL-terminated so that text is a C
 * string. Arrays, not string literals: those have a length limit. Aligned, because a fatbin's
 * header has words of 8 bytes. */
#include <stdio.h>

int main(int argc, char **argv)
{
    FILE *in = argc == 4 ? fopen(argv[1], "rb") : NULL;
    FILE *out = in ? fopen(argv[3], "w") : NULL;
    if (!out) {
        fprintf(stderr, "usage: embed FILE SYMBOL OUT\n");
        return 1;
    }
    fprintf(out,
            "#include <stddef.h>\nextern const unsigned char %s[];\nextern const size_t %s_size;\n",
            argv[2], argv[2]);
    fprintf(out, "_Alignas(64) const unsigned char %s[] = {\n", argv[2]);
    size_t bytes = 0;
    for (int c; (c = getc(in)) != EOF;) fprintf(out, "%d,%s", c, ++bytes % 24 ? "" : "\n");
    fprintf(out, "0};\nconst size_t %s_size = %zu;\n", argv[2], bytes);
    int failed = ferror(in);
    return fclose(out) != 0 || failed;
}
