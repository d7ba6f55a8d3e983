// Floating point with square roots and divisions, in structures.
#include "bench.h"
typedef struct { double x, y, z, vx, vy, vz, mass; } Body;
static Body bodies[5];
static void advance(double dt) {
  for (int i = 0; i < 5; i++) {
    Body *p = &bodies[i];
    for (int j = i + 1; j < 5; j++) {
      Body *q = &bodies[j];
      double dx = p->x - q->x, dy = p->y - q->y, dz = p->z - q->z;
      double square = dx * dx + dy * dy + dz * dz + 0.01;
      double size = dt / (square * __builtin_sqrt(square));
      p->vx -= dx * q->mass * size; p->vy -= dy * q->mass * size; p->vz -= dz * q->mass * size;
      q->vx += dx * p->mass * size; q->vy += dy * p->mass * size; q->vz += dz * p->mass * size;
    }
  }
  for (int i = 0; i < 5; i++) {
    Body *p = &bodies[i];
    p->x += dt * p->vx; p->y += dt * p->vy; p->z += dt * p->vz;
  }
}
EXPORT int run(int n) {
  for (int i = 0; i < 5; i++) bodies[i] = (Body){i, 2 * i + 1, 3 - i, 0.1 * i, 0.2, -0.1 * i, 1 + i};
  for (int i = 0; i < n * 100; i++) advance(0.001);
  return (int)(bodies[0].x * 1000 + bodies[4].vy * 1000);
}
