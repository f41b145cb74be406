// A stand-in for libcuda: the driver functions nibble uses, loaded by the same dlopen (NIBBLE_CUDA_DRIVER=this library).
// Kernels are the unmodified kernels/cuda/*.cu, compiled as C++ into this library and run by the emulator.
//
// What it checks or does as a driver would, or worse:
//   - two devices; memory of CUDA_HOST_MEMORY bytes each (default 1 GiB): more is CUDA_ERROR_OUT_OF_MEMORY
//   - copies and kernels run late: at the next synchronisation of their stream, never at the call
//   - a current context is needed, and must be of the device whose memory and streams are used
//   - a kernel that breaks a rule of the machine prints why, and every later call on its device returns
//     CUDA_ERROR_LAUNCH_FAILED; the other device goes on
//   - CUDA_HOST_FAULT=N makes the N-th launch fault, CUDA_HOST_SEED seeds the order of warps and blocks,
//     CUDA_HOST_IMAGE=ERROR makes loading a module fail with that code
//   - a stream that is being captured keeps its copies and kernels for the graph; waiting, allocating and finding a
//     kernel (a driver may load it then, and need memory) are refused then (900) and spoil the capture. A launched graph runs late like everything else. CUDA_HOST_CAPTURE=0 refuses
//     to begin one
//   - an event has its time when the stream comes to it; asked before, it is not ready (600). What is called, and which
//     kernels run, between an odd event and the next counts again, as "timed NAME"
//   - cuda_host_submit(stream, work) gives a stream what another library would (vendor/cublas_lt.cpp), and
//     cuda_host_capturing(stream) tells whether it is captured; cuda_host_pretend(seconds) lets events think that so
//     much time has passed
//   - cuda_host_calls(name) counts calls; cuda_host_context(device) makes a context that is not the primary one
#include <dlfcn.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "cuda_on_host.h"

#include "../../kernels/cuda/device.cuh"

#define API extern "C" __attribute__((visibility("default")))

typedef int CUresult, CUdevice;
typedef unsigned long long CUdeviceptr;
enum {
    SUCCESS = 0,
    INVALID_VALUE = 1,
    OUT_OF_MEMORY = 2,
    INVALID_DEVICE = 101,
    INVALID_IMAGE = 200,
    INVALID_CONTEXT = 201,
    NO_BINARY = 209,
    UNSUPPORTED_PTX = 222,
    NOT_FOUND = 500,
    NOT_READY = 600,
    LAUNCH_FAILED = 719,
    CAPTURE_UNSUPPORTED = 900,
    CAPTURE_INVALIDATED = 901
};

