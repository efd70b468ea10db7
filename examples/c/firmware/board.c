/* lm3s6965evb in QEMU: start, semihosting, UART0. */
#include "board.h"

extern uint64_t data_start[], data_end[], data_load[], bss_start[], bss_end[], stack_top[];
int main(void);

static const uint64_t UNUSED = 0xa5a5a5a5a5a5a5a5;

static int32_t semihosting(int32_t operation, const void *argument) {
    register int32_t r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}

void print(const char *text) {
    semihosting(0x04, text);
}

void print_number(uint32_t number) {
    char digits[11], *at = digits + 10;
    *at = 0;
    do {
        *--at = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    print(at);
}

_Noreturn void finish(int code) {
    semihosting(0x18, (const void *)(code == 0 ? 0x20026 : 0x20023));
    for (;;) {
    }
}

uint64_t now_ms(void) {
    /* Hundredths of a second. A board has a timer instead. */
    return (uint64_t)(uint32_t)semihosting(0x10, NULL) * 10;
}

#define UART(offset) (*(volatile uint32_t *)(0x4000c000 + (offset)))

void serial_write(const char *bytes, size_t length) {
    while (length-- > 0) {
        while (UART(0x18) & 0x20) {
        }
        UART(0x00) = (uint8_t)*bytes++;
    }
}

size_t serial_read(char *bytes, size_t most) {
    size_t length = 0;
    uint64_t until = now_ms() + 5000;
    while (UART(0x18) & 0x10) {
        if (now_ms() >= until) {
            return 0;
        }
    }
    while (length < most && !(UART(0x18) & 0x10)) {
        bytes[length++] = (char)UART(0x00);
    }
    return length;
}

uint32_t stack_used(void) {
    const uint64_t *at = bss_end;
    while (*at == UNUSED) {
        at++;
    }
    return (uint32_t)((const char *)stack_top - (const char *)at);
}

_Noreturn void reset(void) {
    volatile uint64_t *to;
    const uint64_t *from = data_load;
    uint64_t *here = (uint64_t *)__builtin_frame_address(0);
    for (to = data_start; to < data_end;) {
        *to++ = *from++;
    }
    for (to = bss_start; to < bss_end;) {
        *to++ = 0;
    }
    for (to = bss_end; to < here - 8;) {
        *to++ = UNUSED;
    }
    *(volatile uint32_t *)0x400fe104 |= 1; /* the UART's clock */
    UART(0x2c) = 0x70;                     /* 8 bits, with the FIFO */
    UART(0x30) = 0x301;                    /* on, both ways */
    finish(main());
}

static _Noreturn void fault(void) {
    print("fault\n");
    finish(1);
}

__attribute__((section(".vectors"), used)) static const void *const VECTORS[16] = {
    stack_top, reset, fault, fault, fault, fault, fault, NULL, NULL, NULL, NULL, fault, fault, NULL, fault, fault,
};
