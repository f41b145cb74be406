// A stand-in for NVML: the GPU at one place on the bus, whose clock falls with every question and is held back by its
// power cap at the third.
#include <cstring>

typedef void *Device;

static unsigned asked;

extern "C" {
int nvmlInit_v2(void) { return 0; }

int nvmlDeviceGetHandleByPciBusId_v2(const char *bus_id, Device *device)
{
    *device = &asked;
    return std::strcmp(bus_id, "0000:A1:00.0") ? 6 : 0; // not found
}

int nvmlDeviceGetClockInfo(Device, int kind, unsigned *mhz)
{
    if (kind == 1) asked++;
    *mhz = kind == 1 ? 1980 - 15 * (asked < 10 ? asked : 10) : 3201;
    return 0;
}

int nvmlDeviceGetPowerUsage(Device, unsigned *milliwatts) { return *milliwatts = 612345, 0; }
int nvmlDeviceGetEnforcedPowerLimit(Device, unsigned *milliwatts)
{
    return *milliwatts = 700000, 0;
}
int nvmlDeviceGetTemperature(Device, int, unsigned *celsius) { return *celsius = 61, 0; }

int nvmlDeviceGetCurrentClocksThrottleReasons(Device, unsigned long long *reasons)
{
    return *reasons = asked == 3 ? 0x4 : 0x1, 0;
}
}
