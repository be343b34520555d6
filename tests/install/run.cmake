# Configures, builds and runs tests/install/consumer against this source tree in the way that -DWAY names.
cmake_minimum_required(VERSION 3.23)
file(REMOVE_RECURSE ${WORK})
file(MAKE_DIRECTORY ${WORK})
set(common -G ${GENERATOR} -DCMAKE_CXX_COMPILER=${COMPILER} -DCMAKE_CXX_COMPILER_LAUNCHER=${LAUNCHER} -DCMAKE_BUILD_TYPE=Debug)

include(${CMAKE_CURRENT_LIST_DIR}/../support/must.cmake)
function(must_fail_with pattern)
  execute_process(COMMAND ${ARGN} RESULT_VARIABLE status OUTPUT_VARIABLE output ERROR_VARIABLE output)
  string(REGEX REPLACE "[ \n]+" " " output "${output}")
  if(status EQUAL 0 OR NOT output MATCHES "${pattern}")
    message(FATAL_ERROR "expected a failure that says '${pattern}', got status ${status}:\n${output}")
  endif()
endfunction()

set(prefix ${WORK}/prefix)
function(install_vbon)
  must(${CMAKE_COMMAND} -S ${SOURCE} -B ${WORK}/vbon ${common} -DVBON_BUILD_TESTS=OFF -DVBON_BUILD_EXAMPLES=OFF
    -DVBON_BUILD_BENCHMARKS=OFF)
  must(${CMAKE_COMMAND} --install ${WORK}/vbon --prefix ${prefix})
endfunction()
set(consumer ${CMAKE_CURRENT_LIST_DIR}/consumer)

if(WAY STREQUAL "missing")
  # A version, a component or a library that is not there is named.
  install_vbon()
  file(WRITE ${WORK}/asks/CMakeLists.txt "cmake_minimum_required(VERSION 3.23)\nproject(asks LANGUAGES CXX)\n"
    "list(APPEND CMAKE_PREFIX_PATH ${prefix})\nfind_package(vbon \${ASK} REQUIRED)\n")
  must(${CMAKE_COMMAND} -S ${WORK}/asks -B ${WORK}/b0 ${common} "-DASK=${VERSION}\;EXACT")
  must_fail_with("compatible with requested version \"99.0\"" ${CMAKE_COMMAND} -S ${WORK}/asks -B ${WORK}/b1 ${common} -DASK=99.0)
  must_fail_with("component 'mpi' \\(there are: core, vbon, cuda\\)"
    ${CMAKE_COMMAND} -S ${WORK}/asks -B ${WORK}/b2 ${common} "-DASK=COMPONENTS\;mpi")
  must_fail_with("utf8proc.h and libutf8proc \\(Debian package libutf8proc-dev\\)"
    ${CMAKE_COMMAND} -S ${WORK}/asks -B ${WORK}/b3 ${common} -DASK=${VERSION} -DVBON_utf8proc_INCLUDE=VBON_utf8proc_INCLUDE-NOTFOUND
    -DCMAKE_IGNORE_PATH=/usr/include)
  must_fail_with("xsimd/xsimd.hpp \\(Debian package libxsimd-dev\\)"
    ${CMAKE_COMMAND} -S ${SOURCE} -B ${WORK}/b4 ${common} -DCMAKE_IGNORE_PATH=/usr/include)
  return()
endif()

if(WAY STREQUAL "cuda")
  if(NOT NVCC)
    message("skipped: there is no nvcc")
    return()
  endif()
  # What nvcc compiles with the component cuda of an installed package; the tests cuda.* run it.
  install_vbon()
  must(${CMAKE_COMMAND} -S ${CMAKE_CURRENT_LIST_DIR}/../cuda -B ${WORK}/build ${common} -DVERSION=${VERSION}
    -DCMAKE_PREFIX_PATH=${prefix} -DCMAKE_CUDA_COMPILER=${NVCC} -DCMAKE_CUDA_HOST_COMPILER=${COMPILER}
    -DCMAKE_CUDA_ARCHITECTURES=75)
  must(${CMAKE_COMMAND} --build ${WORK}/build)
  return()
endif()
if(WAY MATCHES "find_package|components")
  install_vbon()
endif()
must(${CMAKE_COMMAND} -S ${consumer} -B ${WORK}/consumer ${common} -DWAY=${WAY} -DVERSION=${VERSION} -DVBON_SOURCE=${SOURCE}
  -DCMAKE_PREFIX_PATH=${prefix})
if(WAY STREQUAL "find_package")
  must(${CMAKE_COMMAND} --build ${WORK}/consumer)
  must(${WORK}/consumer/everything ${VERSION})
else()
  must(${CMAKE_COMMAND} --build ${WORK}/consumer --target mathematics)
endif()
must(${WORK}/consumer/mathematics)
