// Strings: a printf of numbers and words, byte by byte.
#include "bench.h"
static char text[128];
static int put(char *to, u32 value, u32 base) {
  char digits[12];
  int n = 0;
  do {
    u32 d = value % base;
    digits[n++] = (char)(d < 10 ? '0' + d : 'a' + d - 10);
    value /= base;
  } while (value);
  for (int i = 0; i < n; i++) to[i] = digits[n - 1 - i];
  return n;
}
static int print(char *to, const char *format, const u32 *arguments, const char *word) {
  char *start = to;
  for (; *format; format++) {
    if (*format != '%') {
      *to++ = *format;
      continue;
    }
    switch (*++format) {
      case 'd': to += put(to, *arguments++, 10); break;
      case 'x': to += put(to, *arguments++, 16); break;
      case 's': for (const char *c = word; *c; c++) *to++ = *c; break;
      default: *to++ = *format;
    }
  }
  return (int)(to - start);
}
EXPORT int run(int n) {
  int sum = 0;
  for (int i = 0; i < n * 100; i++) {
    u32 values[3] = {(u32)i, (u32)i * 7, (u32)i ^ 99};
    sum += print(text, "v=%d h=%x %s 100%% %d;", values, i & 1 ? "odd" : "even");
    sum ^= text[3];
  }
  return sum;
}
