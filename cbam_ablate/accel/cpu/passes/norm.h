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

INLINE void NAME(higher_)(V value, INT here, V *highest, I *found) {
    I higher = value > *highest;
    *highest = NAME(either)(higher, value, *highest);
    *found = (here & higher) | (*found & ~higher);
}

INLINE void NAME(highest_)(long K, long c, long C, long P, const T *restrict x, const A *restrict sign,
                           A *restrict extreme, INT *restrict where) {
    /* Four stretches of pixels side by side, so that a comparison doesn't wait for the one before it. */
    V by = READ(K, sign + c), highest[4];
    I found[4];
    long each = P / 4, start[4] = {0, each, 2 * each, 3 * each};
    for (long i = 0; i < 4; i++) {
        highest[i] = LOAD(K, x + start[i] * C + c) * by;
        found[i] = (I){0} + (INT)start[i];
    }
    for (long p = 1; p < each; p++)
        for (long i = 0; i < 4; i++) NAME(higher_)(LOAD(K, x + (start[i] + p) * C + c) * by, (INT)(start[i] + p),
                                                   highest + i, found + i);
    for (long p = 4 * each; p < P; p++)
        NAME(higher_)(LOAD(K, x + p * C + c) * by, (INT)p, highest + 3, found + 3);
    for (long i = 1; i < 4; i++) {
        I higher = highest[i] > highest[0];
        highest[0] = NAME(either)(higher, highest[i], highest[0]);
        found[0] = (found[i] & higher) | (found[0] & ~higher);
    }
    memcpy(where + c, found, K * sizeof(INT));
    for (long i = 0; i < K; i++) extreme[c + i] = LOAD(1, x + found[0][i] * C + c + i)[0];
}

/* By image and channel, (N, C), the sum of x - x0 and of its square, where x0 is the image's first pixel.
 * Where there is a `sign` (C,), also the x whose product with it is the highest and where that is (the first
 * of equals). */
static void NAME(moments)(long threads, long N, long P, long C, const T *x, const A *sign, A *sum, A *square,
                   A *extreme, INT *where) {
    EACH_IMAGE
    for (long n = 0; n < N; n++) {
        const T *image = x + n * P * C;
        BY_VECTOR(NAME(moments_), P, image, sum + n * C, square + n * C);
        if (sign) BY_VECTOR(NAME(highest_), P, image, sign, extreme + n * C, where + n * C);
    }
}

/* The mean of one image (C,). */
INLINE void NAME(means_of)(long P, long C, const T *x, const A *sum, double *means) {
    for (long c = 0; c < C; c++) means[c] = LOAD(1, x + c)[0] + (double)sum[c] / P;
}

/* From what `moments` found: the mean by image (N, C); in `statistics` (2, C) the batch's mean and one over its
 * standard deviation; in `affine` (2, C) the scale and shift that normalise. Running statistics move towards the
 * batch's by `momentum`. */
