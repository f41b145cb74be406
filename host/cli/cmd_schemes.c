/* cmd_schemes.c - nibble schemes: what --scheme takes. */
#include "cli.h"

enum { EXAMPLE_ROWS = 4096, EXAMPLE_COLS = 4096 };

/* Bits of a weight with its share of scales and offsets, for a square matrix with 16-bit scales. */
static double bits_per_weight(const nib_scheme *scheme)
{
    nib_quant quant = {.bits = scheme->bits,
                       .scale_type = NIB_BF16,
                       .rule = scheme->rule,
                       .layout = scheme->layout};
    size_t total = 0, bytes = 0;
    if (nib_grid_rows(EXAMPLE_ROWS, EXAMPLE_COLS, scheme->group, &quant.grid) != NIB_OK) return 0;
    for (int plane = 0; plane < NIB_PLANES; plane++) {
        if (nib_plane_bytes(&quant, (nib_plane)plane, &bytes) != NIB_OK) return 0;
        total += bytes;
    }
    return 8.0 * (double)total / EXAMPLE_ROWS / EXAMPLE_COLS;
}

/* Of the type that most tensors get; 0 where each keeps its own. */
static double mixture_bits(const nib_mixture *mixture)
{
    const nib_stored_type *type = mixture->base ? nib_stored_type_find(mixture->base) : NULL;
    return type ? 8.0 * type->bytes / type->elements : 0;
}

static json_t *json_mixtures(void)
{
    json_t *list = json_array();
    const nib_mixture *mixture;
    for (size_t i = 0; (mixture = nib_mixture_at(i)) != NULL; i++)
        json_array_append_new(list, json_pack("{s:s, s:i, s:f, s:s}", "name", mixture->name,
                                              "file_type", mixture->file_type, "bits_per_weight",
                                              mixture_bits(mixture), "text", mixture->text));
    return list;
}

static int print_mixtures(int as)
{
    cli_table *t = table_new("GGUF|>bits/weight|what it is", as);
    const nib_mixture *mixture;
    for (size_t i = 0; (mixture = nib_mixture_at(i)) != NULL; i++) {
        table_cell(t, "%s", mixture->name);
        if (mixture->base) table_cell(t, "%.3f", mixture_bits(mixture));
        else table_none(t);
        table_cell(t, "%s", mixture->text);
    }
    return table_print(t);
}

static int print_json(void)
{
    json_t *result = json_result("schemes"), *list = json_array();
    for (size_t i = 0; i < nib_scheme_count(); i++) {
        const nib_scheme *scheme = nib_scheme_at(i);
        json_array_append_new(
            list, json_pack("{s:s, s:s, s:i, s:I, s:f, s:s, s:s, s:i, s:s, s:s}", "name",
                            scheme->name, "alias", scheme->alias, "bits", scheme->bits, "group",
                            (json_int_t)scheme->group, "bits_per_weight", bits_per_weight(scheme),
                            "rule", nib_rule_name(scheme->rule), "layout",
                            nib_layout_name(scheme->layout), "activation_bits", scheme->act_bits,
                            "loads", scheme->loads, "text", scheme->text));
    }
    json_object_set_new(result, "schemes", list);
    json_object_set_new(result, "mixtures", json_mixtures());
    return json_print(result);
}

int cmd_schemes(const cli_command *command, const cli_settings *settings)
{
    (void)command;
    if (settings->as == AS_JSON) return print_json();
    cli_table *t =
        table_new("scheme|alias|>bits|>group|>bits/weight|rule|loads in|what it is", settings->as);
    for (size_t i = 0; i < nib_scheme_count(); i++) {
        const nib_scheme *scheme = nib_scheme_at(i);
        table_cell(t, "%s", scheme->name);
        table_cell(t, "%s", scheme->alias);
        table_cell(t, "%d", scheme->bits);
        if (scheme->group || settings->as == AS_CSV)
            table_cell(t, "%lld", (long long)scheme->group);
        else table_cell(t, "channel");
        table_cell(t, "%.3f", bits_per_weight(scheme));
        table_cell(t, "%s", nib_rule_name(scheme->rule));
        table_cell(t, "%s", scheme->loads);
        table_cell(t, "%s", scheme->text);
    }
    int code = table_print(t);
    if (code || settings->as == AS_CSV) return code;
    putchar('\n');
    code = print_mixtures(settings->as);
    if (settings->as == AS_TEXT)
        printf("\nbits/weight: codes, scales and zero points of a %d x %d matrix with 16-bit "
               "scales; of GGUF's the type that most tensors get\nnext: nibble plan MODEL\n",
               EXAMPLE_ROWS, EXAMPLE_COLS);
    return code;
}
