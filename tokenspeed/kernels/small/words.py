"""Waiting for words of `persistent.tagged`, each thread for its own, without others of its program.

A thread asks for 16 bytes at once, and again until all that it asked for is here: no barrier, no
sum over threads. Whoever waits for something that does not come traps.
"""

from triton.experimental import gluon
from triton.experimental.gluon import language as gl


@gluon.constexpr_function
def sums_asm(parts: int, stride: int) -> str:
    """Return PTX that waits for two neighbouring int64 words of each part, and sums in order.

    stride: bytes between parts.
    """
    loads, tests, sums = list[str](), list[str](), list[str]()
    for i in range(parts):
        loads.append(f"ld.volatile.global.v4.u32 {{a{i}, s{i}, b{i}, t{i}}}, [$2+{i * stride}];")
        for tag in (f"s{i}", f"t{i}"):
            tests.append(
                f"setp.eq.and.u32 p, {tag}, $4, p;" if tests else f"setp.eq.u32 p, {tag}, $4;"
            )
        if i:
            sums.append(
                f"mov.b32 h, a{i}; add.rn.f32 f, f, h; mov.b32 h, b{i}; add.rn.f32 g, g, h;"
            )
    names = ", ".join(f"a{i}, b{i}, s{i}, t{i}" for i in range(parts))
    return (
        "{ .reg .pred p, q; .reg .u32 n, "
        + names
        + "; .reg .f32 f, g, h; mov.u32 n, 0; LOOP: "
        + " ".join(loads)
        + " "
        + " ".join(tests)
        + " @p bra DONE; add.u32 n, n, 1; setp.lt.u32 q, n, 16777216; @q bra LOOP; trap;"
        + " DONE: bar.warp.sync 0xffffffff; mov.b32 f, a0; mov.b32 g, b0; "
        + " ".join(sums)
        + " mov.b32 $0, f; mov.b32 $1, g; }"
    )


@gluon.jit
def wait_sums(pointers, tag, PARTS: gl.constexpr, STRIDE: gl.constexpr):
    """Return float32 values of int64 words, or the sums of their parts in order.

    pointers: of the first part; pairs of neighbours lie in one thread. STRIDE: words between parts.
    """
    ASM: gl.constexpr = sums_asm(PARTS, STRIDE * 8)
    bits = gl.inline_asm_elementwise(
        ASM, "=r,=r,l,l,r,r,~{memory}", [pointers, tag], dtype=gl.int32, is_pure=False, pack=2
    )
    return bits.to(gl.float32, bitcast=True)


@gluon.constexpr_function
def halves_asm(loads: int) -> str:
    """Return PTX that waits for four neighbouring int32 words, several times, at once."""
    first_tag = 2 * loads + 4 * loads
    names, asks, tests, packs = list[str](), list[str](), list[str](), list[str]()
    for i in range(loads):
        a, b, c, d = (f"{name}{i}" for name in "abcd")
        names += [a, b, c, d]
        asks.append(f"ld.volatile.global.v4.u32 {{{a}, {b}, {c}, {d}}}, [${2 * loads + 4 * i}];")
        tests += [f"xor.b32 e, {word}, t; or.b32 f, f, e;" for word in (a, b, c, d)]
        packs.append(
            f"prmt.b32 ${2 * i}, {a}, {b}, 0x5410; prmt.b32 ${2 * i + 1}, {c}, {d}, 0x5410;"
        )
    return (
        "{ .reg .pred p, q; .reg .b32 n, t, e, f, " + ", ".join(names) + "; mov.u32 n, 0; "
        f"shl.b32 t, ${first_tag}, 16; LOOP: "
        + " ".join(asks)
        + " mov.u32 f, 0; "
        + " ".join(tests)
        + " shr.u32 f, f, 16; setp.eq.u32 p, f, 0; @p bra DONE; add.u32 n, n, 1;"
        " setp.lt.u32 q, n, 16777216; @q bra LOOP; trap; DONE: bar.warp.sync 0xffffffff; "
        + " ".join(packs)
        + " }"
    )


@gluon.constexpr_function
def halves_constraints(loads: int) -> str:
    """Return the operands of `halves_asm`: registers of two values, then pointers, then tags."""
    return ",".join(["=r"] * (2 * loads) + ["l"] * (4 * loads) + ["r"] * (4 * loads)) + ",~{memory}"


@gluon.jit
def wait_halves(pointers, tag, dtype: gl.constexpr, LOADS: gl.constexpr):
    """Return the values of int32 words; a thread has LOADS times four neighbours."""
    ASM: gl.constexpr = halves_asm(LOADS)
    CONSTRAINTS: gl.constexpr = halves_constraints(LOADS)
    PACK: gl.constexpr = 4 * LOADS
    bits = gl.inline_asm_elementwise(
        ASM, CONSTRAINTS, [pointers, tag], dtype=gl.int16, is_pure=False, pack=PACK
    )
    return bits.to(dtype, bitcast=True)


@gluon.jit
def tag_of(first, layer, PHASE: gl.constexpr):
    """Return the tag of what a layer hands over. PHASE: 1 heads, 2 parts, 3 inner, 4 hidden."""
    return first + layer * 4 + PHASE
