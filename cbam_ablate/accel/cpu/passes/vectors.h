/* Vectors of L values of A, and how they come from a map and go into one. */
typedef A V __attribute__((vector_size(BYTES)));
typedef INT I __attribute__((vector_size(BYTES)));

/* K values of what is computed in, the rest zero. */
INLINE V READ(long K, const A *from) {
    V v = {0};
#ifdef MASKS
    if (K < L)
        return sizeof(A) == 4 ? (V)_mm512_maskz_loadu_ps(FIRST(K), from)
                              : (V)_mm512_maskz_loadu_pd(FIRST(K), from);
#endif
    memcpy(&v, from, K * sizeof(A));
    return v;
}

INLINE void WRITE(long K, A *to, V v) {
#ifdef MASKS
    if (K < L && sizeof(A) == 4) return _mm512_mask_storeu_ps(to, FIRST(K), (__m512)v);
    if (K < L) return _mm512_mask_storeu_pd(to, FIRST(K), (__m512d)v);
#endif
    memcpy(to, &v, K * sizeof(A));
}

/* K values of a map, the rest zero. */
INLINE V LOAD(long K, const T *from) {
    if (sizeof(T) == sizeof(A)) return READ(K, (const A *)from);
    typedef uint16_t Stored __attribute__((vector_size(BYTES / 2)));
    Stored stored = {0};
#ifdef MASKS
    if (K < L)
        stored = (Stored)_mm256_maskz_loadu_epi16(FIRST(K), from);
    else
#endif
        memcpy(&stored, from, K * sizeof(T));
#ifdef __AVX512F__
    return (V)_mm512_slli_epi32(_mm512_cvtepu16_epi32((__m256i)stored), 16);
#else
    typedef uint32_t Bits __attribute__((vector_size(BYTES)));
    return (V)(__builtin_convertvector(stored, Bits) << 16);
#endif
}

/* Rounded to the nearest, ties to even. */
INLINE void STORE(long K, T *to, V v) {
    if (sizeof(T) == sizeof(A)) {
        WRITE(K, (A *)to, v);
        return;
    }
#ifdef __AVX512BF16__
    __m256bh stored = _mm512_cvtneps_pbh((__m512)v);
#else
    typedef uint16_t Stored __attribute__((vector_size(BYTES / 2)));
    typedef uint32_t Bits __attribute__((vector_size(BYTES)));
    Bits bits = (Bits)v, nan = (Bits)(v != v), rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16;
    Stored stored = __builtin_convertvector((rounded & ~nan) | (0x7FC0 & nan), Stored);
#endif
#ifdef MASKS
    if (K < L) return _mm256_mask_storeu_epi16(to, FIRST(K), (__m256i)stored);
#endif
    memcpy(to, &stored, K * sizeof(T));
}

/* v where the mask is set, else zero. */
INLINE V KEEP(I mask, V v) { return (V)((I)v & mask); }

/* v where the mask is set, else w. */
INLINE V NAME(either)(I mask, V v, V w) { return (V)(((I)v & mask) | ((I)w & ~mask)); }

INLINE A NAME(sum)(V v) {
#ifdef __AVX512F__
    return sizeof(A) == 4 ? _mm512_reduce_add_ps((__m512)v) : _mm512_reduce_add_pd((__m512d)v);
#else
    A lanes[L], sum = 0;
    memcpy(lanes, &v, sizeof v);
#pragma omp simd reduction(+ : sum)
    for (long i = 0; i < L; i++) sum += lanes[i];
    return sum;
#endif
}

INLINE A NAME(highest_of)(V v) {
#ifdef __AVX512F__
    return sizeof(A) == 4 ? _mm512_reduce_max_ps((__m512)v) : _mm512_reduce_max_pd((__m512d)v);
#else
    A lanes[L], highest = -(A)INFINITY;
    memcpy(lanes, &v, sizeof v);
#pragma omp simd reduction(max : highest)
    for (long i = 0; i < L; i++) highest = lanes[i] > highest ? lanes[i] : highest;
    return highest;
#endif
}

/* One bit for each value of v, set where it is this one. */
INLINE unsigned NAME(equal)(V v, A value) {
#if defined(__AVX512F__)
    return sizeof(A) == 4 ? _mm512_cmpeq_ps_mask((__m512)v, _mm512_set1_ps((float)value))
                          : _mm512_cmpeq_pd_mask((__m512d)v, _mm512_set1_pd(value));
#elif defined(__AVX__)
    I same = v == value;
    return sizeof(A) == 4 ? _mm256_movemask_ps((__m256)same) : _mm256_movemask_pd((__m256d)same);
#else
    I same = v == value;
    unsigned bits = 0;
    for (long i = 0; i < L; i++) bits |= (unsigned)(same[i] & 1) << i;
    return bits;
#endif
}
