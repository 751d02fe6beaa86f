"""From tensor expressions to verified kernels; ``load`` opens a kernel that was saved."""

from codegen.llvm.artefact import load as load
