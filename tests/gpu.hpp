// CUDA C++ on the host: blocks run one after the other, and the threads of a block as
// coroutines, each until the next barrier. A missing barrier is detected: a thread does
// not see what later threads write before the barrier.
//
// Switching by _setjmp and _longjmp takes no system call, as swapcontext would.

#include <cmath>
#include <csetjmp>
#include <cstddef>
#include <cstdlib>
#include <ucontext.h>
#include <utility>
#include <vector>

using std::atan2;
using std::exp;
using std::exp2;
using std::fabs;
using std::log2;
using std::pow;
using std::sqrt;

#define __global__
#define __device__ static inline
#define __shared__ static
#define __restrict__

struct dim3 {
    unsigned x, y, z;
};

static dim3 threadIdx, blockIdx, blockDim, gridDim;

namespace host {

const size_t STACK = 1 << 16;
const size_t MOST_THREADS = 1024;

// A coroutine, which runs the kernel once per block.
struct Thread {
    std::vector<char> stack;
    ucontext_t context;
    jmp_buf resumed;
    dim3 index;
    bool started = false, ended = false;
};

static jmp_buf scheduler;
static std::vector<Thread> threads;
static size_t n_threads;
static Thread *current;
static void (*body)(void **);
static void **body_arguments;
static bool direct, broken;

// Returns to the scheduler, until it resumes this thread.
inline void pause()
{
    if (_setjmp(current->resumed) == 0)
        _longjmp(scheduler, 1);
}

inline void wait()
{
    if (direct)
        broken = true;
    else
        pause();
}

inline void run()
{
    for (;;) {
        body(body_arguments);
        current->ended = true;
        pause();
    }
}

inline dim3 index_of(unsigned number)
{
    const unsigned row = number / blockDim.x;
    return {number % blockDim.x, row % blockDim.y, row / blockDim.y};
}

inline void proceed(Thread &thread)
{
    current = &thread;
    threadIdx = thread.index;
    if (_setjmp(scheduler) != 0)
        return;
    if (thread.started)
        _longjmp(thread.resumed, 1);
    thread.started = true;
    thread.stack.resize(STACK);
    getcontext(&thread.context);
    thread.context.uc_stack.ss_sp = thread.stack.data();
    thread.context.uc_stack.ss_size = STACK;
    thread.context.uc_link = nullptr;
    makecontext(&thread.context, run, 0);
    setcontext(&thread.context);
}

inline void start(unsigned number)
{
    Thread &thread = threads[number];
    thread.index = index_of(number);
    thread.ended = false;
    proceed(thread);
}

// Runs one block; false if some threads wait for others that have ended. If the first
// thread comes to no barrier, the others are called without coroutines.
inline bool run_block()
{
    start(0);
    direct = threads[0].ended;
    for (unsigned number = 1; number < n_threads; ++number)
        if (direct) {
            threadIdx = index_of(number);
            body(body_arguments);
        } else {
            start(number);
        }
    if (direct) {
        direct = false;
        return !broken;
    }
    for (;;) {
        size_t ended = 0;
        for (size_t number = 0; number < n_threads; ++number)
            ended += threads[number].ended;
        if (ended)
            return ended == n_threads;
        for (size_t number = 0; number < n_threads; ++number)
            proceed(threads[number]);
    }
}

inline int launch(void (*function)(void **), const unsigned *grid,
                  const unsigned *block, void **arguments)
{
    direct = broken = false;
    body = function;
    body_arguments = arguments;
    blockDim = {block[0], block[1], block[2]};
    gridDim = {grid[0], grid[1], grid[2]};
    n_threads = blockDim.x * blockDim.y * blockDim.z;
    if (threads.empty())
        threads.resize(MOST_THREADS);
    for (unsigned z = 0; z < gridDim.z; ++z)
        for (unsigned y = 0; y < gridDim.y; ++y)
            for (unsigned x = 0; x < gridDim.x; ++x) {
                blockIdx = {x, y, z};
                if (!run_block()) {
                    threads.clear(); // some are in the middle of the kernel
                    return 1;
                }
            }
    return 0;
}

template <class... A, size_t... I>
void call(void (*kernel)(A...), void **arguments, std::index_sequence<I...>)
{
    kernel(*static_cast<A *>(arguments[I])...);
}

template <class... A> void call(void (*kernel)(A...), void **arguments)
{
    call(kernel, arguments, std::index_sequence_for<A...>());
}

template <class... A> int sizes(void (*)(A...), int *out)
{
    ((*out++ = sizeof(A)), ...);
    return sizeof...(A);
}

} // namespace host

#define __syncthreads() host::wait()

// The functions that Python calls for a kernel.
#define HOST_KERNEL(NAME)                                                              \
    static void body_##NAME(void **arguments) { host::call(NAME, arguments); }         \
    extern "C" int launch_##NAME(                                                      \
        const unsigned *grid, const unsigned *block, void **arguments)                 \
    {                                                                                  \
        return host::launch(body_##NAME, grid, block, arguments);                      \
    }                                                                                  \
    extern "C" int sizes_##NAME(int *out) { return host::sizes(NAME, out); }
