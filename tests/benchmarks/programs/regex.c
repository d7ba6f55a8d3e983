// A backtracking matcher of regular expressions: recursion over strings.
#include "bench.h"
static const char *const lines[] = {
    "2026-11-25 warning: disk usage at 91%", "GET /index.html HTTP/1.1", "error: cannot open 'a.txt'",
    "aaaaaaaaaaaaaaaaaaab", "user=ada id=42 role=admin", "", "no match here at all, only words"};
static const char *const patterns[] = {"^[0-9]*-[0-9]*-.*:", "id=[0-9][0-9]*", "a*a*b$", "e.*o.*'.*'", "^$"};
static int here(const char *pattern, const char *text);
static const char *atom_end(const char *pattern) {
  if (*pattern != '[') return pattern + 1;
  while (*pattern != ']') pattern++;
  return pattern + 1;
}
static int one(const char *pattern, char c) {
  if (!c) return 0;
  if (*pattern == '.') return 1;
  if (*pattern != '[') return *pattern == c;
  for (pattern++; *pattern != ']'; pattern++) {
    if (pattern[1] == '-') {
      if (c >= pattern[0] && c <= pattern[2]) return 1;
      pattern += 2;
    } else if (*pattern == c) {
      return 1;
    }
  }
  return 0;
}
static int star(const char *atom, const char *rest, const char *text) {
  do
    if (here(rest, text)) return 1;
  while (one(atom, *text++));
  return 0;
}
static int here(const char *pattern, const char *text) {
  if (!*pattern) return 1;
  const char *end = atom_end(pattern);
  if (*end == '*') return star(pattern, end + 1, text);
  if (*pattern == '$' && !pattern[1]) return !*text;
  return one(pattern, *text) && here(end, text + 1);
}
static int search(const char *pattern, const char *text) {
  if (*pattern == '^') return here(pattern + 1, text);
  do
    if (here(pattern, text)) return 1;
  while (*text++);
  return 0;
}
EXPORT int run(int n) {
  int found = 0;
  for (int round = 0; round < n; round++)
    for (u32 p = 0; p < sizeof patterns / sizeof *patterns; p++)
      for (u32 l = 0; l < sizeof lines / sizeof *lines; l++) found += search(patterns[p], lines[l]);
  return found;
}
