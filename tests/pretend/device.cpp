// A device of torch without its hardware, for a torch that was built for the CPU only.
//
// Tensors of device type "cuda" (or "xpu", with -DPRETEND_XPU) hold host memory. Operators run on
// the CPU through torch's own fallback; what is real is everything around them: the dispatch key,
// the autograd engine's device thread, the caching allocator's rules, statistics and refusals.
//
// From the environment: PRETEND_BYTES (capacity), PRETEND_WORKSPACE_BYTES (of a library, for each
// thread that multiplies), PRETEND_FAIL ("OPERATOR COUNT MESSAGE", such as
// "aten::mm.out 3 no memory": that call of it fails so).
#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/EmptyTensor.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <ATen/detail/XPUHooksInterface.h>
#include <ATen/native/CPUFallback.h>
#include <ATen/ops/as_strided_native.h>
#include <ATen/ops/unfold_native.h>
#include <ATen/ops/view_native.h>
#include <c10/core/Allocator.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <torch/library.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <set>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#ifdef PRETEND_XPU
#define PRETENDED XPU
#else
#define PRETENDED CUDA
#endif

namespace pretend {

constexpr auto kType = c10::DeviceType::PRETENDED;
constexpr c10::DispatchKeySet kKeys(c10::DispatchKey::PRETENDED);
const c10::Device kDevice(kType, 0);

size_t size_from(const char* variable, size_t fallback) {
  const char* text = std::getenv(variable);
  return text ? static_cast<size_t>(std::strtoull(text, nullptr, 10)) : fallback;
}

// ---- the caching allocator -----------------------------------------------------------------------
// The rules and constants of c10/cuda/CUDACachingAllocator.cpp; those of XPU and ROCm are the same.

constexpr size_t kMiB = size_t{1} << 20;
constexpr size_t kMinBlock = 512, kSmallSize = kMiB, kSmallSegment = 2 * kMiB;
constexpr size_t kLargeSegment = 20 * kMiB, kMinLargeAlloc = 10 * kMiB, kRoundLarge = 2 * kMiB;
constexpr size_t kContext = 512 * kMiB;  // what a process's context takes beside the allocator

size_t round_up(size_t n, size_t multiple) { return (n + multiple - 1) / multiple * multiple; }

struct Block {
  char* data;
  size_t size;
  size_t requested;
  bool small;
  bool used;
  Block* before;
  Block* after;
};

struct BySize {
  bool operator()(const Block* a, const Block* b) const {
    return a->size != b->size ? a->size < b->size : a->data < b->data;
  }
};

struct Figure {
  size_t now = 0, peak = 0;
  void add(size_t n) { now += n; peak = std::max(peak, now); }
  void take(size_t n) { now -= n; }
  void reset() { peak = now; }
};

class CachingAllocator final : public c10::Allocator {
 public:
  c10::DataPtr allocate(size_t n) override {
    void* data = n ? take(n) : nullptr;
    return {data, data, &release, kDevice};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &release; }
  void copy_data(void* to, const void* from, size_t n) const override { std::memcpy(to, from, n); }

  void* take(size_t n) {
    std::lock_guard<std::mutex> held(lock_);
    const size_t size = round_up(n, kMinBlock);
    const bool small = size <= kSmallSize;
    Block* block = best_fit(size, small);
    if (!block) block = new_segment(size, small);
    const size_t left = block->size - size;
    if (small ? left >= kMinBlock : left > kSmallSize) split(block, size);
    block->used = true;
    block->requested = n;
    used_[block->data] = block;
    allocated.add(block->size);
    requested.add(n);
    return block->data;
  }

  void give(void* data) {
    std::lock_guard<std::mutex> held(lock_);
    auto found = used_.find(data);
    if (found == used_.end()) return;
    Block* block = found->second;
    used_.erase(found);
    allocated.take(block->size);
    requested.take(block->requested);
    block->used = false;
    join(block, block->before);
    join(block, block->after);
    free_[block->small].insert(block);
  }

  void empty_cache() {
    std::lock_guard<std::mutex> held(lock_);
    drop_free_segments();
  }

  void reset_peaks() {
    std::lock_guard<std::mutex> held(lock_);
    allocated.reset();
    reserved.reset();
    requested.reset();
  }

  Figure allocated, reserved, requested;
  const size_t capacity = size_from("PRETEND_BYTES", size_t{140} << 30);

 private:
  static void release(void* data);

  Block* best_fit(size_t size, bool small) {
    Block key{nullptr, size, 0, small, false, nullptr, nullptr};
    auto& pool = free_[small];
    auto found = pool.lower_bound(&key);
    if (found == pool.end()) return nullptr;
    Block* block = *found;
    pool.erase(found);
    return block;
  }

