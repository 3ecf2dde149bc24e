"""A step of one row of a small model as one kernel: its weights lie in the L2, so latency is all.

Three groups of programs hand over words that say by themselves that they are here (`persistent`'s
`tagged`), four times a layer: some have rows of qkv and of gate and up, and leave queries, keys and
values, and later the MLP's columns; one for each kv head attends, and multiplies what it attended
with its columns of out; others have down, and leave the hidden states. What a program multiplies
with is in its registers before its row comes. Then all take their share of the head.
"""