namespace
{

enum { DEVICES = 2 };

struct Context {
    CUdevice device;
};

typedef std::deque<std::function<void()>> Work;

struct Stream {
    Context *context;
    Work work;
    std::vector<std::pair<const char *, size_t>> reading; // host memory of uploads to come
    bool capturing = false, spoiled = false;
    Work captured;
    void add(std::function<void()> one) { (capturing ? captured : work).push_back(std::move(one)); }
};

struct Graph {
    Work work;
};

struct Instance { // which is no graph: the driver takes neither for the other
    Work work;
};

struct Event {
    bool passed = false;
    std::chrono::steady_clock::time_point time;
};

struct Module {
    Context *context;
};

struct State {
    std::recursive_mutex lock;
    Context primary[DEVICES] = {{0}, {1}};
    size_t used[DEVICES] = {};
    std::map<char *, std::pair<size_t, CUdevice>> memory; // start -> bytes, device
    std::map<std::string, long> calls;
    std::map<Stream *, std::unique_ptr<Stream>> streams;
    std::map<Module *, std::unique_ptr<Module>> modules;
    std::map<Graph *, std::unique_ptr<Graph>> graphs;
    std::map<Instance *, std::unique_ptr<Instance>> instances;
    std::map<Event *, std::unique_ptr<Event>> events;
    std::map<void *, size_t> shared_limit; // function -> dynamic shared memory it asked for
    std::deque<Context> others;
    bool faulted[DEVICES] = {};
    long launches = 0;
    bool timed_calls = false, timed_runs = false;
    std::chrono::seconds pretended{0};
};
State &state = *new State; // outlives every thread, and what a dead context keeps is no leak

thread_local std::vector<Context *> current;

size_t number(const char *name, size_t otherwise)
{
    const char *text = std::getenv(name);
    return text ? std::strtoull(text, nullptr, 10) : otherwise;
}

// Counts the call and says whether it may go on.
CUresult begin(const char *name, bool needs_context)
{
    state.calls[name]++;
    if (state.timed_calls) state.calls[std::string("timed ") + name]++;
    if (!needs_context) return SUCCESS;
    if (current.empty()) return INVALID_CONTEXT;
    return state.faulted[current.back()->device] ? LAUNCH_FAILED : SUCCESS;
}

#define BEGIN(needs_context)                                                                       \
    std::lock_guard<std::recursive_mutex> guard(state.lock);                                       \
    if (CUresult refused = begin(__func__, needs_context)) return refused

// Device memory [p, p + bytes) of the current context's device.
bool is_device_memory(const void *p, size_t bytes)
{
    auto next = state.memory.upper_bound((char *)p);
    if (next == state.memory.begin()) return false;
    auto &entry = *--next;
    return (char *)p + bytes <= entry.first + entry.second.first &&
           entry.second.second == current.back()->device;
}

// What a capture in global mode forbids every thread.
bool refused_by_capture()
{
    bool refused = false;
    for (auto &entry : state.streams)
        if (entry.first->capturing) refused = entry.first->spoiled = true;
    return refused;
}

void run(Stream *stream)
{
    while (!stream->work.empty() && !state.faulted[stream->context->device]) {
        auto work = std::move(stream->work.front());
        stream->work.pop_front();
        work();
    }
    stream->reading.clear();
}

typedef void Kernel(nib_spans, nib_args, nib_i64);

struct Launch {
    Kernel *kernel;
    nib_spans spans;
    nib_args args;
    nib_i64 items;
    size_t shared_bytes; // dynamic shared memory
    static void enter(void *p)
    {
        Launch *l = static_cast<Launch *>(p);
        l->kernel(l->spans, l->args, l->items);
    }
};

void run_kernel(Launch launch, CUdevice device, dim3 grid, dim3 block, const char *name)
{
    if (state.timed_runs) state.calls["timed kernels"]++;
    try {
        if (number("CUDA_HOST_FAULT", 0) == size_t(++state.launches))
            throw emu::Failure("planted fault");
        emu::options.seed = number("CUDA_HOST_SEED", 1) + size_t(state.launches);
        emu::launch(grid, block, launch.shared_bytes, Launch::enter, &launch, emu::Where{name, 0});
    } catch (const emu::Failure &failure) {
        std::fprintf(stderr, "cuda-host: %s: %s\n", name, failure.what());
        state.faulted[device] = true;
    }
}

} // namespace

API long cuda_host_calls(const char *name)
{
    std::lock_guard<std::recursive_mutex> guard(state.lock);
    return state.calls[name];
}

API void *cuda_host_context(int device)
{
    std::lock_guard<std::recursive_mutex> guard(state.lock);
    return &state.others.emplace_back(Context{device});
}

API CUresult cuInit(unsigned) { return SUCCESS; }
API CUresult cuDriverGetVersion(int *version) { return *version = 13000, SUCCESS; }

API CUresult cuGetErrorName(CUresult error, const char **text)
{
    static const std::map<int, const char *> names = {
        {INVALID_VALUE, "CUDA_ERROR_INVALID_VALUE"},
        {OUT_OF_MEMORY, "CUDA_ERROR_OUT_OF_MEMORY"},
        {INVALID_DEVICE, "CUDA_ERROR_INVALID_DEVICE"},
        {INVALID_IMAGE, "CUDA_ERROR_INVALID_IMAGE"},
        {INVALID_CONTEXT, "CUDA_ERROR_INVALID_CONTEXT"},
        {NO_BINARY, "CUDA_ERROR_NO_BINARY_FOR_GPU"},
        {UNSUPPORTED_PTX, "CUDA_ERROR_UNSUPPORTED_PTX_VERSION"},
        {NOT_FOUND, "CUDA_ERROR_NOT_FOUND"},
        {LAUNCH_FAILED, "CUDA_ERROR_LAUNCH_FAILED"}};
    auto found = names.find(error);
    *text = found == names.end() ? nullptr : found->second;
    return *text ? SUCCESS : INVALID_VALUE;
}

