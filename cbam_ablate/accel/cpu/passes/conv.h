/* A size-keeping K x K convolution of few planes (H, W) to one, for the spatial gate. */

/* Puts planes (count, H, W) into a room whose border, K / 2 wide, is zero, as is what lies behind it. */
INLINE void NAME(enter)(long count, long H, long W, long K, const A *planes, A *room) {
    long R = K / 2, wide = W + 2 * R, size = (H + 2 * R) * wide;
    for (long i = 0; i < count; i++)
        for (long h = 0; h < H; h++)
            memcpy(room + i * size + (h + R) * wide + R, planes + (i * H + h) * W, W * sizeof(A));
}

/* Lines (H, wide) of sums over planes and taps, in steps of four vectors; W of each line are meant. */
INLINE void NAME(correlate)(long count, long H, long wide, long K, const A *room, const A *weight, A *lines) {
    long size = (H + K - 1) * wide;
    for (long o = 0; o < H * wide; o += 4 * L) {
        V sums[4] = {{0}};
        for (long i = 0; i < count; i++)
            for (long k = 0; k < K; k++)
                for (long j = 0; j < K; j++) {
                    const A *from = room + i * size + k * wide + j + o;
                    A by = weight[(i * K + k) * K + j];
                    for (long v = 0; v < 4; v++) sums[v] += READ(L, from + v * L) * by;
                }
        for (long v = 0; v < 4; v++) WRITE(L, lines + o + v * L, sums[v]);
    }
}

/* in (N, I, H, W), weight (I, K, K), out (N, H, W). */
void NAME(conv)(long threads, long N, long planes, long H, long W, long K, const A *in, const A *weight,
                A *out) {
    long wide = W + 2 * (K / 2), size = (H + K - 1) * wide, behind = 4 * L + K;
    EACH_GROUP {
        A *room = calloc(planes * size + behind, sizeof(A)), *lines = malloc((size + behind) * sizeof(A));
        IN_GROUP {
            NAME(enter)(planes, H, W, K, in + n * planes * H * W, room);
            NAME(correlate)(planes, H, wide, K, room, weight, lines);
            for (long h = 0; h < H; h++) memcpy(out + (n * H + h) * W, lines + h * wide, W * sizeof(A));
        }
        free(room);
        free(lines);
    }
}

/* Adds to sums (count, L) those of the products of two lines, the second read from count places on. */
INLINE void NAME(products)(long count, long size, const A *first, const A *second, A *sums) {
    V found[4] = {{0}}, also[4] = {{0}};
    for (long o = 0; o < size; o += 2 * L) {
        V one = READ(L, first + o), two = READ(L, first + o + L);
        for (long j = 0; j < count; j++) {
            found[j] += one * READ(L, second + o + j);
            also[j] += two * READ(L, second + o + L + j);
        }
    }
    for (long j = 0; j < count; j++) WRITE(L, sums + j * L, READ(L, sums + j * L) + (found[j] + also[j]));
}

/* Its gradients: of the input, (N, I, H, W), and of the weight by group of images, (groups, I, K, K). */
void NAME(back_conv)(long threads, long N, long planes, long H, long W, long K, const A *in, const A *weight,
                     const A *dout, A *din, A *dweight) {
    long R = K / 2, wide = W + 2 * R, size = (H + 2 * R) * wide, behind = 4 * L + K, taps = K * K;
    EACH_GROUP {
        A *room = calloc((planes + 1) * (size + behind), sizeof(A)), *given = room + planes * size + behind;
        A *lines = malloc((size + behind + taps) * sizeof(A)), *turned = lines + size + behind;
        A *sums = calloc(planes * taps * L, sizeof(A));
        /* Lines of the gradient with the zeros of the border between them. */
        const A *apart = given + R * wide + R;
        IN_GROUP {
            NAME(enter)(planes, H, W, K, in + n * planes * H * W, room);
            NAME(enter)(1, H, W, K, dout + n * H * W, given);
            for (long i = 0; i < planes; i++) {
                for (long t = 0; t < taps; t++) turned[t] = weight[i * taps + taps - 1 - t];
                NAME(correlate)(1, H, wide, K, given, turned, lines);
                for (long h = 0; h < H; h++)
                    memcpy(din + ((n * planes + i) * H + h) * W, lines + h * wide, W * sizeof(A));
            }
            for (long i = 0; i < planes; i++)
                for (long k = 0; k < K; k++)
                    for (long j = 0; j < K; j += 4) {
                        const A *from = room + i * size + k * wide + j;
                        A *into = sums + (i * taps + k * K + j) * L;
                        if (K - j >= 4)
                            NAME(products)(4, H * wide, apart, from, into);
                        else if (K - j == 3)
                            NAME(products)(3, H * wide, apart, from, into);
                        else
                            NAME(products)(1, H * wide, apart, from, into);
                    }
        }
        for (long t = 0; t < planes * taps; t++)
            dweight[group * planes * taps + t] = NAME(sum)(READ(L, sums + t * L));
        free(room);
        free(lines);
        free(sums);
    }
}
