/* clocks.c - what the machine says about itself before, during and after: a GPU's clocks, power
 * and throttling by NVML, loaded at run time; the CPU's load. A figure without them cannot be
 * judged. */
#include "cuda.h"
#include "engine.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

/* From nvml.h; a status of 0 is success. */
enum { NVML_CLOCK_SM = 1, NVML_CLOCK_MEM = 2, NVML_TEMPERATURE_GPU = 0 };

typedef struct nvml {
    int (*init)(void);
    int (*by_bus_id)(const char *bus_id, void **device);
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
                   {"nvmlDeviceGetHandleByPciBusId_v2", (void **)&n.by_bus_id},
                   {"nvmlDeviceGetClockInfo", (void **)&n.clock},
                   {"nvmlDeviceGetPowerUsage", (void **)&n.power},
                   {"nvmlDeviceGetEnforcedPowerLimit", (void **)&n.limit},
                   {"nvmlDeviceGetTemperature", (void **)&n.temperature}};
    if (tried++) return works ? &n : NULL;
    void *handle = dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL);
    works = handle != NULL;
    for (size_t i = 0; i < sizeof symbols / sizeof *symbols && works; i++)
        works = (*symbols[i].to = dlsym(handle, symbols[i].symbol)) != NULL;
    if (works) *(void **)&n.throttling = dlsym(handle, "nvmlDeviceGetCurrentClocksEventReasons");
    if (works && !n.throttling) /* its older name */
        *(void **)&n.throttling = dlsym(handle, "nvmlDeviceGetCurrentClocksThrottleReasons");
    works = works && n.init() == 0;
    return works ? &n : NULL;
}

/* By its place on the bus: NVML counts all GPUs, CUDA those of CUDA_VISIBLE_DEVICES. */
static int read_gpu(const char *name, bench_clock *clock, unsigned *memory_ret, unsigned *limit_ret)
{
    const nvml *n = load();
    const int device = n ? bench_cuda_device(name) : -1;
    char bus_id[32];
    void *gpu;
    unsigned milliwatts = 0, limit = 0;
    if (device < 0 || bench_driver_load()->bus_id(bus_id, sizeof bus_id, device)) return 0;
    memset(clock, 0, sizeof *clock);
    if (n->by_bus_id(bus_id, &gpu) || n->clock(gpu, NVML_CLOCK_SM, &clock->low)) return 0;
    if (n->clock(gpu, NVML_CLOCK_MEM, memory_ret)) *memory_ret = 0;
    if (!n->power(gpu, &milliwatts)) clock->power = milliwatts / 1000;
    *limit_ret = n->limit(gpu, &limit) ? 0 : limit / 1000;
    if (n->temperature(gpu, NVML_TEMPERATURE_GPU, &clock->celsius)) clock->celsius = 0;
    if (!n->throttling || n->throttling(gpu, &clock->held)) clock->held = 0;
    clock->high = clock->low;
    return 1;
}

static void say_held(unsigned long long held, char text[160])
{
    for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++) {
        size_t used = strlen(text);
        if (held & reasons[i].bit)
            snprintf(text + used, 160 - used, ", held back: %s", reasons[i].word);
    }
}

void bench_clocks(const bench_device *device, char text[160])
{
    double load_average;
    unsigned memory, limit;
    bench_clock now;
    text[0] = 0;
    if (!strcmp(device->info.name, "cpu") && getloadavg(&load_average, 1) == 1)
        snprintf(text, 160, "load average %.1f", load_average);
    if (strncmp(device->info.name, "cuda:", 5) ||
        !read_gpu(device->info.name, &now, &memory, &limit))
        return;
    snprintf(text, 160, "SM %u MHz, memory %u MHz, %u of %u W, %u C", now.low, memory, now.power,
             limit, now.celsius);
    say_held(now.held, text);
}

void bench_clocks_during(bench_device *device)
{
    bench_clock *all = &device->clock, now;
    unsigned memory, limit;
    if (!read_gpu(device->info.name, &now, &memory, &limit)) return;
    if (!all->low || now.low < all->low) all->low = now.low;
    if (now.high > all->high) all->high = now.high;
    if (now.power > all->power) all->power = now.power;
    if (now.celsius > all->celsius) all->celsius = now.celsius;
    all->held |= now.held;
    snprintf(device->during, sizeof device->during, "SM %u to %u MHz, at most %u of %u W, %u C",
             all->low, all->high, all->power, limit, all->celsius);
    say_held(all->held, device->during);
}
