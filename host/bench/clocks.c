/* clocks.c - what the machine says about itself before and after: a GPU's clocks, power and throttling
 * by NVML, loaded at run time; the CPU's load. A figure without them cannot be judged. */
#include "engine.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

/* From nvml.h; a status of 0 is success. */
enum { NVML_CLOCK_SM = 1, NVML_CLOCK_MEM = 2, NVML_TEMPERATURE_GPU = 0 };

typedef struct nvml {
    int (*init)(void);
    int (*by_index)(unsigned index, void **device);
    int (*clock)(void *device, int kind, unsigned *mhz);
    int (*power)(void *device, unsigned *milliwatts);
    int (*limit)(void *device, unsigned *milliwatts);
    int (*temperature)(void *device, int sensor, unsigned *celsius);
    int (*throttling)(void *device, unsigned long long *reasons);
} nvml;

/* Bits of the reasons that slow a GPU down; idle and the user's own settings do not count. */
static const struct {
    unsigned long long bit;
    const char *word;
} reasons[] = {{0x04, "power cap"},
               {0x08, "hardware slowdown"},
               {0x20, "thermal slowdown"},
               {0x40, "hardware thermal slowdown"},
               {0x80, "power brake"}};

static const nvml *load(void)
{
    static nvml n;
    static int tried, works;
    static const struct {
        const char *symbol;
        void **to;
    } symbols[] = {{"nvmlInit_v2", (void **)&n.init},
                   {"nvmlDeviceGetHandleByIndex_v2", (void **)&n.by_index},
                   {"nvmlDeviceGetClockInfo", (void **)&n.clock},
                   {"nvmlDeviceGetPowerUsage", (void **)&n.power},
                   {"nvmlDeviceGetEnforcedPowerLimit", (void **)&n.limit},
                   {"nvmlDeviceGetTemperature", (void **)&n.temperature},
                   {"nvmlDeviceGetCurrentClocksThrottleReasons", (void **)&n.throttling}};
    if (tried++) return works ? &n : NULL;
    void *handle = dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL);
    works = handle != NULL;
    for (size_t i = 0; i < sizeof symbols / sizeof *symbols && works; i++)
        works = (*symbols[i].to = dlsym(handle, symbols[i].symbol)) != NULL;
    works = works && n.init() == 0;
    return works ? &n : NULL;
}

static void gpu_clocks(unsigned index, char text[160])
{
    const nvml *n = load();
    void *gpu;
    unsigned sm = 0, memory = 0, power = 0, limit = 0, celsius = 0;
    unsigned long long held = 0;
    if (!n || n->by_index(index, &gpu)) return;
    if (n->clock(gpu, NVML_CLOCK_SM, &sm) || n->clock(gpu, NVML_CLOCK_MEM, &memory)) return;
    if (n->power(gpu, &power)) power = 0;
    if (n->limit(gpu, &limit)) limit = 0;
    if (n->temperature(gpu, NVML_TEMPERATURE_GPU, &celsius)) celsius = 0;
    if (n->throttling(gpu, &held)) held = 0;
    int used = snprintf(text, 160, "SM %u MHz, memory %u MHz, %u of %u W, %u C", sm, memory,
                        power / 1000, limit / 1000, celsius);
    for (size_t i = 0; i < sizeof reasons / sizeof *reasons && used > 0 && used < 160; i++)
        if (held & reasons[i].bit)
            used += snprintf(text + used, 160 - (size_t)used, ", held back: %s", reasons[i].word);
}

void bench_clocks(const bench_device *device, char text[160])
{
    double load_average;
    text[0] = 0;
    if (!strncmp(device->info.name, "cuda:", 5))
        gpu_clocks((unsigned)strtoul(device->info.name + 5, NULL, 10), text);
    else if (!strcmp(device->info.name, "cpu") && getloadavg(&load_average, 1) == 1)
        snprintf(text, 160, "load average %.1f", load_average);
}
