/* main.c - nibble, the command: finds the command of the command line, runs it, and makes sure that
 * what it printed arrived. */
#include "cli.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

static const cli_command commands[] = {
#define COMMAND(ID, name, run, operands, least, most, summary, example)                            \
    {COMMAND_##ID, name, run, operands, least, most, summary, example},
#include "commands.def"
};

const cli_command *command_at(command_id id) { return &commands[id]; }

/* ---- interruption ---- */

volatile int interrupted;

static void on_signal(int number)
{
    if (interrupted && number == SIGINT) _exit(130);
    interrupted = 1;
}

static void catch_signals(void)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        struct sigaction old;
        /* what nohup ignores stays ignored */
        if (!sigaction(numbers[i], NULL, &old) && old.sa_handler == SIG_IGN) continue;
        sigaction(numbers[i], &action, NULL);
    }
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    sigaction(SIGPIPE, &ignore, NULL);
    sigaction(SIGXFSZ, &ignore, NULL); /* past `ulimit -f`, writes fail with EFBIG and are told */
}

/* A closed stdin, stdout or stderr would give its number to the next file opened, and messages
 * would be written into that file. Held read-only, so that writing to it still fails. */
static void hold_standard_files(void)
{
    int fd;
    do fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd > STDERR_FILENO) close(fd);
}

/* ---- help ---- */

static void print_help(FILE *to)
{
    fputs("nibble " NIB_VERSION
          ": makes checkpoints small: INT8 and INT4, on the CPU and on GPUs\n\n"
          "  nibble COMMAND [OPTIONS] ...\n\n",
          to);
    for (int i = 0; i < COMMAND_COUNT; i++)
        fprintf(to, "  %-11s %-12s %s\n", commands[i].name, commands[i].operands,
                commands[i].summary);
    fputs("\nExamples\n"
          "  nibble inspect MODEL                      look at a checkpoint\n"
          "  nibble plan MODEL                         sizes for every scheme, before anything is "
          "spent\n"
          "  nibble quantize MODEL -o MODEL-int4       the default: int4, groups of 128\n"
          "  nibble compare MODEL MODEL-int4           how good it is\n\n"
          "nibble COMMAND --help says more about each; nibble --version prints the version.\n",
          to);
}

static int print_command_help(const cli_command *command)
{
    printf("nibble %s%s%s [OPTIONS]: %s\n", command->name, *command->operands ? " " : "",
           command->operands, command->summary);
    options_help(command, stdout);
    printf("\nExample\n  %s\n", command->example);
    return 0;
}

/* ---- finding the command ---- */

static const cli_command *find_command(const char *name)
{
    for (int i = 0; i < COMMAND_COUNT; i++)
        if (!strcmp(name, commands[i].name)) return &commands[i];
    return NULL;
}

static int fail_unknown(const char *name)
{
    char hint[96];
    cli_nearest near = nearest_start(name);
    for (int i = 0; i < COMMAND_COUNT; i++) nearest_offer(&near, commands[i].name);
    return fail(2, "unknown command '%s'%s (see `nibble --help`)", name, nearest_hint(&near, hint));
}

static int help(int argc, char **argv)
{
    if (argc < 3) {
        print_help(stdout);
        return 0;
    }
    const cli_command *command = find_command(argv[2]);
    return command ? print_command_help(command) : fail_unknown(argv[2]);
}

static int run(int argc, char **argv)
{
    if (argc < 2) {
        print_help(stdout);
        return 0;
    }
    const char *name = argv[1];
    if (!strcmp(name, "help") || !strcmp(name, "--help") || !strcmp(name, "-h"))
        return help(argc, argv);
    if (!strcmp(name, "--version") || !strcmp(name, "-V") || !strcmp(name, "version")) {
        printf("nibble %s\n", nib_version());
        return 0;
    }
    const cli_command *command = find_command(name);
    if (!command) return fail_unknown(name);
    cli_settings settings;
    int code = options_parse(command, argc - 1, argv + 1, &settings);
    if (!code)
        code = settings.help ? print_command_help(command) : command->run(command, &settings);
    options_free(&settings);
    return code;
}

/* A reader that went away (head) is no failure of ours; a full disk is. */
static int reader_left(void)
{
    struct pollfd out = {.fd = STDOUT_FILENO, .events = POLLOUT};
    return errno == EPIPE || (poll(&out, 1, 0) == 1 && (out.revents & POLLERR));
}

static int close_output(int code)
{
    errno = 0;
    if (!fflush(stdout) && !ferror(stdout)) return code;
    int saved = errno;
    if (reader_left()) return code;
    return fail(code ? code : 5, "standard output: %s", strerror(saved ? saved : EIO));
}

int main(int argc, char **argv)
{
    hold_standard_files();
    catch_signals();
    return close_output(run(argc, argv));
}
