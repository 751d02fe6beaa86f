"""ONNX files: read, checked and with the shape of every value; weights kept in other files are not opened."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codegen.graph.graph import Graph, Node, Shape

_MOST_KNOWN_ELEMENTS = 1024
"""Constants up to this size are read: axes, bounds and shapes, but no weights."""

_RANDOM_OPS = (
    "RandomNormal",
    "RandomUniform",
    "RandomNormalLike",
    "RandomUniformLike",
    "Multinomial",
    "Bernoulli",
)


def read_onnx(path: Path, batch: int | None = None, dims: Mapping[str, int] | None = None) -> Graph:
    """The graph of a model file.

    Args:
        path: the file.
        batch: first dimension of every input; where it is left out, a symbolic one becomes 1.
        dims: sizes of other symbolic dimensions, by name.

    Raises:
        ValueError: if the file is missing, damaged or no ONNX model, refers to data outside its folder, or
            has symbolic dimensions without a size or none of a name in ``dims``.
    """
    model = _load(path)
    _check_external_data(model, path)
    if batch is not None and (isinstance(batch, bool) or batch < 1):
        raise ValueError(f"batch must be a positive integer, got {batch}")
    shapes = [value.type.tensor_type.shape for value in _fed_inputs(model)]
    # A symbolic one has the size 0, which in the target of a Reshape copies a dimension.
    old_batches = {shape.dim[0].dim_value for shape in shapes if shape.dim} - {0}
    inputs = _fix_inputs(model, path, batch, dims or {})
    if batch is not None:
        _rebatch_reshapes(model.graph, old_batches, batch)
    graph = _infer_shapes(model, path).graph
    _check_references(graph, path)
    nodes = tuple(_node(node) for node in graph.node)
    known_shapes = _shapes(graph)
    _check_reshapes(nodes, known_shapes, path)
    values = _known_values(graph)
    constants = frozenset(_constants(nodes, (tensor.name for tensor in graph.initializer)))
    return Graph(
        producer=" ".join(filter(None, (model.producer_name, model.producer_version))) or "unknown",
        opset=max(
            (entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), default=1
        ),
        inputs=inputs,
        outputs=tuple(output.name for output in graph.output),
        nodes=nodes,
        shapes=known_shapes,
        element_types=_element_types(graph),
        constants=constants,
        values=values,
    )


def _load(path: Path) -> Any:
    try:
        import onnx
        from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
        from onnx import inliner
    except ImportError:
        raise ValueError("reading ONNX files needs the package onnx, which is not installed") from None
    try:
        model = onnx.load_model(str(path), format="protobuf", load_external_data=False)
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror or error}") from None
    except DecodeError:
        raise ValueError(f"{path} is not an ONNX model, or was cut short") from None
    if not model.graph.node or not model.opset_import:
        raise ValueError(f"{path} is not an ONNX model: it holds no operators")
    return inliner.inline_local_functions(model) if model.functions else model


def _check_external_data(model: Any, path: Path) -> None:
    """A model must not name files outside its own folder, even though none is opened here."""
    for tensor in _tensors(model.graph):
        for entry in tensor.external_data:
            if entry.key == "location" and not _is_inside(entry.value):
                raise ValueError(
                    f"{path}: data of {tensor.name} must be in the model's folder, got {entry.value!r}"
                )


def _is_inside(location: str) -> bool:
    paths = (PurePosixPath(location), PureWindowsPath(location))
    return bool(location) and not any(p.is_absolute() or p.drive or p.root or ".." in p.parts for p in paths)


def _tensors(graph: Any) -> Iterator[Any]:
    """Every tensor in the file, those of nodes and of nested graphs included."""
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for node in graph.node:
        for attribute in node.attribute:
            yield from (attribute.t, *attribute.tensors)
            for nested in (attribute.g, *attribute.graphs):
                yield from _tensors(nested)


def _fix_inputs(model: Any, path: Path, batch: int | None, dims: Mapping[str, int]) -> dict[str, Shape]:
    """Give every input a fixed shape, in the model and as the result."""
    shapes: dict[str, Shape] = {}
    symbols: dict[str, None] = {}
    for value in _fed_inputs(model):
        for position, dim in enumerate(value.type.tensor_type.shape.dim):
            symbol = dim.dim_param or f"{value.name}_{position}"
            if dim.dim_value < 1:
                symbols[symbol] = None
            if position == 0 and batch is not None:
                dim.dim_value = batch
            elif dim.dim_value < 1:
                dim.dim_value = _size_of(
                    symbol, 1 if position == 0 else None, dims, f"{path}: input {value.name}"
                )
        shapes[value.name] = tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim)
    if unknown := [name for name in dims if name not in symbols]:
        known = ", ".join(symbols) or "none"
        raise ValueError(f"dims names {unknown[0]}, but the symbolic dimensions of {path} are: {known}")
    return shapes


def _fed_inputs(model: Any) -> list[Any]:
    """Inputs without an initial value; older files list their weights as inputs too."""
    initialised = {tensor.name for tensor in model.graph.initializer}
    return [value for value in model.graph.input if value.name not in initialised]


def _rebatch_reshapes(graph: Any, old_batches: set[int], batch: int) -> None:
    """Exporters write the batch size into the targets of Reshape; put the new one there.

    A leading dimension equal to the old batch size is taken for the batch.
    """
    from onnx import numpy_helper

    targets = {node.input[1] for node in graph.node if node.op_type == "Reshape" and len(node.input) > 1}
    for name, tensor in _constant_tensors(graph).items():
        if name not in targets or not _is_small(tensor):
            continue
        sizes = _array(tensor).reshape(-1).tolist()
        if sizes and sizes[0] in old_batches:
            tensor.CopyFrom(
                numpy_helper.from_array(np.array([batch, *sizes[1:]], dtype=np.int64), tensor.name)
            )


def _size_of(symbol: str, default: int | None, dims: Mapping[str, int], where: str) -> int:
    size = dims.get(symbol, default)
    if size is None:
        raise ValueError(
            f"{where} has a dimension {symbol} without a size; give one as dims={{{symbol}:...}}"
        )
    if size < 1:
        raise ValueError(f"{where}: dimension {symbol} must be positive, got {size}")
    return size


def _infer_shapes(model: Any, path: Path) -> Any:
    from onnx import shape_inference

    # What the file says of inner values may hold for another batch size.
    del model.graph.value_info[:]
    for output in model.graph.output:
        output.type.tensor_type.ClearField("shape")
    try:
        return shape_inference.infer_shapes(model, data_prop=True)
    except (shape_inference.InferenceError, RuntimeError, ValueError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ValueError(f"{path}: shapes cannot be inferred: {reason}") from None


def _check_references(graph: Any, path: Path) -> None:
    """A file that lost nodes reads as a model whose values come from nowhere."""
    known = {"", *(v.name for v in graph.input), *(t.name for t in graph.initializer)}
    known |= {sparse.values.name for sparse in graph.sparse_initializer}
    for node in graph.node:
        missing = [name for name in node.input if name not in known]
        if missing:
            raise ValueError(
                f"{path} is damaged: {node.op_type} reads {missing[0]!r}, which nothing computes"
            )
        known.update(node.output)
    for output in graph.output:
        if output.name not in known:
            raise ValueError(f"{path} is damaged: nothing computes the output {output.name!r}")


def _check_reshapes(nodes: tuple[Node, ...], shapes: Mapping[str, Shape], path: Path) -> None:
    """Shape inference takes the written target at its word, whatever comes in."""
    for node in nodes:
        before, after = shapes.get(node.inputs[0] if node.inputs else ""), shapes.get(node.outputs[0])
        if node.op == "Reshape" and before and after and math.prod(before) != math.prod(after):
            raise ValueError(
                f"{path}: a Reshape turns {list(before)} into {list(after)}, which has another size; "
                "the model does not allow these input shapes"
            )


def _node(node: Any) -> Node:
    from onnx import helper

    op = node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}.{node.op_type}"
    attributes = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    plain = {
        name: list(value) if hasattr(value, "__len__") and not isinstance(value, (bytes, str)) else value
        for name, value in attributes.items()
    }
    nested = list(_nested_graphs(node))
    captured = frozenset(name for graph in nested for name in _read_names(graph))
    return Node(op, tuple(node.input), tuple(node.output), plain, bool(nested), captured)


def _nested_graphs(node: Any) -> Iterator[Any]:
    for attribute in node.attribute:
        yield from (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs)


def _read_names(graph: Any) -> Iterator[str]:
    """Every name that a nested graph reads, its own included: they are unique in a model."""
    yield from (output.name for output in graph.output)
    for node in graph.node:
        yield from node.input
        for nested in _nested_graphs(node):
            yield from _read_names(nested)


def _shapes(graph: Any) -> dict[str, Shape]:
    """Of every value whose sizes are all known."""
    shapes: dict[str, Shape] = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    for value in (*graph.input, *graph.value_info, *graph.output):
        kind = value.type.tensor_type
        if not kind.HasField("shape"):
            continue
        sizes = tuple(dim.dim_value for dim in kind.shape.dim)
        if all(size > 0 for size in sizes):
            shapes[value.name] = sizes
    return shapes


def _element_types(graph: Any) -> dict[str, str]:
    """Such as ``float32``, of every value whose type was inferred."""
    from onnx import helper

    values = (*graph.input, *graph.value_info, *graph.output)
    kinds = {value.name: value.type.tensor_type.elem_type for value in values}
    return {name: str(helper.tensor_dtype_to_np_dtype(kind)) for name, kind in kinds.items() if kind}


def _known_values(graph: Any) -> dict[str, NDArray[np.generic]]:
    return {name: _array(tensor) for name, tensor in _constant_tensors(graph).items() if _is_small(tensor)}


def _constant_tensors(graph: Any) -> dict[str, Any]:
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute and node.attribute[0].HasField("t"):
            tensors[node.output[0]] = node.attribute[0].t
    return tensors


def _is_small(tensor: Any) -> bool:
    return not tensor.external_data and int(np.prod(tensor.dims, dtype=np.int64)) <= _MOST_KNOWN_ELEMENTS


def _array(tensor: Any) -> NDArray[np.generic]:
    from onnx import numpy_helper

    array: NDArray[np.generic] = numpy_helper.to_array(tensor)
    return array


def _constants(nodes: tuple[Node, ...], initial: Iterator[str]) -> set[str]:
    """Values that follow from initial ones alone; a Shape does, since all shapes are fixed."""
    constants = set(initial)
    for node in nodes:
        is_fixed = node.op == "Shape" or all(not name or name in constants for name in node.inputs)
        if is_fixed and node.op not in _RANDOM_OPS and not node.has_graphs:
            constants.update(name for name in node.outputs if name)
    return constants
