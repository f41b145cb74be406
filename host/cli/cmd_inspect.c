/* cmd_inspect.c - nibble inspect: what a checkpoint holds, from its headers. */
#include "cli.h"

#include <stdlib.h>
#include <string.h>

/* Tensors that the table shows in one row. */
typedef struct tensor_pile {
    char storage[64];
    size_t kind;
    int64_t tensors, elements;
    uint64_t bytes;
} tensor_pile;

enum { MAX_PILES = 64 };

typedef struct tensor_piles {
    tensor_pile rows[MAX_PILES];
    size_t count;
    tensor_pile total;
} tensor_piles;

static void add_to(tensor_pile *pile, const nib_tensor *tensor)
{
    pile->tensors++;
    pile->elements += tensor_elements(tensor);
    pile->bytes += tensor_bytes(tensor);
}

/* By kind and storage; what no row is left for goes into the last one. */
static void add_tensor(tensor_piles *piles, const nib_tensor *tensor)
{
    char storage[64];
    tensor_storage(tensor, storage, sizeof storage);
    size_t kind = tensor_kind(tensor->name), i = 0;
    while (i < piles->count &&
           (piles->rows[i].kind != kind || strcmp(piles->rows[i].storage, storage) != 0))
        i++;
    if (i == MAX_PILES) i--;
    if (i == piles->count) {
        piles->rows[i] = (tensor_pile){.kind = kind};
        snprintf(piles->rows[i].storage, sizeof piles->rows[i].storage, "%s", storage);
        piles->count++;
    }
    add_to(&piles->rows[i], tensor);
    add_to(&piles->total, tensor);
}

static int by_bytes(const void *a, const void *b)
{
    const tensor_pile *left = a, *right = b;
    return (left->bytes < right->bytes) - (left->bytes > right->bytes);
}

static double bits_of(const tensor_pile *pile)
{
    return pile->elements ? 8.0 * (double)pile->bytes / (double)pile->elements : 0.0;
}

/* ---- text ---- */

static int print_piles(const tensor_piles *piles, int as)
{
    cli_table *t = table_new("kind|>tensors|>parameters|>bytes|>bits/weight|stored as", as);
    for (size_t i = 0; i < piles->count; i++) {
        const tensor_pile *pile = &piles->rows[i];
        table_cell(t, "%s", tensor_kind_at(pile->kind));
        table_cell(t, "%lld", (long long)pile->tensors);
        table_count(t, pile->elements);
        table_bytes(t, pile->bytes);
        table_cell(t, "%.2f", bits_of(pile));
        table_cell(t, "%s", pile->storage);
    }
    return table_print(t);
}

static int print_tensors(const nib_file *file, int as)
{
    cli_table *t = table_new("tensor|shape|>parameters|>bytes|stored as|file", as);
    const nib_tensor *tensor;
    for (int64_t i = 0; (tensor = nib_file_at(file, i)) != NULL; i++) {
        char shape[160], storage[64];
        tensor_shape(tensor, shape, sizeof shape);
        tensor_storage(tensor, storage, sizeof storage);
        table_cell(t, "%s", tensor->name);
        table_cell(t, "%s", shape);
        table_cell(t, "%lld", (long long)tensor_elements(tensor));
        table_cell(t, "%llu", (unsigned long long)tensor_bytes(tensor));
        table_cell(t, "%s", storage);
        table_cell(t, "%s", nib_file_shard_name(file, tensor->span[0].shard));
    }
    return table_print(t);
}

static void print_summary(const nib_file *file, const tensor_piles *piles)
{
    char elements[WORD_BYTES], bytes[WORD_BYTES], files[WORD_BYTES], tensors[WORD_BYTES];
    print_safe(stdout, nib_file_path(file));
    printf("  %s, %s, %s, %s parameters, %s, %.2f bits/weight\n", nib_file_format(file),
           word_counted(nib_file_shard_count(file), "file", files),
           word_counted(piles->total.tensors, "tensor", tensors),
           word_count(piles->total.elements, elements), word_bytes(piles->total.bytes, bytes),
           bits_of(&piles->total));
}

