// Selective scan for the CPU, forward and backward, fp32.
//
// u, dt, z, y: [rows, D, T] contiguous. A: [D, N]. B, C: [rows, T, N]. D, bias: [D].
// The state of every CHUNK-th token is kept; the backward pass recomputes the states in between, so
// that memory is O(rows T D), not O(rows T D N). Work is split over channels: each thread owns a
// range of them for all rows, so that only the gradients of B and C need a partial sum per thread.
#include "../cpu.h"

namespace {

// max(x, 0) + log1p(exp(-|x|)), the logarithm as 2 atanh(v / (2 + v)), v in (0, 1].
inline float softplus(float x) {
  const float v = exp_(-std::fabs(x)), q = v / (2.0f + v), w = q * q;
  float p = 7.69230769e-2f;
  p = p * w + 9.09090909e-2f;
  p = p * w + 1.11111111e-1f;
  p = p * w + 1.42857143e-1f;
  p = p * w + 0.2f;
  p = p * w + 3.33333333e-1f;
  p = p * w + 1.0f;
  return std::max(x, 0.0f) + 2.0f * q * p;
}

struct Shape {
  int64_t rows, width, length, chunk;
  int64_t chunks() const { return (length + chunk - 1) / chunk; }
};

template <int N>
void forward(const Shape s, const float* u, const float* delta, const float* A, const float* B,
             const float* C, const float* D, const float* z, const float* bias, const float* first,
             int softplus_on, float* y, float* last, float* kept, int64_t threads) {
  over_channels(s.width, threads, [=](int64_t, int64_t begin, int64_t end) {
    std::vector<float> dt(s.chunk);
    for (int64_t row = 0; row < s.rows; row++)
      for (int64_t d = begin; d < end; d++) {
        const int64_t channel = row * s.width + d;
        const float *ur = u + channel * s.length, *dr = delta + channel * s.length;
        const float *zr = z ? z + channel * s.length : nullptr;
        float* yr = y + channel * s.length;
        float h[N], a[N];
        for (int n = 0; n < N; n++) {
          a[n] = A[d * N + n];
          h[n] = first ? first[channel * N + n] : 0.0f;
        }
        const float add = bias ? bias[d] : 0.0f, skip = D ? D[d] : 0.0f;
        for (int64_t c = 0; c < s.chunks(); c++) {
          const int64_t from = c * s.chunk, to = std::min(s.length, from + s.chunk);
          std::memcpy(kept + ((row * s.chunks() + c) * s.width + d) * N, h, sizeof h);
#pragma omp simd
          for (int64_t t = from; t < to; t++)
            dt[t - from] = softplus_on ? softplus(dr[t] + add) : dr[t] + add;
          for (int64_t t = from; t < to; t++) {
            const float *Bt = B + (row * s.length + t) * N, *Ct = C + (row * s.length + t) * N;
            const float step = dt[t - from], in = step * ur[t];
            float sum = 0.0f;
#pragma omp simd reduction(+ : sum)
            for (int n = 0; n < N; n++) {
              h[n] = exp_(step * a[n]) * h[n] + in * Bt[n];
              sum += h[n] * Ct[n];
            }
            yr[t] = sum + skip * ur[t];
          }
          if (zr)
            for (int64_t t = from; t < to; t++) yr[t] *= zr[t] * sigmoid(zr[t]);
        }
        std::memcpy(last + channel * N, h, sizeof h);
      }
  });
}

template <int N>
void backward(const Shape s, const float* u, const float* delta, const float* A, const float* B,
              const float* C, const float* D, const float* z, const float* bias, int softplus_on,
              const float* kept, const float* dy, const float* dlast, float* du, float* ddelta,
              float* dA, float* dB, float* dC, float* dD, float* dz, float* dbias, float* dfirst,
              int64_t threads) {
  // dB, dC: [threads, rows, T, N], zero; dA, dD, dbias: zero.
  over_channels(s.width, threads, [=](int64_t thread, int64_t begin, int64_t end) {
    std::vector<float> states((s.chunk + 1) * N), decays(s.chunk * N), dt(s.chunk), gate(s.chunk);
    for (int64_t row = 0; row < s.rows; row++)
      for (int64_t d = begin; d < end; d++) {
        const int64_t channel = row * s.width + d;
        const float *ur = u + channel * s.length, *dr = delta + channel * s.length;
        const float *gr = dy + channel * s.length, *zr = z ? z + channel * s.length : nullptr;
        float *dur = du + channel * s.length, *ddr = ddelta + channel * s.length;
        float *dzr = dz ? dz + channel * s.length : nullptr;
        float *dBr = dB + (thread * s.rows + row) * s.length * N;
        float *dCr = dC + (thread * s.rows + row) * s.length * N;
        float a[N], g[N], da[N] = {0};
        for (int n = 0; n < N; n++) {
          a[n] = A[d * N + n];
          g[n] = dlast ? dlast[channel * N + n] : 0.0f;
        }
        const float add = bias ? bias[d] : 0.0f, skip = D ? D[d] : 0.0f;
        float dskip = 0.0f, dadd = 0.0f;
        for (int64_t c = s.chunks() - 1; c >= 0; c--) {
          const int64_t from = c * s.chunk, to = std::min(s.length, from + s.chunk);
          std::memcpy(states.data(), kept + ((row * s.chunks() + c) * s.width + d) * N, sizeof a);
#pragma omp simd
          for (int64_t t = from; t < to; t++)
            dt[t - from] = softplus_on ? softplus(dr[t] + add) : dr[t] + add;
          for (int64_t t = from; t < to; t++) {
            const float *Bt = B + (row * s.length + t) * N, *Ct = C + (row * s.length + t) * N;
            const float step = dt[t - from], in = step * ur[t];
            const float* before = &states[(t - from) * N];
            float *after = &states[(t - from + 1) * N], *decay = &decays[(t - from) * N];
            float sum = 0.0f;
#pragma omp simd reduction(+ : sum)
            for (int n = 0; n < N; n++) {
              decay[n] = exp_(step * a[n]);
              after[n] = decay[n] * before[n] + in * Bt[n];
              sum += after[n] * Ct[n];
            }
            gate[t - from] = sum + skip * ur[t];
          }
          for (int64_t t = from; t < to; t++) {
            float gy = gr[t];
            if (zr) {
              const float sig = sigmoid(zr[t]);
              dzr[t] = gy * gate[t - from] * sig * (1.0f + zr[t] * (1.0f - sig));
              gy *= zr[t] * sig;
            }
            gate[t - from] = gy;
          }
          for (int64_t t = to - 1; t >= from; t--) {
            const float *Bt = B + (row * s.length + t) * N, *Ct = C + (row * s.length + t) * N;
            const float step = dt[t - from], in = step * ur[t], gy = gate[t - from];
            const float *before = &states[(t - from) * N], *after = before + N;
            const float* decay = &decays[(t - from) * N];
            float *dBt = dBr + t * N, *dCt = dCr + t * N, through = 0.0f, by_decay = 0.0f;
#pragma omp simd reduction(+ : through, by_decay)
            for (int n = 0; n < N; n++) {
              g[n] += gy * Ct[n];
              dCt[n] += gy * after[n];
              dBt[n] += g[n] * in;
              through += g[n] * Bt[n];
              const float w = g[n] * decay[n] * before[n];
              by_decay += w * a[n];
              da[n] += w * step;
              g[n] *= decay[n];
            }
            dur[t] = through * step + gy * skip;
            dskip += gy * ur[t];
            float dstep = through * ur[t] + by_decay;
            if (softplus_on) dstep *= sigmoid(dr[t] + add);
            ddr[t] = dstep;
            dadd += dstep;
          }
        }
        for (int n = 0; n < N; n++) dA[d * N + n] += da[n];
        if (dD) dD[d] += dskip;
        if (dbias) dbias[d] += dadd;
        if (dfirst) std::memcpy(dfirst + channel * N, g, sizeof g);
      }
  });
}

}  // namespace

