/* Passes over a feature map on a CPU: batch normalisation with what follows it, and CBAM. A map is (N, P, C):
 * pixels outside, channels inside, as channels_last has it. `A` is what is computed in, `T` what the map is
 * stored in. Sums are kept by image, so that the number of threads changes no result. Compiled at first use
 * by cpu.py.
 */
#ifndef A
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#ifdef _OPENMP
#define EACH_IMAGE _Pragma("omp parallel for num_threads(threads) schedule(static)")
#else
#define EACH_IMAGE (void)threads;
#endif

static inline float from_bf16(uint16_t stored) {
    uint32_t bits = (uint32_t)stored << 16;
    float value;
    memcpy(&value, &bits, 4);
    return value;
}

static inline uint16_t to_bf16(float value) { /* to the nearest, ties to even */
    uint32_t bits;
    memcpy(&bits, &value, 4);
    uint32_t rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16;
    return (uint16_t)(value != value ? 0x7FC0 : rounded);
}

#define A float
#define T uint16_t
#define NAME(name) bf16_##name
#define LOAD(value) from_bf16(value)
#define STORE(value) to_bf16(value)
#include "cpu.c"
#undef T
#undef NAME
#undef LOAD
#undef STORE

#define LOAD(value) (value)
#define STORE(value) (value)
#define T float
#define NAME(name) f32_##name
#include "cpu.c"
#undef A
#undef T
#undef NAME

#define A double
#define T double
#define NAME(name) f64_##name
#include "cpu.c"

#else

/* By image and channel, (N, C), the sum of x - x0 and of its square, where x0 is the image's first pixel. */
void NAME(moments)(long threads, long N, long P, long C, const T *restrict x, A *restrict sum,
                   A *restrict square) {
    EACH_IMAGE
    for (long n = 0; n < N; n++) {
        A *restrict s = sum + n * C, *restrict q = square + n * C;
        const T *restrict origin = x + n * P * C;
        for (long c = 0; c < C; c++) s[c] = q[c] = 0;
        for (long p = 1; p < P; p++)
            for (long c = 0; c < C; c++) {
                A value = LOAD(origin[p * C + c]) - LOAD(origin[c]);
                s[c] += value;
                q[c] += value * value;
            }
    }
}

/* y = scale x + shift, then what was skipped is added where there is any, then ReLU where asked. */
void NAME(affine)(long threads, long N, long P, long C, long relu, const T *restrict x,
                  const A *restrict scale, const A *restrict shift, const T *restrict skipped,
                  T *restrict y) {
    A low = relu ? 0 : -INFINITY;
    EACH_IMAGE
    for (long n = 0; n < N; n++)
        for (long p = 0; p < P; p++) {
            long start = (n * P + p) * C;
            if (skipped)
                for (long c = 0; c < C; c++) {
                    A value = LOAD(x[start + c]) * scale[c] + shift[c] + LOAD(skipped[start + c]);
                    y[start + c] = STORE(value < low ? low : value);
                }
            else
                for (long c = 0; c < C; c++) {
                    A value = LOAD(x[start + c]) * scale[c] + shift[c];
                    y[start + c] = STORE(value < low ? low : value);
                }
        }
}

/* The gradient before the ReLU where y is its result: dy where y > 0. */
void NAME(back_relu)(long threads, long N, long P, long C, const T *restrict dy, const T *restrict y,
                     T *restrict dx) {
    EACH_IMAGE
    for (long n = 0; n < N; n++)
        for (long i = n * P * C; i < (n + 1) * P * C; i++) dx[i] = LOAD(y[i]) > 0 ? dy[i] : (T)0;
}

/* By image and channel, (N, C), the sum of dy and of dy (x - mean), where `relu` asks with dy only where
 * scale x + shift > 0. */
void NAME(back_moments)(long threads, long N, long P, long C, long relu, const T *restrict dy,
                        const T *restrict x, const A *restrict scale, const A *restrict shift,
                        const A *restrict mean, A *restrict sum, A *restrict product) {
    A low = relu ? 0 : -INFINITY;
    EACH_IMAGE
    for (long n = 0; n < N; n++) {
        A *restrict s = sum + n * C, *restrict q = product + n * C;
        for (long c = 0; c < C; c++) s[c] = q[c] = 0;
        for (long p = 0; p < P; p++) {
            long start = (n * P + p) * C;
            for (long c = 0; c < C; c++) {
                A value = LOAD(x[start + c]);
                A given = value * scale[c] + shift[c] > low ? LOAD(dy[start + c]) : 0;
                s[c] += given;
                q[c] += given * (value - mean[c]);
            }
        }
    }
}

/* dx = by_dy dy + by_x x + constant, dy as in back_moments. */
void NAME(back_affine)(long threads, long N, long P, long C, long relu, const T *restrict dy,
                       const T *restrict x, const A *restrict scale, const A *restrict shift,
                       const A *restrict by_dy, const A *restrict by_x, const A *restrict constant,
                       T *restrict dx) {
    A low = relu ? 0 : -INFINITY;
    EACH_IMAGE
    for (long n = 0; n < N; n++)
        for (long p = 0; p < P; p++) {
            long start = (n * P + p) * C;
            for (long c = 0; c < C; c++) {
                A value = LOAD(x[start + c]);
                A given = value * scale[c] + shift[c] > low ? LOAD(dy[start + c]) : 0;
                dx[start + c] = STORE(by_dy[c] * given + by_x[c] * value + constant[c]);
            }
        }
}

