/* failure.c - what the command says when something is wrong: one line on stderr. */
#include "cli.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

__attribute__((format(printf, 2, 0))) static void say(const char *tag, const char *format,
                                                      va_list args)
{
    char *text;
    if (vasprintf(&text, format, args) < 0) return;
    fputs(tag, stderr);
    print_safe(stderr, text);
    fputc('\n', stderr);
    free(text);
}

int fail(int code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    say("nibble: ", format, args);
    va_end(args);
    return code;
}

int fail_usage(const cli_command *command, const char *format, ...)
{
    char *text;
    va_list args;
    va_start(args, format);
    int length = vasprintf(&text, format, args);
    va_end(args);
    if (length < 0) return fail(4, "no memory");
    fail(2, "%s (see `nibble %s --help`)", text, command->name);
    free(text);
    return 2;
}

void warn(const cli_settings *settings, const char *format, ...)
{
    if (settings->quiet) return;
    va_list args;
    va_start(args, format);
    say("nibble: warning: ", format, args);
    va_end(args);
}

static void offer_devices(cli_nearest *near)
{
    enum { MOST = 64 };
    static nib_device_info infos[MOST];
    size_t count = 0;
    if (nib_devices(infos, MOST, &count) != NIB_OK) return;
    for (size_t i = 0; i < count && i < MOST; i++) nearest_offer(near, infos[i].name);
    nearest_offer(near, "auto");
}

/* The libraries name the fields that a C program sets; no row begins with an earlier one. */
static const struct {
    const char *field, *option;
} fields[] = {
    {"options.allow_requantize", "--allow-requantize"},
    {"options.architecture", "--architecture"},
    {"options.fallback", "--group-fallback"},
    {"options.follow_links", "--follow-symlinks"},
    {"options.group", "--group-size"},
    {"options.ignore", "--ignore"},
    {"options.importance", "--importance"},
    {"options.keep_nonfinite", "--nonfinite keep"},
    {"options.keep_quantized", "--keep-quantized"},
    {"options.max_memory_bytes", "--max-memory"},
    {"options.max_vram_bytes", "--max-vram"},
    {"options.mixture", "--scheme"},
    {"options.nonfinite", "--nonfinite"},
    {"options.replace", "--force"},
    {"options.template_path", "--gguf-template"},
};

/* The option of the field that `text` begins with, or NULL; its length. */
static const char *option_of(const char *text, size_t *length_ret)
{
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        *length_ret = strlen(fields[i].field);
        if (!strncmp(text, fields[i].field, *length_ret)) return fields[i].option;
    }
    return NULL;
}

const char *error_words(void)
{
    static char words[1024];
    char *to = words, *const end = words + sizeof words - 1;
    size_t length;
    for (const char *from = nib_last_error(); *from && to < end;) {
        const char *option = option_of(from, &length);
        if (!option) *to++ = *from++;
        else from += length;
        while (option && *option && to < end) *to++ = *option++;
    }
    *to = 0;
    return words;
}

int fail_status(nib_status status, const cli_settings *settings)
{
    char *words, hint[96] = "";
    if (asprintf(&words, "%s", error_words()) < 0) words = NULL;
    if (status == NIB_E_NO_DEVICE && settings->device) {
        cli_nearest near = nearest_start(settings->device);
        offer_devices(&near);
        nearest_hint(&near, hint);
    }
    const char *what = words && *words ? words : nib_status_text(status);
    int code = fail(nib_status_exit_code(status), "%s%s", what, hint);
    free(words);
    return code;
}
