# Builds the tests of the numbers for the instruction set that -DISA names, with -DFLAGS, in a folder of its own, and runs
# them where the processor can.
cmake_minimum_required(VERSION 3.23)
include(${CMAKE_CURRENT_LIST_DIR}/../support/must.cmake)

# -O1: half the time to compile, and the same vector instructions, which the kernels choose and not the optimiser.
must(${CMAKE_COMMAND} -S ${SOURCE} -B ${WORK} -G ${GENERATOR} -DCMAKE_CXX_COMPILER=${COMPILER} -DCMAKE_BUILD_TYPE=Release
  "-DCMAKE_CXX_FLAGS=${FLAGS}" -DCMAKE_CXX_FLAGS_RELEASE=-O1 -DVBON_BUILD_EXAMPLES=OFF -DVBON_BUILD_BENCHMARKS=OFF)
set(programs core kernel bon model policy)
set(targets isa.missing conformance.vectors conformance.fixtures)
foreach(program IN LISTS programs)
  list(APPEND targets test.${program})
endforeach()
must(${CMAKE_COMMAND} --build ${WORK} --target ${targets})

execute_process(COMMAND ${WORK}/tests/isa.missing RESULT_VARIABLE status OUTPUT_VARIABLE missing)
if(status EQUAL 77)
  message("skipped: compiled for ${ISA}, not run: this processor lacks ${missing}")
  return()
elseif(NOT status EQUAL 0)
  message(FATAL_ERROR "isa.missing ended with ${status}")
endif()
list(JOIN programs "|" programs)
execute_process(COMMAND ${CMAKE_CTEST_COMMAND} --test-dir ${WORK} --output-on-failure --no-tests=error
  --tests-regex "^(${programs}|vectors|fixtures)[.]" --label-exclude "^slow$"
  COMMAND_ERROR_IS_FATAL ANY)
