// One thread adds a constant to VECTOR neighbours, with one wide load and store where all of them exist.
// The tuner defines the type T and the constants THREADS, VECTOR and amount.

struct alignas(sizeof(T) * VECTOR) Vector {
    T lane[VECTOR];
};

extern "C" __global__ void __launch_bounds__(THREADS) increment(const T* __restrict__ x, int n, T* __restrict__ y) {
    const int first = (blockIdx.x * THREADS + threadIdx.x) * VECTOR;
    if (first + VECTOR <= n) {
        Vector v = *reinterpret_cast<const Vector*>(x + first);
#pragma unroll
        for (int i = 0; i < VECTOR; ++i) v.lane[i] = v.lane[i] + T(amount);
        *reinterpret_cast<Vector*>(y + first) = v;
    } else {
        for (int i = first; i < n; ++i) y[i] = x[i] + T(amount);
    }
}
