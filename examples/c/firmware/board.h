/* The board: what the program prints, the time, and a serial line. */
#ifndef BOARD_H
#define BOARD_H

#include <stddef.h>
#include <stdint.h>

/* Prints a text on the debugger's console. */
void print(const char *text);
void print_number(uint32_t number);

/* Ends the program. */
_Noreturn void finish(int code);

/* Milliseconds since the start. */
uint64_t now_ms(void);

/* The serial line, which carries HTTP to a modem, or to another computer. serial_read() gives at
 * least one byte, or 0 if none came in five seconds. */
void serial_write(const char *bytes, size_t length);
size_t serial_read(char *bytes, size_t most);

/* Most bytes of the stack that were ever used. */
uint32_t stack_used(void);

#endif
