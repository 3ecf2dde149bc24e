"""Runs the kernels on Triton's interpreter where there is no GPU; set before their import."""

import os

import torch

if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"
    from tests.tokenspeed.interpreter import quicken

    quicken()
