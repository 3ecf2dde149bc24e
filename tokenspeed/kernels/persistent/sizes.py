"""Sizes on which the kernel, its launch and what lays out memory agree."""

MATRICES = ("qkv", "out", "gate_up", "down")  # of a layer, in this order
TILE = 128  # rows of a weight that a program takes at once: a half for each partition of consumers
HALF = 64
COLUMNS = {"bf16": 64, "int8": 128, "int4": 256}  # of a stage of the ring: 16 KiB
STAGE_BYTES = 16384
COUNTER_STRIDE = 32  # int32 between two counters: a line of the L2 each
QKV, ATTENTION, OUT, GATE_UP, DOWN = range(5)  # counters of a layer
PHASES = 5
EMPTY = -0x3F2153  # a word of a part that has not arrived: a NaN that no arithmetic makes
MAX_PEER_POLLS = 1 << 22  # for words of another GPU, some seconds; then the step has failed
TAGS = 256  # of the words of one step: three a layer, and one of what it starts from
WORD_ROWS = (1, 2, 4)  # rows of steps whose phases hand over words (`tagged`)
