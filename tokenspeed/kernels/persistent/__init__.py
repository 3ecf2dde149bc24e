"""All layers and the head of a step as one persistent kernel, for Hopper (sm_90a), in Gluon.

Each multiprocessor runs one program of eight consumer warps and two or three that produce. One
streams this program's share of all matrices of all layers, in the order of use, through a ring in
shared memory: it needs no activations and waits only for the consumers, so the weights of the next
matrix arrive while the grid synchronises between two matrices. Another waits for the grid, then
streams the rows' activations beside them; in a step of few rows two do so, and wait for words. The
consumers multiply (wgmma: 128 rows of a weight on the left, the rows of the step on the right, 8 to
64 wide), and finish a tile as the other kernels of this package do: same instruction, same order of
sums, same rounding. A step has the same bits whether it runs through this kernel or through those,
and reads the same weights in memory.

Grid barriers are counters of finished tiles, one for each matrix, so a program without a tile of a
matrix does not take part in its barrier. They are zeroed before each launch, not by the kernel: a
step that was aborted leaves nothing behind. A step of few rows has no barriers: its phases hand
over words that say by themselves that they are here (`tagged`).

From below to above:

    sizes, arguments  what the host and the kernel agree on
    layouts           the same for the kernel; how memory and registers are laid out
    grid              shares of work, and waiting for other programs
    tagged            what the phases of a step of few rows hand over
    producers         weights and activations into shared memory; word_producer: those of few rows
    products          from shared memory to the sums of a tile; int4: those of few rows, in integers
    parts             sums along K, from several programs; ranks: from several GPUs, of one row
    qkv, attention, projection, gate_up, head
                      the phases of a step, named as the kernels that they replace; own_rows: what
                      attention of few rows makes of qkv's parts
    kernel            all of it; compiling: for a GPU that need not be present

Knows a whole step between the embedding and the choice of tokens; does not know requests.
"""