  Block* new_segment(size_t size, bool small) {
    size_t length = small ? kSmallSegment : size < kMinLargeAlloc ? kLargeSegment : round_up(size, kRoundLarge);
    if (reserved.now + length + kContext > capacity) drop_free_segments();
    if (reserved.now + length + kContext > capacity) {
      TORCH_CHECK_WITH(OutOfMemoryError, false,
#ifdef PRETEND_XPU
                       "XPU out of memory. Tried to allocate ",
#else
                       std::getenv("PRETEND_HIP") ? "HIP" : "CUDA", " out of memory. Tried to allocate ",
#endif
                       static_cast<double>(length) / kMiB, " MiB. GPU 0 has a total capacity of ",
                       static_cast<double>(capacity) / (size_t{1} << 30), " GiB (pretended)");
    }
    void* data = nullptr;
    TORCH_CHECK(posix_memalign(&data, 4096, length) == 0, "the host has no memory for the pretended device");
    reserved.add(length);
    return new Block{static_cast<char*>(data), length, 0, small, false, nullptr, nullptr};
  }

  void split(Block* block, size_t size) {
    auto* rest = new Block{block->data + size, block->size - size, 0, block->small, false, block, block->after};
    if (block->after) block->after->before = rest;
    block->after = rest;
    block->size = size;
    free_[rest->small].insert(rest);
  }

  void join(Block* block, Block* neighbour) {
    if (!neighbour || neighbour->used) return;
    free_[neighbour->small].erase(neighbour);
    if (neighbour == block->before) {
      block->data = neighbour->data;
      block->before = neighbour->before;
      if (block->before) block->before->after = block;
    } else {
      block->after = neighbour->after;
      if (block->after) block->after->before = block;
    }
    block->size += neighbour->size;
    delete neighbour;
  }

  void drop_free_segments() {
    for (auto& pool : free_) {
      for (auto at = pool.begin(); at != pool.end();) {
        Block* block = *at;
        if (block->before || block->after) {
          ++at;
          continue;
        }
        reserved.take(block->size);
        std::free(block->data);
        at = pool.erase(at);
        delete block;
      }
    }
  }

  std::mutex lock_;
  std::set<Block*, BySize> free_[2];
  std::map<void*, Block*> used_;
};

// Never destroyed: tensors may outlive the statics of this library.
CachingAllocator& memory() { static auto* made = new CachingAllocator; return *made; }
void CachingAllocator::release(void* data) { if (data) memory().give(data); }

// ---- workspaces of a library of products: one for each thread, kept, as torch's handles hold them --

std::mutex workspace_lock;
std::map<std::thread::id, void*> workspaces;

void touch_workspace(const std::string& name) {
  static const size_t bytes = size_from("PRETEND_WORKSPACE_BYTES", 0);
  static const std::set<std::string> products{"aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm",
                                              "aten::mm.out", "aten::addmm.out", "aten::bmm.out",
                                              "aten::baddbmm.out"};
  if (!bytes || !products.count(name)) return;
  std::lock_guard<std::mutex> held(workspace_lock);
  void*& mine = workspaces[std::this_thread::get_id()];
  if (!mine) mine = memory().take(bytes);
}

void clear_workspaces() {
  std::lock_guard<std::mutex> held(workspace_lock);
  for (auto& [thread, data] : workspaces) memory().give(data);
  workspaces.clear();
}

// ---- a fault on demand -----------------------------------------------------------------------------

void fail_on_demand(const std::string& name) {
  struct Fault { std::string name; long at; std::string text; };
  static const Fault fault = [] {
    Fault made{"", 0, ""};
    if (const char* text = std::getenv("PRETEND_FAIL")) {
      std::istringstream in(text);
      in >> made.name >> made.at >> std::ws;
      std::getline(in, made.text);
    }
    return made;
  }();
  static long calls = 0;
  if (fault.name == name && ++calls == fault.at) TORCH_CHECK(false, fault.text);
}

// ---- guard, streams, generators ----------------------------------------------------------------------

struct Guard final : c10::impl::DeviceGuardImplInterface {
  c10::DeviceType type() const override { return kType; }
  c10::Device exchangeDevice(c10::Device) const override { return kDevice; }
  c10::Device getDevice() const override { return kDevice; }
  void setDevice(c10::Device) const override {}
  void uncheckedSetDevice(c10::Device) const noexcept override {}
  c10::Stream getStream(c10::Device) const override { return c10::Stream(c10::Stream::DEFAULT, kDevice); }
  c10::Stream getDefaultStream(c10::Device device) const override { return getStream(device); }
  c10::Stream exchangeStream(c10::Stream stream) const override { return stream; }
  c10::DeviceIndex deviceCount() const noexcept override { return 1; }
  void destroyEvent(void*, const c10::DeviceIndex) const noexcept override {}
  void record(void** event, const c10::Stream&, const c10::DeviceIndex, const c10::EventFlag) const override {
    *event = this_event();
  }
  void block(void*, const c10::Stream&) const override {}
  bool queryEvent(void*) const override { return true; }
  bool queryStream(const c10::Stream&) const override { return true; }
  void synchronizeStream(const c10::Stream&) const override {}
  void synchronizeEvent(void*) const override {}
  void synchronizeDevice(const c10::DeviceIndex) const override {}
  void recordDataPtrOnStream(const c10::DataPtr&, const c10::Stream&) const override {}

