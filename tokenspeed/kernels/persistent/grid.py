"""Programs among each other: their shares of work, and waiting for what others have written.

Whoever waits for something that does not come traps: after 2**22 polls of a counter, some seconds,
or 2**24 of words, as others of its GPU may wait for another GPU meanwhile (`ranks`).
"""

from triton.experimental import gluon
from triton.experimental.gluon import language as gl

from tokenspeed.kernels.gluon_names import barrier


@gluon.jit
def share(units, offset):
    """Return the first unit of this program, and the offset of the next matrix.

    Units are dealt out over all matrices in turn, so that programs have equal shares in the end.
    """
    grid = gl.num_programs(0)
    return (gl.program_id(0) + grid - offset) % grid, (offset + units) % grid


@gluon.jit
def arrive(counter, count):
    """Announce what this program wrote, and make it visible to TMA copies too."""
    gl.inline_asm_elementwise(
        "fence.proxy.async.global; mov.u32 $0, 0;",
        "=r,~{memory}",
        [],
        dtype=gl.int32,
        is_pure=False,
        pack=1,
    )
    barrier()
    gl.atomic_add(counter, count, sem="release", scope="gpu")


@gluon.jit
def wait(counter, target):
    """Wait until a counter has reached target. One lane of each warp polls."""
    gl.inline_asm_elementwise(
        """{
        .reg .pred p; .reg .u32 v, n;
        mov.u32 v, %laneid;
        setp.ne.u32 p, v, 0;
        @p bra DONE;
        mov.u32 n, 0;
        LOOP: ld.acquire.gpu.global.u32 v, [$1];
        setp.ge.s32 p, v, $2;
        @p bra DONE;
        add.u32 n, n, 1;
        setp.lt.u32 p, n, 4194304;
        @p bra LOOP;
        trap;
        DONE: bar.warp.sync 0xffffffff;
        fence.proxy.async.global;
        mov.u32 $0, 0;
        }""",
        "=r,l,r,~{memory}",
        [counter, target],
        dtype=gl.int32,
        is_pure=False,
        pack=1,
    )
    barrier()


@gluon.jit
def bound(polls):
    """End the kernel with an error if something that it waits for does not come."""
    gl.inline_asm_elementwise(
        "{ .reg .pred p; setp.gt.s32 p, $1, 16777216; @p trap; mov.u32 $0, 0; }",
        "=r,r",
        [polls],
        dtype=gl.int32,
        is_pure=False,
        pack=1,
    )
