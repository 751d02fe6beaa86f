"""Kernels of CLBlast, which others measured on GPUs, as loop ASTs: to learn from, not to run."""
