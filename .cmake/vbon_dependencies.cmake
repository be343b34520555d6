# The libraries that vbon's headers include, for the build tree and for the installed package alike.
# A library that is not found leaves a line in `vbon_missing`, naming the Debian package that has it.
include_guard(DIRECTORY)

# Defines vbon::NAME for a library that consists of headers.
macro(vbon_find_headers name header debian_package)
  find_path(VBON_${name}_INCLUDE ${header} DOC "Folder that holds ${header}")
  mark_as_advanced(VBON_${name}_INCLUDE)
  if(NOT VBON_${name}_INCLUDE)
    list(APPEND vbon_missing "${header} (Debian package ${debian_package})")
  elseif(NOT TARGET vbon::${name})
    add_library(vbon::${name} INTERFACE IMPORTED)
    set_target_properties(vbon::${name} PROPERTIES INTERFACE_INCLUDE_DIRECTORIES "${VBON_${name}_INCLUDE}")
  endif()
endmacro()

# Defines vbon::NAME for a library with a header and a compiled part.
macro(vbon_find_library name header library debian_package)
  find_path(VBON_${name}_INCLUDE ${header} DOC "Folder that holds ${header}")
  find_library(VBON_${name}_LIBRARY ${library} DOC "The library ${library}")
  mark_as_advanced(VBON_${name}_INCLUDE VBON_${name}_LIBRARY)
  if(NOT VBON_${name}_INCLUDE OR NOT VBON_${name}_LIBRARY)
    list(APPEND vbon_missing "${header} and lib${library} (Debian package ${debian_package})")
  elseif(NOT TARGET vbon::${name})
    add_library(vbon::${name} UNKNOWN IMPORTED)
    set_target_properties(vbon::${name} PROPERTIES
      IMPORTED_LOCATION "${VBON_${name}_LIBRARY}" INTERFACE_INCLUDE_DIRECTORIES "${VBON_${name}_INCLUDE}")
  endif()
endmacro()

# Uses the library's own CMake package.
macro(vbon_find_package name version target debian_package)
  if(NOT TARGET ${target})
    find_package(${name} ${version} QUIET)
  endif()
  if(NOT TARGET ${target})
    list(APPEND vbon_missing "${name} ${version} or newer (Debian package ${debian_package})")
  endif()
endmacro()

# For vbon::core, the mathematics. xsimd by its path: the target of Debian's package also wants to link xtl.
macro(vbon_find_core_dependencies)
  find_package(Threads REQUIRED)
  vbon_find_package(Eigen3 3.4 Eigen3::Eigen libeigen3-dev)
  vbon_find_headers(xsimd xsimd/xsimd.hpp libxsimd-dev)
  vbon_find_headers(random123 Random123/philox.h librandom123-dev)
endmacro()

# For vbon::vbon, everything else.
macro(vbon_find_dependencies)
  vbon_find_package(nlohmann_json 3.9 nlohmann_json::nlohmann_json nlohmann-json3-dev)
  vbon_find_headers(xxhash xxhash.h libxxhash-dev)
  vbon_find_library(pcre2 pcre2.h pcre2-8 libpcre2-dev)
  vbon_find_library(utf8proc utf8proc.h utf8proc libutf8proc-dev)
endmacro()

# For vbon::cuda: the CUDA runtime.
macro(vbon_find_cuda_dependencies)
  find_package(CUDAToolkit QUIET)
  if(NOT TARGET CUDA::cudart)
    list(APPEND vbon_missing "CUDA 12 or newer (set CUDAToolkit_ROOT to its folder)")
  endif()
endmacro()
# vbon::vbon with its Cuda overloads, in files that nvcc compiles; others see the library as it is without them. Eigen stays
# on the host. CMake before 3.26 does not know how to ask newer nvcc for C++20. Warning 554 is nvcc's own: a conversion of
# View<const T> to itself is never called.
macro(vbon_define_cuda)
  if(NOT TARGET vbon::cuda)
    add_library(vbon::cuda INTERFACE IMPORTED GLOBAL)
    target_link_libraries(vbon::cuda INTERFACE vbon::vbon CUDA::cudart)
    target_compile_definitions(vbon::cuda INTERFACE $<$<COMPILE_LANGUAGE:CUDA>:VBON_WITH_CUDA=1;EIGEN_NO_CUDA>)
    target_compile_options(vbon::cuda INTERFACE $<$<COMPILE_LANGUAGE:CUDA>:-std=c++20$<SEMICOLON>-diag-suppress=554>)
  endif()
endmacro()
