// vbon/train/memory.hpp
//
// How much memory this process holds, as the system counts it.
#pragma once
#include <unistd.h>

#include <cstdio>

namespace vbon::train {
/// Resident set of this process [megabytes]; 0 where the system does not tell.
inline double resident_megabytes() {
  std::FILE* file = std::fopen("/proc/self/statm", "r");
  if (file == nullptr) return 0;
  long total = 0, resident = 0;
  const int read = std::fscanf(file, "%ld %ld", &total, &resident);
  std::fclose(file);
  return read == 2 ? static_cast<double>(resident) * static_cast<double>(::sysconf(_SC_PAGESIZE)) / 1e6 : 0;
}
}  // namespace vbon::train
