"""A step of one row of a small model as one kernel: its weights lie in the L2, so latency is all.

Three groups of programs hand over words that say by themselves that they are here (`persistent`'s
`tagged`), three times a layer: a program for each kv head has its part of qkv, attends, and
multiplies what it attended with its columns of out; others have gate and up, others down. What a
program multiplies with is in its registers or shared memory before its row comes. Then all take
their share of the head.
"""
