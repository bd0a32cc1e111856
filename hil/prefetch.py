"""Ask for a row of an array before it is needed: the memory's delay passes meanwhile.

Stepped together, 10,000 cells are 22 MB, and each step of each finds its records out of reach of
the caches nearby. A loop over rows that asks for the next one while it works on this one does not
wait. It is a hint to the processor: it changes no result, and past the end of an array it asks for
what nobody uses, without harm. Plain Python has no use for it.
"""

from __future__ import annotations

from typing import Any, Final

LINE_BYTES: Final = 64  # of a cache line; where lines are longer, some are asked for twice


def prefetch(rows: Any, index: int) -> None:
    """Do nothing; `compiled_prefetch` stands in its place in compiled code."""
    del rows, index


def compiled_prefetch() -> Any:
    """Return the numba intrinsic that asks for every line of a row of a structured array."""
    from llvmlite import ir  # noqa: PLC0415 -- an extra, imported by compiled runs alone
    from numba import types  # noqa: PLC0415 -- the extra [fast]
    from numba.extending import intrinsic  # noqa: PLC0415 -- likewise

    byte, number = ir.IntType(8).as_pointer(), ir.IntType(32)
    hint = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
    to_read, into_nearest, data = (ir.Constant(number, value) for value in (0, 3, 1))

    def typed(context: Any, rows: Any, index: Any) -> Any:
        del context, index
        size = rows.dtype.size

        def generate(target: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            array = target.make_array(signature.args[0])(target, builder, arguments[0])
            offset = builder.mul(arguments[1], ir.Constant(arguments[1].type, size))
            row = builder.gep(builder.bitcast(array.data, byte), [offset])
            ask = builder.module.declare_intrinsic("llvm.prefetch", [byte], hint)
            for at in (*range(0, size, LINE_BYTES), size - 1):  # a row may begin within a line
                line = builder.gep(row, [ir.Constant(number, at)])
                builder.call(ask, [line, to_read, into_nearest, data])
            return target.get_dummy_value()

        return types.void(rows, types.int64), generate

    return intrinsic(typed)
