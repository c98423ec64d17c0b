// Softmax over rows of length n: a block takes a row, and a thread every THREADS-th group of VECTOR elements.
// The tuner defines the type T and the constants THREADS, VECTOR and CACHED.

struct alignas(sizeof(T) * VECTOR) Vector {
    T lane[VECTOR];
};

__device__ float largest(float a, float b) { return fmaxf(a, b); }
__device__ float sum(float a, float b) { return a + b; }

// Combines one value of each thread; every thread gets the result.
template <float (*combine)(float, float)>
__device__ float across_block(float value, float neutral) {
    __shared__ float parts[32];
#pragma unroll
    for (int distance = 16; distance > 0; distance /= 2)
        value = combine(value, __shfl_xor_sync(0xffffffff, value, distance));
    if (THREADS == 32) return value;
    __syncthreads();  // the parts of an earlier call have been read
    if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = value;
    __syncthreads();
    value = threadIdx.x % 32 < THREADS / 32 ? parts[threadIdx.x % 32] : neutral;
#pragma unroll
    for (int distance = 16; distance > 0; distance /= 2)
        value = combine(value, __shfl_xor_sync(0xffffffff, value, distance));
    return value;
}

extern "C" __global__ void __launch_bounds__(THREADS)
    softmax(const T* __restrict__ x, int n, T* __restrict__ y) {
    const float none = __int_as_float(0xff800000);  // minus infinity
    x += static_cast<long long>(blockIdx.x) * n;
    y += static_cast<long long>(blockIdx.x) * n;
    float kept[CACHED][VECTOR];  // the row in registers: CACHED * VECTOR * THREADS >= n
    float top = none;
#pragma unroll
    for (int i = 0; i < CACHED; ++i) {
        const int column = (i * THREADS + threadIdx.x) * VECTOR;
        Vector v;
        if (column < n) v = *reinterpret_cast<const Vector*>(x + column);
#pragma unroll
        for (int k = 0; k < VECTOR; ++k) {
            kept[i][k] = column < n ? static_cast<float>(v.lane[k]) : none;
            top = fmaxf(top, kept[i][k]);
        }
    }
    top = across_block<largest>(top, none);
    float total = 0;
#pragma unroll
    for (int i = 0; i < CACHED; ++i)
#pragma unroll
        for (int k = 0; k < VECTOR; ++k) {
            kept[i][k] = __expf(kept[i][k] - top);
            total += kept[i][k];
        }
    const float scale = 1.0f / across_block<sum>(total, 0.0f);
#pragma unroll
    for (int i = 0; i < CACHED; ++i) {
        const int column = (i * THREADS + threadIdx.x) * VECTOR;
        Vector v;
#pragma unroll
        for (int k = 0; k < VECTOR; ++k) v.lane[k] = static_cast<T>(kept[i][k] * scale);
        if (column < n) *reinterpret_cast<Vector*>(y + column) = v;
    }
}
