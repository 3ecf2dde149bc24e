"""Sums over the GPUs that share a model, in a step of one row: words in each other's inboxes.

Whoever has a part of a tile of out or down pushes it into the inboxes of all ranks, its own too.
Whoever finishes the tile polls its own inbox alone, for the parts of all ranks at once, and adds
each rank's in their order, then the ranks' sums in theirs: the additions of `exchange.rank_sum`,
one trip over NVLink after the products, and the same code on every rank.

The inboxes, the numbers of exchanges and their two halves are those of `exchange`: such a step is
for them a step like any other. Part p of the row lies where row p of a wider step would. A half is
written again two exchanges later, for which a program needs words that need, through others, all
parts of the exchange between, of every rank; and these need that their rank has read the half. The
test of `tagged` walks through that. A program pushes before it waits, and waits for parts of its
own unit and of units before it: nobody waits in a circle, whichever grid starts first.

Knows parts of one row; does not know what is finished with their sum.
"""

from triton.experimental import gluon
from triton.experimental.gluon import language as gl

from tokenspeed.kernels.exchange import PUSH
from tokenspeed.kernels.persistent.arguments import Exchange
from tokenspeed.kernels.persistent.layouts import DOWN, FINISH, HALF, MAX_PEER_POLLS
from tokenspeed.kernels.persistent.tagged import LINE, ask, floats_of, words_absent

POLLS_BETWEEN = gl.constexpr(1024)  # two looks at whether another rank was given up: a millisecond


@gluon.jit
def inbox_of(peers, rank):
    """Return the address of a rank's inbox."""
    return gl.load(peers.inboxes + rank).to(gl.pointer_type(gl.int64))


@gluon.jit
def exchange_of(work, layer, PHASE: gl.constexpr, PLAN: gl.constexpr):
    """Return the exchange of a phase; its number is that of `exchange.exchange_number`."""
    RANKS: gl.constexpr = PLAN.ranks
    number = (gl.load(work.peers.turn) + 1) * PLAN.exchanges + 2 * layer
    inboxes = (inbox_of(work.peers, 0),)
    for rank in gl.static_range(1, RANKS):
        inboxes += (inbox_of(work.peers, rank),)  # type: ignore[assignment]  # unrolled
    own = inbox_of(work.peers, work.rank)
    return Exchange(number + (1 if PHASE == DOWN else 0), own, inboxes)


@gluon.jit
def places(number, half, L: gl.constexpr, PLAN: gl.constexpr):
    """Return where the first rank's first part of half a tile lies in an inbox, and its mask."""
    row = gl.expand_dims(gl.arange(0, HALF, gl.SliceLayout(1, L)), 1)
    n = gl.expand_dims(gl.arange(0, PLAN.width, gl.SliceLayout(0, L)), 0)
    at = (number & 1) * (PLAN.ranks * PLAN.inbox_rows * PLAN.hidden) + half * HALF
    return at + row + n * 0, (n < 1) & (row >= 0)


@gluon.jit
def push_part(acc, part, half, work, exchange, PLAN: gl.constexpr):
    """Send every rank this one's part of half a tile."""
    L: gl.constexpr = acc.type.layout
    RANKS: gl.constexpr = PLAN.ranks
    at, mask = places(exchange.number, half, L, PLAN)
    at += (work.rank * PLAN.inbox_rows + part) * PLAN.hidden
    words = acc.to(gl.uint32, bitcast=True).to(gl.int64)
    words |= exchange.number.to(gl.int64) << 32
    for rank in gl.static_range(RANKS):
        gl.inline_asm_elementwise(
            PUSH,
            "=r,l,l,r",
            [exchange.inboxes[rank] + at, words, mask.to(gl.int32)],
            dtype=gl.int32,
            is_pure=False,
            pack=1,
        )


@gluon.jit
def still_missing(missing, polls, failed_ptr):
    """Return `missing`, or 0 if a rank was given up, after MAX_PEER_POLLS or by another program."""
    if polls >= MAX_PEER_POLLS:
        gl.store(failed_ptr, 1)
    # All threads load it and take the maximum: what each warp loads for itself could differ.
    everywhere = gl.arange(0, HALF, LINE) * 0
    failed = gl.max(gl.load(failed_ptr + everywhere, volatile=True), 0)
    return gl.where(failed != 0, 0, missing)


@gluon.jit
def collect_ranks(half, work, exchange, PARTS: gl.constexpr, PLAN: gl.constexpr):
    """Wait for all parts of half a tile; return their sum, [64, width]."""
    RANKS: gl.constexpr = PLAN.ranks
    WIDTH: gl.constexpr = PLAN.width
    number = exchange.number
    at, mask = places(number, half, FINISH, PLAN)
    pointers = exchange.inbox + at
    total = gl.zeros([HALF, WIDTH], gl.float32, FINISH)
    missing = gl.to_tensor(1)
    polls = gl.to_tensor(0)
    while missing > 0:
        total = gl.zeros([HALF, WIDTH], gl.float32, FINISH)
        absent = gl.zeros([HALF, WIDTH], gl.int32, FINISH)
        for rank in gl.static_range(RANKS):
            of_rank = pointers + rank * (PLAN.inbox_rows * PLAN.hidden)
            words = ask(of_rank, mask)
            absent = absent | words_absent(words, number, mask)
            v = floats_of(words)
            for part in gl.static_range(1, PARTS):
                words = ask(of_rank + part * PLAN.hidden, mask)
                absent = absent | words_absent(words, number, mask)
                v += floats_of(words)
            total += v
        missing = gl.max(gl.max(absent, 0), 0)
        polls += 1
        if polls % POLLS_BETWEEN == 0:
            missing = still_missing(missing, polls, work.peers.failed)
    return total
