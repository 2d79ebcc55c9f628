/* Batch normalisation, with the addition and the ReLU after it. */

INLINE void NAME(moments_)(long K, long c, long C, long P, const T *restrict x, A *restrict sum,
                           A *restrict square) {
    V s = {0}, q = {0}, origin = LOAD(K, x + c);
    for (long p = 1; p < P; p++) {
        V value = LOAD(K, x + p * C + c) - origin;
        s += value;
        q += value * value;
    }
    WRITE(K, sum + c, s);
    WRITE(K, square + c, q);
}

INLINE void NAME(highest_)(long K, long c, long C, long P, const T *restrict x, const A *restrict sign,
                           A *restrict extreme, INT *restrict where) {
    V by = READ(K, sign + c), highest = LOAD(K, x + c) * by;
    I found = {0};
    for (long p = 1; p < P; p++) {
        V value = LOAD(K, x + p * C + c) * by;
        I higher = value > highest;
        highest = (V)(((I)value & higher) | ((I)highest & ~higher));
        found = ((INT)p & higher) | (found & ~higher);
    }
    memcpy(where + c, &found, K * sizeof(INT));
    for (long i = 0; i < K; i++) extreme[c + i] = LOAD(1, x + found[i] * C + c + i)[0];
}

/* By image and channel, (N, C), the sum of x - x0 and of its square, where x0 is the image's first pixel.
 * Where there is a `sign` (C,), also the x whose product with it is the highest and where that is (the first
 * of equals). */
void NAME(moments)(long threads, long N, long P, long C, const T *x, const A *sign, A *sum, A *square,
                   A *extreme, INT *where) {
    EACH_IMAGE
    for (long n = 0; n < N; n++) {
        const T *image = x + n * P * C;
        BY_VECTOR(NAME(moments_), P, image, sum + n * C, square + n * C);
        if (sign) BY_VECTOR(NAME(highest_), P, image, sign, extreme + n * C, where + n * C);
    }
}

INLINE void NAME(affine_)(long K, long c, long C, long P, long relu, const T *restrict x,
                          const A *restrict scale, const A *restrict shift, const T *restrict skipped,
                          T *restrict y) {
    V by = READ(K, scale + c), plus = READ(K, shift + c);
    for (long p = 0; p < P; p++) {
        V value = LOAD(K, x + p * C + c) * by + plus;
        if (skipped) value += LOAD(K, skipped + p * C + c);
        STORE(K, y + p * C + c, relu ? KEEP(~(value < 0), value) : value);
    }
}

/* y = scale x + shift, then what was skipped is added where there is any, then ReLU where asked. */
void NAME(affine)(long threads, long N, long P, long C, long relu, const T *x, const A *scale, const A *shift,
                  const T *skipped, T *y) {
    EACH_IMAGE
    for (long n = 0; n < N; n++) {
        long at = n * P * C;
        BY_VECTOR(NAME(affine_), P, relu, x + at, scale, shift, skipped ? skipped + at : 0, y + at);
    }
}

INLINE void NAME(back_relu_)(long K, long c, long C, const T *restrict dy, const T *restrict y,
                             T *restrict dx) {
    (void)C;
    STORE(K, dx + c, KEEP(LOAD(K, y + c) > 0, LOAD(K, dy + c)));
}

/* The gradient before the ReLU where y is its result: dy where y > 0. All are read as one line of C. */
void NAME(back_relu)(long threads, long N, long C, const T *dy, const T *y, T *dx) {
    EACH_IMAGE
    for (long n = 0; n < N; n++) BY_VECTOR(NAME(back_relu_), dy + n * C, y + n * C, dx + n * C);
}

INLINE void NAME(back_moments_)(long K, long c, long C, long P, long relu, const T *restrict dy,
                                const T *restrict x, const A *restrict scale, const A *restrict shift,
                                const A *restrict mean, const T *restrict y, T *restrict kept,
                                A *restrict sum, A *restrict product) {
    V by = READ(K, scale + c), plus = READ(K, shift + c), middle = READ(K, mean + c), s = {0}, q = {0};
    for (long p = 0; p < P; p++) {
        long here = p * C + c;
        V value = LOAD(K, x + here), given = LOAD(K, dy + here);
        if (y) {
            given = KEEP(LOAD(K, y + here) > 0, given);
            STORE(K, kept + here, given);
        } else if (relu)
            given = KEEP(value * by + plus > 0, given);
        s += given;
        q += given * (value - middle);
    }
    WRITE(K, sum + c, s);
    WRITE(K, product + c, q);
}

/* By image and channel, (N, C), the sum of dy and of dy (x - mean). Where there was a ReLU, of which y is the
 * result where it is given, else its argument scale x + shift, with dy only where that is positive; where y
 * is given, this dy is kept. */
void NAME(back_moments)(long threads, long N, long P, long C, long relu, const T *dy, const T *x,
                        const A *scale, const A *shift, const A *mean, const T *y, T *kept, A *sum,
                        A *product) {
    EACH_IMAGE
    for (long n = 0; n < N; n++) {
        long at = n * P * C;
        const T *result = y ? y + at : 0;
        BY_VECTOR(NAME(back_moments_), P, relu, dy + at, x + at, scale, shift, mean, result,
                  y ? kept + at : 0, sum + n * C, product + n * C);
    }
}

INLINE void NAME(back_affine_)(long K, long c, long C, long P, long relu, const T *restrict dy,
                               const T *restrict x, const A *restrict scale, const A *restrict shift,
                               const A *restrict by_dy, const A *restrict by_x, const A *restrict constant,
                               T *restrict dx) {
    V by = READ(K, scale + c), plus = READ(K, shift + c);
    V of_dy = READ(K, by_dy + c), of_x = READ(K, by_x + c), rest = READ(K, constant + c);
    for (long p = 0; p < P; p++) {
        V value = LOAD(K, x + p * C + c), given = LOAD(K, dy + p * C + c);
        if (relu) given = KEEP(value * by + plus > 0, given);
        STORE(K, dx + p * C + c, of_dy * given + (of_x * value + rest));
    }
}

/* dx = by_dy dy + by_x x + constant, dy where `relu` asks only where scale x + shift > 0. */
void NAME(back_affine)(long threads, long N, long P, long C, long relu, const T *dy, const T *x,
                       const A *scale, const A *shift, const A *by_dy, const A *by_x, const A *constant,
                       T *dx) {
    EACH_IMAGE
    for (long n = 0; n < N; n++) {
        long at = n * P * C;
        BY_VECTOR(NAME(back_affine_), P, relu, dy + at, x + at, scale, shift, by_dy, by_x, constant, dx + at);
    }
}
