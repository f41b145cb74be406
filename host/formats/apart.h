/* apart.h - an output that can never be its input. */
#ifndef NIB_FORMATS_APART_H
#define NIB_FORMATS_APART_H

#include "../../include/nibble_file.h"

/* E_SAME_FILE if the entry `name` of the directory `parent`, which need not exist, is a file or the
 * directory of the input, holds one at most `depth` levels down (1: at its top), lies inside the
 * input's directory, or around it. By device and inode number, so that links and mounts count. */
nib_status nib_check_apart(int parent, const char *name, int depth, const char *shown,
                           const nib_file *input);

#endif
