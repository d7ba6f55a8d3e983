// A word count: strings, a hash table of lists, and an allocator with free lists.
#include "bench.h"
typedef struct Block { struct Block *next; u32 size; } Block;
static u8 heap[1 << 18];
static u32 top;
static Block *unused[16];
static void *allocate(u32 size) {
  u32 kind = (size + 15) / 16;
  Block *block = unused[kind];
  if (block) unused[kind] = block->next;
  else {
    block = (Block *)(heap + top);
    top += sizeof(Block) + kind * 16;
  }
  block->size = kind;
  return block + 1;
}
static void release(void *p) {
  Block *block = (Block *)p - 1;
  block->next = unused[block->size];
  unused[block->size] = block;
}
typedef struct Entry { struct Entry *next; char *word; int count; } Entry;
static Entry *table[256];
static u32 hash(const char *word) {
  u32 h = 2166136261u;
  while (*word) h = (h ^ (u8)*word++) * 16777619u;
  return h;
}
static int same(const char *a, const char *b) {
  while (*a && *a == *b) { a++; b++; }
  return *a == *b;
}
static Entry *find(const char *word) {
  Entry **at = &table[hash(word) & 255];
  for (; *at; at = &(*at)->next)
    if (same((*at)->word, word)) return *at;
  u32 length = 0;
  while (word[length]) length++;
  Entry *entry = allocate(sizeof(Entry));
  entry->word = allocate(length + 1);
  for (u32 i = 0; i <= length; i++) entry->word[i] = word[i];
  entry->next = 0;
  entry->count = 0;
  return *at = entry;
}
static void clear(void) {
  for (int i = 0; i < 256; i++)
    while (table[i]) {
      Entry *entry = table[i];
      table[i] = entry->next;
      release(entry->word);
      release(entry);
    }
}
EXPORT int run(int n) {
  int most = 0;
  for (int round = 0; round < n; round++) {
    seed = (u32)round;
    for (int i = 0; i < 600; i++) {
      char word[12];
      u32 bits = next_random() >> 16, length = 2 + bits % 7;
      for (u32 k = 0; k < length; k++) word[k] = (char)('a' + (bits >> k) % 5);
      word[length] = 0;
      Entry *entry = find(word);
      if (++entry->count > most) most = entry->count;
    }
    clear();
  }
  return most;
}
