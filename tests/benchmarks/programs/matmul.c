// Floating point in three nested loops.
#include "bench.h"
#define SIZE 48
static double a[SIZE][SIZE], b[SIZE][SIZE], c[SIZE][SIZE];
EXPORT int run(int n) {
  for (int i = 0; i < SIZE; i++)
    for (int j = 0; j < SIZE; j++) {
      a[i][j] = i + j;
      b[i][j] = i - j;
    }
  for (int round = 0; round < n; round++)
    for (int i = 0; i < SIZE; i++)
      for (int j = 0; j < SIZE; j++) {
        double sum = 0;
        for (int k = 0; k < SIZE; k++) sum += a[i][k] * b[k][j];
        c[i][j] = sum;
      }
  return (int)c[3][5];
}
