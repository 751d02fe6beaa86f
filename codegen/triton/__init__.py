"""GPU backend: a loop AST becomes a Python file with Triton kernels, which runs without this project."""
