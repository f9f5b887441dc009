// Layers of convolutional kernels: windows of covariances, and the ReLU.
//
// REAL is float or double. Covariances of the pixels of one image with those of other
// images have the shape (others, rows, rows', columns, columns'), in C order, where the
// primed axes belong to the others. A thread computes one element at a time.

typedef unsigned long long index_t;

#define EACH(at, count)                                                                \
    for (index_t at = (index_t)blockIdx.x * blockDim.x + threadIdx.x; at < count;      \
         at += (index_t)gridDim.x * blockDim.x)

// out[j, p, q, i] = sum over d of x[j, left[p, d], right[q, d], i], with x of shape
// (others, height, height', inner) and out of (others, rows, rows', inner)
extern "C" __global__ void row_windows(
    const REAL *x, const int *left, const int *right, REAL *out, int size, int rows,
    int rows2, int height, int height2, index_t inner, index_t count)
{
    EACH(at, count)
    {
        const index_t i = at % inner, window = at / inner;
        const int q = (int)(window % rows2), p = (int)(window / rows2 % rows);
        const index_t j = window / rows2 / rows;
        REAL total = 0;
        for (int d = 0; d < size; ++d) {
            const index_t row = j * height + left[p * size + d];
            total += x[(row * height2 + right[q * size + d]) * inner + i];
        }
        out[at] = total;
    }
}

// out[r, v, w] = factor times the sum over d of x[r, left[v, d], right[w, d]], with x of
// shape (outer, width, width') and out of (outer, columns, columns')
extern "C" __global__ void column_windows(
    const REAL *x, const int *left, const int *right, REAL *out, REAL factor, int size,
    int columns, int columns2, int width, int width2, index_t count)
{
    EACH(at, count)
    {
        const int w = (int)(at % columns2), v = (int)(at / columns2 % columns);
        const index_t r = at / columns2 / columns;
        REAL total = 0;
        for (int d = 0; d < size; ++d) {
            const index_t column = r * width + left[v * size + d];
            total += x[column * width2 + right[w * size + d]];
        }
        out[at] = factor * total;
    }
}

// Returns 1 - cos after a ReLU, and its derivative, given om = 1 - cos before it
__device__ REAL relu_angle(REAL om, REAL *slope)
{
    const REAL pi = (REAL)3.141592653589793238;
    om = om > 0 ? (om < 2 ? om : (REAL)2) : (REAL)0;
    const REAL cosine = 1 - om, sine = sqrt(om * (2 - om));
    const REAL theta = atan2(sine, cosine);
    const REAL bend = theta < (REAL)0.01
        ? theta * theta * theta * (theta * theta / 30 - (REAL)1 / 3)
        : theta * cosine - sine;
    *slope = 1 - theta / pi;
    return om + bend / pi;
}

// Applies a ReLU in place, given the variances a (rows, columns) of the pixels of the
// one image and c (others, rows', columns') of the others. `gap` is (a + c) / 2 minus the
// covariance, which is added to `tangent` before the ReLU. Without `pairs`, pixels at
// equal positions are compared, and the primed axes have length 1.
extern "C" __global__ void relu_layer(
    REAL *gap, REAL *tangent, const REAL *a, const REAL *c, int rows, int rows2,
    int columns, int columns2, int pairs, index_t count)
{
    EACH(at, count)
    {
        const int w = (int)(at % columns2), v = (int)(at / columns2 % columns);
        const index_t row_pair = at / columns2 / columns;
        const int q = (int)(row_pair % rows2), p = (int)(row_pair / rows2 % rows);
        const index_t j = row_pair / rows2 / rows;
        const REAL x = a[(index_t)p * columns + v];
        const REAL z = pairs ? c[(j * rows2 + q) * columns2 + w]
                             : c[(j * rows + p) * columns + v];
        const REAL r = sqrt(x * z), between = sqrt(x) - sqrt(z);
        const REAL apart = between * between / 2;
        if (r == 0) {
            gap[at] = apart;
            tangent[at] = 0;
            continue;
        }
        const REAL covariance = (x + z) / 2 - gap[at];
        REAL slope;
        const REAL om = relu_angle((gap[at] - apart) / r, &slope);
        gap[at] = apart + r * om;
        tangent[at] = (tangent[at] + covariance) * slope;
    }
}

