/* gguf_names.c - see gguf_names.h. */
#include "gguf_names.h"

#include "../core/internal.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

/* ---- image models ---- */

/* A tensor that only this architecture has; names as ComfyUI-GGUF knows them. */
static const struct {
    const char *tensor, *architecture;
} image_models[] = {
    {"double_blocks.0.img_attn.proj.weight", "flux"},
    {"double_blocks.0.img_attn_proj.weight", "hyvid"},
    {"joint_blocks.0.x_block.attn.qkv.weight", "sd3"},
    {"double_layers.3.modX.1.weight", "aura"},
    {"blocks.0.self_attn.norm_q.weight", "wan"},
};

const char *nib_gguf_guess_architecture(const nib_file *input)
{
    for (size_t i = 0; i < sizeof image_models / sizeof image_models[0]; i++)
        if (nib_file_find(input, image_models[i].tensor)) return image_models[i].architecture;
    return NULL;
}

/* ---- language models ---- */

/* Names without ".weight" or ".bias". */
static const struct {
    const char *theirs, *ours;
} top_names[] =
    {
        {"model.embed_tokens", "token_embd"},
        {"model.norm", "output_norm"},
        {"lm_head", "output"},
},
  layer_names[] = {
      {"input_layernorm", "attn_norm"},    {"self_attn.q_proj", "attn_q"},
      {"self_attn.k_proj", "attn_k"},      {"self_attn.v_proj", "attn_v"},
      {"self_attn.o_proj", "attn_output"}, {"self_attn.q_norm", "attn_q_norm"},
      {"self_attn.k_norm", "attn_k_norm"}, {"post_attention_layernorm", "ffn_norm"},
      {"mlp.gate_proj", "ffn_gate"},       {"mlp.up_proj", "ffn_up"},
      {"mlp.down_proj", "ffn_down"},
};

/* Tables that are computed, not learnt. */
static const char *const left_out[] = {"rotary_emb.inv_freq", "masked_bias"};

static const struct {
    const char *architecture;
    int permuted;
} known[] = {{"llama", 1}, {"qwen2", 0}, {"qwen3", 0}};

int nib_gguf_knows_names(const char *architecture)
{
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (!strcmp(known[i].architecture, architecture)) return 1;
    return 0;
}

/* "model.layers.N." in front: the rest, and N; otherwise NULL. */
static const char *after_layer(const char *name, int *layer_ret)
{
    static const char prefix[] = "model.layers.";
    if (strncmp(name, prefix, sizeof prefix - 1)) return NULL;
    const char *digits = name + sizeof prefix - 1, *at = digits;
    int layer = 0;
    for (; isdigit((unsigned char)*at) && layer < 1000000; at++) layer = layer * 10 + (*at - '0');
    *layer_ret = layer;
    return at > digits && *at == '.' ? at + 1 : NULL;
}

nib_status nib_gguf_rename(const char *architecture, const char *name,
                           char renamed_ret[NIB_GGUF_NAME_ROOM])
{
    int layer = 0;
    const char *rest = after_layer(name, &layer), *part = rest ? rest : name;
    const char *ending = strrchr(part, '.');
    size_t length = ending ? (size_t)(ending - part) : 0;
    int is_named = ending && (!strcmp(ending, ".weight") || !strcmp(ending, ".bias"));
    renamed_ret[0] = 0;
    for (size_t i = 0; i < sizeof left_out / sizeof left_out[0]; i++)
        if (strstr(name, left_out[i])) return NIB_OK;
    size_t count =
        rest ? sizeof layer_names / sizeof layer_names[0] : sizeof top_names / sizeof top_names[0];
    for (size_t i = 0; is_named && i < count; i++) {
        const char *theirs = rest ? layer_names[i].theirs : top_names[i].theirs;
        const char *ours = rest ? layer_names[i].ours : top_names[i].ours;
        if (strlen(theirs) != length || memcmp(theirs, part, length)) continue;
        if (rest) snprintf(renamed_ret, NIB_GGUF_NAME_ROOM, "blk.%d.%s%s", layer, ours, ending);
        else snprintf(renamed_ret, NIB_GGUF_NAME_ROOM, "%s%s", ours, ending);
        return NIB_OK;
    }
    return NIB_FAIL(NIB_E_NAME, "\"%.200s\" has no place in a GGUF file of architecture %s", name,
                    architecture);
}

int nib_gguf_is_permuted(const char *architecture, const char *renamed)
{
    int permuted = 0;
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (!strcmp(known[i].architecture, architecture)) permuted = known[i].permuted;
    if (!permuted) return 0;
    if (strstr(renamed, ".attn_q.")) return 1;
    return strstr(renamed, ".attn_k.") ? 2 : 0;
}
