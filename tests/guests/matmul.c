// Floating point in three nested loops without a call: the loop that must stay fast.

#include "guest.h"

enum { MOST = 40 };
double left[MOST][MOST], right[MOST][MOST], product[MOST][MOST];

NOINLINE void fill(int n) {
    for (int i = 0; i < n; i++)
        for (int j = 0; j < n; j++) {
            left[i][j] = i + j * 0.5;
            right[i][j] = i - j * 0.25;
        }
}

NOINLINE void multiply(int n) {
    for (int i = 0; i < n; i++)
        for (int j = 0; j < n; j++) {
            double sum = 0;
            for (int k = 0; k < n; k++)
                sum += left[i][k] * right[k][j]; // @inner
            product[i][j] = sum;
        }
}

// The sum of the diagonal of the product of two n × n matrices (n at most MOST).
EXPORT(matmul) double matmul(int n) {
    double trace = 0;
    fill(n);
    multiply(n);
    for (int i = 0; i < n; i++)
        trace += product[i][i];
    return trace;
}
