// Recursion over binary trees: built from a pool, walked, dropped.
#include "bench.h"
typedef struct Tree { struct Tree *left, *right; int value; } Tree;
static Tree pool[8192];
static int used;
static Tree *make(int depth) {
  Tree *tree = &pool[used++];
  tree->value = depth;
  tree->left = depth > 0 ? make(depth - 1) : 0;
  tree->right = depth > 0 ? make(depth - 1) : 0;
  return tree;
}
static int check(Tree *tree) {
  return tree->left ? tree->value + check(tree->left) - check(tree->right) + 1 : 1;
}
EXPORT int run(int n) {
  int sum = 0;
  for (int i = 0; i < n; i++) {
    used = 0;
    sum += check(make(11));
  }
  return sum;
}
