/* tensors.c - checkpoints as the tables show them: kinds of tensors, sizes, how they are stored. */
#include "cli.h"

#include <ctype.h>
#include <string.h>

nib_status open_input(const cli_settings *settings, const char *path, nib_file **file_ret)
{
    const nib_file_options options = {.size = sizeof options,
                                      .max_memory_bytes = settings->max_memory,
                                      .io = settings->direct ? NIB_IO_DIRECT : NIB_IO_BUFFERED,
                                      .follow_links = settings->follow_links};
    return nib_file_open(path, &options, file_ret);
}

int ends_in(const char *text, const char *end)
{
    size_t length = strlen(text), tail = strlen(end);
    return length >= tail && !strcmp(text + length - tail, end);
}

/* The first kind one of whose words stands in the name, in lower case, wins; the words are those
 * that the models on Hugging Face use. */
static const struct {
    const char *kind, *words;
} kinds[] = {
    {"norm", "norm. norm_ layernorm ln_ .ln1 .ln2 _ln."},
    {"router", "router .gate. moe_gate.weight shared_expert_gate ffn_gate_inp"},
    {"experts", "expert _exps."},
    {"embedding", "embed token_embd .wte. .wpe. wte.weight wpe.weight"},
    {"output", "lm_head output_layer embed_out"},
    {"attention", "attn attention .q_proj .k_proj .v_proj .o_proj .qkv"},
    {"mlp", "mlp feed_forward ffn intermediate .output.dense .fc1 .fc2 gate_proj up_proj down_proj "
            ".w1 .w2 .w3"},
    {"other", ""},
};

enum { KIND_COUNT = sizeof kinds / sizeof kinds[0] };

size_t tensor_kind_count(void) { return KIND_COUNT; }
const char *tensor_kind_at(size_t index) { return kinds[index].kind; }

/* `name` in lower case */
static int holds_word(const char *name, const char *words)
{
    char word[32];
    while (*words) {
        size_t length = strcspn(words, " ");
        snprintf(word, sizeof word, "%.*s", (int)length, words);
        if (strstr(name, word)) return 1;
        words += length;
        words += strspn(words, " ");
    }
    return 0;
}

size_t tensor_kind(const char *name)
{
    char lower[512];
    size_t length = 0, kind = 0;
    for (; name[length] && length + 1 < sizeof lower; length++)
        lower[length] = (char)tolower((unsigned char)name[length]);
    lower[length] = 0;
    while (kind + 1 < KIND_COUNT && !holds_word(lower, kinds[kind].words)) kind++;
    return kind;
}

int64_t tensor_elements(const nib_tensor *tensor)
{
    int64_t count = 1;
    for (int32_t i = 0; i < tensor->rank; i++) count *= tensor->shape[i];
    return count;
}

uint64_t tensor_bytes(const nib_tensor *tensor)
{
    uint64_t bytes = 0;
    for (int plane = 0; plane < NIB_PLANES; plane++) bytes += tensor->span[plane].bytes;
    return bytes;
}

void quant_storage(const nib_quant *quant, char *text, size_t size)
{
    static const char *const offsets[] = {
        [NIB_OFFSET_NONE] = "", [NIB_OFFSET_ZERO] = " zeros", [NIB_OFFSET_MIN] = " mins"};
    char group[32] = "channel";
    if (quant->grid.group < quant->grid.cols)
        snprintf(group, sizeof group, "group %lld", (long long)quant->grid.group);
    else if (quant->grid.period == 1 && quant->grid.rows > 1)
        snprintf(group, sizeof group, "tensor");
    snprintf(text, size, "int%d %s%s", quant->bits, group, offsets[nib_rule_offset(quant->rule)]);
}

void tensor_storage(const nib_tensor *tensor, char *text, size_t size)
{
    if (tensor->quantized == 1) quant_storage(&tensor->quant, text, size);
    else if (tensor->blocks) snprintf(text, size, "%s", tensor->blocks->name);
    else snprintf(text, size, "%s", tensor->quantized ? tensor->why : nib_dtype_name(tensor->type));
}

const char *decision_scheme(const nib_decision *decision)
{
    if (decision->stored)
        return decision->stored->type == NIB_DTYPE_NONE ? decision->stored->name : NULL;
    return decision->scheme ? decision->scheme->name : NULL;
}

void decision_storage(const nib_decision *decision, char *text, size_t size)
{
    if (decision->stored) snprintf(text, size, "%s", decision->stored->name);
    else quant_storage(&decision->quant, text, size);
}

void tensor_shape(const nib_tensor *tensor, char *text, size_t size)
{
    size_t used = 0;
    snprintf(text, size, "%s", tensor->rank ? "" : "scalar");
    for (int32_t i = 0; i < tensor->rank && used < size; i++)
        used += (size_t)snprintf(text + used, size - used, "%s%lld", i ? " x " : "",
                                 (long long)tensor->shape[i]);
}
