/* Vectors of L values of A, and how they come from a map and go into one. */
typedef A V __attribute__((vector_size(BYTES)));
typedef INT I __attribute__((vector_size(BYTES)));

/* K values of what is computed in, the rest zero. */
INLINE V READ(long K, const A *from) {
    V v = {0};
    memcpy(&v, from, K * sizeof(A));
    return v;
}

INLINE void WRITE(long K, A *to, V v) { memcpy(to, &v, K * sizeof(A)); }

/* K values of a map, the rest zero. */
INLINE V LOAD(long K, const T *from) {
    if (sizeof(T) == sizeof(A)) return READ(K, (const A *)from);
    typedef uint16_t Stored __attribute__((vector_size(BYTES / 2)));
    typedef uint32_t Bits __attribute__((vector_size(BYTES)));
    Stored stored = {0};
    memcpy(&stored, from, K * sizeof(T));
    return (V)(__builtin_convertvector(stored, Bits) << 16);
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
    memcpy(to, &stored, K * sizeof(T));
}

/* v where the mask is set, else zero. */
INLINE V KEEP(I mask, V v) { return (V)((I)v & mask); }

INLINE A NAME(sum)(V v) {
    A lanes[L], sum = 0;
    memcpy(lanes, &v, sizeof v);
#pragma omp simd reduction(+ : sum)
    for (long i = 0; i < L; i++) sum += lanes[i];
    return sum;
}
