"""A loop AST as nested Python functions over flat lists, for the interpreter."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from codegen.ir.affine import Affine
from codegen.ir.arithmetic import Int
from codegen.ir.expression import Binary, Constant, Expr, InRange, Load, Unary
from codegen.ir.functions import BINARY, REDUCERS, UNARY
from codegen.ir.loops import If, Loop, LoopKind, LoopProgram, Node, Scope, Store, row_major_strides

Inputs: TypeAlias = Mapping[str, NDArray[np.floating]]

_Env: TypeAlias = dict[str, int]


class Memory:
    """Buffers as flat lists, which Python reads and writes faster than array elements."""

    def __init__(self, loops: LoopProgram, inputs: Inputs) -> None:
        self.shapes = {b.name: tuple(known_int(size) for size in b.shape) for b in loops.buffers}
        self.scopes = {b.name: b.scope for b in loops.buffers}
        self.data: dict[str, list[float]] = {}
        for name, shape in self.shapes.items():
            if self.scopes[name] is Scope.INPUT:
                self.data[name] = read_input(inputs, name, shape).reshape(-1).tolist()
            elif self.scopes[name] is Scope.TABLE:
                self.data[name] = list(loops.buffer(name).values)
            else:
                self.data[name] = [math.nan] * math.prod(shape)
        private = (Scope.LOCAL, Scope.REGISTER)
        self._private = [
            (self.data[b.name], len(self.data[b.name])) for b in loops.buffers if b.scope in private
        ]

    def poison_private(self) -> None:
        """Forget what the thread-private buffers hold."""
        for values, size in self._private:
            values[:] = [math.nan] * size


def compile_nodes(
    nodes: tuple[Node, ...], memory: Memory, writable: frozenset[Scope]
) -> Callable[[_Env], None]:
    """A function that runs the nodes in turn, given the values of the loop variables around them."""
    steps = [_compile_node(node, memory, writable) for node in nodes]

    def run(env: _Env) -> None:
        for step in steps:
            step(env)

    return run


def read_input(inputs: Inputs, name: str, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """An input in float64 and the given shape; ValueError when it is missing or has another size.

    The buffers of a schedule may merge or drop dimensions of what a program reads: the same bytes.
    """
    if name not in inputs:
        raise ValueError(f"input {name} is missing, got {', '.join(inputs) or 'none'}")
    array = np.asarray(inputs[name], dtype=np.float64)
    if array.size != math.prod(shape):
        raise ValueError(f"input {name} must have shape {shape}, got {array.shape}")
    return array.reshape(shape)


def known_int(value: Int) -> int:
    """The value as an int; ValueError for the arrays and symbols of a batch."""
    if not isinstance(value, (int, np.integer)):
        raise ValueError(f"the interpreter runs one candidate with plain ints, got {type(value).__name__}")
    return int(value)


def _compile_node(node: Node, memory: Memory, writable: frozenset[Scope]) -> Callable[[_Env], None]:
    if isinstance(node, Store):
        return _compile_store(node, memory, writable)
    if isinstance(node, Loop):
        return _compile_loop(node, memory, writable)
    return _compile_if(node, memory, writable)


def _compile_loop(loop: Loop, memory: Memory, writable: frozenset[Scope]) -> Callable[[_Env], None]:
    body = compile_nodes(loop.body, memory, writable)
    guards = [(_compile_affine(guard.index), known_int(guard.bound)) for guard in loop.guards]
    iterations = range(known_int(loop.extent))
    is_parallel = loop.kind is LoopKind.PARALLEL

    def run(env: _Env) -> None:
        for position in iterations:
            env[loop.variable] = position
            if all(index(env) < bound for index, bound in guards):
                if is_parallel:
                    memory.poison_private()
                body(env)
        env.pop(loop.variable, None)

    return run


def _compile_if(node: If, memory: Memory, writable: frozenset[Scope]) -> Callable[[_Env], None]:
    holds = _compile_conditions(node.conditions)
    then = compile_nodes(node.then, memory, writable)
    otherwise = compile_nodes(node.otherwise, memory, writable)
    return lambda env: then(env) if holds(env) else otherwise(env)


def _compile_store(store: Store, memory: Memory, writable: frozenset[Scope]) -> Callable[[_Env], None]:
    scope = memory.scopes[store.buffer]
    if scope not in writable:
        raise ValueError(f"{store.buffer} is {scope.value}, which is not written here")
    offset = _compile_offset(store.buffer, store.index, memory)
    value = _compile_expression(store.value, memory)
    data = memory.data[store.buffer]
    if store.reducer is None:

        def assign(env: _Env) -> None:
            data[offset(env)] = value(env)

        return assign
    reduce = REDUCERS[store.reducer]

    def accumulate(env: _Env) -> None:
        position = offset(env)
        data[position] = reduce(data[position], value(env))

    return accumulate


def _compile_expression(expr: Expr, memory: Memory) -> Callable[[_Env], float]:
    if isinstance(expr, Constant):
        number = float(expr.value)
        return lambda env: number
    if isinstance(expr, Load):
        offset, data = _compile_offset(expr.buffer, expr.index, memory), memory.data[expr.buffer]
        return lambda env: data[offset(env)]
    if isinstance(expr, Unary):
        function, operand = UNARY[expr.op], _compile_expression(expr.operand, memory)
        return lambda env: function(operand(env))
    if isinstance(expr, Binary):
        return _compile_binary(expr, memory)
    holds = _compile_conditions(expr.conditions)
    then, otherwise = _compile_expression(expr.then, memory), _compile_expression(expr.otherwise, memory)
    return lambda env: then(env) if holds(env) else otherwise(env)


def _compile_binary(expr: Binary, memory: Memory) -> Callable[[_Env], float]:
    function = BINARY[expr.op]
    left, right = _compile_expression(expr.left, memory), _compile_expression(expr.right, memory)
    return lambda env: function(left(env), right(env))


def _compile_conditions(conditions: tuple[InRange, ...]) -> Callable[[_Env], bool]:
    ranges = [(_compile_affine(c.index), known_int(c.low), known_int(c.high)) for c in conditions]
    return lambda env: all(low <= index(env) < high for index, low, high in ranges)


def _compile_offset(name: str, index: tuple[Affine, ...], memory: Memory) -> Callable[[_Env], int]:
    shape = memory.shapes[name]
    if len(index) != len(shape):
        raise ValueError(f"{name} has {len(shape)} dimensions, got {len(index)} indices")
    strides = (known_int(stride) for stride in row_major_strides(shape))
    dims = [(_compile_affine(affine), size, stride) for affine, size, stride in zip(index, shape, strides)]

    def offset(env: _Env) -> int:
        total = 0
        for dim, (position_of, size, stride) in enumerate(dims):
            position = position_of(env)
            if not 0 <= position < size:
                raise IndexError(
                    f"index {position} of {name} in dimension {dim} leaves 0..{size - 1}, at {env}"
                )
            total += position * stride
        return total

    return offset


def _compile_affine(affine: Affine) -> Callable[[_Env], int]:
    constant = known_int(affine.constant)
    terms = [(name, known_int(coefficient)) for name, coefficient in affine.terms]
    if not terms:
        return lambda env: constant
    if len(terms) == 1 and terms[0][1] == 1 and constant == 0:
        return operator.itemgetter(terms[0][0])
    return lambda env: constant + sum([coefficient * env[name] for name, coefficient in terms])