 private:
  static void* this_event() { static char event; return &event; }
};

// Says that it is the device's, and draws from a CPU generator of its own.
struct Generator final : c10::GeneratorImpl {
  Generator() : c10::GeneratorImpl{kDevice, kKeys}, host(at::detail::createCPUGenerator(0)) {}
  at::Generator host;
  void set_current_seed(uint64_t seed) override { host.set_current_seed(seed); }
  void set_offset(uint64_t) override {}
  uint64_t get_offset() const override { return 0; }
  uint64_t current_seed() const override { return host.current_seed(); }
  uint64_t seed() override { return host.seed(); }
  void set_state(const c10::TensorImpl& state) override { host.unsafeGetGeneratorImpl()->set_state(state); }
  c10::intrusive_ptr<c10::TensorImpl> get_state() const override {
    return host.unsafeGetGeneratorImpl()->get_state();
  }
  Generator* clone_impl() const override {
    auto* made = new Generator;
    made->host = host.clone();
    return made;
  }
  static c10::DeviceType device_type() { return kType; }
};

at::Generator& default_generator() {
  static auto* made = new at::Generator(at::make_generator<Generator>());
  return *made;
}

// ---- operators ---------------------------------------------------------------------------------------

void on_cpu(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  const auto name = c10::toString(op.operator_name());
  touch_workspace(name);
  fail_on_demand(name);
  const auto count = static_cast<std::ptrdiff_t>(op.schema().arguments().size());
  for (auto value = stack->end() - count; value != stack->end(); ++value) {
    if (!value->isGenerator() || !value->toGenerator().defined()) continue;
    auto generator = value->toGenerator();
    if (generator.device().type() == kType)
      *value = static_cast<Generator*>(generator.unsafeGetGeneratorImpl())->host;
  }
  at::native::cpu_fallback(op, stack, false);
}

using Sizes = c10::SymIntArrayRef;
using MaybeType = std::optional<at::ScalarType>;
using MaybeLayout = std::optional<at::Layout>;
using MaybeDevice = std::optional<at::Device>;
using MaybeFormat = std::optional<at::MemoryFormat>;

at::Tensor empty(Sizes size, MaybeType dtype, MaybeLayout, MaybeDevice, std::optional<bool>, MaybeFormat format) {
  return at::detail::empty_generic(C10_AS_INTARRAYREF_SLOW(size), &memory(), kKeys, c10::dtype_or_default(dtype), format);
}

at::Tensor empty_strided(Sizes size, Sizes stride, MaybeType dtype, MaybeLayout, MaybeDevice, std::optional<bool>) {
  return at::detail::empty_strided_generic(C10_AS_INTARRAYREF_SLOW(size), C10_AS_INTARRAYREF_SLOW(stride), &memory(), kKeys,
                                           c10::dtype_or_default(dtype));
}

// The same bytes as a tensor of the CPU, which keeps ours alive.
at::Tensor host_view(const at::Tensor& t) {
  if (t.device().type() != kType) return t;
  auto made = at::from_blob(t.data_ptr(), t.sizes(), t.strides(), [t](void*) {},
                            t.options().device(at::kCPU).requires_grad(false));
  if (t.is_neg()) made = made._neg_view();
  return t.is_conj() ? made.conj() : made;
}

at::Tensor& copy_(at::Tensor& self, const at::Tensor& from, bool) {
  at::AutoDispatchBelowADInplaceOrView below;
  if (self.numel()) host_view(self).copy_(host_view(from.expand(self.sizes())));
  return self;
}

at::Tensor copy_from(const at::Tensor& from, const at::Tensor& to, bool) {
  auto target = to;
  copy_(target, from, false);
  return to;
}

void resize_storage(c10::StorageImpl* storage, size_t bytes) {
  auto data = memory().allocate(bytes);
  const size_t kept = std::min(bytes, storage->nbytes());
  if (kept) std::memcpy(data.get(), storage->data(), kept);
  storage->set_data_ptr_noswap(std::move(data));
  storage->set_nbytes(bytes);
}

void grow(const at::Tensor& self, size_t bytes) {
  auto* storage = self.storage().unsafeGetStorageImpl();
  if (bytes > storage->nbytes()) resize_storage(storage, bytes);
}

const at::Tensor& resize_(const at::Tensor& self, Sizes size, MaybeFormat format) {
  auto* impl = self.unsafeGetTensorImpl();
  impl->set_sizes_contiguous(C10_AS_INTARRAYREF_SLOW(size));
  if (format && *format != at::MemoryFormat::Preserve) impl->empty_tensor_restride(*format);
  grow(self, (self.storage_offset() + self.numel()) * self.itemsize());
  return self;
}

at::Tensor copy_from_and_resize(const at::Tensor& from, const at::Tensor& to) {
  auto target = to;
  if (to.sizes() != from.sizes()) resize_(to, c10::fromIntArrayRefSlow(from.sizes()), std::nullopt);
  copy_(target, from, false);
  return to;
}

at::Tensor& set_strided(at::Tensor& self, at::Storage source, c10::SymInt offset, Sizes size, Sizes stride) {
  auto* impl = self.unsafeGetTensorImpl();
  impl->set_storage_keep_dtype(std::move(source));
  impl->set_storage_offset(offset.expect_int());
  auto sizes = C10_AS_INTARRAYREF_SLOW(size);
  auto strides = C10_AS_INTARRAYREF_SLOW(stride);
  if (strides.size() == sizes.size()) impl->set_sizes_and_strides(sizes, strides);
  else impl->set_sizes_contiguous(sizes);
  return self;
}

at::Tensor& set_storage(at::Tensor& self, at::Storage source) {
  std::vector<c10::SymInt> size{static_cast<int64_t>(source.nbytes() / self.itemsize())};
  return set_strided(self, std::move(source), 0, size, std::vector<c10::SymInt>{1});
}

at::Tensor& set_tensor(at::Tensor& self, const at::Tensor& source) {
  auto* impl = self.unsafeGetTensorImpl();
  impl->set_storage_keep_dtype(source.storage());
  impl->set_storage_offset(source.storage_offset());
  impl->set_sizes_and_strides(source.sizes(), source.strides());
  return self;
}

at::Tensor& set_nothing(at::Tensor& self) {
  auto* impl = self.unsafeGetTensorImpl();
  impl->set_storage_keep_dtype(c10::Storage(c10::Storage::use_byte_size_t{}, 0, &memory(), true));
  impl->set_storage_offset(0);
  impl->set_sizes_contiguous({0});
  return self;
}

at::Tensor view(const at::Tensor& self, Sizes size) { return at::native::view(self, C10_AS_INTARRAYREF_SLOW(size)); }

at::Tensor reshape_alias(const at::Tensor& self, Sizes size, Sizes) { return view(self, size); }

at::Tensor as_strided(const at::Tensor& self, Sizes size, Sizes stride, std::optional<c10::SymInt> offset) {
  std::optional<int64_t> at;
  if (offset) at = offset->expect_int();
  return at::native::as_strided_tensorimpl(self, C10_AS_INTARRAYREF_SLOW(size), C10_AS_INTARRAYREF_SLOW(stride), at);
}

#ifdef PRETEND_XPU
// torch asks a build for XPU which attention to take; a build for the CPU has nobody to ask.
at::Tensor plain_attention(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
                           const std::optional<at::Tensor>& mask, double dropout, bool causal,
                           std::optional<double> scale, bool grouped) {
  return std::get<0>(at::_scaled_dot_product_attention_math(query, key, value, mask, dropout, causal,
                                                            std::nullopt, scale, grouped));
}
#endif

struct Registration {
  Registration() { c10::SetAllocator(kType, &memory(), /*priority=*/255); }
} registration;

}  // namespace pretend

