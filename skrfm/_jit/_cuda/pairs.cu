// Pairs of rows: distances, kernel values, slopes and gradients by coordinate.
//
// REAL is float or double. Matrices are in C order; t is (m, d), z is (n, d).

typedef unsigned long long index_t;

// -- kernels of the Euclidean distance ------------------------------------------------

// Turns inner products u (m, n) into squared distances. The distance of rows that are
// near each other, compared with their norms, is computed from differences.
extern "C" __global__ void squared_distances(
    REAL *u, const REAL *t, const REAL *z, const REAL *t_squares, const REAL *z_squares,
    REAL nearness, int m, int n, int d)
{
    const int j = blockIdx.x * blockDim.x + threadIdx.x;
    if (j >= n)
        return;
    for (int i = blockIdx.y; i < m; i += gridDim.y) {
        const REAL both = t_squares[i] + z_squares[j];
        const index_t at = (index_t)i * n + j;
        REAL s = both - 2 * u[at];
        if (s < nearness * both) {
            s = 0;
            for (int c = 0; c < d; ++c) {
                const REAL delta = t[(index_t)i * d + c] - z[(index_t)j * d + c];
                s += delta * delta;
            }
        }
        u[at] = s;
    }
}

// -- kernels exp(-(scale u)^exponent) of distance powers u ----------------------------

__device__ REAL value_of(REAL u, REAL scale, REAL exponent)
{
    if (exponent == 1)
        return exp(-scale * u);
    if (exponent == (REAL)0.5)
        return exp(-sqrt(scale * u));
    return u > 0 ? exp(-pow(scale * u, exponent)) : 1;
}

extern "C" __global__ void values(REAL *u, REAL scale, REAL exponent, index_t count)
{
    const index_t step = (index_t)gridDim.x * blockDim.x;
    for (index_t i = (index_t)blockIdx.x * blockDim.x + threadIdx.x; i < count; i += step)
        u[i] = value_of(u[i], scale, exponent);
}

// Turns u into values k, and writes the slopes -order (scale x)^exponent k / x with
// x = max(u, least), and 0 where u = 0.
extern "C" __global__ void values_and_slopes(
    REAL *u, REAL *w, REAL scale, REAL exponent, REAL order, REAL least, index_t count)
{
    const index_t step = (index_t)gridDim.x * blockDim.x;
    for (index_t i = (index_t)blockIdx.x * blockDim.x + threadIdx.x; i < count; i += step) {
        const REAL x = u[i] > least ? u[i] : least;
        const REAL k = value_of(u[i], scale, exponent);
        REAL slope = 0;
        if (u[i] > 0) {
            if (exponent == 1)
                slope = -order * scale * k;
            else if (exponent == (REAL)0.5)
                slope = -order * sqrt(scale / x) * k;
            else
                slope = -order * pow(scale * x, exponent) * k / x;
        }
        u[i] = k;
        w[i] = slope;
    }
}

// -- kernels of the L1 and Lp distances -----------------------------------------------

// x^p for x >= 0: p is ORDER / 4, or any number if ORDER is 0
template <int ORDER> __device__ REAL power(REAL x, REAL p)
{
    if (ORDER == 4)
        return x;
    if (ORDER == 8)
        return x * x;
    if (ORDER == 0)
        return exp2(p * log2(x));
    const REAL root = sqrt(x);
    if (ORDER == 6)
        return x * root;
    return ORDER == 5 ? x * sqrt(root) : x * (root * sqrt(root));
}

// |x|^(p - 1) sign(x)
template <int ORDER> __device__ REAL signed_power(REAL x, REAL p)
{
    if (ORDER == 8)
        return x;
    const REAL size = fabs(x), root = sqrt(size);
    REAL out = 1;
    if (ORDER == 5)
        out = sqrt(root);
    if (ORDER == 6)
        out = root;
    if (ORDER == 7)
        out = root * sqrt(root);
    if (ORDER == 0)
        out = exp2((p - 1) * log2(size));
    return x > 0 ? out : (x < 0 ? -out : (REAL)0);
}

// A block of 16 x 16 threads computes 64 x 64 pairs, each thread 4 x 4 of them.
const int SIDE = 16, EACH = 4, TILE = SIDE * EACH, CHUNK = 16;

