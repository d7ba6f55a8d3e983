// Quicksort with a comparison behind a pointer: indirect calls in the inner loop.
#include "bench.h"
#define COUNT 2000
static int numbers[COUNT];
typedef int (*Comparison)(const void *, const void *);
static int upwards(const void *a, const void *b) {
  int x = *(const int *)a, y = *(const int *)b;
  return x < y ? -1 : x > y;
}
static int downwards(const void *a, const void *b) { return upwards(b, a); }
static Comparison volatile comparisons[] = {upwards, downwards};
static void sort(int *a, int low, int high, Comparison compare) {
  if (low >= high) return;
  int pivot = a[(low + high) / 2], i = low, j = high;
  while (i <= j) {
    while (compare(&a[i], &pivot) < 0) i++;
    while (compare(&a[j], &pivot) > 0) j--;
    if (i <= j) {
      int t = a[i];
      a[i++] = a[j];
      a[j--] = t;
    }
  }
  sort(a, low, j, compare);
  sort(a, i, high, compare);
}
EXPORT int run(int n) {
  u32 sum = 0;
  for (int round = 0; round < n; round++) {
    seed = 12345 + (u32)round;
    for (int i = 0; i < COUNT; i++) numbers[i] = (int)(next_random() >> 8);
    sort(numbers, 0, COUNT - 1, comparisons[round & 1]);
    sum += (u32)numbers[100];
  }
  return (int)sum;
}
