/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * oracle: a guest that notices any tear between its memory and its disks.
 *
 * Model: one counter.  It is kept in RAM (one master and eight copies, each in its own 64 KiB, so
 * that they lie on different pages) and on every BIOS disk (0x80 and on, four at most): in the head
 * sector, and in a ring of 64 history sectors, each in a 64 KiB cluster of its own.  Each turn:
 *
 *   1. compare the RAM copies with the master;
 *   2. read the head of every disk, which must hold the counter;
 *   3. read from every disk the history sector that comes next, which must hold the turn of 64 turns
 *      ago: data that is lost in the merge of two layers shows here, within 64 turns;
 *   4. add one, in RAM, then in the history sector, then in the head of every disk;
 *   5. print "tick N" on COM1.
 *
 * On a mismatch it prints "TORN mem=N disk=N drive=N lba=N" (or "TORN mem=N copy=N") and stops for
 * good.  A failed read or write prints "IOERR drive=N lba=N" and stops as well.  At boot it goes on
 * from the counter of the first disk and prints "boot N disks=N"; another disk may be behind by one
 * (the guest was killed between two writes) or blank (a new disk).
 *
 * A guest that is stopped between 2 and 4 writes over a wrong head without having seen it; the history
 * then gives the tear away, within 64 turns.
 *
 * Rules: nothing here is ever asked by the host; what it needs to know is on the disk at fixed
 * places.  Sector: magic "QMPTICK\0", u32 count, u32 ~count, u32 born (the turn at which the disk
 * was first seen), u32 drive, u32 lba, then count repeated to the end.  tests/lib/oracle.py has the
 * same numbers.  A disk needs 8 MiB.
 */
        .intel_syntax noprefix
        .code16
        .text
        .globl  _start

        .equ    SECTORS, 4              /* of this program, the boot sector included */
        .equ    HEAD_LBA, 200
        .equ    RING_LBA, 256
        .equ    RING_STEP_SHIFT, 7      /* 128 sectors: one cluster of 64 KiB */
        .equ    RING_MASK, 63
        .equ    DRIVES_MAX, 4
        .equ    COPIES, 8
        .equ    COPY_SEG, 0x1000        /* first copy at 64 KiB, the others 64 KiB apart */
        .equ    BIOS_DISKS, 0x475

_start:
        ljmp    0, offset begin
begin:
        xor     ax, ax
        mov     ds, ax
        mov     es, ax
        mov     ss, ax
        mov     sp, 0x7c00
        sti
        cld
        mov     si, offset load_packet
        mov     ah, 0x42
        int     0x13
        jc      halt
        jmp     main
halt:
        cli
        hlt
        jmp     halt

        .balign 4
load_packet:                            /* the rest of this program, behind the boot sector */
        .byte   16, 0
        .word   SECTORS - 1, 0x7e00, 0
        .quad   1

        .org    510
        .word   0xaa55

main:
        call    serial_init
        call    timer_init
        movzx   ax, byte ptr [BIOS_DISKS]
        cmp     ax, DRIVES_MAX
        jbe     1f
        mov     ax, DRIVES_MAX
1:      mov     [drives], ax
        call    resume
        call    copies_set
        mov     si, offset text_boot
        call    print
        mov     eax, [count]
        call    print_number
        mov     si, offset text_disks
        call    print
        movzx   eax, word ptr [drives]
        call    print_number
        call    print_end
turn:
        call    timer_wait
        call    copies_check
        call    heads_check
        call    ring_check
        mov     byte ptr [fresh], 0
        inc     dword ptr [count]
        call    copies_set
        call    ring_write
        call    heads_write
        mov     si, offset text_tick
        call    print
        mov     eax, [count]
        call    print_number
        call    print_end
        jmp     turn

/* Takes the counter from the first disk and brings the others to it. */
resume:
        mov     byte ptr [fresh], 1
        xor     bx, bx
1:      cmp     bx, [drives]
        jae     4f
        mov     dword ptr [lba], HEAD_LBA
        call    sector_read             /* eax: what the disk holds; edx: since when it counts */
        push    bx
        shl     bx, 2
        mov     [born + bx], edx
        pop     bx
        test    bx, bx
        jnz     2f
        mov     [count], eax
        jmp     3f
2:      cmp     eax, [count]
        je      3f
        inc     eax
        cmp     eax, [count]
        je      3f
        dec     eax
        jnz     torn                    /* neither level, nor one behind, nor blank */
        push    bx
        shl     bx, 2
        mov     ecx, [count]
        mov     [born + bx], ecx
        pop     bx
3:      inc     bx
        jmp     1b
4:      jmp     heads_write

heads_check:
        xor     bx, bx
1:      cmp     bx, [drives]
        jae     9f
        mov     dword ptr [lba], HEAD_LBA
        call    sector_read
        cmp     eax, [count]
        jne     torn
        inc     bx
        jmp     1b
9:      ret

heads_write:
        xor     bx, bx
1:      cmp     bx, [drives]
        jae     9f
        mov     dword ptr [lba], HEAD_LBA
        call    sector_write
        inc     bx
        jmp     1b
9:      ret

/* The sector that the next turn writes must hold the turn of 64 turns before, or nothing when the
 * disk had not been there.  Right after a boot it may hold the next turn already: the guest was
 * killed between the history and the head. */
ring_check:
        xor     bx, bx
