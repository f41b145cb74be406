# cmake -DSOURCE=DIR -DOUT=FILE -P revision.cmake: writes the git revision as a header, only where it changed.
cmake_minimum_required(VERSION 3.22)
execute_process(COMMAND git -C ${SOURCE} describe --always --dirty OUTPUT_VARIABLE revision
  OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
string(CONFIGURE "#define NIBBLE_REVISION \"@revision@\"\n" text @ONLY)
set(before "")
if(EXISTS ${OUT})
  file(READ ${OUT} before)
endif()
if(NOT before STREQUAL text)
  file(WRITE ${OUT} "${text}")
endif()
