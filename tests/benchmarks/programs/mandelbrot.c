// A floating-point loop without any access to memory.
#include "bench.h"
EXPORT int run(int n) {
  int inside = 0;
  for (int round = 0; round < n; round++)
    for (int py = 0; py < 24; py++)
      for (int px = 0; px < 32; px++) {
        double cx = px / 16.0 - 1.5, cy = py / 12.0 - 1.0, x = 0, y = 0;
        int left = 60;
        while (left > 0 && x * x + y * y < 4.0) {
          double t = x * x - y * y + cx;
          y = 2 * x * y + cy;
          x = t;
          left--;
        }
        inside += left == 0;
      }
  return inside;
}
