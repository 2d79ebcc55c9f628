/* CBAM: y = a x + b with a and b (N, C), in which the channel gate is, and z = s y with the spatial gate
 * s (N, P), then what was skipped is added and ReLU where there is any. */

/* Before the channel gate: average and maximum (N, C) of y = affine(x), and where the maximum is. Where there
 * are statistics to be had, `affine` comes from them as in `normalise`; else it is given. `means` (N, C) of x and
 * `extreme` (N, C), the x of the maximum, are for the way back. */
void NAME(pool)(long threads, long N, long P, long C, double eps, double momentum, const T *x, const A *weight,
                const A *bias, A *running_mean, A *running_var, double *statistics, A *affine, double *means,
                A *extreme, INT *peak, A *average, A *maximum) {
    A *sums = malloc((2 * N + 1) * C * sizeof(A)), *squares = sums + N * C, *sign = squares + N * C;
    for (long c = 0; c < C; c++) sign[c] = (A)((weight[c] > 0) - (weight[c] < 0));
    NAME(moments)(threads, N, P, C, x, sign, sums, squares, extreme, peak);
    if (statistics)
        NAME(settle)(N, P, C, eps, momentum, x, sums, squares, weight, bias, running_mean, running_var, means,
                     statistics, affine);
    for (long n = 0; n < N; n++) {
        if (!statistics) NAME(means_of)(P, C, x + n * P * C, sums + n * C, means + n * C);
        for (long c = 0, i = n * C; c < C; c++, i++) {
            average[i] = (A)means[i] * affine[c] + affine[C + c];
            maximum[i] = extreme[i] * affine[c] + affine[C + c];
        }
    }
    free(sums);
}

INLINE void NAME(describe_)(long C, long P, const T *restrict x, const A *restrict a, const A *restrict b,
                            A *restrict maxima, A *restrict means, INT *restrict where) {
    long whole = C - C % L;
    A values[C];
    for (long p = 0; p < P; p++) {
        V sums = {0}, tops = (V){0} - (A)INFINITY;
        for (long c = 0; c < whole; c += L) {
            V value = LOAD(L, x + p * C + c) * READ(L, a + c) + READ(L, b + c);
            WRITE(L, values + c, value);
            sums += value;
            tops = NAME(either)(value > tops, value, tops);
        }
        A sum = whole ? NAME(sum)(sums) : 0, highest = whole ? NAME(highest_of)(tops) : -(A)INFINITY;
        for (long c = whole; c < C; c++) {
            values[c] = LOAD(1, x + p * C + c)[0] * a[c] + b[c];
            sum += values[c];
            highest = values[c] > highest ? values[c] : highest;
        }
        INT found = (INT)C;
        for (long c = C - 1; c >= whole; c--) found = values[c] == highest ? (INT)c : found;
        for (long c = whole - L; c >= 0; c -= L) {
            unsigned same = NAME(equal)(READ(L, values + c), highest);
            found = same ? (INT)(c + __builtin_ctz(same)) : found;
        }
        maxima[p] = highest;
        means[p] = sum / C;
        where[p] = found;
    }
}

/* Maximum and mean of y over the channels, (N, 2, P), and which channel has the maximum, (N, P). */
void NAME(describe)(long threads, long N, long P, long C, const T *x, const A *a, const A *b, A *described,
                    INT *where) {
    EACH_IMAGE
    for (long n = 0; n < N; n++) {
        A *maxima = described + 2 * n * P;
        BY_CHANNELS(NAME(describe_), P, x + n * P * C, a + n * C, b + n * C, maxima, maxima + P,
                    where + n * P);
    }
}

INLINE void NAME(apply_)(long K, long c, long C, long P, const T *restrict x, const A *restrict a,
                         const A *restrict b, const A *restrict s, const T *restrict skipped, T *restrict z) {
    V by = READ(K, a + c), plus = READ(K, b + c);
    for (long p = 0; p < P; p++) {
        V value = (LOAD(K, x + p * C + c) * by + plus) * s[p];
        if (skipped) {
            value += LOAD(K, skipped + p * C + c);
            value = KEEP(~(value < 0), value);
        }
        STORE(K, z + p * C + c, value);
    }
}