static int print_text(const nib_file *file, const tensor_piles *piles, const cli_settings *settings)
{
    if (settings->as != AS_CSV) {
        print_summary(file, piles);
        if (nib_file_key_at(file, 0, 0)) print_keys(file);
        putchar('\n');
    }
    int code = settings->tensors && settings->as == AS_CSV ? 0 : print_piles(piles, settings->as);
    if (!code && settings->tensors) {
        if (settings->as != AS_CSV) putchar('\n');
        code = print_tensors(file, settings->as);
    }
    char tensors[WORD_BYTES];
    int64_t ignored = nib_file_ignored(file);
    if (ignored)
        warn(settings, "%s: %s ignored, in the files and not in the index", nib_file_path(file),
             word_counted(ignored, "tensor", tensors));
    if (code || settings->as != AS_TEXT) return code;
    char *path = shell_quote(nib_file_path(file));
    int quantized = !strcmp(nib_file_format(file), "compressed-tensors");
    printf("\nchecked: headers only; `nibble check` reads the data\nnext:    nibble %s %s\n",
           quantized ? "check" : "plan", path ? path : "MODEL");
    free(path);
    return 0;
}

/* ---- JSON ---- */

static json_t *json_pile(const tensor_pile *pile)
{
    return json_pack("{s:s, s:o, s:I, s:I, s:o, s:f}", "kind", tensor_kind_at(pile->kind),
                     "storage", json_text(pile->storage), "tensors", (json_int_t)pile->tensors,
                     "parameters", (json_int_t)pile->elements, "bytes", json_bytes(pile->bytes),
                     "bits_per_weight", bits_of(pile));
}

static json_t *json_tensor(const nib_file *file, const nib_tensor *tensor)
{
    char storage[64];
    tensor_storage(tensor, storage, sizeof storage);
    json_t *shape = json_array();
    for (int32_t i = 0; i < tensor->rank; i++)
        json_array_append_new(shape, json_integer(tensor->shape[i]));
    return json_pack("{s:o, s:o, s:o, s:o, s:s, s:o}", "name", json_text(tensor->name), "shape",
                     shape, "bytes", json_bytes(tensor_bytes(tensor)), "storage",
                     json_text(storage), "kind", tensor_kind_at(tensor_kind(tensor->name)), "file",
                     json_text(nib_file_shard_name(file, tensor->span[0].shard)));
}

static int print_json(const nib_file *file, const tensor_piles *piles, const cli_settings *settings)
{
    json_t *result = json_result("inspect"), *kinds = json_array();
    json_object_set_new(result, "path", json_text(nib_file_path(file)));
    json_object_set_new(result, "format", json_text(nib_file_format(file)));
    json_object_set_new(result, "files", json_integer(nib_file_shard_count(file)));
    json_object_set_new(result, "tensors", json_integer(piles->total.tensors));
    json_object_set_new(result, "parameters", json_integer(piles->total.elements));
    json_object_set_new(result, "bytes", json_bytes(piles->total.bytes));
    json_object_set_new(result, "bits_per_weight", json_real(bits_of(&piles->total)));
    json_object_set_new(result, "ignored_tensors", json_integer(nib_file_ignored(file)));
    for (size_t i = 0; i < piles->count; i++)
        json_array_append_new(kinds, json_pile(&piles->rows[i]));
    json_object_set_new(result, "kinds", kinds);
    if (nib_file_key_at(file, 0, 0)) json_object_set_new(result, "keys", json_keys(file));
    if (settings->tensors) {
        json_t *list = json_array();
        const nib_tensor *tensor;
        for (int64_t i = 0; (tensor = nib_file_at(file, i)) != NULL; i++)
            json_array_append_new(list, json_tensor(file, tensor));
        json_object_set_new(result, "tensor_list", list);
    }
    return json_print(result);
}

int cmd_inspect(const cli_command *command, const cli_settings *settings)
{
    (void)command;
    nib_file *file;
    nib_status status = open_input(settings, settings->operands[0], &file);
    if (status != NIB_OK) return fail_status(status, settings);
    tensor_piles piles = {0};
    const nib_tensor *tensor;
    for (int64_t i = 0; (tensor = nib_file_at(file, i)) != NULL; i++) add_tensor(&piles, tensor);
    qsort(piles.rows, piles.count, sizeof piles.rows[0], by_bytes);
    int code = settings->as == AS_JSON ? print_json(file, &piles, settings)
                                       : print_text(file, &piles, settings);
    nib_file_close(file);
    return code;
}