// ---- what torch asks of a backend ------------------------------------------------------------------
// The registry knows the hooks by the class's own name.

namespace at {

#ifdef PRETEND_XPU
struct XPUHooks final : XPUHooksInterface {
  bool hasXPU() const override { return true; }
  DeviceIndex getNumGPUs() const override { return 1; }
#else
struct CUDAHooks final : CUDAHooksInterface {
  explicit CUDAHooks(CUDAHooksArgs) {}
  bool hasCUDA() const override { return true; }
  bool hasCUDART() const override { return true; }
  int getNumGPUs() const override { return 1; }
  c10::Allocator* getCUDADeviceAllocator() const override { return &pretend::memory(); }
#endif
  void init() const override {}
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return true; }
  const Generator& getDefaultGenerator(DeviceIndex) const override { return pretend::default_generator(); }
  Generator getNewGenerator(DeviceIndex) const override { return make_generator<pretend::Generator>(); }
  Device getDeviceFromPtr(void*) const override { return pretend::kDevice; }
  bool isPinnedPtr(const void*) const override { return false; }
  bool hasPrimaryContext(DeviceIndex) const override { return true; }
  DeviceIndex deviceCount() const override { return 1; }
  DeviceIndex getCurrentDevice() const override { return 0; }
  DeviceIndex current_device() const override { return 0; }
  void setCurrentDevice(DeviceIndex) const override {}
  DeviceIndex exchangeDevice(DeviceIndex) const override { return 0; }
  DeviceIndex maybeExchangeDevice(DeviceIndex) const override { return 0; }
  void deviceSynchronize(DeviceIndex) const override {}
};

#ifdef PRETEND_XPU
C10_REGISTER_CLASS(XPUHooksRegistry, XPUHooks, XPUHooks)
C10_REGISTER_GUARD_IMPL(XPU, pretend::Guard)
#else
C10_REGISTER_CLASS(CUDAHooksRegistry, CUDAHooks, CUDAHooks)
C10_REGISTER_GUARD_IMPL(CUDA, pretend::Guard)
#endif

}  // namespace at

