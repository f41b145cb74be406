/* make_checkpoint.c - writes a synthetic Llama-shaped checkpoint of any size, for tests and the
 * bench: `make_checkpoint OUT [options]`; without arguments it prints them.
 *
 * Weights are heavy-tailed (Student-t, 4 degrees of freedom) with outlier columns, which is what
 * makes real weights hard to quantize. The bytes depend on the options alone, not on the machine:
 * every random number comes from splitmix64 and every float from + * / sqrt. A tensor's bytes
 * depend on its name, shape, type and the seed, so sharding does not change them. It shares no code
 * with the library, so that it can be a witness, and takes a few megabytes whatever it writes. */
#include "check.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <math.h>
#include <stdarg.h>
#include <sys/stat.h>

enum {
    POOL = 1 << 20,   /* random values made once; every row takes a run of them */
    CHUNK = 1 << 16,  /* most elements of a row made at a time */
    BUFFER = 4 << 20, /* bytes gathered before a write */
};

typedef enum dtype { F32, F16, BF16 } dtype;
static const char *const dtype_names[] = {"F32", "F16", "BF16"};
static const char *const torch_names[] = {"float32", "float16", "bfloat16"};

typedef struct options {
    int64_t layers, hidden, intermediate, vocab, experts, shards, bytes;
    dtype type;
    int stacked, tied;
    const char *nan;
    uint64_t seed;
} options;

typedef struct tensor {
    char name[80];
    int64_t shape[3];
    int rank, shard;
    uint64_t begin, bytes; /* in the data of its shard */
} tensor;

typedef struct model {
    tensor *tensors;
    size_t count, capacity;
    uint64_t bytes;
} model;

__attribute__((format(printf, 1, 2), noreturn)) static void die(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("make_checkpoint: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    exit(1);
}

static void *grow(void *block, size_t bytes)
{
    void *p = realloc(block, bytes);
    if (!p) die("out of memory: %zu bytes", bytes);
    return p;
}

/* ---- random values ---- */

/* Normal enough: the sum of twelve uniforms, exact in double. */
static double normal(uint64_t *state)
{
    int64_t sum = 0;
    for (int i = 0; i < 3; i++) {
        uint64_t r = check_random(state);
        for (int j = 0; j < 4; j++) sum += (int64_t)(r >> (16 * j) & 0xffff);
    }
    return ((double)sum - 12 * 32767.5) / 65536.0;
}

static float student_t4(uint64_t *state)
{
    double chi2 = 1e-3, z = normal(state);
    for (int i = 0; i < 4; i++) {
        double n = normal(state);
        chi2 += n * n;
    }
    return (float)(z / sqrt(chi2 / 4));
}

static uint64_t name_hash(const char *name, uint64_t seed)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325) ^ (seed * UINT64_C(0x9e3779b97f4a7c15));
    for (; *name; name++) h = (h ^ (unsigned char)*name) * UINT64_C(0x100000001b3);
    return h;
}

/* ---- elements ---- */

static uint32_t bits_of(float x)
{
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    return u;
}

static uint16_t to_bf16(float x)
{
    uint32_t u = bits_of(x);
    return (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16);
}

/* For |x| < 65504. 0.5 has steps of 2^-24, the smallest f16: adding it rounds a subnormal. */
static uint16_t to_f16(float x)
{
    uint32_t u = bits_of(x), sign = u >> 16 & 0x8000, m = u & 0x7fffffff;
    uint32_t normal_bits = (m + 0xfff + (m >> 13 & 1) - (112u << 23)) >> 13;
    uint32_t small_bits = bits_of(fabsf(x) + 0.5f) - 0x3f000000u;
    return (uint16_t)(sign | (m < 0x38800000u ? small_bits : normal_bits));
}

static size_t type_bytes(dtype type) { return type == F32 ? 4 : 2; }

/* out[i] = base + pool[i] * scale[i], in the type. */
static void make_elements(void *out, dtype type, const float *pool, const float *scale, float base,
                          int64_t count)
{
    float *f32 = out;
    uint16_t *u16 = out;
    if (type == F32)
        for (int64_t i = 0; i < count; i++) f32[i] = base + pool[i] * scale[i];
    else if (type == BF16)
        for (int64_t i = 0; i < count; i++) u16[i] = to_bf16(base + pool[i] * scale[i]);
    else
        for (int64_t i = 0; i < count; i++) u16[i] = to_f16(base + pool[i] * scale[i]);
}

