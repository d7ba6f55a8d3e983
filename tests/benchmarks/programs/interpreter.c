// An interpreter loop: a stack machine with a switch, whose program counts primes by trial division.
#include "bench.h"
enum { PUSH, LOAD, STORE, ADD, MUL, REM, LESS, JUMP, UNLESS, HALT };
static int code[128], size;
static int emit(int op, int argument) {
  code[size++] = op;
  code[size++] = argument;
  return size - 1; // where the argument is, to be patched
}
static void assemble(void) {
  enum { N, D, COUNT };
  size = 0;
  emit(PUSH, 2); emit(STORE, N);
  emit(PUSH, 0); emit(STORE, COUNT);
  int next = size; // while N < 300
  emit(LOAD, N); emit(PUSH, 300); emit(LESS, 0);
  int done = emit(UNLESS, 0);
  emit(PUSH, 2); emit(STORE, D);
  int divide = size; // while D * D < N + 1
  emit(LOAD, D); emit(LOAD, D); emit(MUL, 0); emit(LOAD, N); emit(PUSH, 1); emit(ADD, 0); emit(LESS, 0);
  int prime = emit(UNLESS, 0);
  emit(LOAD, N); emit(LOAD, D); emit(REM, 0);
  int composite = emit(UNLESS, 0);
  emit(LOAD, D); emit(PUSH, 1); emit(ADD, 0); emit(STORE, D);
  emit(JUMP, divide);
  code[prime] = size;
  emit(LOAD, COUNT); emit(PUSH, 1); emit(ADD, 0); emit(STORE, COUNT);
  code[composite] = size;
  emit(LOAD, N); emit(PUSH, 1); emit(ADD, 0); emit(STORE, N);
  emit(JUMP, next);
  code[done] = size;
  emit(LOAD, COUNT); emit(HALT, 0);
}
static int interpret(void) {
  int stack[16], variables[4], *top = stack;
  for (const int *at = code;;) {
    int op = *at++, argument = *at++;
    switch (op) {
      case PUSH: *top++ = argument; break;
      case LOAD: *top++ = variables[argument]; break;
      case STORE: variables[argument] = *--top; break;
      case ADD: top--; top[-1] += *top; break;
      case MUL: top--; top[-1] *= *top; break;
      case REM: top--; top[-1] %= *top; break;
      case LESS: top--; top[-1] = top[-1] < *top; break;
      case JUMP: at = code + argument; break;
      case UNLESS: if (!*--top) at = code + argument; break;
      default: return top[-1];
    }
  }
}
EXPORT int run(int n) {
  int sum = 0;
  assemble();
  for (int i = 0; i < n; i++) sum += interpret();
  return sum;
}
