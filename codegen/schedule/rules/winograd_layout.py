"""Where the values of a Winograd candidate lie: its buffers and their sizes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from codegen.ir.affine import Affine, variable
from codegen.ir.arithmetic import Int, ceil_div
from codegen.ir.loops import Buffer, Loop, LoopKind, Scope
from codegen.schedule.rules.winograd_match import Convolution
from codegen.schedule.rules.winograd_matrices import KERNEL, Matrix, Transform, transform
from codegen.schedule.sketch import Values


@dataclass(frozen=True)
class Choice:
    """What a sketch fixes: the outputs of a tile along one dimension, and how work is divided."""

    tile: int
    is_blocked: bool

    @property
    def name(self) -> str:
        """Readable and unique among all sketches."""
        return f"winograd{self.tile}.{'blocks' if self.is_blocked else 'phases'}"


@dataclass(frozen=True, eq=False)
class Layout:
    """One candidate's buffers. Channels lie in whole vectors, ``lanes`` wide.

    * ``x_strip[image, vector, row, column, lane]``: the padded image, channels last;
    * ``x_points[point, tile, channel]``, ``y_points[point, tile, channel]``: around the matrix products;
    * ``w_points[point, block, channel, lane]``: kernels, transformed ahead of time;
    * ``y_strip[image, vector, row, column, lane]``: the result before it is turned to NCHW.
    """

    convolution: Convolution
    choice: Choice
    values: Values

    @cached_property
    def matrices(self) -> Transform:
        """The transforms of this size of tile."""
        return transform(self.choice.tile)

    @property
    def lanes(self) -> int:
        """Channels in a vector."""
        return self.convolution.contraction.target.vector_lanes

    @property
    def all_rows(self) -> int:
        """Rows of tiles of an image."""
        return -(-self.convolution.row.extent // self.choice.tile)

    @property
    def columns(self) -> int:
        """Tiles in a row."""
        return -(-self.convolution.column.extent // self.choice.tile)

    @property
    def rows(self) -> Int:
        """Rows of tiles of an image that the buffers hold."""
        return self.values["tile_rows"] if self.choice.is_blocked else self.all_rows

    @property
    def images(self) -> int:
        """Images that the buffers hold."""
        batch = self.convolution.batch
        return batch.extent if batch and not self.choice.is_blocked else 1

    @property
    def tiles(self) -> Int:
        """Tiles that the buffers hold."""
        tiles: Int = self.rows * (self.columns * self.images)
        return tiles

    @property
    def first_row(self) -> Affine:
        """The row of tiles with which the buffers begin."""
        return variable("block") * self.rows if self.choice.is_blocked else Affine()

    @property
    def register_rows(self) -> Int:
        """Tiles in a register tile of the products."""
        return self.values["tile_register"]

    @property
    def register_width(self) -> Int:
        """Channels in a register tile of the products: whole vectors."""
        return self.values[f"{self.convolution.channel.name}_register"]

    @property
    def blocks(self) -> Int:
        """Register tiles that cover the channels of the result."""
        return ceil_div(self.convolution.channel.extent, self.register_width)

    @property
    def in_vectors(self) -> int:
        """Vectors that hold the channels of x."""
        return -(-self.convolution.in_channel.extent // self.lanes)

    @property
    def out_vectors(self) -> int:
        """Vectors that hold the channels of the result."""
        return -(-self.convolution.channel.extent // self.lanes)

    @property
    def square(self) -> int:
        """Columns of a block that is transposed in registers: of two widths, that which wastes least."""
        reach = self.columns * self.choice.tile + KERNEL - 1
        widths = [width for width in (self.lanes, self.lanes // 2) if width >= 4]
        return min(widths, key=lambda width: -(-reach // width) * width)

    @property
    def squares(self) -> int:
        """Such blocks in a row of ``x_strip``."""
        return -(-(self.columns * self.choice.tile + KERNEL - 1) // self.square)

    @property
    def out_squares(self) -> int:
        """Blocks of ``lanes`` columns in a row of the result."""
        return -(-self.convolution.column.extent // self.lanes)

    def image_loops(self, prefix: str) -> list[Loop]:
        """The loop over the images that the buffers hold."""
        return [self.shared(f"{prefix}_image", self.images)] if self.images > 1 else []

    def image(self, prefix: str) -> Affine:
        """An image's number in the buffers."""
        return variable(f"{prefix}_image") if self.images > 1 else Affine()

    def batch_image(self, prefix: str) -> Affine:
        """An image's number in the batch."""
        return variable("image") if self.choice.is_blocked else self.image(prefix)

    def shared(self, name: str, extent: Int) -> Loop:
        """A loop that threads share, unless each works on blocks of its own."""
        return Loop(name, extent, (), LoopKind.SERIAL if self.choice.is_blocked else LoopKind.PARALLEL)

    def buffers(self) -> tuple[Buffer, ...]:
        """All of them, the caller's first."""
        convolution, tile, points, lanes = (
            self.convolution,
            self.choice.tile,
            self.matrices.points,
            self.lanes,
        )
        program, scope = convolution.contraction.program, self._scope
        places, rows = _odd(ceil_div(self.tiles, self.register_rows) * self.register_rows), self.rows * tile
        channels = (_odd(self.in_vectors) * lanes, _odd(self.blocks * (self.register_width // lanes)) * lanes)
        strip = (self.images, self.in_vectors, rows + (KERNEL - 1), self.squares * self.square, lanes)
        kernels = (points**2, self.blocks, convolution.in_channel.extent, self.register_width)
        return (
            *(Buffer(tensor.name, tensor.shape, Scope.INPUT) for tensor in program.inputs),
            Buffer(program.output.name, program.output.shape, Scope.OUTPUT),
            _table("to_points", self.matrices.image),
            _table("of_kernel", self.matrices.kernel),
            _table("from_points", self.matrices.output),
            Buffer("w_points", kernels, Scope.PACKED),
            Buffer("x_strip", strip, scope),
            Buffer("x_points", (points**2, places, channels[0]), scope),
            Buffer("y_points", (points**2, places, channels[1]), scope),
            Buffer("w_half", (points, KERNEL, lanes), Scope.REGISTER),
            Buffer("x_half", (points, points, lanes), Scope.REGISTER),
            Buffer("sums", (self.register_rows, self.register_width), Scope.REGISTER),
            Buffer("y_half", (tile, points, lanes), Scope.REGISTER),
            *self._result_buffers(rows),
        )

    def _result_buffers(self, rows: Int) -> tuple[Buffer, ...]:
        tile, lanes = self.choice.tile, self.lanes
        if self.convolution.is_channels_last:
            return (Buffer("y_tile", (tile, tile, lanes), Scope.REGISTER),)
        columns = max(self.columns * tile, self.out_squares * lanes)
        return (
            Buffer("x_square", (lanes, self.square), Scope.REGISTER),
            Buffer("y_square", (lanes, lanes), Scope.REGISTER),
            Buffer("y_strip", (self.images, self.out_vectors, rows, columns, lanes), self._scope),
        )

    @property
    def _scope(self) -> Scope:
        return Scope.LOCAL if self.choice.is_blocked else Scope.GLOBAL


def _odd(count: Int) -> Int:
    """At least ``count`` and odd: strides of an odd number of vectors spread over all sets of a cache."""
    odd: Int = count // 2 * 2 + 1
    return odd


def _table(name: str, matrix: Matrix) -> Buffer:
    values = tuple(number for row in matrix for number in row)
    return Buffer(name, (len(matrix), len(matrix[0])), Scope.TABLE, values)