static void put_nan(void *at, dtype type)
{
    static const uint32_t nan_bits[] = {0x7fc00000, 0x7e00, 0x7fc0};
    uint16_t small = (uint16_t)nan_bits[type];
    memcpy(at, type == F32 ? (const void *)&nan_bits[F32] : &small, type_bytes(type));
}

/* ---- the tensors of the model ---- */

__attribute__((format(printf, 5, 6))) static void add(model *m, int64_t a, int64_t b, int64_t c,
                                                      const char *format, ...)
{
    if (m->count == m->capacity) {
        m->capacity = m->capacity ? 2 * m->capacity : 256;
        m->tensors = grow(m->tensors, m->capacity * sizeof *m->tensors);
    }
    tensor *t = &m->tensors[m->count++];
    *t = (tensor){.shape = {a, b, c}, .rank = c ? 3 : b ? 2 : 1};
    va_list args;
    va_start(args, format);
    vsnprintf(t->name, sizeof t->name, format, args);
    va_end(args);
}

static int64_t head_dim(const options *o)
{
    return o->hidden % 128 == 0 ? 128 : o->hidden % 64 == 0 ? 64 : o->hidden;
}

static int64_t kv_heads(const options *o)
{
    int64_t heads = o->hidden / head_dim(o);
    return heads % 4 == 0 ? heads / 4 : heads;
}

static void add_mlp(model *m, const options *o, const char *prefix)
{
    int64_t h = o->hidden, i = o->intermediate;
    add(m, i, h, 0, "%sgate_proj.weight", prefix);
    add(m, i, h, 0, "%sup_proj.weight", prefix);
    add(m, h, i, 0, "%sdown_proj.weight", prefix);
}

static void add_layer(model *m, const options *o, int64_t layer)
{
    int64_t h = o->hidden, kv = kv_heads(o) * head_dim(o);
    char prefix[64];
    int end = snprintf(prefix, sizeof prefix, "model.layers.%lld.", (long long)layer);
    add(m, h, 0, 0, "%sinput_layernorm.weight", prefix);
    add(m, h, h, 0, "%sself_attn.q_proj.weight", prefix);
    add(m, kv, h, 0, "%sself_attn.k_proj.weight", prefix);
    add(m, kv, h, 0, "%sself_attn.v_proj.weight", prefix);
    add(m, h, h, 0, "%sself_attn.o_proj.weight", prefix);
    add(m, h, 0, 0, "%spost_attention_layernorm.weight", prefix);
    if (o->experts) add(m, o->experts, h, 0, "%smlp.gate.weight", prefix);
    if (o->experts && o->stacked) {
        add(m, o->experts, 2 * o->intermediate, h, "%smlp.experts.gate_up_proj", prefix);
        add(m, o->experts, h, o->intermediate, "%smlp.experts.down_proj", prefix);
        return;
    }
    for (int64_t e = 0; e < o->experts; e++) {
        snprintf(prefix + end, sizeof prefix - (size_t)end, "mlp.experts.%lld.", (long long)e);
        add_mlp(m, o, prefix);
    }
    snprintf(prefix + end, sizeof prefix - (size_t)end, "mlp.");
    if (!o->experts) add_mlp(m, o, prefix);
}

static uint64_t tensor_bytes(const tensor *t, dtype type)
{
    uint64_t bytes = type_bytes(type);
    for (int d = 0; d < t->rank; d++)
        if (__builtin_mul_overflow(bytes, (uint64_t)t->shape[d], &bytes))
            die("%s: size overflows", t->name);
    return bytes;
}

/* Tensors go to shards in order, each shard about the same bytes and none empty. */
static void place(model *m, const options *o)
{
    for (size_t i = 0; i < m->count; i++)
        m->bytes += m->tensors[i].bytes = tensor_bytes(&m->tensors[i], o->type);
    if ((uint64_t)o->shards > m->count)
        die("%lld shards for %zu tensors", (long long)o->shards, m->count);
    uint64_t before = 0, begin = 0;
    int64_t shard = 0;
    for (size_t i = 0; i < m->count; i++) {
        tensor *t = &m->tensors[i];
        int full = before >= m->bytes / (uint64_t)o->shards * (uint64_t)(shard + 1);
        int last_chance = m->count - i == (size_t)(o->shards - 1 - shard);
        if (begin && shard + 1 < o->shards && (full || last_chance)) shard++, begin = 0;
        t->shard = (int)shard;
        t->begin = begin;
        before += t->bytes;
        begin += t->bytes;
    }
}

