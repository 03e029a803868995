"""Vector instructions for loops that Numba compiles: pieces of machine code whose lengths are constants.

Numba vectorises a loop only if it can tell, each time the loop is met, that its arrays do not overlap; for loops as short as a
kernel's row that costs more than the loop. And it keeps no array in registers, which is what a matrix product lives on.
"""

from typing import Any

import llvmlite.binding
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

# A tile of a product is WIDE numbers by TALL, so that its sums stay in the processor's vector registers.
WIDE, TALL = (32, 14) if llvmlite.binding.get_host_cpu_features().get("avx512f") else (16, 6)


def _address(context: Any, builder: Any, array_type: types.Array, array: Any, at: Any) -> Any:
    """Of element `at` of a one-dimensional array."""
    return builder.gep(context.make_array(array_type)(context, builder, array).data, [at])


def _bytes(number: Any) -> int:
    return number.width // 8 if isinstance(number, ir.IntType) else {ir.FloatType(): 4, ir.DoubleType(): 8}[number]


def _load(context: Any, builder: Any, array_type: types.Array, array: Any, at: Any, count: int) -> Any:
    """A vector of `count` elements of an array from `at` on."""
    number, address = context.get_value_type(array_type.dtype), _address(context, builder, array_type, array, at)
    return builder.load(builder.bitcast(address, ir.VectorType(number, count).as_pointer()), align=_bytes(number))


def _store(context: Any, builder: Any, array_type: types.Array, array: Any, at: Any, value: Any) -> None:
    address = _address(context, builder, array_type, array, at)
    builder.store(value, builder.bitcast(address, value.type.as_pointer()), align=_bytes(value.type.element))


def _vectors(length: int) -> list[tuple[int, int]]:
    """Where the vectors start that `length` numbers are handled as, and their sizes: powers of 2, none above 16."""
    parts, start = [], 0
    while start < length:
        size = min(16, 1 << (length - start).bit_length() - 1)
        parts.append((start, size))
        start += size
    return parts


def _spread(builder: Any, value: Any, vector: ir.VectorType) -> Any:
    """A vector of that value."""
    unused, first = ir.Constant(vector, ir.Undefined), ir.IntType(32)(0)
    return builder.shuffle_vector(
        builder.insert_element(unused, value, first), unused, _each(0, ir.VectorType(first.type, vector.count))
    )


def _each(value: Any, vector: ir.VectorType) -> ir.Constant:
    return ir.Constant(vector, [value] * vector.count)


@intrinsic(prefer_literal=True)
def tile(
    typing: Any, target: Any, at: Any, target_step: Any, a: Any, a_at: Any, a_step: Any, a_group: Any, a_jump: Any,
    a_outer: Any, a_inner: Any, b: Any, b_at: Any, b_outer: Any, b_inner: Any, outer: Any, inner: Any, tall: Any, wide: Any,
    add: Any,
) -> Any:  # fmt: skip
    """target[at + p * target_step + q] = or += the sum over i < outer and j < inner of
    a[a_at + shift(p) + i * a_outer + j * a_inner] * b[b_at + i * b_outer + j * b_inner + q],  for p < tall, q < wide,
    with shift(p) = p % a_group * a_step + p // a_group * a_jump.

    Constants: target_step, a_step, a_group, a_jump, b_inner, tall, wide, add.
    """

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        names = "target at target_step a a_at a_step a_group a_jump a_outer a_inner b b_at b_outer b_inner outer inner".split()
        v = dict(zip(names, arguments, strict=False))
        if tall.literal_value * wide.literal_value == 0:  # stands where no part of a product is left
            return context.get_dummy_value()
        number, index = context.get_value_type(target.dtype), v["at"].type
        parts = _vectors(wide.literal_value)
        vectors = [ir.VectorType(number, count) for _, count in parts]
        sums = [
            [cgutils.alloca_once_value(builder, _each(0.0, vector)) for vector in vectors] for _ in range(tall.literal_value)
        ]
        with cgutils.for_range(builder, v["outer"]) as i:
            a_line = builder.add(v["a_at"], builder.mul(i.index, v["a_outer"]))
            b_line = builder.add(v["b_at"], builder.mul(i.index, v["b_outer"]))
            with cgutils.for_range(builder, v["inner"]) as j:
                b_here = builder.add(b_line, builder.mul(j.index, v["b_inner"]))
                right = [_load(context, builder, b, v["b"], builder.add(b_here, index(q)), count) for q, count in parts]
                left = _address(context, builder, a, v["a"], builder.add(a_line, builder.mul(j.index, v["a_inner"])))
                for p, totals in enumerate(sums):
                    jumps, steps = divmod(p, a_group.literal_value)
                    shift = jumps * a_jump.literal_value + steps * a_step.literal_value
                    one = builder.load(builder.gep(left, [index(shift)]))
                    for total, factor in zip(totals, right, strict=True):
                        added = builder.fmul(_spread(builder, one, factor.type), factor, flags=["contract"])
                        # One fused instruction, as both are marked.
                        builder.store(builder.fadd(builder.load(total), added, flags=["contract"]), total)
        for p, totals in enumerate(sums):
            for total, (q, count) in zip(totals, parts, strict=True):
                place = builder.add(v["at"], index(p * target_step.literal_value + q))
                value = builder.load(total)
                if add.literal_value:
                    value = builder.fadd(_load(context, builder, target, v["target"], place, count), value)
                _store(context, builder, target, v["target"], place, value)
        return context.get_dummy_value()

    n = types.intp
    constants = a_step, a_group, a_jump
    return types.void(target, n, target_step, a, n, *constants, n, n, b, n, n, b_inner, n, n, tall, wide, add), code