/* CBAM: y = g x with the channel gate g (N, C), z = s y with the spatial gate s (N, P). */

/* Sum and maximum over the pixels of x, and where the maximum is (the first of equals): (N, C) each. */
void NAME(pool)(long threads, long N, long P, long C, const T *restrict x, A *restrict sum, A *restrict max,
                int32_t *restrict where) {
    EACH_IMAGE
    for (long n = 0; n < N; n++) {
        A *restrict s = sum + n * C, *restrict m = max + n * C;
        int32_t *restrict w = where + n * C;
        const T *restrict row = x + n * P * C;
        for (long c = 0; c < C; c++) s[c] = m[c] = LOAD(row[c]), w[c] = 0;
        for (long p = 1; p < P; p++) {
            row += C;
            for (long c = 0; c < C; c++) {
                A value = LOAD(row[c]);
                s[c] += value;
                w[c] = value > m[c] ? (int32_t)p : w[c];
                m[c] = value > m[c] ? value : m[c];
            }
        }
    }
}

/* Maximum and mean of y over the channels, (N, 2, P), and which channel has the maximum, (N, P). */
void NAME(describe)(long threads, long N, long P, long C, const T *restrict x, const A *restrict g,
                    A *restrict described, int32_t *restrict where) {
    EACH_IMAGE
    for (long n = 0; n < N; n++) {
        const A *restrict gate = g + n * C;
        A *restrict maxima = described + 2 * n * P, *restrict means = maxima + P;
        for (long p = 0; p < P; p++) {
            const T *restrict row = x + (n * P + p) * C;
            A sum = 0, max = LOAD(row[0]) * gate[0];
#pragma omp simd reduction(+ : sum) reduction(max : max)
            for (long c = 0; c < C; c++) {
                A value = LOAD(row[c]) * gate[c];
                sum += value;
                max = value > max ? value : max;
            }
            int32_t found = (int32_t)C;
#pragma omp simd reduction(min : found)
            for (long c = 0; c < C; c++) {
                int32_t here = LOAD(row[c]) * gate[c] == max ? (int32_t)c : (int32_t)C;
                found = here < found ? here : found;
            }
            maxima[p] = max;
            means[p] = sum / C;
            where[n * P + p] = found;
        }
    }
}

/* z = s g x. */
void NAME(apply)(long threads, long N, long P, long C, const T *restrict x, const A *restrict g,
                 const A *restrict s, T *restrict z) {
    EACH_IMAGE
    for (long n = 0; n < N; n++)
        for (long p = 0; p < P; p++) {
            long start = (n * P + p) * C;
            A here = s[n * P + p];
            for (long c = 0; c < C; c++) z[start + c] = STORE(LOAD(x[start + c]) * g[n * C + c] * here);
        }
}

/* The gradient of s, (N, P): over the channels, the sum of dz y. */
void NAME(back_spatial)(long threads, long N, long P, long C, const T *restrict dz, const T *restrict x,
                        const A *restrict g, A *restrict ds) {
    EACH_IMAGE
    for (long n = 0; n < N; n++)
        for (long p = 0; p < P; p++) {
            long start = (n * P + p) * C;
            A sum = 0;
#pragma omp simd reduction(+ : sum)
            for (long c = 0; c < C; c++) sum += LOAD(dz[start + c]) * LOAD(x[start + c]) * g[n * C + c];
            ds[n * P + p] = sum;
        }
}

/* The gradient of g, (N, C): over the pixels, the sum of dy x, where dy = s dz + what came back through the
 * descriptors: their gradients are `back` (N, 2, P), of the maximum and of the mean. */
void NAME(back_channel)(long threads, long N, long P, long C, const T *restrict dz, const T *restrict x,
                        const A *restrict s, const A *restrict back, const int32_t *restrict where,
                        A *restrict dg) {
    EACH_IMAGE
    for (long n = 0; n < N; n++) {
        A *restrict sum = dg + n * C;
        const A *restrict of_max = back + 2 * n * P, *restrict of_mean = of_max + P;
        for (long c = 0; c < C; c++) sum[c] = 0;
        for (long p = 0; p < P; p++) {
            long start = (n * P + p) * C;
            A here = s[n * P + p], mean = of_mean[p] / C;
            for (long c = 0; c < C; c++) sum[c] += (LOAD(dz[start + c]) * here + mean) * LOAD(x[start + c]);
            int32_t w = where[n * P + p];
            if (w < C) sum[w] += of_max[p] * LOAD(x[start + w]);
        }
    }
}

/* The gradient of x: g dy + what came back through the pools, whose gradients are those of the sum and of the
 * maximum, (N, C) each. */
