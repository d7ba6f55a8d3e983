// A WASI command by wasi-libc that reads standard input: numbers its lines, and exits with their number.

#include <stdio.h>

int main(void) {
    char line[128];
    int lines = 0;
    while (fgets(line, sizeof line, stdin))
        printf("%3d  %s", ++lines, line); // @line
    return lines;
}