API CUresult cuGetErrorString(CUresult error, const char **text)
{
    return cuGetErrorName(error, text);
}

API CUresult cuDeviceGetCount(int *count) { return *count = DEVICES, SUCCESS; }

API CUresult cuDeviceGet(CUdevice *device, int index)
{
    if (index < 0 || index >= DEVICES) return INVALID_DEVICE;
    return *device = index, SUCCESS;
}

API CUresult cuDeviceGetName(char *name, int length, CUdevice)
{
    std::snprintf(name, size_t(length), "cuda-host");
    return SUCCESS;
}

API CUresult cuDeviceTotalMem_v2(size_t *bytes, CUdevice)
{
    return *bytes = number("CUDA_HOST_MEMORY", size_t(1) << 30), SUCCESS;
}

API CUresult cuDeviceGetAttribute(int *value, int attribute, CUdevice)
{
    switch (attribute) {
    case 16:
        return *value = 1,
               SUCCESS; // one multiprocessor: the grid is smaller than the work, so strides show
    case 38: return *value = 1 << 20, SUCCESS; // L2 cache
    case 75: return *value = 9, SUCCESS;
    case 76: return *value = 0, SUCCESS;
    default: return INVALID_VALUE;
    }
}

API CUresult cuDeviceGetPCIBusId(char *text, int length, CUdevice device)
{
    std::snprintf(text, size_t(length), "0000:%02X:00.0", unsigned(0xA1 + device));
    return SUCCESS;
}

API CUresult cuDevicePrimaryCtxRetain(Context **context, CUdevice device)
{
    BEGIN(false);
    return *context = &state.primary[device], SUCCESS;
}

API CUresult cuDevicePrimaryCtxRelease_v2(CUdevice) { return SUCCESS; }

API CUresult cuCtxGetCurrent(Context **context)
{
    return *context = current.empty() ? nullptr : current.back(), SUCCESS;
}

API CUresult cuCtxGetDevice(CUdevice *device)
{
    if (current.empty()) return INVALID_CONTEXT;
    return *device = current.back()->device, SUCCESS;
}

API CUresult cuCtxPushCurrent_v2(Context *context)
{
    BEGIN(false);
    return current.push_back(context), SUCCESS;
}

API CUresult cuCtxPopCurrent_v2(Context **context)
{
    std::lock_guard<std::recursive_mutex> guard(state.lock);
    state.calls[__func__]++;
    if (current.empty()) return INVALID_CONTEXT;
    *context = current.back();
    return current.pop_back(), SUCCESS;
}

API CUresult cuStreamCreate(Stream **stream, unsigned)
{
    BEGIN(true);
    std::unique_ptr<Stream> made(new Stream{current.back(), {}, {}, false, false, {}});
    *stream = made.get();
    return state.streams[*stream] = std::move(made), SUCCESS;
}

API CUresult cuStreamSynchronize(Stream *stream)
{
    BEGIN(true);
    if (stream->context != current.back()) return INVALID_CONTEXT;
    if (refused_by_capture()) return CAPTURE_UNSUPPORTED;
    run(stream);
    return state.faulted[stream->context->device] ? LAUNCH_FAILED : SUCCESS;
}

API CUresult cuStreamDestroy_v2(Stream *stream)
{
    BEGIN(true);
    run(stream);
    return state.streams.erase(stream) ? SUCCESS : INVALID_VALUE;
}

API CUresult cuStreamBeginCapture_v2(Stream *stream, int)
{
    BEGIN(true);
    if (stream->capturing) return INVALID_VALUE;
    if (!number("CUDA_HOST_CAPTURE", 1)) return CAPTURE_UNSUPPORTED;
    return stream->capturing = true, stream->spoiled = false, SUCCESS;
}

