// A simulated operating system: tasks of several kinds behind function pointers, queues of packets.
#include "bench.h"
typedef struct Packet { struct Packet *next; int kind, data; } Packet;
typedef struct Task Task;
struct Task {
  Packet *(*step)(Task *, Packet *); // gives a packet to pass on, or none
  Task *target;
  Packet *queue;
  int state, done;
};
static Task tasks[6];
static Packet packets[24];
static void append(Packet **queue, Packet *packet) {
  packet->next = 0;
  while (*queue) queue = &(*queue)->next;
  *queue = packet;
}
static Packet *idle(Task *task, Packet *packet) {
  task->state = task->state & 1 ? task->state >> 1 ^ 0xd008 : task->state >> 1;
  if (packet) packet->data ^= task->state;
  return packet;
}
static Packet *worker(Task *task, Packet *packet) {
  if (!packet) return 0;
  packet->kind = !packet->kind;
  packet->data = packet->data * 31 + task->state++;
  return packet;
}
static Packet *device(Task *task, Packet *packet) {
  if (!packet) return 0;
  task->state += packet->data & 0xff;
  packet->data = packet->data >> 3 ^ task->state;
  return packet;
}
static Packet *handler(Task *task, Packet *packet) {
  if (!packet) return 0;
  for (int i = 0; i < 4; i++) task->state = task->state * 5 + (packet->data >> (i * 8) & 0xff);
  return packet;
}
static int schedule(int steps) {
  int passed = 0;
  while (steps--)
    for (int i = 0; i < 6; i++) {
      Task *task = &tasks[i];
      Packet *packet = task->queue;
      if (packet) task->queue = packet->next;
      packet = task->step(task, packet);
      if (packet) {
        append(&task->target->queue, packet);
        task->done++;
        passed++;
      }
    }
  return passed;
}
EXPORT int run(int n) {
  static Packet *(*const kinds[])(Task *, Packet *) = {idle, worker, device, handler, worker, device};
  for (int i = 0; i < 6; i++) tasks[i] = (Task){kinds[i], &tasks[(i * 5 + 1) % 6], 0, i + 1, 0};
  for (int i = 0; i < 24; i++) {
    packets[i] = (Packet){0, i & 1, i * 77};
    append(&tasks[i % 6].queue, &packets[i]);
  }
  int passed = 0;
  for (int i = 0; i < n; i++) passed += schedule(100);
  return passed ^ tasks[2].state ^ packets[5].data;
}