template <int ORDER>
__device__ void add_powers(
    const REAL *t, const REAL *z, REAL *out, REAL p, int m, int n, int d)
{
    __shared__ REAL rows[CHUNK][TILE + 1], columns[CHUNK][TILE + 1];
    const int x = threadIdx.x, y = threadIdx.y, thread = y * SIDE + x;
    const int i0 = blockIdx.y * TILE, j0 = blockIdx.x * TILE;
    REAL sums[EACH][EACH] = {};
    for (int c0 = 0; c0 < d; c0 += CHUNK) {
        for (int k = thread; k < CHUNK * TILE; k += SIDE * SIDE) {
            const int row = k / CHUNK, c = k % CHUNK, i = i0 + row, j = j0 + row;
            const bool inside = c0 + c < d;
            rows[c][row] = inside && i < m ? t[(index_t)i * d + c0 + c] : 0;
            columns[c][row] = inside && j < n ? z[(index_t)j * d + c0 + c] : 0;
        }
        __syncthreads();
        const int count = d - c0 < CHUNK ? d - c0 : CHUNK;
        for (int c = 0; c < count; ++c) {
            REAL a[EACH], b[EACH];
            for (int r = 0; r < EACH; ++r) {
                a[r] = rows[c][y + SIDE * r];
                b[r] = columns[c][x + SIDE * r];
            }
            for (int r = 0; r < EACH; ++r)
                for (int s = 0; s < EACH; ++s)
                    sums[r][s] += power<ORDER>(fabs(a[r] - b[s]), p);
        }
        __syncthreads();
    }
    for (int r = 0; r < EACH; ++r)
        for (int s = 0; s < EACH; ++s) {
            const int i = i0 + y + SIDE * r, j = j0 + x + SIDE * s;
            if (i < m && j < n)
                out[(index_t)i * n + j] = sums[r][s];
        }
}

// A block of 32 x 8 threads computes 32 coordinates of 32 rows, for four outputs.
const int WIDTH = 32, HEIGHT = 8, ROWS = 4, OUTPUTS = 4;

template <int ORDER>
__device__ void add_gradients(
    const REAL *t, const REAL *z, const REAL *slopes, const REAL *coef, REAL *out,
    REAL p, int m, int n, int d, int n_outputs)
{
    __shared__ REAL points[WIDTH][WIDTH], weights[WIDTH][WIDTH + 1];
    __shared__ REAL factors[WIDTH][OUTPUTS];
    const int x = threadIdx.x, y = threadIdx.y, thread = y * WIDTH + x;
    const int i0 = blockIdx.y * WIDTH, c = blockIdx.x * WIDTH + x;
    const int first = blockIdx.z * OUTPUTS;
    REAL own[ROWS], sums[ROWS][OUTPUTS] = {};
    for (int r = 0; r < ROWS; ++r) {
        const int i = i0 + y + HEIGHT * r;
        own[r] = i < m && c < d ? t[(index_t)i * d + c] : 0;
    }
    for (int j0 = 0; j0 < n; j0 += WIDTH) {
        for (int row = y; row < WIDTH; row += HEIGHT) {
            const int j = j0 + row, i = i0 + row;
            points[row][x] = j < n && c < d ? z[(index_t)j * d + c] : 0;
            weights[row][x] = i < m && j0 + x < n ? slopes[(index_t)i * n + j0 + x] : 0;
        }
        if (thread < WIDTH * OUTPUTS) {
            const int j = j0 + thread / OUTPUTS, o = first + thread % OUTPUTS;
            const bool inside = j < n && o < n_outputs;
            factors[thread / OUTPUTS][thread % OUTPUTS] =
                inside ? coef[(index_t)j * n_outputs + o] : 0;
        }
        __syncthreads();
        for (int k = 0; k < WIDTH; ++k)
            for (int r = 0; r < ROWS; ++r) {
                const REAL weight = weights[y + HEIGHT * r][k];
                const REAL along = weight * signed_power<ORDER>(own[r] - points[k][x], p);
                for (int o = 0; o < OUTPUTS; ++o)
                    sums[r][o] += along * factors[k][o];
            }
        __syncthreads();
    }
    for (int r = 0; r < ROWS; ++r)
        for (int o = 0; o < OUTPUTS; ++o) {
            const int i = i0 + y + HEIGHT * r;
            if (i < m && c < d && first + o < n_outputs)
                out[((index_t)i * n_outputs + first + o) * d + c] = sums[r][o];
        }
}

#define OF_ORDER(ORDER)                                                                \
    extern "C" __global__ void power_sums_##ORDER(                                     \
        const REAL *t, const REAL *z, REAL *out, REAL p, int m, int n, int d)          \
    {                                                                                  \
        add_powers<ORDER>(t, z, out, p, m, n, d);                                      \
    }                                                                                  \
    extern "C" __global__ void gradients_##ORDER(                                      \
        const REAL *t, const REAL *z, const REAL *slopes, const REAL *coef, REAL *out, \
        REAL p, int m, int n, int d, int n_outputs)                                    \
    {                                                                                  \
        add_gradients<ORDER>(t, z, slopes, coef, out, p, m, n, d, n_outputs);          \
    }

OF_ORDER(0)
OF_ORDER(4)
OF_ORDER(5)
OF_ORDER(6)
OF_ORDER(7)
OF_ORDER(8)
