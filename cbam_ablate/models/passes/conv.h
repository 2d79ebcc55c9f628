/* A size-keeping K x K convolution of few planes (H, W) to one, for the spatial gate. */

/* Planes (count, H, W) with a border of zeros, K / 2 wide, and zeros behind them for what reads on. */
static A *NAME(bordered)(long count, long H, long W, long K, const A *planes) {
    long R = K / 2, wide = W + 2 * R, size = (H + 2 * R) * wide;
    A *room = calloc(count * size + 4 * L + K, sizeof(A));
    for (long i = 0; i < count; i++)
        for (long h = 0; h < H; h++)
            memcpy(room + i * size + (h + R) * wide + R, planes + (i * H + h) * W, W * sizeof(A));
    return room;
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

static A *NAME(lines)(long H, long wide) { return malloc((H * wide + 4 * L) * sizeof(A)); }

/* in (N, I, H, W), weight (I, K, K), out (N, H, W). */
void NAME(conv)(long threads, long N, long planes, long H, long W, long K, const A *in, const A *weight,
                A *out) {
    long wide = W + 2 * (K / 2);
    EACH_IMAGE
    for (long n = 0; n < N; n++) {
        A *room = NAME(bordered)(planes, H, W, K, in + n * planes * H * W), *lines = NAME(lines)(H, wide);
        NAME(correlate)(planes, H, wide, K, room, weight, lines);
        for (long h = 0; h < H; h++) memcpy(out + (n * H + h) * W, lines + h * wide, W * sizeof(A));
        free(room);
        free(lines);
    }
}

/* Its gradients: of the input, (N, I, H, W), and of the weight by image, (N, I, K, K). */
void NAME(back_conv)(long threads, long N, long planes, long H, long W, long K, const A *in, const A *weight,
                     const A *dout, A *din, A *dweight) {
    long R = K / 2, wide = W + 2 * R, size = (H + 2 * R) * wide, taps = K * K;
    EACH_IMAGE
    for (long n = 0; n < N; n++) {
        A *room = NAME(bordered)(planes, H, W, K, in + n * planes * H * W), *lines = NAME(lines)(H, wide);
        A *given = NAME(bordered)(1, H, W, K, dout + n * H * W), *turned = malloc(taps * sizeof(A));
        for (long i = 0; i < planes; i++) {
            for (long t = 0; t < taps; t++) turned[t] = weight[i * taps + taps - 1 - t];
            NAME(correlate)(1, H, wide, K, given, turned, lines);
            for (long h = 0; h < H; h++)
                memcpy(din + ((n * planes + i) * H + h) * W, lines + h * wide, W * sizeof(A));
        }
        /* Lines of the gradient with the zeros of the border between them. */
        const A *apart = given + R * wide + R;
        for (long t = 0; t < planes * taps; t++) {
            const A *from = room + t / taps * size + t % taps / K * wide + t % K;
            V sums[4] = {{0}};
            for (long o = 0; o < H * wide; o += 4 * L)
                for (long v = 0; v < 4; v++) sums[v] += READ(L, apart + o + v * L) * READ(L, from + o + v * L);
            dweight[n * planes * taps + t] = NAME(sum)(sums[0] + sums[1] + sums[2] + sums[3]);
        }
        free(room);
        free(lines);
        free(given);
        free(turned);
    }
}
