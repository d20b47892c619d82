/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * oracle-io: the oracle's clock and its serial line.  Part of oracle.S.
 *
 * Rules: all but the print functions may change any of ax, cx, dx, si; print changes si and ax,
 * print_char ax only, print_number eax, edx, cx and the high half of ebx.
 */
        .equ    COM1, 0x3f8
        .equ    BIOS_TICKS, 0x46c
        .equ    PIT_DIVISOR, 23864      /* 1193182 Hz / 23864 = 50 turns a second */

timer_init:
        mov     al, 0x36
        out     0x43, al
        mov     al, PIT_DIVISOR & 0xff
        out     0x40, al
        mov     al, PIT_DIVISOR >> 8
        out     0x40, al
        ret

timer_wait:
        mov     eax, [BIOS_TICKS]
1:      hlt
        cmp     eax, [BIOS_TICKS]
        je      1b
        ret

serial_init:
        mov     si, offset serial_setup
        mov     cx, 6
1:      lodsb
        movzx   dx, al
        add     dx, COM1
        lodsb
        out     dx, al
        loop    1b
        ret
serial_setup:                           /* register, value: 115200 8n1, no interrupts, FIFO */
        .byte   1, 0,  3, 0x80,  0, 1,  1, 0,  3, 3,  2, 7

print_end:
        mov     si, offset text_end
        /* falls through */
print:
        lodsb
        test    al, al
        jz      1f
        call    print_char
        jmp     print
1:      ret

/* Waits a bounded time for room, so that a machine without COM1 counts all the same. */
print_char:
        push    cx
        push    dx
        push    ax
        mov     cx, 0xffff
        mov     dx, COM1 + 5
1:      in      al, dx
        test    al, 0x20
        loopz   1b
        pop     ax
        mov     dx, COM1
        out     dx, al
        pop     dx
        pop     cx
        ret

print_number:
        push    bx
        mov     ebx, 10
        xor     cx, cx
1:      xor     edx, edx
        div     ebx
        push    dx
        inc     cx
        test    eax, eax
        jnz     1b
2:      pop     ax
        add     al, '0'
        call    print_char
        loop    2b
        pop     bx
        ret
