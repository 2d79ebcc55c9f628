/* Passes over a feature map on a CPU: batch normalisation with what follows it, and CBAM. A map is (N, P, C):
 * pixels outside, channels inside, as channels_last has it. `A` is what is computed in, `T` what the map is
 * stored in, `V` a vector of L values of A, `I` of integers. Sums are kept by image, so that the number of
 * threads changes no result. Compiled at first use by library.py.
 */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#ifdef __AVX__
#include <immintrin.h>
#endif

#ifdef __AVX512F__
#define BYTES 64
#elif defined(__AVX__)
#define BYTES 32
#else
#define BYTES 16
#endif
#if defined(__AVX512BW__) && defined(__AVX512VL__)
/* Fewer values than a vector holds go by a mask: a call of memcpy for each pixel is ten times slower. */
#define MASKS
#define FIRST(K) ((1u << (K)) - 1)
#endif
#define L (BYTES / (long)sizeof(A))
#define V NAME(vector)
#define I NAME(integers)
#define LOAD NAME(load)
#define STORE NAME(store)
#define READ NAME(read)
#define WRITE NAME(write)
#define KEEP NAME(keep)
#define INLINE static inline __attribute__((always_inline))
#ifdef _OPENMP
#define EACH_IMAGE _Pragma("omp parallel for num_threads(threads) schedule(static)")
#else
#define EACH_IMAGE (void)threads;
#endif
/* Images by the eight, as many as share what is allocated for them and a sum. */
#define EACH_GROUP EACH_IMAGE for (long group = 0; group < (N + 7) / 8; group++)
#define IN_GROUP for (long n = 8 * group; n < N && n < 8 * group + 8; n++)

/* f(K, c, ...) for each vector of channels from c on, of which K are there: a constant but for the last. */
#define BY_VECTOR(f, ...)                                             \
    do {                                                              \
        for (long c = 0; c + L <= C; c += L) f(L, c, C, __VA_ARGS__); \
        if (C % L) f(C % L, C - C % L, C, __VA_ARGS__);               \
    } while (0)

/* f(C, ...) with the usual numbers of channels as constants. */
#define BY_CHANNELS(f, ...)                 \
    switch (C) {                            \
        case 16: f(16, __VA_ARGS__); break; \
        case 32: f(32, __VA_ARGS__); break; \
        case 64: f(64, __VA_ARGS__); break; \
        default: f(C, __VA_ARGS__);         \
    }

#define A float
#define INT int32_t
#define T uint16_t
#define NAME(name) bf16_##name
#include "vectors.h"
#include "norm.h"
#include "cbam.h"
#undef T
#undef NAME

#define T float
#define NAME(name) f32_##name
#include "vectors.h"
#include "norm.h"
#include "cbam.h"
#include "conv.h"
#include "gates.h"
#undef A
#undef INT
#undef T
#undef NAME

#define A double
#define INT int64_t
#define T double
#define NAME(name) f64_##name
#include "vectors.h"
#include "norm.h"
#include "cbam.h"
#include "conv.h"
#include "gates.h"
