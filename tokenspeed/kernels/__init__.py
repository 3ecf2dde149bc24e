"""Fused Triton kernels of one step, five a layer; each file holds reference, kernel and wrapper.

How a layer runs, with what stands between the kernels:

    qkv        normed q, k, v of the scaled hidden states; rotates, writes k and v to the slots
    attention  q over its slot -> values
    projection values -> hidden states += , and the scaled hidden states of the next kernel
    gate_up    silu(gate) * up
    projection the same kernel again, for the down projection

RMSNorm is split in two so that no kernel has to walk over its input twice: whoever writes the
hidden states also writes them times the next norm's weight, and adds the squares of each row to an
integer sum; whoever reads them multiplies its result by the row's 1 / rms. The sum is fixed point,
so its value does not depend on the order in which programs add to it.

Every kernel gives a row the same bits whatever the other rows are: see `tile` and `split_k`.
Imports torch and triton alone.
"""
