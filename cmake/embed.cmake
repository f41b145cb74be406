# nibble_embed(OUT FILE...) turns files into C arrays nib_blob_<name with _ for other characters>[], NUL-terminated, with
# nib_blob_<name>_size; OUT gets the generated C files.
add_executable(nibble_embed_tool cmake/embed.c)
function(nibble_embed out)
  set(generated)
  foreach(file ${ARGN})
    get_filename_component(name ${file} NAME)
    string(MAKE_C_IDENTIFIER ${name} symbol)
    set(target ${CMAKE_BINARY_DIR}/embed/${symbol}.c)
    file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/embed)
    add_custom_command(OUTPUT ${target} COMMAND nibble_embed_tool ${file} nib_blob_${symbol} ${target}
                       DEPENDS ${file} nibble_embed_tool VERBATIM)
    list(APPEND generated ${target})
  endforeach()
  set(${out} ${generated} PARENT_SCOPE)
endfunction()