API CUresult cuStreamEndCapture(Stream *stream, Graph **graph)
{
    BEGIN(true);
    if (!stream->capturing) return INVALID_VALUE;
    std::unique_ptr<Graph> made(new Graph{std::move(stream->captured)});
    stream->capturing = false, stream->captured.clear(), *graph = nullptr;
    if (stream->spoiled) return CAPTURE_INVALIDATED;
    *graph = made.get();
    return state.graphs[*graph] = std::move(made), SUCCESS;
}

API CUresult cuGraphInstantiateWithFlags(Instance **instance, Graph *graph, unsigned long long)
{
    BEGIN(true);
    if (!state.graphs.count(graph)) return INVALID_VALUE;
    std::unique_ptr<Instance> made(new Instance{graph->work});
    *instance = made.get();
    return state.instances[*instance] = std::move(made), SUCCESS;
}

API CUresult cuGraphLaunch(Instance *instance, Stream *stream)
{
    BEGIN(true);
    if (!state.instances.count(instance)) return INVALID_VALUE;
    for (auto &one : instance->work) stream->add(one);
    return SUCCESS;
}

API CUresult cuGraphDestroy(Graph *graph)
{
    BEGIN(true);
    return state.graphs.erase(graph) ? SUCCESS : INVALID_VALUE;
}

API CUresult cuGraphExecDestroy(Instance *instance)
{
    BEGIN(true);
    return state.instances.erase(instance) ? SUCCESS : INVALID_VALUE;
}

API CUresult cuEventCreate(Event **event, unsigned)
{
    BEGIN(true);
    std::unique_ptr<Event> made(new Event);
    *event = made.get();
    return state.events[*event] = std::move(made), SUCCESS;
}

API CUresult cuEventDestroy_v2(Event *event)
{
    BEGIN(true);
    return state.events.erase(event) ? SUCCESS : INVALID_VALUE;
}

API CUresult cuEventRecord(Event *event, Stream *stream)
{
    BEGIN(true);
    if (!state.events.count(event) || stream->context != current.back()) return INVALID_VALUE;
    event->passed = false;
    state.timed_calls = !state.timed_calls;
    stream->add([=] {
        event->passed = true;
        event->time = std::chrono::steady_clock::now() + state.pretended;
        state.timed_runs = !state.timed_runs;
    });
    return SUCCESS;
}

API CUresult cuEventElapsedTime(float *milliseconds, Event *begin_, Event *end)
{
    BEGIN(false);
    if (!state.events.count(begin_) || !state.events.count(end)) return INVALID_VALUE;
    if (!begin_->passed || !end->passed) return NOT_READY;
    *milliseconds = std::chrono::duration<float, std::milli>(end->time - begin_->time).count();
    return SUCCESS;
}

API int cuda_host_capturing(Stream *stream)
{
    std::lock_guard<std::recursive_mutex> guard(state.lock);
    return stream->capturing;
}

API void cuda_host_pretend(int seconds)
{
    std::lock_guard<std::recursive_mutex> guard(state.lock);
    state.pretended += std::chrono::seconds(seconds);
}

API void cuda_host_submit(Stream *stream, const std::function<void()> &work)
{
    std::lock_guard<std::recursive_mutex> guard(state.lock);
    state.calls[__func__]++;
    stream->add(work);
}

API CUresult cuMemAlloc_v2(CUdeviceptr *address, size_t bytes)
{
    BEGIN(true);
    CUdevice device = current.back()->device;
    if (!bytes) return INVALID_VALUE;
    if (refused_by_capture()) return CAPTURE_UNSUPPORTED;
    if (bytes > number("CUDA_HOST_MEMORY", size_t(1) << 30) - state.used[device])
        return OUT_OF_MEMORY;
    char *memory = static_cast<char *>(std::aligned_alloc(256, (bytes + 255) / 256 * 256));
    if (!memory) return OUT_OF_MEMORY;
    std::memset(memory, 0xC5, bytes); // what was there before is nobody's business
    state.memory[memory] = {bytes, device};
    state.used[device] += bytes;
    return *address = CUdeviceptr(memory), SUCCESS;
}