/* z = s y, or relu(s y + skipped). */
void NAME(apply)(long threads, long N, long P, long C, const T *x, const A *a, const A *b, const A *s,
                 const T *skipped, T *z) {
    EACH_IMAGE
    for (long n = 0; n < N; n++) {
        long at = n * P * C;
        BY_VECTOR(NAME(apply_), P, x + at, a + n * C, b + n * C, s + n * P, skipped ? skipped + at : 0,
                  z + at);
    }
}

INLINE void NAME(back_spatial_)(long C, long P, const T *restrict dz, const T *restrict x,
                                const A *restrict a, const A *restrict b, const T *restrict z,
                                T *restrict kept, A *restrict ds) {
    for (long p = 0; p < P; p++) {
        V sum = {0};
        for (long c = 0; c < C; c += L) {
            long here = p * C + c, K = C % L && C - c < L ? C - c : L;
            V given = LOAD(K, dz + here);
            if (z) {
                given = KEEP(LOAD(K, z + here) > 0, given);
                STORE(K, kept + here, given);
            }
            sum += given * (LOAD(K, x + here) * READ(K, a + c) + READ(K, b + c));
        }
        ds[p] = NAME(sum)(sum);
    }
}

/* The gradient of s, (N, P): over the channels, the sum of dz y. Where z is given, the result of a ReLU, with
 * dz only where z > 0, which is kept. */
void NAME(back_spatial)(long threads, long N, long P, long C, const T *dz, const T *x, const A *a, const A *b,
                        const T *z, T *kept, A *ds) {
    EACH_IMAGE
    for (long n = 0; n < N; n++) {
        long at = n * P * C;
        BY_CHANNELS(NAME(back_spatial_), P, dz + at, x + at, a + n * C, b + n * C, z ? z + at : 0,
                    z ? kept + at : 0, ds + n * P);
    }
}

/* The gradient of y at a pixel: s dz and what came back through the descriptors, whose gradients are those of
 * the maximum and of the mean. */
INLINE V NAME(of_y)(V dz, A s, A of_max, A of_mean, INT where, I channel) {
    V through = KEEP(channel == where, (V){0} + of_max);
    return dz * s + through + of_mean;
}

INLINE I NAME(from)(long c) {
    I channel;
    for (long i = 0; i < L; i++) channel[i] = (INT)(c + i);
    return channel;
}

INLINE void NAME(back_channel_)(long K, long c, long C, long P, const T *restrict dz, const T *restrict x,
                                const A *restrict mean, const A *restrict s, const A *restrict of_max,
                                const A *restrict of_mean, const INT *restrict where, A *restrict sum,
                                A *restrict product) {
    V middle = READ(K, mean + c), t = {0}, q = {0};
    I channel = NAME(from)(c);
    for (long p = 0; p < P; p++) {
        V dy = NAME(of_y)(LOAD(K, dz + p * C + c), s[p], of_max[p], of_mean[p], where[p], channel);
        t += dy;
        q += dy * (LOAD(K, x + p * C + c) - middle);
    }
    WRITE(K, sum + c, t);
    WRITE(K, product + c, q);
}

/* By image and channel, (N, C), the sum of dy and of dy (x - mean), and with these the gradient of the channel
 * gate. `back` (N, 2, P) is what came back through the descriptors. Without statistics the mean is 0. */
void NAME(back_channel)(long threads, long N, long P, long C, const T *dz, const T *x,
                        const double *statistics, const A *weight, const A *bias, const A *affine, const A *s,
                        const A *back, const INT *where, A *sum, A *product, A *dg) {
    A mean[C], scale[C], shift[C];
    for (long c = 0; c < C; c++) {
        mean[c] = statistics ? (A)statistics[c] : 0;
        scale[c] = statistics ? (A)(weight[c] * statistics[C + c]) : affine[c];
        shift[c] = statistics ? bias[c] : affine[C + c];
    }
    EACH_IMAGE
    for (long n = 0; n < N; n++) {
        long at = n * P * C;
        const A *of_max = back + 2 * n * P;
        BY_VECTOR(NAME(back_channel_), P, dz + at, x + at, mean, s + n * P, of_max, of_max + P, where + n * P,
                  sum + n * C, product + n * C);
        for (long c = 0, i = n * C; c < C; c++, i++) dg[i] = product[i] * scale[c] + sum[i] * shift[c];
    }
}

