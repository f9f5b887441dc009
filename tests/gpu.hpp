// CUDA C++ on the host: blocks run one after the other, the threads of a block as
// coroutines, each until the next barrier. A missing barrier shows: what a thread
// writes, the threads before it have not seen.

#include <cmath>
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

struct Thread {
    ucontext_t context;
    std::vector<char> stack;
    dim3 place;
    bool ended;
};

static ucontext_t scheduler;
static std::vector<Thread> threads;
static Thread *current;
static void (*body)(void **);
static void **body_arguments;
static bool direct, broken;

inline void wait()
{
    if (direct)
        broken = true;
    else
        swapcontext(&current->context, &scheduler);
}

inline void run()
{
    body(body_arguments);
    current->ended = true;
    swapcontext(&current->context, &scheduler);
}

inline dim3 place_of(unsigned number)
{
    const unsigned rest = number / blockDim.x;
    return {number % blockDim.x, rest % blockDim.y, rest / blockDim.y};
}

inline void start(unsigned number)
{
    Thread &thread = threads[number];
    thread.stack.resize(STACK);
    thread.place = place_of(number);
    thread.ended = false;
    getcontext(&thread.context);
    thread.context.uc_stack.ss_sp = thread.stack.data();
    thread.context.uc_stack.ss_size = STACK;
    thread.context.uc_link = nullptr;
    makecontext(&thread.context, run, 0);
}

inline void proceed(Thread &thread)
{
    current = &thread;
    threadIdx = thread.place;
    swapcontext(&scheduler, &thread.context);
}

// Runs one block; false where some threads wait for others that have ended. Where the
// first thread comes to no barrier, the others need not be coroutines.
inline bool run_block()
{
    start(0);
    proceed(threads[0]);
    direct = threads[0].ended;
    for (unsigned number = 1; number < threads.size(); ++number)
        if (direct) {
            threadIdx = place_of(number);
            body(body_arguments);
        } else {
            start(number);
            proceed(threads[number]);
        }
    if (direct) {
        direct = false;
        return !broken;
    }
    for (;;) {
        size_t ended = 0;
        for (Thread &thread : threads)
            ended += thread.ended;
        if (ended)
            return ended == threads.size();
        for (Thread &thread : threads)
            proceed(thread);
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
    threads.resize(blockDim.x * blockDim.y * blockDim.z);
    for (unsigned z = 0; z < gridDim.z; ++z)
        for (unsigned y = 0; y < gridDim.y; ++y)
            for (unsigned x = 0; x < gridDim.x; ++x) {
                blockIdx = {x, y, z};
                if (!run_block())
                    return 1;
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

// What Python calls for a kernel.
#define HOST_KERNEL(NAME)                                                              \
    static void body_##NAME(void **arguments) { host::call(NAME, arguments); }         \
    extern "C" int launch_##NAME(                                                      \
        const unsigned *grid, const unsigned *block, void **arguments)                 \
    {                                                                                  \
        return host::launch(body_##NAME, grid, block, arguments);                      \
    }                                                                                  \
    extern "C" int sizes_##NAME(int *out) { return host::sizes(NAME, out); }
