# Compiling each header by itself, and what makes that, and the tests, quick to compile.
#
# Reading Eigen and the JSON library is most of a small compilation. Sources that begin with a header which includes them
# anyway, through one of the two headers named here, share a precompiled copy; the others do without, so that nothing
# can hide a forgotten include.
set(vbon_precompiled_types ${CMAKE_CURRENT_SOURCE_DIR}/include/vbon/core/types.hpp)
set(vbon_precompiled_json ${CMAKE_CURRENT_SOURCE_DIR}/include/vbon/io/json.hpp)

# vbon_includes(HEADER RESULT) lists the project's headers that HEADER includes, directly or through others.
function(vbon_includes header result)
  get_property(known GLOBAL PROPERTY vbon_includes_${header} SET)
  if(NOT known)
    set(reached)
    file(STRINGS ${PROJECT_SOURCE_DIR}/${header} lines REGEX "^#include \"vbon/")
    foreach(line IN LISTS lines)
      string(REGEX REPLACE "^#include \"([^\"]+)\".*" "include/\\1" next ${line})
      vbon_includes(${next} further)
      list(APPEND reached ${next} ${further})
    endforeach()
    list(REMOVE_DUPLICATES reached)
    set_property(GLOBAL PROPERTY vbon_includes_${header} "${reached}")
  endif()
  get_property(reached GLOBAL PROPERTY vbon_includes_${header})
  set(${result} "${reached}" PARENT_SCOPE)
endfunction()

# vbon_precompiled(HEADER RESULT) names what a source that begins with HEADER may have precompiled: "", "_types",
# "_json" or "_types_json".
function(vbon_precompiled header result)
  vbon_includes(${header} reached)
  set(parts "")
  foreach(part IN ITEMS types json)
    file(RELATIVE_PATH one ${PROJECT_SOURCE_DIR} ${vbon_precompiled_${part}})
    if(one IN_LIST reached)
      string(APPEND parts _${part})
    endif()
  endforeach()
  set(${result} "${parts}" PARENT_SCOPE)
endfunction()

# vbon_precompile(TARGET PARTS) has these parts precompiled for the target.
function(vbon_precompile target parts)
  foreach(part IN ITEMS types json)
    if(parts MATCHES "_${part}(_|$)")
      target_precompile_headers(${target} PRIVATE ${vbon_precompiled_${part}})
    endif()
  endforeach()
endfunction()

# vbon_headers_alone(NAME LIBRARY HEADERS...) adds object libraries that compile each header by itself, twice over,
# linked to LIBRARY alone: a header that forgets an include, or a guard, does not compile. The objects are never linked:
# they exist to be compiled, with the target vbon_headers_alone, and so hold no code of templates.
function(vbon_headers_alone name library)
  set(kinds)
  foreach(header IN LISTS ARGN)
    vbon_precompiled(${header} parts)
    string(REGEX REPLACE "^include/" "" header ${header})
    set(source ${CMAKE_CURRENT_BINARY_DIR}/${name}/${header}.cpp)
    file(CONFIGURE OUTPUT ${source} CONTENT "#include \"${header}\"\n#include \"${header}\"\n")
    list(APPEND sources${parts} ${source})
    list(APPEND kinds "parts${parts}")  # never empty, so that a list can hold it
  endforeach()
  list(REMOVE_DUPLICATES kinds)
  foreach(kind IN LISTS kinds)
    string(REGEX REPLACE "^parts" "" parts "${kind}")
    set(target ${name}${parts})
    add_library(${target} OBJECT EXCLUDE_FROM_ALL ${sources${parts}})
    target_link_libraries(${target} PRIVATE ${library} vbon_own_flags)
    target_compile_options(${target} PRIVATE
      -O0 "$<$<CXX_COMPILER_ID:GNU>:-fno-implicit-templates;-fno-implicit-inline-templates>")
    vbon_precompile(${target} "${parts}")
    add_dependencies(vbon_headers_alone ${target})
  endforeach()
endfunction()
