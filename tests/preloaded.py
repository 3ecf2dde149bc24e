"""What `forked` imports before it forks: all that serving a model on a CPU needs."""

import gc

import torch

import service.cli
import service.doors.server
import service.start
import tokenspeed.backends.cpu
import tokenspeed.cli
from tokenspeed.text.warm import warm

__all__ = ["service", "tokenspeed", "torch"]

# Those of the default model and of the dictionaries that tests make.
warm((one, other) for one in ("en", "de", "fr", "es") for other in ("en", "de", "fr", "es"))
gc.collect()
gc.freeze()  # so that children need not copy what they look through
