// What the C++ kernels share: an exponential that vectorises, and channels split over threads.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <thread>
#include <vector>

namespace {

// exp by range reduction and a polynomial of degree 6 (relative error below 2e-7), because calls of
// std::exp are not vectorised without -ffast-math. NaN stays NaN.
inline float exp_(float x) {
  const float c = std::min(std::max(x, -87.0f), 88.0f);
  const float k = std::nearbyint(c * 1.44269504f);
  const float r = (c - k * 0.693359375f) - k * -2.12194440e-4f;
  float p = 1.38888889e-3f;
  p = p * r + 8.33333333e-3f;
  p = p * r + 4.16666667e-2f;
  p = p * r + 1.66666667e-1f;
  p = p * r + 0.5f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  const int32_t bits = (static_cast<int32_t>(k) + 127) << 23;
  float scale;
  std::memcpy(&scale, &bits, sizeof scale);
  const float result = p * scale;
  return x != x ? x : result;
}

inline float sigmoid(float x) { return 1.0f / (1.0f + exp_(-x)); }

// body(thread, begin, end) for each thread's share of the channels.
template <class Body>
void over_channels(int64_t channels, int64_t threads, Body body) {
  threads = std::max<int64_t>(1, std::min(threads, channels));
  const int64_t each = (channels + threads - 1) / threads;
  std::vector<std::thread> pool;
  for (int64_t t = 1; t < threads; t++)
    pool.emplace_back([=] {
      body(t, std::min(channels, t * each), std::min(channels, (t + 1) * each));
    });
  body(0, 0, std::min(channels, each));
  for (auto& thread : pool) thread.join();
}

}  // namespace