static model make_model(const options *o)
{
    model m = {0};
    add(&m, o->vocab, o->hidden, 0, "model.embed_tokens.weight");
    for (int64_t l = 0; l < o->layers; l++) add_layer(&m, o, l);
    add(&m, o->hidden, 0, 0, "model.norm.weight");
    if (!o->tied) add(&m, o->vocab, o->hidden, 0, "lm_head.weight");
    place(&m, o);
    return m;
}

/* ---- files ---- */

typedef struct output {
    int fd;
    char path[4096];
    unsigned char *buffer;
    size_t used;
} output;

static void flush_output(output *out)
{
    for (size_t done = 0; done < out->used;) {
        ssize_t n = write(out->fd, out->buffer + done, out->used - done);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) die("%s: %s", out->path, strerror(errno));
        done += (size_t)n;
    }
    out->used = 0;
}

static void open_output(output *out, const char *directory, const char *name)
{
    if (snprintf(out->path, sizeof out->path, "%s%s%s", directory, *directory ? "/" : "", name) >=
        (int)sizeof out->path)
        die("path too long");
    out->fd = open(out->path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (out->fd < 0) die("%s: %s", out->path, strerror(errno));
    if (!out->buffer) out->buffer = grow(NULL, BUFFER);
}

static void close_output(output *out)
{
    flush_output(out);
    if (close(out->fd)) die("%s: %s", out->path, strerror(errno));
}

__attribute__((format(printf, 2, 3))) static void put_text(output *out, const char *format, ...)
{
    if (BUFFER - out->used < 8192) flush_output(out);
    va_list args;
    va_start(args, format);
    out->used += (size_t)vsnprintf((char *)out->buffer + out->used, 8192, format, args);
    va_end(args);
}

/* One safetensors header entry; returns its length. `text` may be NULL to measure. */
static size_t entry(char *text, size_t size, const tensor *t, dtype type, int first)
{
    char shape[80];
    int n = snprintf(shape, sizeof shape, "%lld", (long long)t->shape[0]);
    for (int d = 1; d < t->rank; d++)
        n += snprintf(shape + n, sizeof shape - (size_t)n, ",%lld", (long long)t->shape[d]);
    return (size_t)snprintf(
        text, size, "%s\"%s\":{\"dtype\":\"%s\",\"shape\":[%s],\"data_offsets\":[%llu,%llu]}",
        first ? "" : ",", t->name, dtype_names[type], shape, (unsigned long long)t->begin,
        (unsigned long long)(t->begin + t->bytes));
}

static void put_header(output *out, const tensor *tensors, size_t count, dtype type)
{
    static const char metadata[] = "{\"__metadata__\":{\"format\":\"pt\"},";
    char text[512];
    uint64_t length = sizeof metadata - 1 + 1;
    for (size_t i = 0; i < count; i++) length += entry(NULL, 0, &tensors[i], type, i == 0);
    uint64_t padded = (length + 7) / 8 * 8;
    for (int i = 0; i < 8; i++) out->buffer[out->used++] = (unsigned char)(padded >> (8 * i));
    put_text(out, "%s", metadata);
    for (size_t i = 0; i < count; i++) {
        entry(text, sizeof text, &tensors[i], type, i == 0);
        put_text(out, "%s", text);
    }
    put_text(out, "}%*s", (int)(padded - length), "");
}

/* Column scales: 0.02 with one column in 128 eight times that, as activation outliers leave in real
 * models; norms are 1 + small. */
static void column_scales(float *scale, int64_t cols, int is_norm, uint64_t *state)
{
    for (int64_t k = 0; k < cols; k++)
        scale[k] = is_norm || check_random(state) % 128 ? 0.02f : 0.16f;
}

static void put_tensor(output *out, const tensor *t, const options *o, const float *pool)
{
    uint64_t state = name_hash(t->name, o->seed);
    int64_t cols = t->shape[t->rank - 1], rows = 1, element = 0;
    for (int d = 0; d + 1 < t->rank; d++) rows *= t->shape[d];
    int64_t nan_at = o->nan && !strcmp(o->nan, t->name) ? rows * cols / 2 : -1;
    float *scale = grow(NULL, (size_t)cols * sizeof *scale + 1);
    column_scales(scale, cols, t->rank == 1, &state);
    for (int64_t r = 0; r < rows; r++) {
        for (int64_t k = 0; k < cols;) {
            int64_t n = cols - k < CHUNK ? cols - k : CHUNK;
            size_t bytes = (size_t)n * type_bytes(o->type);
            if (out->used + bytes > BUFFER) flush_output(out);
            unsigned char *at = out->buffer + out->used;
            const float *run = pool + check_random(&state) % (POOL - CHUNK);
            make_elements(at, o->type, run, scale + k, t->rank == 1 ? 1.0f : 0.0f, n);
            if (nan_at >= element && nan_at < element + n)
                put_nan(at + (size_t)(nan_at - element) * type_bytes(o->type), o->type);
            out->used += bytes;
            element += n;
            k += n;
        }
    }
    free(scale);
}

static void shard_name(char *name, size_t size, int64_t shard, int64_t shards)
{
    if (shards == 1) snprintf(name, size, "model.safetensors");
    else
        snprintf(name, size, "model-%05lld-of-%05lld.safetensors", (long long)shard + 1,
                 (long long)shards);
}

static void put_index(output *out, const char *directory, const model *m, int64_t shards)
{
    char name[64];
    open_output(out, directory, "model.safetensors.index.json");
    put_text(out, "{\"metadata\":{\"total_size\":%llu},\"weight_map\":{",
             (unsigned long long)m->bytes);
    for (size_t i = 0; i < m->count; i++) {
        shard_name(name, sizeof name, m->tensors[i].shard, shards);
        put_text(out, "%s\n\"%s\":\"%s\"", i ? "," : "", m->tensors[i].name, name);
    }
    put_text(out, "}}\n");
    close_output(out);
}

static void put_config(output *out, const char *directory, const options *o)
{
    open_output(out, directory, "config.json");
    put_text(out,
             "{\n  \"architectures\": [\"LlamaForCausalLM\"],\n  \"model_type\": \"llama\",\n"
             "  \"hidden_size\": %lld,\n  \"intermediate_size\": %lld,\n"
             "  \"num_hidden_layers\": %lld,\n  \"num_attention_heads\": %lld,\n"
             "  \"num_key_value_heads\": %lld,\n  \"head_dim\": %lld,\n  \"vocab_size\": %lld,\n"
             "  \"hidden_act\": \"silu\",\n  \"rms_norm_eps\": 1e-05,\n"
             "  \"max_position_embeddings\": 2048,\n  \"tie_word_embeddings\": %s,\n"
             "  \"torch_dtype\": \"%s\"\n}\n",
             (long long)o->hidden, (long long)o->intermediate, (long long)o->layers,
             (long long)(o->hidden / head_dim(o)), (long long)kv_heads(o), (long long)head_dim(o),
             (long long)o->vocab, o->tied ? "true" : "false", torch_names[o->type]);
    close_output(out);
    open_output(out, directory, "tokenizer.json");
    put_text(out, "{\"version\": \"1.0\", \"model\": {\"type\": \"BPE\", \"vocab\": {}, "
                  "\"merges\": []}}\n");
    close_output(out);
}

static void put_shards(output *out, const char *path, int is_file, const model *m, const options *o)
{
    uint64_t state = o->seed;
    float *pool = grow(NULL, POOL * sizeof *pool);
    for (size_t i = 0; i < POOL; i++) pool[i] = student_t4(&state);
    for (size_t begin = 0, end; begin < m->count; begin = end) {
        int shard = m->tensors[begin].shard;
        for (end = begin; end < m->count && m->tensors[end].shard == shard;) end++;
        char name[64];
        shard_name(name, sizeof name, shard, o->shards);
        open_output(out, is_file ? "" : path, is_file ? path : name);
        put_header(out, m->tensors + begin, end - begin, o->type);
        for (size_t i = begin; i < end; i++) put_tensor(out, &m->tensors[i], o, pool);
        close_output(out);
    }
    free(pool);
}

/* ---- the command line ---- */

static int64_t parse_size(const char *text, const char *option)
{
    char *end;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    int shift = *end == 'K' ? 10 : *end == 'M' ? 20 : *end == 'G' ? 30 : 0;
    if (end == text || errno || end[shift ? 1 : 0] || value < 0 || value > INT64_MAX >> shift)
        die("--%s %s: not a number with K, M or G", option, text);
    return value << shift;
}

/* Shapes and layers that make at least `bytes` bytes. */
static void choose_shapes(options *o)
{
    o->hidden = o->bytes < 64 << 20           ? 256
                : o->bytes < 1 << 30          ? 1024
                : o->bytes < INT64_C(4) << 30 ? 2048
                                              : 4096;
    o->intermediate = o->hidden * 3; /* a multiple of 128 */
    o->vocab = o->hidden * 8;
    options one = *o;
    one.layers = 0;
    one.shards = 1;
    model none = make_model(&one);
    one.layers = 1;
    model single = make_model(&one);
    uint64_t rest = (uint64_t)o->bytes > none.bytes ? (uint64_t)o->bytes - none.bytes : 0;
    uint64_t layer = single.bytes - none.bytes;
    o->layers = (int64_t)((rest + layer - 1) / layer);
    if (o->layers == 0) o->layers = 1;
    free(none.tensors);
    free(single.tensors);
}

static const char usage[] =
    "usage: make_checkpoint OUT [options]\n"
    "OUT is a directory, or a file that ends in .safetensors (one shard, no config.json).\n"
    "  --size SIZE          at least so many bytes (4G, 300M): chooses the shapes\n"
    "  --layers N --hidden N --intermediate N --vocab N   the shapes (2, 256, 768, 1024)\n"
    "  --experts N          N experts per layer, each its own tensors; --stacked: 3-d tensors\n"
    "  --dtype f32|f16|bf16 (bf16)\n"
    "  --shards N           so many files and an index (1)\n"
    "  --tied               no lm_head: it is the embedding\n"
    "  --nan NAME           a NaN in the middle of that tensor\n"
    "  --seed N             (1)\n";

static dtype parse_type(const char *text)
{
    for (dtype t = F32; t <= BF16; t++)
        if (!strcasecmp(text, dtype_names[t])) return t;
    die("--dtype %s: not f32, f16 or bf16", text);
}

static options parse(int argc, char **argv)
{
    static const struct option table[] = {
        {"layers", 1, NULL, 'l'}, {"hidden", 1, NULL, 'h'},  {"intermediate", 1, NULL, 'i'},
        {"vocab", 1, NULL, 'v'},  {"dtype", 1, NULL, 'd'},   {"shards", 1, NULL, 's'},
        {"size", 1, NULL, 'z'},   {"experts", 1, NULL, 'e'}, {"stacked", 0, NULL, 'k'},
        {"tied", 0, NULL, 't'},   {"nan", 1, NULL, 'n'},     {"seed", 1, NULL, 'r'},
        {NULL, 0, NULL, 0},
    };
    options o = {.layers = 2,
                 .hidden = 256,
                 .intermediate = 768,
                 .vocab = 1024,
                 .shards = 1,
                 .type = BF16,
                 .seed = 1};
    int index = 0;
    for (int c; (c = getopt_long(argc, argv, "", table, &index)) != -1;) {
        int64_t *number = c == 'l'   ? &o.layers
                          : c == 'h' ? &o.hidden
                          : c == 'i' ? &o.intermediate
                          : c == 'v' ? &o.vocab
                          : c == 's' ? &o.shards
                          : c == 'z' ? &o.bytes
                          : c == 'e' ? &o.experts
                                     : NULL;
        if (number) *number = parse_size(optarg, table[index].name);
        else if (c == 'd') o.type = parse_type(optarg);
        else if (c == 'k') o.stacked = 1;
        else if (c == 't') o.tied = 1;
        else if (c == 'n') o.nan = optarg;
        else if (c == 'r') o.seed = (uint64_t)parse_size(optarg, "seed");
        else exit(2);
    }
    if (o.bytes) choose_shapes(&o);
    if (o.hidden < 1 || o.intermediate < 1 || o.vocab < 1 || o.shards < 1 || o.shards > 99999)
        die("--hidden, --intermediate, --vocab and --shards are at least 1");
    return o;
}

int main(int argc, char **argv)
{
    options o = parse(argc, argv);
    if (optind + 1 != argc) {
        fputs(usage, stderr);
        return 2;
    }
    const char *path = argv[optind], *dot = strrchr(path, '.');
    int is_file = dot && !strcmp(dot, ".safetensors");
    if (is_file && o.shards > 1) die("%s: one file has one shard", path);
    if (!is_file && mkdir(path, 0755) && errno != EEXIST) die("%s: %s", path, strerror(errno));
    model m = make_model(&o);
    int found = !o.nan;
    for (size_t i = 0; i < m.count && !found; i++) found = !strcmp(o.nan, m.tensors[i].name);
    if (!found) die("--nan %s: no such tensor", o.nan);
    output out = {0};
    if (!is_file) put_config(&out, path, &o);
    put_shards(&out, path, is_file, &m, &o);
    if (o.shards > 1) put_index(&out, path, &m, o.shards);
    printf("%s: %zu tensors, %llu bytes, %lld layers, hidden %lld\n", path, m.count,
           (unsigned long long)m.bytes, (long long)o.layers, (long long)o.hidden);
    free(out.buffer);
    free(m.tensors);
    return 0;
}
