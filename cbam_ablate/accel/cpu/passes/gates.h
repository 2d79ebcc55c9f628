/* What the gates compute from their descriptors, up to the sigmoid: the channel gate's two layers, and the batch
 * norm of the spatial gate's single plane. */

/* Logits (N, C): W2 relu(W1 p + b1) + b2, summed over both pools p (N, C). `first` is W1 (H, C), `second` W2
 * (C, H), the biases may be missing; `hidden` (N, 2, H) is what the ReLU lets through. */
void NAME(layers)(long threads, long N, long C, long H, const A *average, const A *maximum, const A *first,
                  const A *first_bias, const A *second, const A *second_bias, A *hidden, A *logits) {
    EACH_IMAGE
    for (long n = 0; n < N; n++) {
        A *inner = hidden + 2 * n * H;
        for (long i = 0; i < 2 * H; i++) {
            const A *pooled = (i < H ? average : maximum) + n * C, *by = first + i % H * C;
            A sum = first_bias ? first_bias[i % H] : 0;
#pragma omp simd reduction(+ : sum)
            for (long c = 0; c < C; c++) sum += pooled[c] * by[c];
            inner[i] = sum > 0 ? sum : 0;
        }
        for (long c = 0; c < C; c++) {
            A sum = second_bias ? 2 * second_bias[c] : 0;
            for (long h = 0; h < H; h++) sum += (inner[h] + inner[H + h]) * second[c * H + h];
            logits[n * C + c] = sum;
        }
    }
}

/* Its gradients, given that of the gate g, the sigmoid of the logits. Those of what is learnt start at zero. */
void NAME(back_layers)(long threads, long N, long C, long H, const A *dg, const A *g, const A *hidden,
                       const A *average, const A *maximum, const A *first, const A *second, A *of_average,
                       A *of_maximum, A *of_first, A *of_first_bias, A *of_second, A *of_second_bias) {
    (void)threads;
    A given[C], inner[H];
    for (long n = 0; n < N; n++) {
        const A *kept = hidden + 2 * n * H;
        for (long c = 0; c < C; c++) {
            A gate = g[n * C + c];
            given[c] = dg[n * C + c] * gate * (1 - gate);
            of_second_bias[c] += 2 * given[c];
            of_average[n * C + c] = of_maximum[n * C + c] = 0;
        }
        for (long h = 0; h < H; h++) {
            A sum = 0, both = kept[h] + kept[H + h];
            for (long c = 0; c < C; c++) {
                sum += given[c] * second[c * H + h];
                of_second[c * H + h] += given[c] * both;
            }
            inner[h] = sum;
        }
        for (long i = 0; i < 2 * H; i++) {
            if (!(kept[i] > 0)) continue;
            const A *pooled = (i < H ? average : maximum) + n * C, *by = first + i % H * C;
            A *of_pooled = (i < H ? of_average : of_maximum) + n * C, *of_by = of_first + i % H * C;
            A back = inner[i % H];
            of_first_bias[i % H] += back;
            for (long c = 0; c < C; c++) {
                of_pooled[c] += back * by[c];
                of_by[c] += back * pooled[c];
            }
        }
    }
}

/* A map of one channel, (N, P), normalised by the batch's statistics: `normalise` with vectors of pixels. */
void NAME(normalise_plane)(long threads, long N, long P, double eps, double momentum, const A *x,
                           const A *weight, const A *bias, A *running_mean, A *running_var, double *statistics,
                           A *affine, A *y) {
    A *sums = malloc(2 * N * sizeof(A));
    double *means = malloc(N * sizeof(double));
    EACH_IMAGE
    for (long n = 0; n < N; n++) {
        const A *image = x + n * P, origin = image[0];
        A sum = 0, square = 0;
#pragma omp simd reduction(+ : sum, square)
        for (long p = 0; p < P; p++) {
            A value = image[p] - origin;
            sum += value;
            square += value * value;
        }
        sums[n] = sum;
        sums[N + n] = square;
    }
    NAME(settle)(N, P, 1, eps, momentum, x, sums, sums + N, weight, bias, running_mean, running_var, means,
                 statistics, affine);
    A scale = affine[0], shift = affine[1];
    EACH_IMAGE
    for (long n = 0; n < N; n++)
        for (long p = 0; p < P; p++) y[n * P + p] = scale * x[n * P + p] + shift;
    free(sums);
    free(means);
}

/* Its gradients, given that of s (N, P), the sigmoid of the result: dx, and in `learnt` (2,) those of weight and
 * bias. */
void NAME(back_plane)(long threads, long N, long P, const A *ds, const A *s, const A *x, const A *weight,
                      const double *statistics, A *learnt, A *dx) {
    A *sums = malloc(2 * N * sizeof(A)), mean = (A)statistics[0], scale = (A)(weight[0] * statistics[1]);
    EACH_IMAGE
    for (long n = 0; n < N; n++) {
        A sum = 0, product = 0;
#pragma omp simd reduction(+ : sum, product)
        for (long i = n * P; i < (n + 1) * P; i++) {
            A given = ds[i] * s[i] * (1 - s[i]);
            sum += given;
            product += given * (x[i] - mean);
        }
        sums[n] = sum;
        sums[N + n] = product;
    }
    double of_weight = 0, of_bias = 0;
    for (long n = 0; n < N; n++) {
        of_bias += sums[n];
        of_weight += sums[N + n] * statistics[1];
    }
    learnt[0] = (A)of_weight;
    learnt[1] = (A)of_bias;
    A by_x, rest;
    NAME(through_statistics)(1, (double)N * P, weight, statistics, &of_weight, &of_bias, &by_x, &rest);
    EACH_IMAGE
    for (long n = 0; n < N; n++)
        for (long i = n * P; i < (n + 1) * P; i++)
            dx[i] = scale * (ds[i] * s[i] * (1 - s[i])) + (by_x * x[i] + rest);
    free(sums);
}
