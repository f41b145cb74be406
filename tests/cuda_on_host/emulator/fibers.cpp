// Fibers. A switch saves the callee-saved registers on the old stack and takes them from the new one.

#include "engine.h"

#include <sys/mman.h>
#include <unistd.h>

#if !defined(__x86_64__)
#include <ucontext.h>
#endif

namespace emu
{

#if defined(__x86_64__)
asm(R"(
.text
.globl emu_switch
.hidden emu_switch
.type emu_switch, @function
emu_switch:
  push %rbp
  push %rbx
  push %r12
  push %r13
  push %r14
  push %r15
  mov %rsp, (%rdi)
  mov %rsi, %rsp
  pop %r15
  pop %r14
  pop %r13
  pop %r12
  pop %rbx
  pop %rbp
  ret
.size emu_switch, . - emu_switch
)");
void *first_frame(char *stack, void (*entry)())
{
    void **top = reinterpret_cast<void **>(stack + stack_size - 64);
    *--top = nullptr; // where a return address would be: `entry` never returns
    *--top = reinterpret_cast<void *>(entry);
    return top - 6;
}
#else
void emu_switch(void **save, void *resume)
{
    ucontext_t here;
    *save = &here;
    swapcontext(&here, static_cast<ucontext_t *>(resume));
}
void *first_frame(char *stack, void (*entry)())
{
    auto *context = reinterpret_cast<ucontext_t *>(stack);
    getcontext(context);
    context->uc_stack.ss_sp = stack + sizeof *context;
    context->uc_stack.ss_size = stack_size - sizeof *context;
    makecontext(context, entry, 0);
    return context;
}
#endif

// Stacks are kept for reuse, each below a guard page. TSan must not see two threads on one stack: there each thread
// gets fresh memory.
static std::vector<char *> free_stacks;

char *new_stack()
{
    if (!free_stacks.empty() && !tsan::enabled) {
        char *stack = free_stacks.back();
        free_stacks.pop_back();
        asan::unpoison(stack, stack_size);
        return stack;
    }
    size_t guard = sysconf(_SC_PAGESIZE);
    void *memory = mmap(nullptr, guard + stack_size, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED || mprotect(memory, guard, PROT_NONE))
        throw Failure("out of memory for fiber stacks");
    return static_cast<char *>(memory) + guard;
}

void free_stack(char *stack)
{
    size_t guard = sysconf(_SC_PAGESIZE);
    if (tsan::enabled) munmap(stack - guard, guard + stack_size);
    else free_stacks.push_back(stack);
}

} // namespace emu
