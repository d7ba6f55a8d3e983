// Byte stores and nested loops: Eratosthenes' sieve.

#include "guest.h"

enum { LIMIT = 60000 };
unsigned char composite[LIMIT];

// How many primes are below `limit` (at most LIMIT).
EXPORT(sieve) int sieve(int limit) {
    int count = 0;
    for (int i = 0; i < limit; i++)
        composite[i] = 0;
    for (int i = 2; i < limit; i++) {
        if (composite[i])
            continue;
        count++; // @prime
        for (long long j = (long long)i * i; j < limit; j += i)
            composite[j] = 1;
    }
    return count;
}
