// Exits with 77, and says what is missing, where this processor cannot run what it was compiled for.
#include <cstdio>

#include "vbon/kernel/instruction_set.hpp"

int main() {
  const char* missing = vbon::kernel::missing_instruction_set();
  if (missing == nullptr) return 0;
  std::puts(missing);
  return 77;
}
