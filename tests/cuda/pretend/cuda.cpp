// A device that calls itself CUDA, keeps its memory on the host and computes with the CPU's kernels.
//
// It stands in for a GPU where there is none: a tensor on the wrong device is an error here as there.
// Sources: pytorch.org/tutorials/advanced/extend_dispatcher.html, ATen/native/CPUFallback.h.

#include <ATen/EmptyTensor.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <ATen/native/CPUFallback.h>
#include <ATen/ops/_reshape_alias_native.h>
#include <ATen/ops/as_strided_native.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/native_batch_norm.h>
#include <ATen/ops/resize_native.h>
#include <ATen/ops/set_native.h>
#include <ATen/ops/unfold_native.h>
#include <ATen/ops/view_native.h>
#include <c10/core/CPUAllocator.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <torch/library.h>

namespace at {

struct CUDAHooks : CUDAHooksInterface {
  explicit CUDAHooks(CUDAHooksArgs) {}
  void init() const override {}
  bool hasCUDA() const override { return true; }
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return true; }
  bool hasPrimaryContext(DeviceIndex) const override { return true; }
  int getNumGPUs() const override { return 1; }
  DeviceIndex deviceCount() const override { return 1; }
  DeviceIndex getCurrentDevice() const override { return 0; }
};

REGISTER_CUDA_HOOKS(CUDAHooks)

}  // namespace at

namespace {

using at::Tensor;
using c10::DeviceType;
using std::optional;

const c10::Device device(DeviceType::CUDA, 0);
const c10::DispatchKeySet keys(c10::DispatchKey::CUDA);

struct Guard : c10::impl::NoOpDeviceGuardImpl<DeviceType::CUDA> {
  c10::Device exchangeDevice(c10::Device) const override { return device; }
  c10::Device getDevice() const override { return device; }
  c10::Stream getStream(c10::Device) const noexcept override { return only(); }
  c10::Stream exchangeStream(c10::Stream) const noexcept override { return only(); }
  static c10::Stream only() { return c10::Stream(c10::Stream::DEFAULT, device); }
};

C10_REGISTER_GUARD_IMPL(CUDA, Guard)

struct Memory : c10::Allocator {
  c10::DataPtr allocate(size_t bytes) override {
    auto host = c10::GetCPUAllocator()->allocate(bytes);
    void* data = host.get();
    auto deleter = host.get_deleter();
    return {data, host.release_context(), deleter, device};
  }
  c10::DeleterFnPtr raw_deleter() const override { return c10::GetCPUAllocator()->raw_deleter(); }
  void copy_data(void* to, const void* from, size_t bytes) const override {
    default_copy_data(to, from, bytes);
  }
} memory;

REGISTER_ALLOCATOR(DeviceType::CUDA, &memory)

Tensor empty(at::IntArrayRef sizes, optional<at::ScalarType> type, optional<at::Layout>, optional<at::Device>,
             optional<bool>, optional<at::MemoryFormat> format) {
  return at::detail::empty_generic(sizes, &memory, keys, c10::dtype_or_default(type), format);
}

Tensor empty_strided(at::IntArrayRef sizes, at::IntArrayRef strides, optional<at::ScalarType> type,
                     optional<at::Layout>, optional<at::Device>, optional<bool>) {
  return at::detail::empty_strided_generic(sizes, strides, &memory, keys, c10::dtype_or_default(type));
}

Tensor host(const Tensor& x) {
  if (x.is_cpu()) return x;
  return at::from_blob(x.data_ptr(), x.sizes(), x.strides(), x.options().device(at::kCPU).requires_grad(false));
}

Tensor& copy_(Tensor& to, const Tensor& from, bool) {
  host(to).copy_(host(from));
  return to;
}

Tensor copy_from(const Tensor& from, const Tensor& to, bool) {
  host(to).copy_(host(from));
  return to;
}

Tensor copy_from_and_resize(const Tensor& from, const Tensor& to) {
  if (to.sizes() != from.sizes()) to.resize_(from.sizes());
  host(to).copy_(host(from));
  return to;
}

at::Scalar item(const Tensor& x) { return host(x).item(); }

void on_the_host(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  at::native::cpu_fallback(op, stack);
}

// Its schema doesn't say that it writes the running statistics, so the fallback would lose them.
std::tuple<Tensor, Tensor, Tensor> batch_norm(const Tensor& x, const optional<Tensor>& weight,
                                              const optional<Tensor>& bias, const optional<Tensor>& mean,
                                              const optional<Tensor>& variance, bool training, double momentum,
                                              double eps) {
  auto there = [](const optional<Tensor>& t) { return t && t->defined() ? optional(host(*t)) : t; };
  auto [y, centre, scale] = at::native_batch_norm(host(x), there(weight), there(bias), there(mean),
                                                  there(variance), training, momentum, eps);
  return {y.to(device), centre.to(device), scale.to(device)};
}

TORCH_LIBRARY_IMPL(_, CUDA, library) {
  library.fallback(torch::CppFunction::makeFromBoxedFunction<&on_the_host>());
}

TORCH_LIBRARY_IMPL(aten, CUDA, library) {
  // Made of kernels that only a GPU has.
  library.impl("convolution", torch::CppFunction::makeFromBoxedFunction<&on_the_host>());
  library.impl("convolution_backward", torch::CppFunction::makeFromBoxedFunction<&on_the_host>());
  library.impl("empty.memory_format", empty);
  library.impl("empty_strided", empty_strided);
  library.impl("copy_", copy_);
  library.impl("_copy_from", copy_from);
  library.impl("_copy_from_and_resize", copy_from_and_resize);
  library.impl("_local_scalar_dense", item);
  library.impl("native_batch_norm", batch_norm);
  library.impl("as_strided", at::native::as_strided_tensorimpl);
  library.impl("view", at::native::view);
  library.impl("_reshape_alias", at::native::_reshape_alias);
  library.impl("unfold", at::native::unfold);
  library.impl("resize_", at::native::resize_);
  library.impl("set_.source_Storage", at::native::set_);
  library.impl("set_.source_Storage_storage_offset", at::native::set_storage_cpu_);
}

}  // namespace