API CUresult cuMemFree_v2(CUdeviceptr address)
{
    BEGIN(true);
    auto found = state.memory.find(reinterpret_cast<char *>(address));
    if (found == state.memory.end()) return INVALID_VALUE;
    state.used[found->second.second] -= found->second.first;
    std::free(found->first);
    state.memory.erase(found);
    return SUCCESS;
}

API CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr dst, const void *src, size_t bytes, Stream *stream)
{
    BEGIN(true);
    char *to = reinterpret_cast<char *>(dst);
    if (stream->context != current.back() || !is_device_memory(to, bytes)) return INVALID_VALUE;
    stream->reading.push_back({static_cast<const char *>(src), bytes});
    stream->add([=] { std::memcpy(to, src, bytes); });
    return SUCCESS;
}

API CUresult cuMemcpyDtoHAsync_v2(void *dst, CUdeviceptr src, size_t bytes, Stream *stream)
{
    BEGIN(true);
    char *from = reinterpret_cast<char *>(src);
    if (stream->context != current.back() || !is_device_memory(from, bytes)) return INVALID_VALUE;
    char *to = static_cast<char *>(dst);
    bool source = false; // of an upload before it
    for (auto &r : stream->reading) source |= to < r.first + r.second && r.first < to + bytes;
    if (!source) std::memset(dst, 0x3A, bytes); // not there yet
    stream->add([=] { std::memcpy(dst, from, bytes); });
    return SUCCESS;
}

API CUresult cuModuleLoadData(Module **module, const void *image)
{
    BEGIN(true);
    if (!image) return INVALID_IMAGE;
    if (size_t planted = number("CUDA_HOST_IMAGE", 0)) return CUresult(planted);
    std::unique_ptr<Module> made(new Module{current.back()});
    *module = made.get();
    return state.modules[*module] = std::move(made), SUCCESS;
}

API CUresult cuModuleUnload(Module *module)
{
    BEGIN(true);
    return state.modules.erase(module) ? SUCCESS : INVALID_VALUE;
}

// Kernels are symbols of this very library.
API CUresult cuModuleGetFunction(void **function, Module *, const char *name)
{
    BEGIN(true);
    if (refused_by_capture()) return CAPTURE_UNSUPPORTED;
    Dl_info self;
    if (!dladdr(reinterpret_cast<void *>(&cuInit), &self)) return NOT_FOUND;
    void *library = dlopen(self.dli_fname, RTLD_NOW | RTLD_NOLOAD);
    *function = library ? dlsym(library, name) : nullptr;
    if (library) dlclose(library);
    return *function ? SUCCESS : NOT_FOUND;
}

// More than 48 KiB of dynamic shared memory must be asked for; a GPU of sm_90 has 227 KiB for a block.
API CUresult cuFuncSetAttribute(void *function, int attribute, int value)
{
    BEGIN(true);
    if (attribute != 8 || value < 0 || value > 227 * 1024) return INVALID_VALUE;
    return state.shared_limit[function] = size_t(value), SUCCESS;
}

API CUresult cuLaunchKernel(void *function, unsigned gx, unsigned gy, unsigned gz, unsigned bx,
                            unsigned by, unsigned bz, unsigned shared_bytes, Stream *stream,
                            void **params, void **extra)
{
    BEGIN(true);
    auto asked = state.shared_limit.find(function);
    size_t limit =
        asked == state.shared_limit.end() || asked->second < 48 * 1024 ? 48 * 1024 : asked->second;
    if (stream->context != current.back() || !gx || gy != 1 || gz != 1 || by != 1 || bz != 1 ||
        bx > 1024 || shared_bytes > limit || extra)
        return INVALID_VALUE;
    Launch launch = {reinterpret_cast<Kernel *>(function), *static_cast<nib_spans *>(params[0]),
                     *static_cast<nib_args *>(params[1]), *static_cast<nib_i64 *>(params[2]),
                     shared_bytes};
    Dl_info info;
    const char *name = dladdr(function, &info) && info.dli_sname ? info.dli_sname : "?";
    CUdevice device = stream->context->device;
    stream->add([=] { run_kernel(launch, device, dim3(gx), dim3(bx), name); });
    return SUCCESS;
}
