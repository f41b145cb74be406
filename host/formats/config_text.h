/* config_text.h - finds and changes one member of config.json without touching a byte of the rest.
 */
#ifndef NIB_FORMATS_CONFIG_TEXT_H
#define NIB_FORMATS_CONFIG_TEXT_H

#include "../../include/nibble.h"

#define NIB_CONFIG_KEY "quantization_config"

/* The value of the top-level member `key` of a JSON object's text: *value_ret points at its
 * *bytes_ret bytes, or is NULL where there is none. E_JSON and E_DUP where the text is no object
 * with such a member at most once. */
nib_status nib_config_find(const char *text, size_t length, const char *key, const char **value_ret,
                           size_t *bytes_ret);

/* The text with the member's value replaced, the member added at the end, or (value NULL) taken
 * out. "" counts as an empty object. malloc'd; the caller frees. */
nib_status nib_config_set(const char *text, const char *key, const char *value, char **text_ret);

#endif