static void NAME(settle)(long N, long P, long C, double eps, double momentum, const T *x, const A *sum,
                         const A *square, const A *weight, const A *bias, A *running_mean, A *running_var,
                         double *means, double *statistics, A *affine) {
    double *mean = statistics, *inverse = statistics + C, count = (double)N * P;
    for (long c = 0; c < 2 * C; c++) statistics[c] = 0;
    for (long n = 0; n < N; n++) {
        NAME(means_of)(P, C, x + n * P * C, sum + n * C, means + n * C);
        for (long c = 0; c < C; c++) mean[c] += means[n * C + c] / N;
    }
    for (long n = 0; n < N; n++)
        for (long c = 0; c < C; c++) {
            double within = (double)sum[n * C + c] / P, among = means[n * C + c] - mean[c];
            inverse[c] += ((double)square[n * C + c] / P - within * within + among * among) / N;
        }
    for (long c = 0; c < C; c++) {
        double variance = inverse[c];
        inverse[c] = 1 / sqrt(variance + eps);
        affine[c] = (A)(weight[c] * inverse[c]);
        affine[C + c] = (A)(bias[c] - mean[c] * (weight[c] * inverse[c]));
        running_mean[c] += (A)(momentum * (mean[c] - running_mean[c]));
        running_var[c] += (A)(momentum * (variance * (count / (count - 1)) - running_var[c]));
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

/* y = scale x + shift, as `affine` (2, C) has them, then what was skipped is added where there is any, then ReLU
 * where asked. */
void NAME(affine)(long threads, long N, long P, long C, long relu, const T *x, const A *affine,
                  const T *skipped, T *y) {
    EACH_IMAGE
    for (long n = 0; n < N; n++) {
        long at = n * P * C;
        BY_VECTOR(NAME(affine_), P, relu, x + at, affine, affine + C, skipped ? skipped + at : 0, y + at);
    }
}

/* Normalises x by the batch's statistics, then as `affine` does. */
void NAME(normalise)(long threads, long N, long P, long C, long relu, double eps, double momentum, const T *x,
                     const A *weight, const A *bias, A *running_mean, A *running_var, const T *skipped,
                     double *statistics, A *affine, T *y) {
    A *sums = malloc(2 * N * C * sizeof(A));
    double *means = malloc(N * C * sizeof(double));
    NAME(moments)(threads, N, P, C, x, 0, sums, sums + N * C, 0, 0);
    NAME(settle)(N, P, C, eps, momentum, x, sums, sums + N * C, weight, bias, running_mean, running_var, means,
                 statistics, affine);
    NAME(affine)(threads, N, P, C, relu, x, affine, skipped, y);
    free(sums);
    free(means);
}

INLINE void NAME(add_)(long K, long c, long C, const T *restrict x, const T *restrict y, T *restrict z) {
    (void)C;
    STORE(K, z + c, LOAD(K, x + c) + LOAD(K, y + c));
}

/* z = x + y. All are read as one line of C. */
void NAME(add)(long threads, long N, long C, const T *x, const T *y, T *z) {
    EACH_IMAGE
    for (long n = 0; n < N; n++) BY_VECTOR(NAME(add_), x + n * C, y + n * C, z + n * C);
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
static void NAME(back_moments)(long threads, long N, long P, long C, long relu, const T *dy, const T *x,
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
static void NAME(back_affine)(long threads, long N, long P, long C, long relu, const T *dy, const T *x,
                       const A *scale, const A *shift, const A *by_dy, const A *by_x, const A *constant,
                       T *dx) {
    EACH_IMAGE
    for (long n = 0; n < N; n++) {
        long at = n * P * C;
        BY_VECTOR(NAME(back_affine_), P, relu, dy + at, x + at, scale, shift, by_dy, by_x, constant, dx + at);
    }
}

/* Given the gradients of weight and bias, what the batch's mean and variance add to that of x: a factor of x and
 * a constant. */
static void NAME(through_statistics)(long C, double count, const A *weight, const double *statistics,
                                     const double *of_weight, const double *of_bias, A *by_x, A *constant) {
    for (long c = 0; c < C; c++) {
        double mean = statistics[c], inverse = statistics[C + c], scale = weight[c] * inverse;
        double factor = -scale * inverse * of_weight[c] / count;
        by_x[c] = (A)factor;
        constant[c] = (A)(-scale * of_bias[c] / count - factor * mean);
    }
}

/* The gradients of what `normalise` was given: dx, and in `learnt` (2, C) those of weight and bias. With a ReLU
 * after an addition, y is the result and the gradient of what was skipped is kept. */
void NAME(back_normalise)(long threads, long N, long P, long C, long relu, const T *dy, const T *x, const T *y,
                          const A *weight, const double *statistics, const A *affine, T *kept, A *learnt,
                          T *dx) {
    A *sums = malloc((2 * N + 4) * C * sizeof(A)), *products = sums + N * C, *factors = products + N * C;
    A *middle = factors + 3 * C;
    double of_weight[C], of_bias[C];
    for (long c = 0; c < C; c++) {
        middle[c] = (A)statistics[c];
        of_weight[c] = of_bias[c] = 0;
    }
    NAME(back_moments)(threads, N, P, C, relu, dy, x, affine, affine + C, middle, y, kept, sums, products);
    for (long n = 0; n < N; n++)
        for (long c = 0; c < C; c++) {
            of_weight[c] += products[n * C + c];
            of_bias[c] += sums[n * C + c];
        }
    for (long c = 0; c < C; c++) {
        of_weight[c] *= statistics[C + c];
        factors[c] = (A)(weight[c] * statistics[C + c]);
        learnt[c] = (A)of_weight[c];
        learnt[C + c] = (A)of_bias[c];
    }
    NAME(through_statistics)(C, (double)N * P, weight, statistics, of_weight, of_bias, factors + C,
                             factors + 2 * C);
    NAME(back_affine)(threads, N, P, C, relu && !y, y ? kept : dy, x, affine, affine + C, factors, factors + C,
                      factors + 2 * C, dx);
    free(sums);
}
