// Causal depthwise convolution with SiLU for the CPU, forward and backward, fp32.
//
// x, y, dy, dx: [rows, D, T] contiguous. w: [D, K]. Work is split over channels.
#include "../cpu.h"

namespace {

// One channel of one row: taps are added one after the other, so that each pass is a plain loop.
void convolve(const float* x, const float* w, float add, int64_t taps, int64_t length, float* y) {
  const float own = w[taps - 1];
#pragma omp simd
  for (int64_t t = 0; t < length; t++) y[t] = own * x[t] + add;
  for (int64_t back = 1; back < std::min(taps, length); back++) {
    const float tap = w[taps - 1 - back];
#pragma omp simd
    for (int64_t t = back; t < length; t++) y[t] += tap * x[t - back];
  }
}

}  // namespace

extern "C" void conv_forward(int64_t rows, int64_t width, int64_t length, int64_t taps,
                             const float* x, const float* w, const float* bias, int silu, float* y,
                             int64_t threads) {
  over_channels(width, threads, [=](int64_t, int64_t begin, int64_t end) {
    for (int64_t row = 0; row < rows; row++)
      for (int64_t d = begin; d < end; d++) {
        float* to = y + (row * width + d) * length;
        convolve(x + (row * width + d) * length, w + d * taps, bias ? bias[d] : 0.0f, taps, length,
                 to);
        if (silu)
#pragma omp simd
          for (int64_t t = 0; t < length; t++) to[t] *= sigmoid(to[t]);
      }
  });
}

extern "C" void conv_backward(int64_t rows, int64_t width, int64_t length, int64_t taps,
                              const float* x, const float* w, const float* bias, int silu,
                              const float* dy, float* dx, float* dw, float* dbias,
                              int64_t threads) {
  // dw, dbias: zero.
  over_channels(width, threads, [=](int64_t, int64_t begin, int64_t end) {
    std::vector<float> g(length);
    for (int64_t row = 0; row < rows; row++)
      for (int64_t d = begin; d < end; d++) {
        const int64_t at = (row * width + d) * length;
        const float *xr = x + at, *wr = w + d * taps, *gr = dy + at;
        float* dxr = dx + at;
        if (silu) {
          convolve(xr, wr, bias ? bias[d] : 0.0f, taps, length, g.data());
#pragma omp simd
          for (int64_t t = 0; t < length; t++) {
            const float sig = sigmoid(g[t]);
            g[t] = gr[t] * sig * (1.0f + g[t] * (1.0f - sig));
          }
        } else {
          std::memcpy(g.data(), gr, length * sizeof(float));
        }
        float sum = 0.0f;
        const float own = wr[taps - 1];
#pragma omp simd reduction(+ : sum)
        for (int64_t t = 0; t < length; t++) {
          dxr[t] = own * g[t];
          sum += g[t];
        }
        dbias[d] += sum;
        for (int64_t back = 0; back < std::min(taps, length); back++) {
          const float tap = wr[taps - 1 - back];
          float by = 0.0f;
#pragma omp simd reduction(+ : by)
          for (int64_t t = back; t < length; t++) by += g[t] * xr[t - back];
          dw[d * taps + taps - 1 - back] += by;
          if (back == 0) continue;
#pragma omp simd
          for (int64_t t = back; t < length; t++) dxr[t - back] += tap * g[t];
        }
      }
  });
}
