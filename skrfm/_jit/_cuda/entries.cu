// Sums over the observed entries of a matrix, and the small solves of its rows.
//
// REAL is float or double. Entries are in the CSR format: those of row i are pointer[i]
// to pointer[i + 1] - 1, and `indices` holds their columns. Factors are in C order, with
// k columns. Kernels with a block for each row have WIDTH threads.

typedef unsigned long long index_t;

const int WIDTH = 64;

// out_e = L_i . R_j at the entries e = (i, j); a thread for each entry
extern "C" __global__ void products(
    const int *rows, const int *indices, const REAL *L, const REAL *R, REAL *out, int k,
    index_t count)
{
    const index_t step = (index_t)gridDim.x * blockDim.x;
    for (index_t e = (index_t)blockIdx.x * blockDim.x + threadIdx.x; e < count; e += step) {
        const REAL *x = L + (index_t)rows[e] * k, *y = R + (index_t)indices[e] * k;
        REAL total = 0;
        for (int c = 0; c < k; ++c)
            total += x[c] * y[c];
        out[e] = total;
    }
}

// out_i = sum of values_e R_j over the entries e = (i, j) of row i
extern "C" __global__ void row_sums(
    const index_t *pointer, const int *indices, const REAL *values, const REAL *R,
    REAL *out, int k, int n_rows)
{
    for (int i = blockIdx.x; i < n_rows; i += gridDim.x)
        for (int c = threadIdx.x; c < k; c += WIDTH) {
            REAL total = 0;
            for (index_t e = pointer[i]; e < pointer[i + 1]; ++e)
                total += values[e] * R[(index_t)indices[e] * k + c];
            out[(index_t)i * k + c] = total;
        }
}

// out_i = sum of weight_e (L_i . R_j) R_j[skip : skip + width] over the entries of row i
extern "C" __global__ void normal_rows(
    const index_t *pointer, const int *indices, const REAL *weight, const REAL *L,
    const REAL *R, REAL *out, int k, int skip, int width, int n_rows)
{
    __shared__ REAL factors[WIDTH];
    const int thread = threadIdx.x;
    for (int i = blockIdx.x; i < n_rows; i += gridDim.x) {
        for (int c = thread; c < width; c += WIDTH)
            out[(index_t)i * width + c] = 0;
        for (index_t first = pointer[i]; first < pointer[i + 1]; first += WIDTH) {
            const index_t left = pointer[i + 1] - first;
            const int count = left < WIDTH ? (int)left : WIDTH;
            if (thread < count) {
                const REAL *x = L + (index_t)i * k;
                const REAL *y = R + (index_t)indices[first + thread] * k;
                REAL product = 0;
                for (int c = 0; c < k; ++c)
                    product += x[c] * y[c];
                factors[thread] = weight[first + thread] * product;
            }
            __syncthreads();
            for (int c = thread; c < width; c += WIDTH) {
                REAL total = 0;
                for (int s = 0; s < count; ++s)
                    total += factors[s] * R[(index_t)indices[first + s] * k + skip + c];
                out[(index_t)i * width + c] += total;
            }
            __syncthreads();
        }
    }
}

// Solves A x = b for the lower triangle of a positive definite A (k, k), in place, by
// all threads of a block. Pivots below the rounding error, `unit` times the diagonal,
// are raised to it; `diagonal` is a buffer of k numbers.
__device__ void cholesky_solve(REAL *A, REAL *b, REAL *diagonal, int k, REAL unit)
{
    const int thread = threadIdx.x;
    for (int j = thread; j < k; j += WIDTH)
        diagonal[j] = A[(index_t)j * k + j];
    __syncthreads();
    for (int j = 0; j < k; ++j) {
        const REAL least = unit * diagonal[j], found = A[(index_t)j * k + j];
        const REAL pivot = sqrt(found > least ? found : least);
        __syncthreads();
        for (int i = j + thread; i < k; i += WIDTH)
            A[(index_t)i * k + j] = i == j ? pivot : A[(index_t)i * k + j] / pivot;
        __syncthreads();
        for (int i = j + 1 + thread; i < k; i += WIDTH) {
            REAL *row = A + (index_t)i * k;
            for (int c = j + 1; c <= i; ++c)
                row[c] -= row[j] * A[(index_t)c * k + j];
        }
        __syncthreads();
    }
    for (int j = 0; j < k; ++j) {
        const REAL x = b[j] / A[(index_t)j * k + j];
        __syncthreads();
        for (int i = j + thread; i < k; i += WIDTH)
            b[i] = i == j ? x : b[i] - x * A[(index_t)i * k + j];
        __syncthreads();
    }
    for (int j = k - 1; j >= 0; --j) {
        const REAL x = b[j] / A[(index_t)j * k + j];
        __syncthreads();
        for (int i = thread; i <= j; i += WIDTH)
            b[i] = i == j ? x : b[i] - x * A[(index_t)j * k + i];
        __syncthreads();
    }
}

// out_i = argmin_z sum of weight_e (values_e - V_j . z)^2 + sum of penalty_c z_c^2 for the
// rows first to first + gridDim.x - 1; `buffer` has a (k, k) matrix and k numbers for
// each of them.
extern "C" __global__ void row_solves(
    const index_t *pointer, const int *indices, const REAL *weight, const REAL *values,
    const REAL *V, const REAL *penalty, REAL *out, REAL *buffer, REAL unit, int k,
    int first)
{
    const int i = first + blockIdx.x, thread = threadIdx.x;
    const index_t size = (index_t)k * k;
    REAL *A = buffer + blockIdx.x * (size + k), *diagonal = A + size;
    REAL *b = out + (index_t)i * k;
    for (index_t cell = thread; cell < size; cell += WIDTH) {
        const int r = (int)(cell / k), c = (int)(cell % k);
        if (c > r)
            continue;
        REAL total = r == c ? penalty[r] : (REAL)0;
        for (index_t e = pointer[i]; e < pointer[i + 1]; ++e) {
            const REAL *v = V + (index_t)indices[e] * k;
            total += weight[e] * v[r] * v[c];
        }
        A[cell] = total;
    }
    for (int c = thread; c < k; c += WIDTH) {
        REAL total = 0;
        for (index_t e = pointer[i]; e < pointer[i + 1]; ++e)
            total += weight[e] * values[e] * V[(index_t)indices[e] * k + c];
        b[c] = total;
    }
    __syncthreads();
    cholesky_solve(A, b, diagonal, k, unit);
}

// Solves (P at the entries of row i + diag(noise)) out = values, for a symmetric P (n, n)
// and the rows first to first + gridDim.x - 1; the part of `buffer` for row i starts at
// offsets[i - first].
extern "C" __global__ void dual_solves(
    const index_t *pointer, const int *indices, const REAL *values, const REAL *noise,
    const REAL *P, REAL *out, REAL *buffer, const index_t *offsets, REAL unit, int n,
    int first)
{
    const int i = first + blockIdx.x, thread = threadIdx.x;
    const index_t start = pointer[i];
    const int k = (int)(pointer[i + 1] - start);
    REAL *A = buffer + offsets[blockIdx.x], *diagonal = A + (index_t)k * k;
    for (index_t cell = thread; cell < (index_t)k * k; cell += WIDTH) {
        const int r = (int)(cell / k), c = (int)(cell % k);
        const REAL p = P[(index_t)indices[start + r] * n + indices[start + c]];
        A[cell] = r == c ? p + noise[start + r] : p;
    }
    for (int c = thread; c < k; c += WIDTH)
        out[start + c] = values[start + c];
    __syncthreads();
    cholesky_solve(A, out + start, diagonal, k, unit);
}