void NAME(back_input)(long threads, long N, long P, long C, const T *restrict dz, const A *restrict g,
                      const A *restrict s, const A *restrict back, const int32_t *restrict where,
                      const A *restrict of_sum, const A *restrict of_max, const int32_t *restrict peak,
                      T *restrict dx) {
    EACH_IMAGE
    for (long n = 0; n < N; n++) {
        const A *restrict gate = g + n * C, *restrict sums = of_sum + n * C;
        const A *restrict maxima = back + 2 * n * P, *restrict means = maxima + P;
        for (long p = 0; p < P; p++) {
            long start = (n * P + p) * C;
            A here = s[n * P + p], mean = means[p] / C;
            for (long c = 0; c < C; c++)
                dx[start + c] = STORE((LOAD(dz[start + c]) * here + mean) * gate[c] + sums[c]);
        }
        /* The few places with more are computed again, so that nothing is rounded twice. */
        for (long p = 0; p < P; p++) {
            long start = (n * P + p) * C, c = where[n * P + p];
            if (c == C) continue;
            A dy = LOAD(dz[start + c]) * s[n * P + p] + means[p] / C + maxima[p];
            dx[start + c] = STORE(dy * gate[c] + sums[c]);
        }
        for (long c = 0; c < C; c++) {
            long p = peak[n * C + c], start = (n * P + p) * C;
            A dy = LOAD(dz[start + c]) * s[n * P + p] + means[p] / C;
            if (where[n * P + p] == c) dy += maxima[p];
            dx[start + c] = STORE(dy * gate[c] + sums[c] + of_max[n * C + c]);
        }
    }
}

/* Planes (I, H, W) with a border of zeros, K / 2 wide. */
static void NAME(border)(const A *restrict planes, A *restrict bordered, long I, long H, long W, long K) {
    long R = K / 2, wide = W + 2 * R, size = (H + 2 * R) * wide;
    memset(bordered, 0, sizeof(A) * I * size);
    for (long i = 0; i < I; i++)
        for (long h = 0; h < H; h++)
            memcpy(bordered + i * size + (h + R) * wide + R, planes + (i * H + h) * W, sizeof(A) * W);
}

/* A size-keeping K x K convolution of I planes to one. in (N, I, H, W), weight (I, K, K), out (N, H, W). */
void NAME(conv)(long threads, long N, long I, long H, long W, long K, const A *restrict in,
                const A *restrict weight, A *restrict out) {
    long wide = W + 2 * (K / 2), size = (H + 2 * (K / 2)) * wide;
    EACH_IMAGE
    for (long n = 0; n < N; n++) {
        A *room = malloc(sizeof(A) * I * size);
        NAME(border)(in + n * I * H * W, room, I, H, W, K);
        for (long h = 0; h < H; h++) {
            A *restrict line = out + (n * H + h) * W;
            for (long x = 0; x < W; x++) line[x] = 0;
            for (long k = 0; k < I * K; k++)
                for (long j = 0; j < K; j++) {
                    const A *restrict source = room + k / K * size + (h + k % K) * wide + j;
                    A by = weight[k * K + j];
                    for (long x = 0; x < W; x++) line[x] += by * source[x];
                }
        }
        free(room);
    }
}

/* Its gradients: of the input, (N, I, H, W), and of the weight by image, (N, I, K, K). */
void NAME(back_conv)(long threads, long N, long I, long H, long W, long K, const A *restrict in,
                     const A *restrict weight, const A *restrict dout, A *restrict din, A *restrict dweight) {
    long wide = W + 2 * (K / 2), size = (H + 2 * (K / 2)) * wide;
    EACH_IMAGE
    for (long n = 0; n < N; n++) {
        A *planes = malloc(sizeof(A) * ((I + 1) * size + I * K * K * W));
        A *back = planes + I * size, *lines = back + size;
        NAME(border)(in + n * I * H * W, planes, I, H, W, K);
        NAME(border)(dout + n * H * W, back, 1, H, W, K);
        memset(lines, 0, sizeof(A) * I * K * K * W);
        for (long h = 0; h < H; h++) {
            const A *restrict given = dout + (n * H + h) * W;
            for (long k = 0; k < I * K; k++)
                for (long j = 0; j < K; j++) {
                    const A *restrict source = planes + k / K * size + (h + k % K) * wide + j;
                    A *restrict line = lines + (k * K + j) * W;
                    for (long x = 0; x < W; x++) line[x] += given[x] * source[x];
                }
            for (long i = 0; i < I; i++) {
                A *restrict line = din + ((n * I + i) * H + h) * W;
                for (long x = 0; x < W; x++) line[x] = 0;
                for (long k = 0; k < K; k++)
                    for (long j = 0; j < K; j++) {
                        const A *restrict source = back + (h + K - 1 - k) * wide + K - 1 - j;
                        A by = weight[(i * K + k) * K + j];
                        for (long x = 0; x < W; x++) line[x] += by * source[x];
                    }
            }
        }
        for (long k = 0; k < I * K * K; k++) {
            A sum = 0;
            for (long x = 0; x < W; x++) sum += lines[k * W + x];
            dweight[n * I * K * K + k] = sum;
        }
        free(planes);
    }
}
#endif
