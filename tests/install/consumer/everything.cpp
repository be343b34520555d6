// The whole library, and its version as the program was told to expect it.
#include <vbon/vbon.hpp>

#include <string_view>

int main(int argc, char** argv) { return argc == 2 && std::string_view(argv[1]) == VBON_VERSION ? 0 : 1; }