@intrinsic(prefer_literal=True)
def pool_relu(
    typing: Any, rows: Any, at: Any, below: Any, biases: Any, shift: Any, output: Any, where: Any, to: Any, channels: Any
) -> Any:
    """The largest of 2 x 2 neighbours in `rows`, plus bias, or 0 if that is less; `where` says which, 4 for none. NaN wins.

    at: the first neighbour's place, `below` further the second row's; `shift`, `to`: places in `biases` and in the results.
    """

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data, at_, below_, bias, shift_, result, which, to_, _ = arguments
        index = at_.type
        for q, count in _vectors(channels.literal_value):
            left = builder.add(at_, index(q))
            right = builder.add(left, index(channels.literal_value))
            best = _load(context, builder, rows, data, left, count)
            small = ir.VectorType(ir.IntType(8), count)
            choice = _each(0, small)
            for k, place in enumerate((right, builder.add(left, below_), builder.add(right, below_)), 1):
                value = _load(context, builder, rows, data, place, count)
                wins = builder.or_(builder.fcmp_ordered(">", value, best), builder.fcmp_unordered("uno", value, value))
                best = builder.select(wins, value, best)
                choice = builder.select(wins, _each(k, small), choice)
            best = builder.fadd(best, _load(context, builder, biases, bias, builder.add(shift_, index(q)), count))
            none = builder.fcmp_ordered("<=", best, _each(0.0, best.type))
            place = builder.add(to_, index(q))
            _store(context, builder, output, result, place, builder.select(none, _each(0.0, best.type), best))
            _store(context, builder, where, which, place, builder.select(none, _each(4, small), choice))
        return context.get_dummy_value()

    n = types.intp
    return types.void(rows, n, n, biases, n, output, where, n, channels), code


@intrinsic(prefer_literal=True)
def pool_relu_backward(typing: Any, slopes: Any, where: Any, at: Any, rows: Any, to: Any, below: Any, channels: Any) -> Any:
    """The other way round: each slope goes to the neighbour that `where` names, the others get 0."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        source, which, at_, data, to_, below_, _ = arguments
        index = at_.type
        for q, count in _vectors(channels.literal_value):
            place = builder.add(at_, index(q))
            slope = _load(context, builder, slopes, source, place, count)
            choice = _load(context, builder, where, which, place, count)
            left = builder.add(to_, index(q))
            right = builder.add(left, index(channels.literal_value))
            for k, target in enumerate((left, right, builder.add(left, below_), builder.add(right, below_))):
                chosen = builder.icmp_unsigned("==", choice, _each(k, choice.type))
                _store(context, builder, rows, data, target, builder.select(chosen, slope, _each(0.0, slope.type)))
        return context.get_dummy_value()

    n = types.intp
    return types.void(slopes, where, n, rows, n, n, channels), code
