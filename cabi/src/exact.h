/** Include where doubles are computed: costs and rates must have the same bits in every build, and in the Python
 *  reference, so no multiplication may be fused with the addition after it.
 *
 *  Clang fuses unless it is told not to, on every target that can (arm64 always, x86 with FMA). GCC knows no such
 *  pragma; it does not fuse with -ffp-contract=off, which cabi/CMakeLists.txt gives, nor in ISO mode, for which
 *  core.go asks. */
#ifndef EPP_EXACT_H
#define EPP_EXACT_H

#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#endif

#endif
