"""gguf_load.py LIST: llama.cpp loads the GGUF files that LIST names and decodes four tokens with each, and the gguf package
reads them. llama.cpp's C interface is called in the library that xllamacpp carries; its structs are passed as they come, as
blocks of bytes larger than any of them, so that their layout does not matter.
"""
import ctypes
import math
import pathlib
import sys

import gguf
import xllamacpp


class Struct(ctypes.Structure):
    _fields_ = [("bytes", ctypes.c_char * 1024)]


def interface():
    lib = ctypes.CDLL(next(str(p) for p in pathlib.Path(xllamacpp.__file__).parent.glob("xllamacpp*.so")))
    pointer = ctypes.c_void_p
    for name, result, arguments in (
            ("llama_model_default_params", Struct, []), ("llama_context_default_params", Struct, []),
            ("llama_model_load_from_file", pointer, [ctypes.c_char_p, Struct]),
            ("llama_init_from_model", pointer, [pointer, Struct]),
            ("llama_batch_get_one", Struct, [pointer, ctypes.c_int32]), ("llama_decode", ctypes.c_int32, [pointer, Struct]),
            ("llama_model_get_vocab", pointer, [pointer]), ("llama_vocab_n_tokens", ctypes.c_int32, [pointer]),
            ("llama_get_logits_ith", ctypes.POINTER(ctypes.c_float), [pointer, ctypes.c_int32]),
            ("llama_free", None, [pointer]), ("llama_model_free", None, [pointer])):
        function = getattr(lib, name)
        function.restype, function.argtypes = result, arguments
    lib.llama_backend_init()
    return lib


def decode(lib, path):
    """Logits after four tokens are finite and not all alike."""
    model = lib.llama_model_load_from_file(path.encode(), lib.llama_model_default_params())
    assert model, "llama.cpp does not load it"
    context = lib.llama_init_from_model(model, lib.llama_context_default_params())
    assert context, "no context"
    tokens = (ctypes.c_int32 * 4)(1, 5, 3, 7)
    status = lib.llama_decode(context, lib.llama_batch_get_one(ctypes.cast(tokens, ctypes.c_void_p), 4))
    assert status == 0, f"llama_decode returned {status}"
    count = lib.llama_vocab_n_tokens(lib.llama_model_get_vocab(model))
    logits = lib.llama_get_logits_ith(context, -1)[:count]
    lib.llama_free(context)
    lib.llama_model_free(model)
    assert all(map(math.isfinite, logits)) and len(set(logits)) > 1, "logits are not finite, or all alike"


def read(path):
    reader = gguf.GGUFReader(path)
    assert len(reader.tensors) > 10 and "general.architecture" in reader.fields, "the gguf package does not read it"


def main():
    passed = failed = 0
    lib = interface()
    for path in open(sys.argv[1]).read().split():
        try:
            decode(lib, path)
            read(path)
            passed += 1
        except AssertionError as error:
            print(f"{pathlib.Path(path).name}: {error}")
            failed += 1
    print(f"{passed} passed, {failed} failed, 0 skipped")
    return failed != 0


sys.exit(main())
