// vbon/kernel/instruction_set.hpp
//
// A program compiled for one processor and started on another dies of an illegal instruction, without a word. This says
// which instruction set is missing, from code that needs none of them.
#pragma once
#include <xsimd/xsimd.hpp>

namespace vbon::kernel {
#if defined(__x86_64__) && defined(__GNUC__)
/// The first instruction set that the kernels of this build use and this processor lacks; nullptr: none is missing.
/// Safe to call before anything else runs, on any x86-64 processor.
[[gnu::noinline, gnu::target("no-avx,no-bmi,no-bmi2,no-lzcnt,no-popcnt,no-sse4,no-sse3")]] inline const char*
missing_instruction_set() {
  __builtin_cpu_init();
  if (XSIMD_WITH_SSE4_2 && !__builtin_cpu_supports("sse4.2")) return "SSE4.2";
  if (XSIMD_WITH_AVX && !__builtin_cpu_supports("avx")) return "AVX";
  if (XSIMD_WITH_AVX2 && !__builtin_cpu_supports("avx2")) return "AVX2";
  if (XSIMD_WITH_FMA3_AVX2 && !__builtin_cpu_supports("fma")) return "FMA";
  if (XSIMD_WITH_AVX512F && !__builtin_cpu_supports("avx512f")) return "AVX-512F";
  if (XSIMD_WITH_AVX512CD && !__builtin_cpu_supports("avx512cd")) return "AVX-512CD";
  if (XSIMD_WITH_AVX512DQ && !__builtin_cpu_supports("avx512dq")) return "AVX-512DQ";
  if (XSIMD_WITH_AVX512BW && !__builtin_cpu_supports("avx512bw")) return "AVX-512BW";
#if defined(__AVX512BF16__)
  if (XSIMD_WITH_AVX512F && !__builtin_cpu_supports("avx512bf16")) return "AVX512-BF16";
#endif
  return nullptr;
}
#else
inline const char* missing_instruction_set() { return nullptr; }
#endif
}  // namespace vbon::kernel