TORCH_LIBRARY_IMPL(_, PRETENDED, m) { m.fallback(torch::CppFunction::makeFromBoxedFunction<&pretend::on_cpu>()); }

TORCH_LIBRARY_IMPL(aten, PRETENDED, m) {
  m.impl("empty.memory_format", TORCH_FN(pretend::empty));
  m.impl("empty_strided", TORCH_FN(pretend::empty_strided));
  m.impl("copy_", TORCH_FN(pretend::copy_));
  m.impl("_copy_from", TORCH_FN(pretend::copy_from));
  m.impl("_copy_from_and_resize", TORCH_FN(pretend::copy_from_and_resize));
  m.impl("resize_", TORCH_FN(pretend::resize_));
  m.impl("set_.source_Storage_storage_offset", TORCH_FN(pretend::set_strided));
  m.impl("set_.source_Storage", TORCH_FN(pretend::set_storage));
  m.impl("set_.source_Tensor", TORCH_FN(pretend::set_tensor));
  m.impl("set_", TORCH_FN(pretend::set_nothing));
  m.impl("view", TORCH_FN(pretend::view));
  m.impl("_reshape_alias", TORCH_FN(pretend::reshape_alias));
  m.impl("as_strided", TORCH_FN(pretend::as_strided));
  m.impl("unfold", TORCH_FN(at::native::unfold));
  // The composite convolution would choose a CUDA kernel by the tensors' device type.
  for (const char* name : {"convolution", "convolution_backward", "_convolution"})
    m.impl(name, torch::CppFunction::makeFromBoxedFunction<&pretend::on_cpu>());
}

// ---- what torch_module.py asks ---------------------------------------------------------------------

extern "C" {
size_t pretend_statistic(int which) {
  auto& m = pretend::memory();
  const size_t figures[] = {m.allocated.now, m.allocated.peak, m.reserved.now, m.reserved.peak,
                            m.requested.now, m.requested.peak, m.capacity, m.reserved.now + pretend::kContext};
  return figures[which];
}
void pretend_reset_peaks() { pretend::memory().reset_peaks(); }
void pretend_empty_cache() { pretend::memory().empty_cache(); }
void pretend_clear_workspaces() { pretend::clear_workspaces(); }
void pretend_resize(void* storage, size_t bytes) {
  pretend::resize_storage(static_cast<c10::StorageImpl*>(storage), bytes);
}
void pretend_seed(unsigned long long seed) { pretend::default_generator().set_current_seed(seed); }
}

#ifdef PRETEND_XPU
TORCH_LIBRARY_IMPL(aten, AutogradXPU, m) {
  m.impl("scaled_dot_product_attention", TORCH_FN(pretend::plain_attention));
}
TORCH_LIBRARY_IMPL(aten, XPU, m) {
  m.impl("scaled_dot_product_attention", TORCH_FN(pretend::plain_attention));
}
#endif