1:      cmp     bx, [drives]
        jae     9f
        mov     eax, [count]
        inc     eax
        mov     ecx, eax
        call    ring_lba
        sub     ecx, RING_MASK + 1
        jg      2f
        xor     ecx, ecx
2:      push    bx
        shl     bx, 2
        cmp     ecx, [born + bx]
        ja      3f
        xor     ecx, ecx
3:      pop     bx
        push    ecx
        call    sector_read
        pop     ecx
        cmp     eax, ecx
        je      4f
        cmp     byte ptr [fresh], 0
        je      torn
        mov     ecx, [count]
        inc     ecx
        cmp     eax, ecx
        jne     torn
4:      inc     bx
        jmp     1b
9:      ret

ring_write:
        xor     bx, bx
1:      cmp     bx, [drives]
        jae     9f
        mov     eax, [count]
        call    ring_lba
        call    sector_write
        inc     bx
        jmp     1b
9:      ret

/* Sets lba to the history sector of turn eax. */
ring_lba:
        and     eax, RING_MASK
        shl     eax, RING_STEP_SHIFT
        add     eax, RING_LBA
        mov     [lba], eax
        ret

/* Reads sector lba of disk bx.  eax: its counter, 0 when blank, 0xffffffff when only part of it is
 * right.  edx: its born. */
sector_read:
        mov     ah, 0x42
        call    disk
        mov     di, offset buffer
        mov     eax, [magic]
        cmp     eax, [di]
        jne     blank
        mov     eax, [magic + 4]
        cmp     eax, [di + 4]
        jne     blank
        mov     eax, [di + 8]
        mov     edx, eax
        not     edx
        cmp     edx, [di + 12]
        jne     broken
        mov     edx, [lba]
        cmp     edx, [di + 24]
        jne     broken
        mov     edx, [di + 16]
        add     di, 28
        mov     cx, (512 - 28) / 4
        repe    scasd
        jne     broken
        ret
blank:  xor     eax, eax
        xor     edx, edx
        ret
broken: mov     eax, 0xffffffff
        ret

/* Writes the counter to sector lba of disk bx. */
sector_write:
        mov     di, offset buffer
        mov     eax, [magic]
        stosd
        mov     eax, [magic + 4]
        stosd
        mov     eax, [count]
        stosd
        not     eax
        stosd
        push    bx
        shl     bx, 2
        mov     eax, [born + bx]
        pop     bx
        stosd
        movzx   eax, bx
        add     eax, 0x80
        stosd
        mov     eax, [lba]
        stosd
        mov     eax, [count]
        mov     cx, (512 - 28) / 4
        rep     stosd
        mov     ax, 0x4300
        /* falls through */

/* One sector between buffer and lba of disk bx; ah says which way.  Does not come back on error. */
disk:
        mov     ecx, [lba]
        mov     [packet + 8], ecx
        mov     dl, bl
        add     dl, 0x80
        mov     si, offset packet
        push    bx
        int     0x13
        pop     bx
        sti                             /* BIOS calls may come back with interrupts off */
        cld
        jc      1f
        ret
1:      mov     si, offset text_ioerr
        call    print
        jmp     torn_where

copies_set:
        mov     eax, [count]
        mov     dx, COPY_SEG
        mov     cx, COPIES
1:      mov     es, dx
        mov     es:[0x10], eax
        add     dx, 0x1000
        loop    1b
        xor     cx, cx
        mov     es, cx
        ret

copies_check:
        mov     dx, COPY_SEG
        mov     cx, COPIES
1:      mov     es, dx
        mov     eax, es:[0x10]
        cmp     eax, [count]
        jne     2f
        add     dx, 0x1000
        loop    1b
        xor     cx, cx
        mov     es, cx
        ret
2:      push    eax
        mov     si, offset text_torn
        call    print
        mov     eax, [count]
        call    print_number
        mov     si, offset text_copy
        call    print
        pop     eax
        call    print_number
        call    print_end
        jmp     halt

/* Disk bx holds eax at lba, and not what memory says. */
torn:
        push    eax
        mov     si, offset text_torn
        call    print
        mov     eax, [count]
        call    print_number
        mov     si, offset text_disk
        call    print
        pop     eax
        call    print_number
torn_where:
        mov     si, offset text_drive
        call    print
        movzx   eax, bx
        add     eax, 0x80
        call    print_number
        mov     si, offset text_lba
        call    print
        mov     eax, [lba]
        call    print_number
        call    print_end
        jmp     halt

#include "oracle-io.S"

magic:          .ascii  "QMPTICK\0"
text_boot:      .asciz  "boot "
text_disks:     .asciz  " disks="
text_tick:      .asciz  "tick "
text_torn:      .asciz  "TORN mem="
text_disk:      .asciz  " disk="
text_copy:      .asciz  " copy="
text_ioerr:     .asciz  "IOERR"
text_drive:     .asciz  " drive="
text_lba:       .asciz  " lba="
text_end:       .asciz  "\r\n"

        .balign 4
count:          .long   0
lba:            .long   0
born:           .fill   DRIVES_MAX, 4, 0
drives:         .word   0
fresh:          .byte   0
        .balign 4
packet:
        .byte   16, 0
        .word   1, buffer, 0
        .quad   0

        .org    SECTORS * 512
        .equ    buffer, 0x9000