// The mean along one axis over windows of `size` from `first` on: x has the shape
// (outer, length, inner), out the shape (outer, windows, inner). Beyond the border there
// are zeros, or with `wrap` the numbers of the opposite side.
extern "C" __global__ void axis_means(
    const REAL *x, REAL *out, int first, int size, int wrap, int length, int windows,
    index_t inner, index_t count)
{
    EACH(at, count)
    {
        const index_t i = at % inner, window = at / inner;
        const int start = (int)(window % windows) + first;
        const REAL *line = x + window / windows * length * inner + i;
        REAL total = 0;
        for (int d = 0; d < size; ++d) {
            int source = start + d;
            if (wrap)
                source = (source % length + length) % length;
            if (source >= 0 && source < length)
                total += line[source * inner];
        }
        out[at] = total / size;
    }
}

// 1 - cos of two patches with the covariance S and the product `unit` of the inverse
// deviations. What a sum of some hundred products is rounded by counts as no angle.
__device__ REAL cosine_gap(REAL S, REAL unit)
{
    const REAL rounding = sizeof(REAL) == 8 ? (REAL)4e-15 : (REAL)2e-6;
    const REAL om = 1 - S * unit;
    return om > rounding ? (om < 2 ? om : (REAL)2) : (REAL)0;
}

// Applies a ReLU in place to covariances S and tangent kernels T (pixels, n, m) of the
// pixels of equal position of n images with m others. The deviations a (pixels, n) and
// c (pixels, m) are kept; ia and ic are their inverses, or 0.
extern "C" __global__ void relu_values(
    REAL *S, REAL *T, const REAL *a, const REAL *c, const REAL *ia, const REAL *ic,
    index_t n, index_t m, index_t count)
{
    EACH(at, count)
    {
        const index_t own = at / m, other = own / n * m + at % m;
        const REAL r = a[own] * c[other];
        REAL slope;
        const REAL om = relu_angle(cosine_gap(S[at], ia[own] * ic[other]), &slope);
        S[at] = r * (1 - om);
        T[at] = r > 0 ? T[at] * slope : (REAL)0;
    }
}

// Passes derivatives back through a ReLU that was applied to S and T, where S was added
// to T before. dS and dT, with respect to the results, and da, with respect to the
// variances of the n images, become those with respect to S, to T before the addition,
// and to the variances. Where two patches have the same direction the derivative of the
// angle has a pole, whose two sides cancel.
extern "C" __global__ void relu_derivatives(
    const REAL *S, const REAL *T, const REAL *a, const REAL *c, const REAL *ia,
    const REAL *ic, REAL *dS, REAL *dT, REAL *da, index_t n, index_t m, index_t count)
{
    const REAL pi = (REAL)3.141592653589793238;
    const REAL same_direction = sizeof(REAL) == 8 ? (REAL)1e-6 : (REAL)3e-3;
    EACH(at, count)
    {
        const index_t own = at / m, other = own / n * m + at % m;
        const REAL r = a[own] * c[other], unit = ia[own] * ic[other];
        const REAL om = cosine_gap(S[at], unit), sine = sqrt(om * (2 - om));
        REAL slope;
        relu_angle(om, &slope);
        slope = r > 0 ? slope : (REAL)0;
        const REAL pole = sine > same_direction ? 1 / sine : (REAL)0;
        const REAL turn = dT[at] * T[at] * (pole * unit / pi);
        // the value is (S (pi - angle) + r sin angle) / pi
        const REAL bend = dS[at] * r * sine / pi - turn * S[at];
        da[at] += ia[own] * ia[own] / 2 * bend;
        dT[at] *= slope;
        dS[at] = dS[at] * slope + turn + dT[at];
    }
}
