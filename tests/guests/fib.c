// Recursion and nothing else: calls, and an operand that waits below a call.

#include "guest.h"

EXPORT(fib) int fib(int n) {
    return n < 2 ? n : fib(n - 1) + fib(n - 2); // @fib
}

// Arguments beyond the first, of every number type, through a call.
NOINLINE double blend(int a, long long b, float c, double d) {
    return a + (double)b * c - d; // @blend
}

EXPORT(blended) double blended(int n) {
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum += blend(i, (long long)i << 33, (float)i / 3, sum / 7);
    return sum;
}

// Mutual recursion, deep enough to fill thousands of frames: 1 if n is even.
NOINLINE int is_odd(int n);
EXPORT(is_even) int is_even(int n) {
    return n == 0 ? 1 : is_odd(n - 1);
}
NOINLINE int is_odd(int n) {
    return n == 0 ? 0 : is_even(n - 1);
}
