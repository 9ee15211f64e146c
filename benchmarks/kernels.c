/* The loops that benchmarks/kernels.py measures rustorch against, as one would write them by hand: values and gradients fused, one pass
   over memory where the mathematics allows it, threads over rows or chunks, memory of the caller.

   gcc -Ofast -march=native -fopenmp -shared -fPIC: vector math from glibc's libmvec, sums reassociated. */

#include <math.h>
#include <stdint.h>

/* sum(tanh x * exp(-x^2) + log1p(x^2) + sigmoid x) and its gradient */
#define CHAIN(NAME, T, TANH, EXP, LOG1P)                                                                         \
    double NAME(int64_t n, const T *restrict x, T *restrict g) {                                                 \
        double total = 0;                                                                                        \
        _Pragma("omp parallel for reduction(+ : total) schedule(static) if (n > 4096)")                          \
        for (int64_t block = 0; block < n; block += 4096) {                                                      \
            T sum = 0;                                                                                           \
            int64_t end = block + 4096 < n ? block + 4096 : n;                                                   \
            _Pragma("omp simd reduction(+ : sum)")                                                               \
            for (int64_t i = block; i < end; i++) {                                                              \
                T v = x[i], q = v * v, t = TANH(v), e = EXP(-q), s = 1 / (1 + EXP(-v));                          \
                sum += t * e + LOG1P(q) + s;                                                                     \
                g[i] = (1 - t * t) * e - 2 * v * t * e + 2 * v / (1 + q) + s * (1 - s);                          \
            }                                                                                                    \
            total += sum;                                                                                        \
        }                                                                                                        \
        return total;                                                                                            \
    }
CHAIN(chain_f32, float, tanhf, expf, log1pf)
CHAIN(chain_f64, double, tanh, exp, log1p)

/* sum 100 (x[i+1] - x[i]^2)^2 + (1 - x[i])^2 and its gradient */
double rosenbrock_f64(int64_t n, const double *restrict x, double *restrict g) {
    double total = 0;
    double a = x[1] - x[0] * x[0], b = 1 - x[0];
    g[0] = -400 * a * x[0] - 2 * b;
    total += 100 * a * a + b * b;
    #pragma omp parallel for simd reduction(+ : total) schedule(static) if (n > 20000)
    for (int64_t i = 1; i < n - 1; i++) {
        double c = x[i + 1] - x[i] * x[i], d = 1 - x[i];
        g[i] = -400 * c * x[i] - 2 * d + 200 * (x[i] - x[i - 1] * x[i - 1]);
        total += 100 * c * c + d * d;
    }
    g[n - 1] = 200 * (x[n - 1] - x[n - 2] * x[n - 2]);
    return total;
}

/* mean cross entropy of rows of scores, and its gradient */
double cross_entropy_f32(int64_t rows, int64_t columns, const float *restrict x, const int64_t *restrict y, float *restrict g) {
    double total = 0;
    float scale = 1.0f / rows;
    #pragma omp parallel for reduction(+ : total) schedule(static) if (rows * columns > 8192)
    for (int64_t r = 0; r < rows; r++) {
        const float *restrict in = x + r * columns;
        float *restrict out = g + r * columns;
        float peak = in[0], sum = 0;
        #pragma omp simd reduction(max : peak)
        for (int64_t c = 0; c < columns; c++) peak = in[c] > peak ? in[c] : peak;
        #pragma omp simd reduction(+ : sum)
        for (int64_t c = 0; c < columns; c++) {
            float e = expf(in[c] - peak);
            out[c] = e;
            sum += e;
        }
        float share = scale / sum;
        #pragma omp simd
        for (int64_t c = 0; c < columns; c++) out[c] *= share;
        out[y[r]] -= scale;
        total += logf(sum) - (in[y[r]] - peak);
    }
    return total * scale;
}

/* layer norm of rows, its sum weighted by u, and the gradients of x, w and b; dw and db are zeroed here. work: 2 * columns a thread */
#include <omp.h>
#include <string.h>
double layer_norm_f32(int64_t rows, int64_t columns, const float *restrict x, const float *restrict w, const float *restrict b,
                      const float *restrict u, float *restrict dx, float *restrict dw, float *restrict db, float *restrict work) {
    double total = 0;
    memset(dw, 0, columns * sizeof(float));
    memset(db, 0, columns * sizeof(float));
    #pragma omp parallel reduction(+ : total)
    {
        float *restrict ow = work + 2 * columns * omp_get_thread_num(), *restrict ob = ow + columns;
        memset(ow, 0, 2 * columns * sizeof(float));
        #pragma omp for schedule(static)
        for (int64_t r = 0; r < rows; r++) {
            const float *restrict in = x + r * columns, *restrict up = u + r * columns;
            float *restrict out = dx + r * columns;
            float sum = 0, square = 0, first = 0, second = 0, value = 0;
            #pragma omp simd reduction(+ : sum)
            for (int64_t c = 0; c < columns; c++) sum += in[c];
            float mean = sum / columns;
            #pragma omp simd reduction(+ : square)
            for (int64_t c = 0; c < columns; c++) square += (in[c] - mean) * (in[c] - mean);
            float scale = 1 / sqrtf(square / columns + 1e-5f);
            #pragma omp simd reduction(+ : first, second, value)
            for (int64_t c = 0; c < columns; c++) {
                float h = (in[c] - mean) * scale, d = up[c] * w[c];
                first += d;
                second += d * h;
                value += up[c] * (h * w[c] + b[c]);
                ow[c] += up[c] * h;
                ob[c] += up[c];
            }
            total += value;
            first /= columns;
            second /= columns;
            #pragma omp simd
            for (int64_t c = 0; c < columns; c++) out[c] = scale * (up[c] * w[c] - first - (in[c] - mean) * scale * second);
        }
        #pragma omp critical
        for (int64_t c = 0; c < columns; c++) {
            dw[c] += ow[c];
            db[c] += ob[c];
        }
    }
    return total;
}
