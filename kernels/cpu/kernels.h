/* kernels.h - the entry points of the cpu's kernels; which request goes to which, and what an item
 * is, stands in host/cpu/cpu_kernels.def. Each does items begin..end-1, from any thread, beside
 * other calls for other items. */
#ifndef NIB_CPU_KERNELS_H
#define NIB_CPU_KERNELS_H

#include "../common/args.h"

#define NIB_CPU_KERNEL(name)                                                                       \
    void name(void *const span[NIB_HOST_SPANS], const nib_args *args, nib_i64 begin, nib_i64 end)
NIB_CPU_KERNEL(nib_cpu_ranges);
NIB_CPU_KERNEL(nib_cpu_quantize_cells);
NIB_CPU_KERNEL(nib_cpu_quantize_runs);
NIB_CPU_KERNEL(nib_cpu_quantize_rows_avx2);
NIB_CPU_KERNEL(nib_cpu_quantize_rows_avx512);
NIB_CPU_KERNEL(nib_cpu_dequantize);
NIB_CPU_KERNEL(nib_cpu_repack);
NIB_CPU_KERNEL(nib_cpu_convert);
NIB_CPU_KERNEL(nib_cpu_errors);
NIB_CPU_KERNEL(nib_cpu_histogram);
NIB_CPU_KERNEL(nib_cpu_dequantize_rows_avx2);
NIB_CPU_KERNEL(nib_cpu_dequantize_rows_avx512);
NIB_CPU_KERNEL(nib_cpu_ranges_avx2);
NIB_CPU_KERNEL(nib_cpu_ranges_avx512);
NIB_CPU_KERNEL(nib_cpu_errors_avx2);
NIB_CPU_KERNEL(nib_cpu_errors_avx512);
NIB_CPU_KERNEL(nib_cpu_convert_avx2);
NIB_CPU_KERNEL(nib_cpu_convert_avx512);
NIB_CPU_KERNEL(nib_cpu_block_sums);
NIB_CPU_KERNEL(nib_cpu_block_sums_avx2);
NIB_CPU_KERNEL(nib_cpu_block_sums_avx512);
NIB_CPU_KERNEL(nib_cpu_quantize_blocks);
NIB_CPU_KERNEL(nib_cpu_quantize_blocks_avx2);
NIB_CPU_KERNEL(nib_cpu_quantize_blocks_avx512);
NIB_CPU_KERNEL(nib_cpu_dequantize_blocks);
NIB_CPU_KERNEL(nib_cpu_dequantize_blocks_avx2);
NIB_CPU_KERNEL(nib_cpu_dequantize_blocks_avx512);
NIB_CPU_KERNEL(nib_cpu_unpack_blocks);
NIB_CPU_KERNEL(nib_cpu_acts_avx2);
NIB_CPU_KERNEL(nib_cpu_acts_avx512);
NIB_CPU_KERNEL(nib_cpu_matmul_codes_avx2);
NIB_CPU_KERNEL(nib_cpu_matmul_codes_avx512);
NIB_CPU_KERNEL(nib_cpu_matmul_codes_m1_avx2);
NIB_CPU_KERNEL(nib_cpu_matmul_codes_m4_avx2);
NIB_CPU_KERNEL(nib_cpu_matmul_codes_m24_avx2);
NIB_CPU_KERNEL(nib_cpu_matmul_codes_vnni);
NIB_CPU_KERNEL(nib_cpu_matmul_codes_amx);
NIB_CPU_KERNEL(nib_cpu_matmul_floats_amx);
NIB_CPU_KERNEL(nib_cpu_matmul_floats_avx2);
NIB_CPU_KERNEL(nib_cpu_matmul_floats_avx512);
NIB_CPU_KERNEL(nib_cpu_matmul_floats_bf16);
NIB_CPU_KERNEL(nib_cpu_matmul_floats_m1_avx2);
NIB_CPU_KERNEL(nib_cpu_matmul_floats_m4_avx2);
NIB_CPU_KERNEL(nib_cpu_matmul_floats_m8_avx2);
NIB_CPU_KERNEL(nib_cpu_pack_panel_avx2);
NIB_CPU_KERNEL(nib_cpu_pack_plain);
NIB_CPU_KERNEL(nib_cpu_acts);
NIB_CPU_KERNEL(nib_cpu_matmul_float);
NIB_CPU_KERNEL(nib_cpu_matmul_int8);

#endif
