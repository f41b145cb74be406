/* mixture.c - llama-quantize's names for mixtures of types, and general.file_type's number of each.
 */
#include "../../include/nibble_quantize.h"

#include <ctype.h>
#include <stddef.h>

/* clang-format off */
static const nib_mixture mixtures[] = {
    {"q4_0",   2,  "Q4_0",   "4-bit; output Q6_K"},
    {"q4_1",   3,  "Q4_1",   "4-bit with a min; output Q6_K"},
    {"q5_0",   8,  "Q5_0",   "5-bit; output Q6_K"},
    {"q5_1",   9,  "Q5_1",   "5-bit with a min; output Q6_K"},
    {"q8_0",   7,  "Q8_0",   "8-bit"},
    {"q2_k",   10, "Q2_K",   "2-bit; attention v and ffn down 3 or 4-bit"},
    {"q2_k_s", 21, "Q2_K",   "2-bit; needs an importance matrix"},
    {"q3_k_s", 11, "Q3_K",   "3-bit"},
    {"q3_k_m", 12, "Q3_K",   "3-bit; attention v, attention output and ffn down 4 or 5-bit"},
    {"q3_k_l", 13, "Q3_K",   "3-bit; attention v, attention output and ffn down 5-bit"},
    {"q4_k_s", 14, "Q4_K",   "4-bit; some of the first layers 5-bit"},
    {"q4_k_m", 15, "Q4_K",   "4-bit; half of attention v and ffn down 6-bit"},
    {"q5_k_s", 16, "Q5_K",   "5-bit"},
    {"q5_k_m", 17, "Q5_K",   "5-bit; half of attention v and ffn down 6-bit"},
    {"q6_k",   18, "Q6_K",   "6-bit"},
    {"iq4_nl", 25, "IQ4_NL", "4-bit numbers of 16 uneven values"},
    {"iq4_xs", 30, "IQ4_XS", "the same, 4.25 bits a weight"},
    {"f16",    1,  "F16",    "plain"},
    {"bf16",   32, "BF16",   "plain"},
    {"f32",    0,  "F32",    "plain"},
    {"copy",   -1, NULL,     "every tensor as it is"},
};
static const struct {
    const char *name, *mixture;
} aliases[] = {
    {"q3_k", "q3_k_m"}, {"q4_k", "q4_k_m"}, {"q5_k", "q5_k_m"},
};
/* clang-format on */

enum { MIXTURES = sizeof mixtures / sizeof mixtures[0] };

/* Case apart, and '-' is '_'. */
static int same_word(const char *a, const char *b)
{
    for (; *a && *b; a++, b++)
        if (tolower((unsigned char)(*a == '-' ? '_' : *a)) != tolower((unsigned char)*b)) return 0;
    return *a == *b;
}

size_t nib_mixture_count(void) { return MIXTURES; }

const nib_mixture *nib_mixture_at(size_t index)
{
    return index < MIXTURES ? &mixtures[index] : NULL;
}

const nib_mixture *nib_mixture_find(const char *name)
{
    for (size_t i = 0; name && i < sizeof aliases / sizeof aliases[0]; i++)
        if (same_word(name, aliases[i].name)) return nib_mixture_find(aliases[i].mixture);
    for (size_t i = 0; name && i < MIXTURES; i++)
        if (same_word(name, mixtures[i].name)) return &mixtures[i];
    return NULL;
}
