// String formatting by wasi-libc's snprintf: big real functions with switches, varargs, and 64-bit
// and floating-point arithmetic.  A WASI reactor: call `_initialize` first.

#include <stdio.h>
#include <string.h>

#include "guest.h"

char text[256];

// Writes a line about n to `text`, and gives its length.
EXPORT(format) int format(int n, double x) {
    return snprintf(text, sizeof text, "%d %05x %-6u| %+lld %s %c %.3f %g %e %%", n, (unsigned)n, (unsigned)n % 1000,
                    (long long)n * n * n, n % 2 ? "odd" : "even", 'a' + n % 26, x, x * 1e10, x / 1e5);
}

// Sum of the words' lengths of the text, by strtok.
EXPORT(words) int words(void) {
    int count = 0;
    for (char *word = strtok(text, " "); word; word = strtok(0, " "))
        count += (int)strlen(word);
    return count;
}
