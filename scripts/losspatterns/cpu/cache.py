"""Where compiled kernels are kept: in a folder named after everything that is compiled into them.

Numba's own cache looks at one source file and its path. Here the folder's name is a digest of all source files beside this one,
of the versions of Numba and llvmlite, and of the processor: a change of any of them compiles anew, and a copy of the project
finds what was compiled for the original. Each kernel has a file of its own, so that jobs that compile at the same time do not
mix theirs up: in one index, two of Numba's processes may give the same number to different code.
"""

import hashlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import llvmlite
import numba
from numba.core import caching
from numba.core.registry import cpu_target
from numba.misc.appdirs import AppDirs

from ..errors import InputError

HERE = Path(__file__).parent


@cache
def digest() -> str:
    """SHA-256 (hex) of the sources of this folder, by name, of what compiles them, and of the processor."""
    machine = cpu_target.target_context.codegen().magic_tuple()
    total = hashlib.sha256(f"{numba.__version__} {llvmlite.__version__} {machine}".encode())
    for file in sorted(HERE.glob("*.py")):
        total.update(f"{file.name} {hashlib.sha256(file.read_bytes()).hexdigest()}".encode())
    return total.hexdigest()


class _Locator(caching._CacheLocator):
    """Tells Numba where: under NUMBA_CACHE_DIR if that is set, else beside the sources, else in the user's cache folder."""

    def __init__(self, function: Callable[..., Any], base: str | Path) -> None:
        constants = [cell.cell_contents for cell in function.__closure__ or ()]
        self.constants = hashlib.sha256(repr(constants).encode()).hexdigest()[:16]
        self.folder = Path(base) / f"kernels-{digest()[:16]}"
        self._py_file = function.__code__.co_filename  # Numba names it in warnings

    def get_cache_path(self) -> str:
        return str(self.folder)

    def get_source_stamp(self) -> str:
        return digest()

    def get_disambiguator(self) -> str:
        return self.constants

    @classmethod
    def from_function(cls, function: Callable[..., Any], file: str) -> "_Locator | None":
        own = numba.config.CACHE_DIR
        for base in [own] if own else [HERE / "__pycache__", AppDirs("numba", False).user_cache_dir]:
            locator = cls(function, base)
            try:
                locator.ensure_cache_path()
            except OSError:
                continue
            return locator
        return None


class _Files(caching.CompileResultCacheImpl):
    _locator_classes = [_Locator]


class _Cache(caching.FunctionCache):
    _impl_class = _Files


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function as machine code, which later processes find on disk; if no folder can be written, each compiles it anew.

    It may take plain numbers from around it, which are constant then; of functions these would not be found again.
    InputError if Numba is told to compile nothing.
    """
    if numba.config.DISABLE_JIT:
        raise InputError(
            "NUMBA_DISABLE_JIT: found 1, but the kernels must be compiled; unset it, or set LOSSPATTERNS_KERNELS=off"
        )
    dispatcher = numba.njit(nogil=True, error_model="numpy", no_cfunc_wrapper=True)(function)
    try:
        dispatcher._cache = _Cache(function)
    except RuntimeError:  # no such folder
        pass
    return dispatcher
