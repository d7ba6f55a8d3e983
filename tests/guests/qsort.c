// Calls through function pointers (call_indirect), recursion that shares the call stack with them,
// and a switch (br_table).

#include "guest.h"

enum { MOST = 2000 };
int numbers[MOST];
unsigned comparisons;

typedef int compare(int, int);
NOINLINE int ascending(int a, int b) {
    return a < b ? -1 : a > b;
}
NOINLINE int descending(int a, int b) {
    return ascending(b, a);
}
NOINLINE int by_last_digit(int a, int b) {
    int order = (a & 15) - (b & 15);
    return order ? order : ascending(a, b);
}
NOINLINE int by_bits(int a, int b) {
    int order = __builtin_popcount((unsigned)a) - __builtin_popcount((unsigned)b);
    return order ? order : ascending(a, b);
}
static compare *const orders[] = {ascending, descending, by_last_digit, by_bits};

NOINLINE void sort(int *low, int *high, compare *order) {
    if (low >= high)
        return;
    int pivot = low[(high - low) / 2];
    int *i = low, *j = high;
    while (i <= j) {
        while (comparisons++, order(*i, pivot) < 0)
            i++;
        while (comparisons++, order(*j, pivot) > 0)
            j--;
        if (i <= j) {
            int swapped = *i;
            *i++ = *j;
            *j-- = swapped; // @swap
        }
    }
    sort(low, j, order);
    sort(i, high, order);
}

// Sorts n made-up numbers (at most MOST) by order 0 to 3; a larger order is a bad indirect call.
EXPORT(quicksort) unsigned quicksort(int n, unsigned order) {
    unsigned x = 12345, sum = 0;
    compare *chosen = order < 4 ? orders[order] : (compare *)(unsigned long)(order * 1000);
    comparisons = 0;
    for (int i = 0; i < n; i++) {
        x = x * 1103515245u + 12345u;
        numbers[i] = (int)(x >> 8) % 10000 - 5000;
    }
    sort(numbers, numbers + n - 1, chosen);
    for (int i = 0; i < n; i++)
        sum = sum * 31 + (unsigned)numbers[i];
    return sum;
}

// A calculator: `length` bytes of postfix notation at `program`, with digits, + - * / and ~ for negation.
char program[64];
EXPORT(postfix) int postfix(int length) {
    int stack[16], top = 0;
    for (int i = 0; i < length; i++) {
        char c = program[i];
        switch (c) { // @switch
        case '+': top--; stack[top - 1] += stack[top]; break;
        case '-': top--; stack[top - 1] -= stack[top]; break;
        case '*': top--; stack[top - 1] *= stack[top]; break;
        case '/': top--; stack[top - 1] /= stack[top]; break;
        case '~': stack[top - 1] = -stack[top - 1]; break;
        case '0': case '1': case '2': case '3': case '4':
        case '5': case '6': case '7': case '8': case '9': stack[top++] = c - '0'; break;
        default: __builtin_trap();
        }
    }
    return stack[0];
}