INLINE void NAME(back_input_)(long K, long c, long C, long P, const T *restrict dz, const T *restrict x,
                              const A *restrict s, const A *restrict of_max, const A *restrict of_mean,
                              const INT *restrict where, const A *restrict by_dy, const A *restrict by_x,
                              const A *restrict constant, const A *restrict extra, const INT *restrict peak,
                              T *restrict dx) {
    V of_dy = READ(K, by_dy + c), of_x = READ(K, by_x + c), rest = READ(K, constant + c);
    V at_peak = READ(K, extra + c);
    I channel = NAME(from)(c), top = {0};
    memcpy(&top, peak + c, K * sizeof(INT));
    for (long p = 0; p < P; p++) {
        V dy = NAME(of_y)(LOAD(K, dz + p * C + c), s[p], of_max[p], of_mean[p], where[p], channel);
        V value = of_dy * dy + (of_x * LOAD(K, x + p * C + c) + rest);
        STORE(K, dx + p * C + c, value + KEEP(top == (INT)p, at_peak));
    }
}

/* The gradient of x from those of g y by image and channel, of what `pool` gave and of the descriptors, all
 * (N, C): `of_dy` and `of_centred` are what `back_channel` found. Where there are statistics, `learnt` (2, C) are
 * the gradients of weight and bias; else the weight is the scale. */
void NAME(back_input)(long threads, long N, long P, long C, const T *dz, const T *x, const A *s,
                      const A *back, const INT *where, const A *weight, const double *statistics, const A *g,
                      const A *of_dy, const A *of_centred, const A *of_average, const A *of_maximum,
                      const double *means, const A *extreme, const INT *peak, A *learnt, T *dx) {
    A *by_dy = malloc((3 * N + 2) * C * sizeof(A)), *constant = by_dy + N * C, *extra = constant + N * C;
    A *by_x = extra + N * C, *rest = by_x + C;
    double of_weight[C], of_bias[C];
    for (long c = 0; c < C; c++) by_x[c] = rest[c] = of_weight[c] = of_bias[c] = 0;
    if (statistics) {
        for (long n = 0; n < N; n++)
            for (long c = 0, i = n * C; c < C; c++, i++) {
                double mean = statistics[c], highest = of_maximum[i], each = of_average[i];
                of_bias[c] += g[i] * of_dy[i] + highest + each;
                of_weight[c] += g[i] * of_centred[i] + highest * (extreme[i] - mean) + each * (means[i] - mean);
            }
        for (long c = 0; c < C; c++) {
            of_weight[c] *= statistics[C + c];
            learnt[c] = (A)of_weight[c];
            learnt[C + c] = (A)of_bias[c];
        }
        NAME(through_statistics)(C, (double)N * P, weight, statistics, of_weight, of_bias, by_x, rest);
    }
    EACH_IMAGE
    for (long n = 0; n < N; n++) {
        long at = n * P * C, gate = n * C;
        for (long c = 0, i = gate; c < C; c++, i++) {
            A scale = statistics ? (A)(weight[c] * statistics[C + c]) : weight[c];
            by_dy[i] = g[i] * scale;
            constant[i] = of_average[i] / P * scale + rest[c];
            extra[i] = of_maximum[i] * scale;
        }
        const A *of_max = back + 2 * n * P;
        BY_VECTOR(NAME(back_input_), P, dz + at, x + at, s + n * P, of_max, of_max + P, where + n * P,
                  by_dy + gate, by_x, constant + gate, extra + gate, peak + gate, dx + at);
    }
    free(by_dy);
}
