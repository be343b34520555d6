// vbon/kernel/instruction_set.hpp
//
// A program compiled for one processor and started on another dies of an illegal instruction, without a word. This says
// which instruction set is missing, from code that needs none of them.
#pragma once
#if defined(__x86_64__) && defined(__GNUC__)
#include <cpuid.h>

// Whether the compiler was told that the processor has a set: it then defines the set's macro as 1, and may use it anywhere.
#define VBON_TEXT(word) #word
#define VBON_COMPILED_FOR(macro) (VBON_TEXT(macro)[0] == '1')

namespace vbon::kernel {
/// The first instruction set of these that this file was compiled for and this processor (or its system) lacks; nullptr:
/// none is missing. Safe to call before anything else runs, on any x86-64 processor. Each file has its own: another one of
/// the program may be compiled for another processor.
[[maybe_unused, gnu::noinline, gnu::target("no-avx,no-bmi,no-bmi2,no-lzcnt,no-popcnt,no-sse4,no-sse3")]] static const char*
missing_instruction_set() {
  __builtin_cpu_init();
  if (VBON_COMPILED_FOR(__SSE4_2__) && !__builtin_cpu_supports("sse4.2")) return "SSE4.2";
  if (VBON_COMPILED_FOR(__SSE4_1__) && !__builtin_cpu_supports("sse4.1")) return "SSE4.1";
  if (VBON_COMPILED_FOR(__SSSE3__) && !__builtin_cpu_supports("ssse3")) return "SSSE3";
  if (VBON_COMPILED_FOR(__SSE3__) && !__builtin_cpu_supports("sse3")) return "SSE3";
  if (VBON_COMPILED_FOR(__POPCNT__) && !__builtin_cpu_supports("popcnt")) return "POPCNT";
  if (VBON_COMPILED_FOR(__AVX__) && !__builtin_cpu_supports("avx")) return "AVX";
  if (VBON_COMPILED_FOR(__AVX2__) && !__builtin_cpu_supports("avx2")) return "AVX2";
  if (VBON_COMPILED_FOR(__FMA__) && !__builtin_cpu_supports("fma")) return "FMA";
  if (VBON_COMPILED_FOR(__BMI__) && !__builtin_cpu_supports("bmi")) return "BMI";
  if (VBON_COMPILED_FOR(__BMI2__) && !__builtin_cpu_supports("bmi2")) return "BMI2";
  if (VBON_COMPILED_FOR(__AVX512F__) && !__builtin_cpu_supports("avx512f")) return "AVX-512F";
  if (VBON_COMPILED_FOR(__AVX512CD__) && !__builtin_cpu_supports("avx512cd")) return "AVX-512CD";
  if (VBON_COMPILED_FOR(__AVX512VL__) && !__builtin_cpu_supports("avx512vl")) return "AVX-512VL";
  if (VBON_COMPILED_FOR(__AVX512DQ__) && !__builtin_cpu_supports("avx512dq")) return "AVX-512DQ";
  if (VBON_COMPILED_FOR(__AVX512BW__) && !__builtin_cpu_supports("avx512bw")) return "AVX-512BW";
  if (VBON_COMPILED_FOR(__AVX512IFMA__) && !__builtin_cpu_supports("avx512ifma")) return "AVX512-IFMA";
  if (VBON_COMPILED_FOR(__AVX512VBMI__) && !__builtin_cpu_supports("avx512vbmi")) return "AVX512-VBMI";
  if (VBON_COMPILED_FOR(__AVX512VBMI2__) && !__builtin_cpu_supports("avx512vbmi2")) return "AVX512-VBMI2";
  if (VBON_COMPILED_FOR(__AVX512VNNI__) && !__builtin_cpu_supports("avx512vnni")) return "AVX512-VNNI";
  if (VBON_COMPILED_FOR(__AVX512BITALG__) && !__builtin_cpu_supports("avx512bitalg")) return "AVX512-BITALG";
  if (VBON_COMPILED_FOR(__AVX512VPOPCNTDQ__) && !__builtin_cpu_supports("avx512vpopcntdq")) return "AVX512-VPOPCNTDQ";
  if (VBON_COMPILED_FOR(__AVX512BF16__) && !__builtin_cpu_supports("avx512bf16")) return "AVX512-BF16";
  if (VBON_COMPILED_FOR(__FMA4__) && !__builtin_cpu_supports("fma4")) return "FMA4";
  if (VBON_COMPILED_FOR(__XOP__) && !__builtin_cpu_supports("xop")) return "XOP";
  // Not known by name to every compiler: bits of CPUID, which has no leaf 7 on the oldest.
  unsigned a = 0, b = 0, c = 0, d = 0, leaves = 0;
  __cpuid(0, leaves, b, c, d);
  __cpuid(1, a, b, c, d);
  if (VBON_COMPILED_FOR(__F16C__) && (c >> 29 & 1) == 0) return "F16C";
  if (VBON_COMPILED_FOR(__MOVBE__) && (c >> 22 & 1) == 0) return "MOVBE";
  __cpuid(0x80000001, a, b, c, d);
  if (VBON_COMPILED_FOR(__LZCNT__) && (c >> 5 & 1) == 0) return "LZCNT";
  c = d = a = 0;
  if (leaves >= 7) __cpuid_count(7, 0, a, b, c, d);
  if (VBON_COMPILED_FOR(__GFNI__) && (c >> 8 & 1) == 0) return "GFNI";
  if (VBON_COMPILED_FOR(__AVX512FP16__) && (d >> 23 & 1) == 0) return "AVX512-FP16";
  if (a >= 1)
    __cpuid_count(7, 1, a, b, c, d);
  else
    a = 0;
  if (VBON_COMPILED_FOR(__AVXVNNI__) && (a >> 4 & 1) == 0) return "AVX-VNNI";
  return nullptr;
}
}  // namespace vbon::kernel

#undef VBON_TEXT
#undef VBON_COMPILED_FOR
#else
namespace vbon::kernel {
inline const char* missing_instruction_set() { return nullptr; }
}  // namespace vbon::kernel
#endif