#define FOR_EACH_N(call) \
  switch (n) {           \
    case 8: call(8); return 0;   \
    case 16: call(16); return 0; \
    case 32: call(32); return 0; \
    case 64: call(64); return 0; \
    default: return 1;   \
  }

extern "C" int scan_forward(int64_t rows, int64_t width, int64_t length, int64_t n, int64_t chunk,
                            const float* u, const float* delta, const float* A, const float* B,
                            const float* C, const float* D, const float* z, const float* bias,
                            const float* first, int softplus_on, float* y, float* last,
                            float* kept, int64_t threads) {
  const Shape s{rows, width, length, chunk};
#define CALL(N) \
  forward<N>(s, u, delta, A, B, C, D, z, bias, first, softplus_on, y, last, kept, threads)
  FOR_EACH_N(CALL)
#undef CALL
}

extern "C" int scan_backward(int64_t rows, int64_t width, int64_t length, int64_t n, int64_t chunk,
                             const float* u, const float* delta, const float* A, const float* B,
                             const float* C, const float* D, const float* z, const float* bias,
                             int softplus_on, const float* kept, const float* dy,
                             const float* dlast, float* du, float* ddelta, float* dA, float* dB,
                             float* dC, float* dD, float* dz, float* dbias, float* dfirst,
                             int64_t threads) {
  const Shape s{rows, width, length, chunk};
#define CALL(N)                                                                                  \
  backward<N>(s, u, delta, A, B, C, D, z, bias, softplus_on, kept, dy, dlast, du, ddelta, dA, dB, \
              dC, dD, dz, dbias, dfirst, threads)
  FOR_EACH_N(CALL)
#undef CALL
}
